"""Possible utterances of callers: phrases and templates, expanded into training sentences.

`data/caller_phrases.txt` lists whole phrases for people to read. `data/domain.txt` holds templates:
`NAME = a | b` defines a slot, `{NAME}` uses one, `[words]` may be left out.
"""

import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

DATA: Final = Path(__file__).parent / "data"
PHRASES_FILE: Final = DATA / "caller_phrases.txt"
TEMPLATES_FILE: Final = DATA / "domain.txt"

_WORD: Final = re.compile(r"[a-z']+")
_SLOT: Final = re.compile(r"\{(\w+)\}")
_OPTIONAL: Final = re.compile(r"\[([^\[\]]*)\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Templates:
    """Sentence templates and the slots they use."""

    slots: Mapping[str, tuple[str, ...]]
    lines: tuple[str, ...]


def words_of(text: str) -> tuple[str, ...]:
    """Return the words of a phrase as the recogniser spells them: lower case, no punctuation."""
    return tuple(_WORD.findall(text.lower()))


def phrases(path: Path = PHRASES_FILE) -> tuple[str, ...]:
    """Return the listed caller phrases as written, with capitals and punctuation."""
    return tuple(_content_lines(path))


def read_templates(path: Path = TEMPLATES_FILE) -> Templates:
    """Return the templates in `path`."""
    slots: dict[str, tuple[str, ...]] = {}
    lines: list[str] = []
    for line in _content_lines(path):
        name, is_slot, choices = line.partition(" = ")
        if is_slot:
            slots[name] = tuple(choice.strip() for choice in choices.split("|"))
        else:
            lines.append(line)
    return Templates(slots=slots, lines=tuple(lines))


def sample(templates: Templates, line: str, *, rng: random.Random) -> str:
    """Return a sentence that the template `line` can produce.

    Raises:
        KeyError: the template uses a slot that is not defined.
    """
    chosen = _OPTIONAL.sub(lambda found: found[1] if rng.random() < 0.5 else "", line)
    while _SLOT.search(chosen):
        chosen = _SLOT.sub(lambda found: rng.choice(templates.slots[found[1]]), chosen)
    return " ".join(chosen.split())


def count_sentences(templates: Templates, line: str) -> int:
    """Return how many sentences a template can produce, counting optional parts as present."""
    total = 1
    for name in _SLOT.findall(line):
        total *= sum(count_sentences(templates, choice) for choice in templates.slots[name])
    return total


def vocabulary(templates: Templates, listed: tuple[str, ...]) -> frozenset[str]:
    """Return every word in the templates and listed phrases."""
    texts = [
        *listed,
        *templates.lines,
        *(c for choices in templates.slots.values() for c in choices),
    ]
    return frozenset(word for text in texts for word in words_of(_SLOT.sub(" ", text)))


def _content_lines(path: Path) -> Iterator[str]:
    for line in path.read_text("utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            yield line.strip()
