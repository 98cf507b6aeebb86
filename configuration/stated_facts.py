"""Writes the measured facts of a rung into `holdline.yaml`, and changes nothing else in it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from configuration.errors import Key, dotted
from configuration.files import loader_of, read_yaml, value_of
from configuration.loading import Loaded
from runtime.exits import CommandError, UsageError

FACTS = "facts"


def check_writable(loaded: Loaded, stage: str, name: str) -> None:
    """Check that a rung stands in the file that was read.

    Raises:
        UsageError: It does not, so that its facts cannot be written there.
    """
    if loaded.file is None or _index_of_rung(value_of(loaded.text), stage, name) is None:
        where = loaded.file or "a configuration file"
        raise UsageError(f"--write needs the rung {name} in {where}, under stages.{stage}")


def write_facts(loaded: Loaded, stage: str, name: str, facts: Mapping[str, bool]) -> str:
    """Write the facts of a rung into the file that was read; return its place in the file.

    Call `check_writable` first: the rung must be in that file. It may have moved there since.

    Raises:
        CommandError: The file cannot be written, or only by changing something else in it.
    """
    path = loaded.file or Path()
    key: Key = ("stages", stage)
    try:
        text = path.read_bytes().decode("utf-8-sig")
        key = _key_of(text, stage, name)
        new = with_facts(text, key, facts)
        path.write_bytes(new.encode())
    except (OSError, ValueError, LookupError, AttributeError, yaml.YAMLError) as error:
        shown = f"{FACTS}: {written(facts)}"
        raise CommandError(f"{path}: cannot be changed; add to {dotted(key)}: {shown}") from error
    return read_yaml(path).where((*key, FACTS))


def with_facts(text: str, key: Key, facts: Mapping[str, bool]) -> str:
    """Return a configuration's text with the facts of the rung at `key`.

    Raises:
        ValueError: That would change something else, such as a rung with the same anchor.
    """
    rung: Any = loader_of(text).get_single_node()
    for part in key:
        items = rung.value if isinstance(part, int) else {k.value: v for k, v in rung.value}
        rung = items[part]
    new = _with_facts_replaced(text, rung, facts)
    if value_of(new) != _with_facts(value_of(text), key, facts):
        raise ValueError("something else would change")
    return new


def _with_facts(tree: Any, key: Key, facts: Mapping[str, bool]) -> Any:
    """Return a copy of a tree with facts at `key` only, although aliases share values."""
    if not key:
        return {**tree, FACTS: dict(facts)}
    copied = tree.copy()
    copied[key[0]] = _with_facts(tree[key[0]], key[1:], facts)
    return copied


def _with_facts_replaced(text: str, rung: yaml.MappingNode, facts: Mapping[str, bool]) -> str:
    """Return the text with a rung's facts replaced, or added after its last or first entry.

    They come last in a rung in braces, and second in any other.
    """
    first = rung.value[0][0]
    quote = '"' if first.style == '"' else ""
    value_text = written(facts, quote=quote)
    for name, value in rung.value:
        if name.value == FACTS:
            is_block = isinstance(value, yaml.MappingNode) and not value.flow_style
            last = value.value[-1][1] if is_block else value  # after a block come comments
            end = last.end_mark.index
            return text[: value.start_mark.index] + value_text + text[end:]
    entry = f"{quote}{FACTS}{quote}: {value_text}"
    if rung.flow_style:
        end = rung.value[-1][1].end_mark.index
        return f"{text[:end]}, {entry}{text[end:]}"
    start, column = rung.value[1][0].start_mark.index, rung.value[1][0].start_mark.column
    line_end = "\r\n" if "\r\n" in text else "\n"
    return f"{text[:start]}{entry}{line_end}{' ' * column}{text[start:]}"


def written(facts: Mapping[str, bool], *, quote: str = "") -> str:
    """Return facts as a value in YAML, or in JSON if `quote` is `"`."""
    items = (f"{quote}{name}{quote}: {json.dumps(on)}" for name, on in facts.items())
    return f"{{{', '.join(items)}}}"


def _key_of(text: str, stage: str, name: str) -> Key:
    """Return a rung's key in a file's text.

    Raises:
        LookupError: It is not there.
    """
    index = _index_of_rung(value_of(text), stage, name)
    if index is None:
        raise LookupError(name)
    return "stages", stage, index


def _index_of_rung(tree: Any, stage: str, name: str) -> int | None:
    """Return which rung of a stage has this name in a file; `None` if none has."""
    ladder = ((tree or {}).get("stages") or {}).get(stage) or ()
    for index, rung in enumerate(ladder):
        if isinstance(rung, dict) and rung.get("name", rung.get("kind")) == name:
            return index
    return None
