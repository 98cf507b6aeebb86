"""Merges defaults, file, environment and flags, and remembers the origin of each value."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final, TypeAlias

import yaml

from configuration.environment import Environment
from configuration.errors import Key, Problem, dotted, shown
from configuration.files import value_of
from configuration.shape import is_mapping
from fallbacks.data_files import read_data

Part: TypeAlias = tuple[Key, Any]
"""A value and its key."""
PREFIX: Final = "HOLDLINE__"
DEFAULT: Final = "default"

_NAMES: Final[Mapping[str, str]] = read_data(__name__, "layers.yaml")
NAMES: Final[dict[str, Key]] = {name: tuple(key.split(".")) for name, key in _NAMES.items()}


@dataclass(slots=True)
class Layers:
    """The merged configuration so far; later layers win.

    Attributes:
        tree: The values, not validated yet.
        origins: Where each value comes from, such as `holdline.yaml:14` or `DEFAULT`.
        problems: Values that could not be set.
    """

    tree: dict[str, Any] = field(default_factory=dict)
    origins: dict[Key, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def merge(self, tree: dict[str, Any], where: Callable[[Key], str]) -> None:
        """Merge a layer key by key; a list replaces the former list as a whole."""
        self._merge_into(self.tree, tree, at=(), where=where)

    def put(self, key: Key, value: Any, *, where: str) -> None:
        """Set one value by its key, creating missing parents.

        If that fails, a problem is added to `problems`, and parents that were created stay.
        """
        parent: Any = self.tree
        for depth, (part, next_part) in enumerate(pairwise(key)):
            kind = list if isinstance(next_part, int) else dict
            parent = self._get_or_add_part(parent, part, fresh=kind())
            if parent is None or not isinstance(parent, kind):
                place = dotted(key[: depth + 1])
                state = "does not exist" if parent is None else f"is {shown(parent)}"
                self._add_problem(key, where, f"cannot set {dotted(key)}: {place} {state}")
                return
        if isinstance(parent, list) and not _set_item(parent, key[-1], value):
            entries = len(parent)
            self._add_problem(
                key, where, f"cannot set {dotted(key)}: the list has {entries} entries"
            )
            return
        if isinstance(parent, dict):
            parent[key[-1]] = value
        self._set_origin(key, value, where=lambda _: where)

    def where(self, key: Key) -> str:
        """Return the origin of the value, of a part of it, or of the section that contains it."""
        while key and key not in self.origins:
            parts = (origin for known, origin in self.origins.items() if known[: len(key)] == key)
            if origin := next(parts, None):
                return "built-in default" if origin == DEFAULT else origin
            key = key[:-1]
        origin = self.origins.get(key, DEFAULT)
        return "built-in default" if origin == DEFAULT else origin

    def changed(self, *sections: str) -> bool:
        """Return whether any value of these sections is not a default."""
        return any(key[0] in sections and origin != DEFAULT for key, origin in self.origins.items())

    def value_at(self, key: Key) -> Any:
        """Return the value at a key; `None` if there is none."""
        value: Any = self.tree
        for part in key:
            if isinstance(value, dict):
                value = value.get(part)
            elif isinstance(value, list) and isinstance(part, int) and part < len(value):
                value = value[part]
            else:
                return None
        return value

    def text_at(self, key: Key) -> str:
        """Return the text at a key; empty if there is no value or it is not text."""
        value = self.value_at(key)
        return value if isinstance(value, str) else ""

    def items_at(self, key: Key, kind: type[list[Any]] | type[dict[Any, Any]]) -> Iterator[Part]:
        """Yield key and value of each item, if the value at `key` is a list or mapping (`kind`)."""
        value = self.value_at(key)
        if not isinstance(value, kind):
            return
        for part, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield (*key, part), inner

    def problem(self, key: Key, text: str) -> Problem:
        """Return a problem with the value at a key; `text` follows the key in the message."""
        return Problem(where=self.where(key), text=f"{dotted(key)} {text}", key=key)

    def _merge_into(
        self, tree: dict[str, Any], layer: dict[str, Any], *, at: Key, where: Callable[[Key], str]
    ) -> None:
        """Merge a layer into the mapping at a key; `None` leaves a section as it is."""
        for name, value in layer.items():
            key = (*at, name)
            former = tree.get(name)
            if isinstance(former, dict) and isinstance(value, dict):
                self.origins[key] = where(key)
                self._merge_into(former, value, at=key, where=where)
            elif not (value is None and isinstance(former, dict)):  # `twilio:` alone sets nothing
                tree[name] = _copy_tree(value)
                self._set_origin(key, value, where=where)

    def _set_origin(self, key: Key, value: Any, *, where: Callable[[Key], str]) -> None:
        """Store the origin of a value and of all values in it; forget those of the former value."""
        for former in [other for other in self.origins if other[: len(key)] == key]:
            del self.origins[former]
        self.origins[key] = where(key)
        parts = value.items() if isinstance(value, dict) else ()
        parts = enumerate(value) if isinstance(value, list) else parts
        for part, inner in parts:
            self._set_origin((*key, part), inner, where=where)

    def _get_or_add_part(self, parent: Any, part: str | int, *, fresh: Any) -> Any:
        """Return a part of a list or mapping; if it is missing, add `fresh` and return that.

        `None` if the parent cannot have such a part.
        """
        if isinstance(parent, list) and isinstance(part, int):
            if part == len(parent):
                parent.append(fresh)
            return parent[part] if 0 <= part < len(parent) else None
        if isinstance(parent, dict):
            if parent.get(part) is None:
                parent[part] = fresh
            return parent[part]
        return None

    def _add_problem(self, key: Key, where: str, text: str) -> None:
        self.problems.append(Problem(where=where, text=text, key=key))


def merge_environment(layers: Layers, environment: Environment) -> None:
    """Apply the variables in `NAMES`, then every `HOLDLINE__SECTION__KEY`; skip empty ones.

    A `DOMAIN` without a scheme gets `https://`. What cannot be set is added to `layers.problems`.
    """
    for name, key in NAMES.items():
        if value := environment.get(name):
            if name == "DOMAIN" and "://" not in value:
                value = f"https://{value}"
            layers.put(key, value, where=environment.where(name))
    for name in sorted(environment.values, key=_sort_key):
        value = environment.get(name)
        if name.upper().startswith(PREFIX) and value is not None:
            key = _key_for_variable(name[len(PREFIX) :], layers)
            layers.put(key, _parse_if_collection(value), where=environment.where(name))


def _sort_key(name: str) -> list[tuple[int, str]]:
    """Sort indices as numbers: the entries of a list must be set in their order."""
    return [(int(part) if part.isdecimal() else -1, part) for part in name.split("__")]


def _key_for_variable(name: str, layers: Layers) -> Key:
    """Return the key that a variable names; an existing key keeps its own spelling."""
    key: Key = ()
    for part in name.split("__"):
        parent = layers.value_at(key)
        if part.isdecimal() and not (isinstance(parent, dict) or is_mapping(key)):
            key = (*key, int(part))
            continue
        names = parent if isinstance(parent, dict) else ()
        key = (*key, next((item for item in names if item.lower() == part.lower()), part.lower()))
    return key


def _parse_if_collection(value: str) -> Any:
    """Parse lists and mappings; any other value stays text until its type is known."""
    if not re.match(r"[\[{]", value):
        return value
    try:
        return value_of(value)
    except yaml.YAMLError:
        return value


def says_yes(value: Any) -> bool:
    """Return whether a value that is not validated yet will be read as true."""
    return str(value).lower() in ("true", "1", "yes", "on", "t", "y")


def _set_item(items: list[Any], index: str | int, value: Any) -> bool:
    """Replace an entry of a list, or append one; return False for any other index."""
    if index == len(items):
        items.append(value)
    elif isinstance(index, int) and 0 <= index < len(items):
        items[index] = value
    else:
        return False
    return True


def _copy_tree(value: Any) -> Any:
    """Return a deep copy of mappings and lists; other values are shared."""
    if isinstance(value, dict):
        return {key: _copy_tree(item) for key, item in value.items()}
    return [_copy_tree(item) for item in value] if isinstance(value, list) else value
