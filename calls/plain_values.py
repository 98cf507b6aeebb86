"""Reads plain values that another process has stored, and declines damaged ones."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from types import NoneType
from typing import Any, Final, Literal, cast, get_args, get_origin

# An `int` is a count; a `float` is a moment or a length in seconds, at most three centuries.
RANGES: Final[Mapping[Any, tuple[float, float]]] = {int: (0, 10**9), float: (-1e10, 1e10)}
PLAIN: Final[Mapping[Any, tuple[type, ...]]] = {float: (float, int), Mapping: (dict,)}


def from_plain(kind: Any, plain: Any, name: str = "a value") -> Any:
    """Return a value of this type from a plain one, such as a dataclass from its fields.

    A number must be in its range (`RANGES`).

    Raises:
        ValueError: The plain value does not fit; the message has its `name`.
    """
    origin, args = get_origin(kind) or kind, get_args(kind)
    if is_dataclass(origin):
        return _dataclass_from_plain(origin, plain, name)
    if NoneType in args:
        return None if plain is None else from_plain(args[0], plain, name)
    if origin is Sequence and isinstance(plain, list):
        return [from_plain(args[0], item, name) for item in cast("list[Any]", plain)]
    is_fit = plain in args if origin is Literal else type(plain) in PLAIN.get(origin, (origin,))
    if not is_fit or (origin in RANGES and not RANGES[origin][0] <= plain <= RANGES[origin][1]):
        raise ValueError(f"{name} is {plain!r:.50}")
    return plain


def _dataclass_from_plain(kind: Any, plain: Any, name: str) -> Any:
    types = {field.name: field.type for field in fields(kind)}
    if not isinstance(plain, dict) or not cast("dict[Any, Any]", plain).keys() <= types.keys():
        raise ValueError(f"{name} is {plain!r:.50}")
    given = cast("dict[str, Any]", plain).items()
    try:
        return kind(**{key: from_plain(types[key], value, key) for key, value in given})
    except TypeError as error:
        raise ValueError(str(error)) from error  # a field is missing
