"""Prints the merged configuration as YAML: secrets masked, with the origin of each value."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic import BaseModel, SecretStr

from configuration.database_urls import mask_password
from configuration.errors import MASK, Key, dotted, is_secret, without_secrets
from configuration.layers import DEFAULT
from configuration.loading import Loaded
from configuration.secrets import DATABASE_URLS
from configuration.settings import Settings

FINGERPRINT_CHARACTERS: Final = 8
MAX_CHANGED: Final = 50  # keys; a new ladder has about twenty


OF_A_MACHINE: Final[Mapping[str, frozenset[str]]] = {
    "server": frozenset(
        {"machine", "host", "port", "agent_check_port", "public_ip", "max_calls", "workers"}
    ),
    "logs": frozenset({"dir"}),
}
"""The keys that may differ between machines with the same configuration."""


def fingerprint(settings: Settings) -> str:
    """Return a short hash of the configuration, the same on machines that behave the same.

    It covers secrets, but not the contents of files that the configuration names.
    """
    shown = settings.model_dump()
    for section, names in OF_A_MACHINE.items():
        shown[section] = {key: it for key, it in shown[section].items() if key not in names}
    text = json.dumps(shown, sort_keys=True, default=_with_secret_shown)
    return hashlib.sha256(text.encode()).hexdigest()[:FINGERPRINT_CHARACTERS]


def _with_secret_shown(value: Any) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else repr(value)


def changed_keys(old: Settings, new: Settings) -> tuple[str, ...]:
    """Return the keys whose values differ, such as `agent.greeting`, at most `MAX_CHANGED`."""
    found = _differing_keys(old.model_dump(), new.model_dump(), ())
    return tuple(dict.fromkeys(dotted(key) for key in found))[:MAX_CHANGED]


def _differing_keys(old: Any, new: Any, at: Key) -> Iterator[Key]:
    """Yield the keys of different values; lists of different lengths are compared as a whole."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in {**old, **new}:
            yield from _differing_keys(old.get(name), new.get(name), (*at, name))
    elif _is_list(old) and _is_list(new) and len(old) == len(new):
        for index, (was, is_) in enumerate(zip(old, new, strict=True)):
            yield from _differing_keys(was, is_, (*at, index))
    elif old != new:
        yield at


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


INDENT: Final = "  "
COMMENT_COLUMN: Final = 60


def as_yaml(loaded: Loaded) -> str:
    """Return the configuration as an equivalent file without secrets."""
    return "\n".join(_section_lines(loaded, loaded.settings, (), depth=0)) + "\n"


def _section_lines(loaded: Loaded, value: Any, key: Key, *, depth: int) -> Iterator[str]:
    """Yield the lines of a section or mapping, whose key is `key`; a secret becomes a comment."""
    for name, part in _named_parts(value):
        at = (*key, name)
        if isinstance(part, SecretStr) or _is_secret_field(value, name):
            shown = f"{MASK}  ({_origin_of_value(loaded, at)})" if part else _not_set(value, name)
            yield f"{INDENT * depth}# {name}: {shown}"
        elif _is_section(part):
            yield f"{INDENT * depth}{_quoted_name(name)}:"
            yield from _section_lines(loaded, part, at, depth=depth + 1)
        elif _is_ladder(part):
            yield f"{INDENT * depth}{_quoted_name(name)}:"
            for index, item in enumerate(part):
                inner = list(_section_lines(loaded, item, (*at, index), depth=depth + 2))
                first = inner[0]
                yield f"{INDENT * (depth + 1)}- {first.lstrip()}"
                yield from inner[1:]
        else:
            text = f"{INDENT * depth}{_quoted_name(name)}: {_masked_scalar(part, at)}"
            yield f"{text:<{COMMENT_COLUMN}}  # {_origin_of_value(loaded, at)}"


def _named_parts(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the names and values of a mapping's items or of a section's fields."""
    if isinstance(value, Mapping):
        yield from value.items()
    else:
        for name in type(value).model_fields:
            yield name, getattr(value, name)


def _is_section(value: Any) -> bool:
    """Return whether a value is a section, or a mapping of sections."""
    return isinstance(value, BaseModel) or (
        isinstance(value, Mapping) and any(isinstance(item, BaseModel) for item in value.values())
    )


def _is_ladder(value: Any) -> bool:
    return isinstance(value, tuple) and any(isinstance(item, BaseModel) for item in value)


def _is_secret_field(section: Any, name: str) -> bool:
    """Return whether a field holds a secret if it is set; its value may be `None`."""
    if not isinstance(section, BaseModel):
        return False
    return "SecretStr" in str(type(section).model_fields[name].annotation)


def _not_set(section: Any, name: str) -> str:
    """Return that a secret is not set, with the variable that would set it."""
    variable = getattr(section, f"{name}_env", None)
    return f"not set ({variable})" if variable else "not set"


def _quoted_name(name: str) -> str:
    return name if name.replace("_", "").isalnum() and not name[:1].isdigit() else json.dumps(name)


def _masked_scalar(value: Any, key: Key) -> str:
    """Return a value as JSON, which is valid YAML; its secrets are masked."""
    if key in DATABASE_URLS and value is not None:
        return json.dumps(mask_password(str(value)), ensure_ascii=False)
    text = without_secrets(json.dumps(_with_secrets_masked(value), ensure_ascii=False, default=str))
    if key == ("alerts", "webhook", "url") and value:  # the path may authorise posting there
        return json.dumps("/".join([*str(value).split("/")[:3], MASK]))
    return text


def _with_secrets_masked(value: Any) -> Any:
    """Return a mapping, such as a rung's options, with its secrets masked."""
    if isinstance(value, Mapping):
        return {
            name: MASK if is_secret((name,)) else _with_secrets_masked(item)
            for name, item in value.items()
        }
    return (
        [_with_secrets_masked(item) for item in value] if isinstance(value, list | tuple) else value
    )


def _origin_of_value(loaded: Loaded, key: Key) -> str:
    """Return where a value comes from; one that an agent inherits, from the section `agent`."""
    origins = loaded.layers.origins
    if key in origins:
        return origins[key]
    if key[:1] == ("agents",) and (origin := origins.get(("agent", *key[2:]))):
        return f"{origin} (agent)"
    return DEFAULT
