"""Reads YAML, and JSON as the YAML that it is meant to be."""

import json
import re
from typing import Any, Final

import yaml

_PAIR: Final = re.compile(
    r"(?<!\\)((?:\\\\)*)\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})"
)

_WRONG: Final = (ValueError, LookupError, AttributeError, TypeError)  # all seen of PyYAML's own


class Loader(yaml.SafeLoader):
    """YAML as its version 1.2 reads words: `no` and `on` are text, dates are text."""


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
    """Return what reads a text, in which each value stands in the line where it stood.

    PyYAML follows version 1.1, to which not all JSON is YAML: it takes no tabs between values, and
    leaves a sign that was written as two escapes, as `json.dumps` writes an emoji, in two halves.
    """
    return Loader(_as_yaml(text) if _is_json(text) else text)


def built(loader: Loader, node: yaml.Node) -> Any:
    """Return the value of a node.

    Raises:
        yaml.YAMLError: It cannot be what its tag says, or is too deep.
    """
    try:
        return loader.construct_document(node)
    except _WRONG as error:
        raise yaml.YAMLError(f"a value is not what its tag says ({error})") from error
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
    """Return JSON without what our reader does not know; no tab of it stands inside a text."""
    return _PAIR.sub(_joined, text.replace("\t", " "))


def _joined(pair: re.Match[str]) -> str:
    before, high, low = pair.groups()
    sign = (int(high, 16) - 0xD800) * 0x400 + int(low, 16) - 0xDC00 + 0x10000
    return f"{before}\\U{sign:08x}"
