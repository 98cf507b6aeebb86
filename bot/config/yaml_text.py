"""Reads YAML 1.2 words and JSON with PyYAML."""

import json
import re
from typing import Any, Final

import yaml

_PAIR: Final = re.compile(
    r"(?<!\\)((?:\\\\)*)\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})"
)

_WRONG: Final = (ValueError, LookupError, AttributeError, TypeError)  # all raised by PyYAML itself


class Loader(yaml.SafeLoader):
    """Words as in YAML 1.2: `no` and `on` are text, dates are text."""


Loader.yaml_implicit_resolvers = {
    first: [
        (tag, pattern) for tag, pattern in resolvers if not tag.endswith((":bool", ":timestamp"))
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool",
    re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"),
    list("tTfF"),
)


def loader_of(text: str) -> Loader:
    """Return a loader for a text; line numbers stay those of the text.

    PyYAML follows YAML 1.1, which does not include all of JSON: it accepts no tabs between values,
    and keeps the two halves of a character written as two escapes, as `json.dumps` writes an emoji.
    """
    return Loader(_as_yaml(text) if _is_json(text) else text)


def built(loader: Loader, node: yaml.Node) -> Any:
    """Return the value of a node.

    Raises:
        yaml.YAMLError: The value does not fit its tag, or is too deeply nested.
    """
    try:
        return loader.construct_document(node)
    except _WRONG as error:
        raise yaml.YAMLError(f"a value does not fit its tag ({error})") from error
    except RecursionError as error:
        raise yaml.YAMLError("it is too deep") from error


def value_of(text: str) -> Any:
    """Return the value of a text.

    Raises:
        yaml.YAMLError: It is not YAML.
    """
    loader = loader_of(text)
    try:
        node = loader.get_single_node()
    except RecursionError as error:
        raise yaml.YAMLError("it is too deep") from error
    return built(loader, node) if node else None


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _as_yaml(text: str) -> str:
    """Return JSON as YAML that PyYAML reads; JSON strings contain no raw tabs."""
    return _PAIR.sub(_joined, text.replace("\t", " "))


def _joined(pair: re.Match[str]) -> str:
    before, high, low = pair.groups()
    sign = (int(high, 16) - 0xD800) * 0x400 + int(low, 16) - 0xDC00 + 0x10000
    return f"{before}\\U{sign:08x}"
