"""Reads YAML and JSON with PyYAML: values, and their lines; plain words as in YAML 1.2."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import yaml

from configuration.errors import ConfigError, Key, Problem

MAX_CONFIGURATION_BYTES: Final = (
    1_000_000  # a configuration has a few kilobytes; more is the wrong file
)
MAX_DEPTH: Final = 32
MAX_VALUES: Final = 20_000  # ten lines of aliases can expand to a billion values


@dataclass(frozen=True, slots=True, kw_only=True)
class FileTree:
    """The content of a file as plain values, with the line number of each."""

    name: str
    tree: dict[str, Any]
    lines: dict[Key, int]
    text: str

    def where(self, key: Key) -> str:
        """Return `file:line` of the value, or of the innermost value that contains it."""
        while key and key not in self.lines:
            key = key[:-1]
        return f"{self.name}:{self.lines[key]}" if key else self.name


def read_yaml(path: Path) -> FileTree:
    """Return the content of the file.

    Raises:
        ConfigError: It cannot be read, is not YAML, has a key twice, is too large or too deep, or
            is not a mapping.
    """
    text = _read_text(path)
    try:
        loader = loader_of(text)
        node = loader.get_single_node()
        lines = _line_numbers(node, name=str(path))
        tree = construct(loader, node) if node else {}
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise _config_error(where, f"is not YAML: {error.problem or error.context}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise _config_error(str(path), f"is not YAML: {' '.join(str(error).split())}") from error
    if tree is not None and not isinstance(tree, dict):
        raise _config_error(f"{path}:1", "must be a mapping such as `agent: {greeting: Hello}`")
    return FileTree(name=str(path), tree=_with_text_keys(tree or {}), lines=lines, text=text)


def _with_text_keys(value: Any) -> Any:
    """Return a value with text for all keys: YAML reads `1:` as a number."""
    if isinstance(value, dict):
        return {str(key): _with_text_keys(item) for key, item in value.items()}
    return [_with_text_keys(item) for item in value] if isinstance(value, list) else value


def _read_text(path: Path) -> str:
    """Return the file's text; raise `ConfigError` if it cannot be read or is too large."""
    try:
        if path.stat().st_size > MAX_CONFIGURATION_BYTES:
            raise _config_error(
                str(path), f"is larger than {MAX_CONFIGURATION_BYTES} bytes: not a configuration"
            )
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise _config_error(str(path), "there is no such file") from error
    except UnicodeDecodeError as error:
        raise _config_error(str(path), "is not UTF-8 text") from error
    except OSError as error:
        raise _config_error(str(path), f"cannot be read: {error.strerror}") from error


def _line_numbers(node: yaml.Node | None, *, name: str) -> dict[Key, int]:
    """Return the line of each key; refuse a key that is given twice, and an oversized file."""
    lines: dict[Key, int] = {}
    twice: list[Problem] = []
    for key, line in _key_lines(node, ()) if node else ():
        if key in lines:
            text = f"{key[-1]} is given twice; it is already in line {lines[key]}"
            twice.append(Problem(where=f"{name}:{line}", text=text, key=key))
        lines[key] = line
        if len(lines) > MAX_VALUES or len(key) > MAX_DEPTH:
            raise _config_error(f"{name}:{line}", "is too large or too deep for a configuration")
    if twice:
        raise ConfigError(twice)
    return lines


def _key_lines(node: yaml.Node, at: Key) -> Iterator[tuple[Key, int]]:
    """Yield the key and line of each value; never ends if an alias contains itself.

    So the caller must stop at a limit.
    """
    if isinstance(node, yaml.MappingNode):
        for key_node, value in node.value:
            key = (*at, str(key_node.value))
            yield key, key_node.start_mark.line + 1
            yield from _key_lines(value, key)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            key = (*at, index)
            yield key, value.start_mark.line + 1
            yield from _key_lines(value, key)


def _config_error(where: str, text: str) -> ConfigError:
    return ConfigError([Problem(where=where, text=text)])


_SURROGATE_PAIR: Final = re.compile(
    r"(?<!\\)((?:\\\\)*)\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})"
)

# All raised by PyYAML itself for a value that does not fit its tag.
_CONSTRUCTOR_ERRORS: Final = (ValueError, LookupError, AttributeError, TypeError)


class UnquotedDigits(str):
    """Digits that YAML 1.1 would change: `+49`, or `0301`, which it reads as octal."""

    __slots__ = ()


class Loader(yaml.SafeLoader):
    """Plain words as in YAML 1.2: `no` and dates are text; `+49` and `0301` stay as written."""


_DIGITS: Final = "!digits"
Loader.yaml_implicit_resolvers = {
    first: [(_DIGITS, re.compile(r"^(?:\+[0-9_]+|0[0-9_]+)$"))] * (first in "+0")
    + [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":bool", ":timestamp"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool",
    re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"),
    list("tTfF"),
)
Loader.add_constructor(
    _DIGITS,
    lambda loader, node: UnquotedDigits(loader.construct_scalar(cast(yaml.ScalarNode, node))),
)


def loader_of(text: str) -> Loader:
    """Return a loader for a text; line numbers stay those of the text.

    PyYAML follows YAML 1.1, which does not include all of JSON. It accepts no tabs between values,
    and it does not join surrogate pairs: `json.dumps` writes an emoji as such a pair. So both are
    replaced in JSON first.
    """
    return Loader(_as_yaml(text) if _is_json(text) else text)


def construct(loader: Loader, node: yaml.Node) -> Any:
    """Return the value of a node.

    Raises:
        yaml.YAMLError: The value does not fit its tag, or is too deeply nested.
    """
    try:
        return loader.construct_document(node)
    except _CONSTRUCTOR_ERRORS as error:
        raise yaml.YAMLError(f"a value does not fit its tag ({error})") from error
    except RecursionError as error:
        raise yaml.YAMLError("it is too deep") from error


def value_of(text: str) -> Any:
    """Return the value of a text in YAML or JSON; `None` if the text is empty.

    Raises:
        yaml.YAMLError: It is not YAML.
    """
    loader = loader_of(text)
    try:
        node = loader.get_single_node()
    except RecursionError as error:
        raise yaml.YAMLError("it is too deep") from error
    return construct(loader, node) if node else None


def _is_json(text: str) -> bool:
    """Return whether a text is JSON."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _as_yaml(text: str) -> str:
    """Return JSON as PyYAML can read it; no JSON string contains a tab, so all are white space."""
    return _SURROGATE_PAIR.sub(_join_surrogates, text.replace("\t", " "))


def _join_surrogates(pair: re.Match[str]) -> str:
    """Return one YAML escape in place of the two JSON escapes of a character."""
    backslashes, high, low = pair.groups()
    code_point = (int(high, 16) - 0xD800) * 0x400 + int(low, 16) - 0xDC00 + 0x10000
    return f"{backslashes}\\U{code_point:08x}"
