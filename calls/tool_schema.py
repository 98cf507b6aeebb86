"""Checks a tool's arguments against its JSON schema, for tools defined in a configuration.

Only the keywords below, which models' function calling uses, are checked; others only guide the
model. No library is used: a dependency that saves forty lines would have to be locked, hashed and
updated.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_array(value: Any) -> bool:
    return isinstance(value, list)


def _is_object(value: Any) -> bool:
    return isinstance(value, Mapping)


TYPES: Final[Mapping[str, Callable[[Any], bool]]] = {
    "object": _is_object,
    "array": _is_array,
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "integer": lambda value: _is_number(value) and float(value).is_integer(),
    "number": _is_number,
}

LIMITS: Final[Mapping[str, tuple[Callable[[Any, Any], bool], str]]] = {
    "enum": (lambda value, limit: value in limit, "is none of"),
    "const": (lambda value, limit: value == limit, "is not"),
    "minimum": (lambda value, limit: not _is_number(value) or value >= limit, "is less than"),
    "maximum": (lambda value, limit: not _is_number(value) or value <= limit, "is more than"),
    "exclusiveMinimum": (lambda v, limit: not _is_number(v) or v > limit, "is not more than"),
    "exclusiveMaximum": (lambda v, limit: not _is_number(v) or v < limit, "is not less than"),
    "minLength": (lambda v, limit: not isinstance(v, str) or len(v) >= limit, "is shorter than"),
    "maxLength": (lambda v, limit: not isinstance(v, str) or len(v) <= limit, "is longer than"),
    "minItems": (lambda v, limit: not _is_array(v) or len(v) >= limit, "has fewer than"),
    "maxItems": (lambda v, limit: not _is_array(v) or len(v) <= limit, "has more than"),
    "pattern": (
        lambda value, limit: not isinstance(value, str) or re.search(limit, value) is not None,
        "does not match",
    ),
    "digits": (
        lambda v, n: not isinstance(v, str) or re.fullmatch(f"[0-9]{{{n}}}", v) is not None,
        "does not have exactly this many digits:",
    ),
}
"""Keywords with their checks. `digits` is our own: a keypad entry ends after this many keys."""


def for_model(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters with `pattern` in place of `digits`, which a provider may reject.

    Only the top level is changed; a pattern of the owner stays. The schema stays as it is.
    """
    parameters: Mapping[str, Any] = schema.get("properties") or {}
    return {name: _without_digits(parameter) for name, parameter in parameters.items()}


def _without_digits(parameter: Any) -> Any:
    """Return a parameter with its own key `digits` turned into a pattern of JSON schema."""
    if not _is_object(parameter) or "digits" not in parameter:
        return parameter
    others = {key: value for key, value in parameter.items() if key != "digits"}
    return {"pattern": f"^[0-9]{{{parameter['digits']}}}$"} | others


def problems(value: Any, schema: Mapping[str, Any], *, where: str = "arguments") -> list[str]:
    """Return the errors in `value`, one sentence each, in words that a model can act on.

    Empty if it fits. A wrong type hides further errors. If no alternative fits, the errors of the
    nearest one are returned. `where` is the path of `value` in the sentences.
    """
    kind = schema.get("type")
    names: Sequence[str] = [kind] if isinstance(kind, str) else kind or ()
    if names and not any(TYPES[name](value) for name in names if name in TYPES):
        return [f"{where} must be {' or '.join(names)}"]
    found = [
        f"{where} {words} {schema[key]}"
        for key, (holds, words) in LIMITS.items()
        if key in schema and not holds(value, schema[key])
    ]
    forms: Sequence[Any] = schema.get("anyOf") or schema.get("oneOf") or ()
    told = [problems(value, form, where=where) for form in forms if _is_object(form)]
    if told and all(told):
        found += min(told, key=len)
    if _is_object(value):
        found += _object_problems(value, schema, where)
    if _is_array(value) and _is_object(schema.get("items")):
        for index, item in enumerate(value):
            found += problems(item, schema["items"], where=f"{where}[{index}]")
    return found


def _object_problems(value: Mapping[str, Any], schema: Mapping[str, Any], where: str) -> list[str]:
    """Return the errors in an object: missing properties, forbidden ones, and those in values."""
    properties: Mapping[str, Any] = schema.get("properties") or {}
    found = [
        f"{where}.{name} is missing" for name in schema.get("required", ()) if name not in value
    ]
    if schema.get("additionalProperties") is False:
        found += [f"{where}.{name} is not known" for name in value if name not in properties]
    for name, item in value.items():
        if isinstance(properties.get(name), Mapping):
            found += problems(item, properties[name], where=f"{where}.{name}")
    return found
