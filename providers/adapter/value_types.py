"""Compares the values that a rung states with the types that its service's class annotates."""

import inspect
import json
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from types import UnionType
from typing import Any, Final, Literal, Union, cast, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

NOUNS: Final[Mapping[Any, str]] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    list: "a list",
    dict: "a mapping",
}
_ABSENT: Final = ("NoneType", "NotGiven", "Omit")  # they stand for no value
_LENIENT: Final = ConfigDict(coerce_numbers_to_str=True)  # as most vendors read values
MAX_SHOWN: Final = 12  # values in a message (chosen)


def wrong_values(
    hints: Mapping[str, Any], given: Mapping[str, Any]
) -> Iterator[tuple[tuple[str, ...], Any, str]]:
    """Yield each value of a wrong type: its path, the value, and what it must be.

    Values whose type is unknown, and those that are no JSON, such as objects, are not checked.
    """
    for name, value in given.items():
        hint = hints.get(name)
        if isinstance(value, dict) and (cls := class_for_mapping(hint)):
            inner = wrong_values(dict(fields_of(cls)), cast("dict[str, Any]", value))
            yield from (((name, *path), item, noun) for path, item, noun in inner)
        elif not _fits(hint, value):
            yield (name,), value, _noun_of(hint)


def fields_of(cls: Any) -> Iterator[tuple[str, Any]]:
    """Yield the fields of a dataclass or a model, and their types as far as they can be read."""
    hints = {
        name: resolved(hint, owner.__module__)
        for owner in reversed(getattr(cls, "__mro__", ()))
        for name, hint in vars(owner).get("__annotations__", {}).items()
    }
    names = [field.name for field in fields(cls)] if is_dataclass(cls) else ()
    for name in names or getattr(cls, "model_fields", ()):
        yield name, hints.get(name)


def resolved(hint: Any, module: str) -> Any:
    """Return an annotation in a module as a type; `None` if one of its names is not in scope."""
    probe = type("Annotated", (), {"__annotations__": {"it": hint}, "__module__": module})
    try:
        return get_type_hints(probe)["it"]
    except Exception:  # noqa: BLE001 - a vendor's or the owner's annotation
        return None


def class_for_mapping(hint: Any) -> type | None:
    """Return the class that a service takes in the place of a mapping; `None` if it takes none.

    `None`, too, if it takes the mapping itself.
    """
    kinds = (hint, *get_args(hint))
    takes_mapping = any((get_origin(kind) or kind) is dict for kind in kinds)
    for cls in () if takes_mapping else kinds:
        if inspect.isclass(cls) and (is_dataclass(cls) or issubclass(cls, BaseModel)):
            return cls
    return None


def _fits(hint: Any, value: Any) -> bool:
    """Return whether a value has a type, or text or a number that can be read as one."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    try:
        written = [json.dumps(form) for form in ((value, str(value)) if is_number else (value,))]
        adapter = None if value is None else _adapter_of(hint)
    except (TypeError, ValueError, RecursionError):  # no JSON, or an annotation without a hash
        return True
    return adapter is None or any(_is_valid(adapter, form) for form in written)


@cache
def _adapter_of(hint: Any) -> TypeAdapter[Any] | None:
    """Return a validator of a type; `None` if it is unknown, or a class that is no data.

    Of a `Literal`, any value of the same type is valid: the vendor may know more than Pipecat.
    """
    if hint is None or hint is inspect.Parameter.empty or isinstance(hint, str):
        return None
    kinds = list[Any]()
    for kind in _kinds_of(hint):
        kinds += map(type, get_args(kind)) if get_origin(kind) is Literal else [kind]
    kinds = [kind for kind in kinds if getattr(kind, "__name__", "") not in _ABSENT]
    try:
        return TypeAdapter[Any](cast("Any", Union[(*kinds, None)]), config=_LENIENT)
    except Exception:  # noqa: BLE001 - a vendor's or the owner's annotation
        return None


def _is_valid(adapter: TypeAdapter[Any], written: str) -> bool:
    try:
        adapter.validate_json(written)
    except ValidationError:
        return False
    return True


def _kinds_of(hint: Any) -> tuple[Any, ...]:
    """Return the members of a union, or the type itself."""
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def _noun_of(hint: Any) -> str:
    """Return the values of a type in words."""
    nouns = dict.fromkeys(map(_noun_of_kind, _kinds_of(hint)))
    return " or ".join(noun for noun in nouns if noun not in _ABSENT)


def _noun_of_kind(kind: Any) -> str:
    origin = get_origin(kind) or kind
    if origin is Literal:
        return " or ".join(map(repr, get_args(kind)))
    if class_for_mapping(origin):
        return NOUNS[dict]
    if inspect.isclass(origin) and issubclass(origin, Enum):
        values = [str(item.value) for item in origin]
        return f"one of {', '.join(values)}" if len(values) <= MAX_SHOWN else f"a {kind.__name__}"
    return NOUNS.get(origin) or getattr(origin, "__name__", str(origin))
