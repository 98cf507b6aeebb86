"""The shape of the configuration: which section, list or mapping is at which key."""

from collections.abc import Iterator
from types import NoneType
from typing import Any, Final, cast, get_args, get_origin

from pydantic import BaseModel, SecretStr

from configuration.errors import Key
from configuration.settings import Settings

OPTIONAL_PARTS: Final = 2  # of `X | None`


def model_at(key: Key) -> type[BaseModel] | None:
    """Return the model of the section at this key; `None` for any other value."""
    annotation = _annotation_at(key)
    return annotation if _is_model(annotation) else None


def is_mapping(key: Key) -> bool:
    """Return whether the value at this key is a mapping with names chosen by the owner."""
    return get_origin(_annotation_at(key)) is dict


def known_keys(section: type[BaseModel]) -> list[str]:
    """Return the keys that a file may set in a section: all but the secrets."""
    fields = section.model_fields.items()
    return [name for name, field in fields if SecretStr not in get_args(field.annotation)]


def every_key(section: type[BaseModel] = Settings, prefix: str = "") -> Iterator[str]:
    """Yield every dotted key that a file may set, without those inside lists and mappings."""
    for name in known_keys(section):
        yield prefix + name
        inner = _without_none(section.model_fields[name].annotation)
        if _is_model(inner):
            yield from every_key(cast(type[BaseModel], inner), f"{prefix}{name}.")


def _annotation_at(key: Key) -> Any:
    """Return the type of the value at a key; `None` if there is no such key."""
    annotation: Any = Settings
    for part in key:
        annotation = _part_of(annotation, part)
    return annotation


def _part_of(annotation: Any, part: str | int) -> Any:
    """Return the annotation of a section's field or a container's item; `None` if there is none."""
    if _is_model(annotation):
        field = annotation.model_fields.get(part)
        return _without_none(field.annotation) if field else None
    arguments = get_args(annotation)
    if get_origin(annotation) is tuple and isinstance(part, int):
        return arguments[0]
    return arguments[1] if get_origin(annotation) is dict else None


def _without_none(annotation: Any) -> Any:
    """Return the `X` of `X | None`, for sections that may be left out."""
    parts = get_args(annotation)
    if NoneType not in parts or len(parts) != OPTIONAL_PARTS:
        return annotation
    return next(part for part in parts if part is not NoneType)


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
