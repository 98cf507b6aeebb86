"""Turns Pydantic's errors into lines that name the key, its value and the cure."""

from collections.abc import Iterator
from typing import Final, cast

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from configuration.agent import DESTINATION
from configuration.campaigns import DAYS_END
from configuration.database_urls import STORE_ADDRESS
from configuration.errors import Key, Problem, dotted, nearest, shown
from configuration.layers import Layers
from configuration.resilience import SHARE_ADDRESS
from configuration.sections import CODE, DATABASE
from configuration.shape import every_key, known_keys, model_at
from configuration.values import (
    DAY_TIME,
    DIALLED,
    ENTRY_POINT,
    HTTP_URL,
    LANGUAGE,
    MACHINE_NAME,
    NAME,
    NUMBER,
    NUMBER_SHAPE,
    PREFIX,
    REGION,
    REGION_OR_NONE,
    SOCKET_URL,
    TELEPHONE_KEY,
)
from fallbacks.data_files import read_data

VALID_VALUES: Final[dict[str, str]] = read_data(__name__, "schema.yaml")
PATTERNS: Final[dict[str, str]] = {  # patterns and their descriptions in messages
    CODE: "a code of small letters, digits and _, such as wants_another_date",
    DATABASE: "an address such as sqlite+aiosqlite:///holdline.db",
    DAY_TIME: "a time of day such as 08:00",
    DAYS_END: "a time of day such as 21:00, or 24:00",
    DESTINATION: "a name of letters, digits, spaces, _ and - that begins with a letter or digit",
    DIALLED: 'a telephone number such as "+15550100", in quotes, or sip:NAME@HOST',
    ENTRY_POINT: "`package.module:function`",
    HTTP_URL: "a URL such as https://example.com",
    MACHINE_NAME: "a name of small letters, digits and - such as a",
    LANGUAGE: "a language tag such as en or pt-BR, or multi",
    NAME: "a name of letters, digits, _ and - that begins with a letter",
    NUMBER: 'a telephone number with its country code, such as "+15550100", in quotes',
    NUMBER_SHAPE: 'a prefix such as "+1...976", in which a dot stands for any digit',
    PREFIX: 'the beginning of a number with its country code, such as "+49", in quotes',
    REGION: "a country such as US or DE (ISO 3166-1), in capitals",
    REGION_OR_NONE: "a country such as US or DE (ISO 3166-1), in capitals",
    STORE_ADDRESS: "a URL such as redis://127.0.0.1:6379",
    SHARE_ADDRESS: "local or a URL such as redis://127.0.0.1:6379",
    SOCKET_URL: "a URL such as wss://example.livekit.cloud",
    TELEPHONE_KEY: "a key of a telephone, in quotes: 0 to 9, * or #",
}
EXAMPLES: Final[dict[str, str]] = {  # better descriptions for some keys
    "api_url": "a URL such as https://api.example.com",
    "numbers": "a telephone number such as +15550100, in quotes",
    "also_called": "a URL such as https://calls.example.com",
    "public_url": "a URL such as https://phone.example.com",
}
NAME_ITSELF: Final = "[key]"  # last part of Pydantic's path if a mapping's key is wrong


def problems_of(error: ValidationError, layers: Layers) -> Iterator[Problem]:
    """Yield a problem for each of Pydantic's errors, unless another one covers it."""
    for details in error.errors(include_url=False):
        key = cast(Key, details["loc"])
        if details["type"] == "missing" and key[:1] == ("stages",) and key[-1] == "name":
            continue  # reported as a missing kind
        if details["type"] == "too_short" and details["input"]:
            continue  # reported for its entries
        if key[:1] == ("agents",) and len(key) > 2 and key[:3] not in layers.origins:
            continue  # inherited from `agent` and reported there
        yield Problem(where=layers.where(key), text=_describe_error(details, key), key=key)


def _describe_error(error: ErrorDetails, key: Key) -> str:
    """Return the line about an error: the key, what is wrong with it or its value, the cure."""
    if error["type"] == "extra_forbidden":
        return f"{dotted(key)} is unknown; {_suggest_key(key)}"
    if error["type"] == "missing":
        return f"{dotted(key)} is missing"
    if error["type"] == "value_error" and model_at(key):
        return f"{dotted(key)} {_validator_message(error)}"
    held, valid = shown(error["input"], key), valid_for(error, key)
    if key[-1] == NAME_ITSELF:
        return f"{dotted(key[:-1])} is named {held}; its name must be {valid}"
    return f"{dotted(key)} is {held}; it must be {valid}"


def valid_for(error: ErrorDetails, key: Key) -> str:
    """Return a description of the values that would be valid."""
    if error["type"] == "string_pattern_mismatch":
        word = next(item for item in reversed(key) if isinstance(item, str))
        return EXAMPLES.get(word) or PATTERNS[error.get("ctx", {})["pattern"]]
    pattern = VALID_VALUES.get(error["type"])
    return pattern.format(**error.get("ctx", {})) if pattern else _validator_message(error)


def _validator_message(error: ErrorDetails) -> str:
    return error["msg"].removeprefix("Value error, ")


def _suggest_key(key: Key) -> str:
    """Return which key was probably meant instead of an unknown one, or the keys known there."""
    section = model_at(key[:-1])
    here = known_keys(section) if section else []
    word = str(key[-1])
    if close := nearest(word, here):
        return f"did you mean {close}?"
    elsewhere = [text for text in every_key() if text.split(".")[-1] == word]
    if elsewhere:
        return f"did you mean {elsewhere[0]}?"
    return f"known here: {', '.join(here)}"
