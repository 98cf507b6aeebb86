"""Writes `docs/configuration-reference.md` from the configuration's models and their docstrings."""

import ast
import inspect
import json
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from configuration.schema import PATTERNS
from configuration.settings import Settings
from configuration.shape import known_keys

PAGE = Path(__file__).parents[1] / "docs" / "configuration-reference.md"
BEGIN = "<!-- keys: written by scripts/configuration_page.py -->\n"
HEAD: Final = "| key | type | default | meaning |\n| --- | --- | --- | --- |\n"
NUMBERS: Final[Mapping[type, str]] = {int: "whole number", float: "number"}
NAMES: Final[Mapping[Any, str]] = {bool: "true or false", str: "text", Path: "path", Any: "any"}


def reference() -> str:
    """Return a section for each model, in the order of the configuration."""
    return "\n".join(_sections(Settings, "", "", {}))


def _sections(
    model: type[BaseModel], path: str, meaning: str, shown: dict[type[BaseModel], str]
) -> Iterator[str]:
    """Yield the section of a model, then those of the models in its fields.

    Args:
        model: The model.
        path: Its place in the configuration; empty for the whole.
        meaning: What the field with the model says of it; empty for the model's own docstring.
        shown: The path of each model that has a section already; others refer to that.
    """
    if place := shown.get(model):
        yield f"## {path}\n\nThe keys of [{place}](#{place.replace('.', '').lower()}).\n"
        return
    shown[model] = path
    fields, texts = model.model_fields, docstrings(model)
    inner = [(name, *_model_in(fields[name].annotation)) for name in known_keys(model)]
    rows = "".join(_row(name, fields[name], texts) for name, found, _ in inner if not found)
    if path:
        head = meaning or " ".join((model.__doc__ or "").partition("\n\n")[0].split())
        yield f"## {path}\n\n{head}\n" + (f"\n{HEAD}{rows}" if rows else "")
    for name, found, below in inner:
        if found:
            place = f"{path}.{name}{below}".removeprefix(".")
            yield from _sections(found, place, texts.get(name, ""), shown)


def _model_in(annotation: Any) -> tuple[type[BaseModel] | None, str]:
    """Return the model inside a value's type, and its path in the value: `""`, `.NAME` or `.0`."""
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return annotation, ""
    origin, parts = get_origin(annotation), get_args(annotation)
    below = {dict: ".NAME", tuple: ".0"}.get(origin, "")
    for part in parts if origin is not Literal else ():
        found, deeper = _model_in(part)
        if found:
            return found, below + deeper
    return None, ""


def docstrings(model: type[BaseModel]) -> dict[str, str]:
    """Return the docstring below each field, including inherited fields."""
    texts: dict[str, str] = {}
    for owner in reversed(model.__mro__):
        if not issubclass(owner, BaseModel) or owner is BaseModel:
            continue
        body = ast.parse(inspect.getsource(owner)).body[0]
        assert isinstance(body, ast.ClassDef)  # noqa: S101 - the source of a class parses to one
        for field, text in zip(body.body, body.body[1:], strict=False):
            match field, text:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(ast.Constant(str(words))):
                    texts[name] = " ".join(words.split())
                case _:
                    pass
    return texts


def _row(name: str, field: FieldInfo, texts: Mapping[str, str]) -> str:
    kind = kind_of(field.annotation, field.metadata)
    cells = (f"`{name}`", kind, _default(field), texts.get(name, ""))
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True, validated_data={})
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, (str, Path)) and str(value):
        return f"`{value}`"
    return f"`{json.dumps(value, ensure_ascii=False)}`"


def kind_of(annotation: Any, limits: Any = ()) -> str:
    """Return the valid values of a type, in words."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return kind_of(parts[0], (*limits, *parts[1:]))
    if origin in (Union, UnionType):
        return " or ".join(kind_of(part, limits) for part in parts if part is not NoneType)
    if origin is tuple:
        return f"list: {kind_of(parts[0])}"
    if choices := _choices(annotation):
        return ", ".join(f"`{choice}`" for choice in choices)
    return "mapping" if origin is dict else _limited(annotation, list(_flat(limits)))


def _choices(annotation: Any) -> tuple[Any, ...]:
    if inspect.isclass(annotation) and issubclass(annotation, Enum):
        return tuple(member.value for member in annotation)
    return get_args(annotation) if get_origin(annotation) is Literal else ()


def _flat(limits: Any) -> Iterator[Any]:
    for limit in limits:
        yield from limit.metadata if isinstance(limit, FieldInfo) else (limit,)


def _limited(annotation: Any, limits: list[Any]) -> str:
    """Return a simple type in words, with the bounds of a number; a pattern has its own words."""
    for limit in limits:
        if pattern := getattr(limit, "pattern", None):
            return PATTERNS[pattern]
    words = [NUMBERS.get(annotation) or NAMES[annotation]]
    if annotation in NUMBERS:
        named = (("ge", "from"), ("gt", "above"), ("le", "to"))
        words += [
            f"{word} {getattr(limit, name):g}"
            for name, word in named
            for limit in limits
            if getattr(limit, name, None) is not None
        ]
    return " ".join(words)


def renew(text: str) -> str:
    """Return the page with the current keys."""
    return text.partition(BEGIN)[0] + BEGIN + "\n" + reference()


if __name__ == "__main__":
    PAGE.write_text(renew(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
