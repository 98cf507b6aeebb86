"""Turns what Pydantic found wrong into lines that name the key, its value and the cure."""

from collections.abc import Iterator
from typing import Any, Final, cast, get_args, get_origin

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic_core import ErrorDetails

from bot.config.errors import Key, Problem, dotted, nearest, shown
from bot.config.layers import Layers
from bot.config.settings import Settings

VALID: Final[dict[str, str]] = {
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "dict_type": "a mapping",
    "float_parsing": "a number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "greater_than": "more than {gt:g}",
    "greater_than_equal": "at least {ge:g}",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "less_than_equal": "at most {le:g}",
    "list_type": "a list",
    "literal_error": "{expected}",
    "model_type": "a mapping",
    "path_type": "a path",
    "string_too_short": "text that is not empty",
    "string_type": "text (in quotes)",
    "string_unicode": "text that UTF-8 can hold",
    "too_short": "a list of {min_length} or more",
    "tuple_type": "a list",
}
PATTERNS: Final[dict[str, str]] = {  # the last part of a key, and what its text must be like
    "api_url": "a URL such as https://api.example.com",
    "begin": "a time of day such as 08:00",
    "end": "a time of day such as 21:00, or 24:00",
    "entry_point": "`package.module:function`",
    "language": "a language tag such as en or pt-BR, or multi",
    "name": "a name of letters, digits, _ and -",
    "number": "a telephone number such as +15550100",
    "numbers": "a telephone number such as +15550100, in quotes",
    "prefixes": "the beginning of a number with its country code, such as +49",
    "public_url": "a URL such as https://phone.example.com",
    "region": "a country such as US or DE (ISO 3166-1), in capitals",
    "share": "local or a URL such as redis://127.0.0.1:6379",
}


def model_at(key: Key) -> type[BaseModel] | None:
    """Return the model of the section that stands at this key, None for any other value."""
    at: Any = Settings
    for part in key:
        at = _inside(at, part)
    return at if _is_model(at) else None


def known_keys(section: type[BaseModel]) -> list[str]:
    """Return the keys that a file may hold there: all but those of resolved secrets."""
    fields = section.model_fields.items()
    return [name for name, each in fields if SecretStr not in get_args(each.annotation)]


def problems_of(error: ValidationError, layers: Layers) -> Iterator[Problem]:
    """Return a line for each thing that Pydantic refused."""
    for each in error.errors(include_url=False):
        key = cast(Key, each["loc"])
        if each["type"] == "missing" and key[:1] == ("stages",) and key[-1] == "name":
            continue  # follows from its kind, whose absence is told
        if each["type"] == "too_short" and each["input"]:
            continue  # its entries are wrong, which is told
        if key[:1] == ("agents",) and len(key) > 2 and key[:3] not in layers.origins:
            continue  # inherited from `agent`, where it is told
        yield Problem(where=layers.where(key), text=_text(each, key), key=key)


def _text(error: ErrorDetails, key: Key) -> str:
    if error["type"] == "extra_forbidden":
        return f"{dotted(key)} is unknown; {_instead(key)}"
    if error["type"] == "missing":
        return f"{dotted(key)} is missing"
    if error["type"] == "value_error" and _is_model(model_at(key)):
        return f"{dotted(key)} {_message(error)}"
    return f"{dotted(key)} is {shown(error['input'], key)}; it must be {_valid(error, key)}"


def _valid(error: ErrorDetails, key: Key) -> str:
    if error["type"] == "string_pattern_mismatch":
        words = [each for each in reversed(key) if isinstance(each, str)]
        return PATTERNS.get(words[0], "a URL such as https://example.com")
    pattern = VALID.get(error["type"])
    return pattern.format(**error.get("ctx", {})) if pattern else _message(error)


def _message(error: ErrorDetails) -> str:
    return error["msg"].removeprefix("Value error, ")


def _instead(key: Key) -> str:
    section = model_at(key[:-1])
    here = known_keys(section) if section else []
    word = str(key[-1])
    if close := nearest(word, here):
        return f"did you mean {close}?"
    elsewhere = [each for each in every_key() if each.split(".")[-1] == word]
    if elsewhere:
        return f"did you mean {elsewhere[0]}?"
    return f"known here: {', '.join(here)}"


def every_key(section: type[BaseModel] = Settings, before: str = "") -> Iterator[str]:
    """Yield every key that a file may hold, dotted, without those of lists and mappings."""
    for name in known_keys(section):
        yield before + name
        inner = section.model_fields[name].annotation
        if _is_model(inner):
            yield from every_key(cast(type[BaseModel], inner), f"{before}{name}.")


def _inside(at: Any, part: str | int) -> Any:
    if _is_model(at):
        found = at.model_fields.get(part)
        return found.annotation if found else None
    arguments = get_args(at)
    if get_origin(at) is tuple and isinstance(part, int):
        return arguments[0]
    return arguments[1] if get_origin(at) is dict else None


def _is_model(at: Any) -> bool:
    return isinstance(at, type) and issubclass(at, BaseModel)
