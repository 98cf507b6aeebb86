"""Values that the rules for marks share: what a mark does to the text, and where it stands."""

import re
from collections.abc import Callable, Set
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, TypeAlias

from calls.languages.facts import languages
from fallbacks.data_files import read_data

LOOK_BACK: Final = 60  # last characters in which the end of removed text is searched
DATA: Final[Any] = read_data(__name__, "marks.yaml")


def _word_lists() -> dict[str, str]:
    """Return the lists in `words` of `marks.yaml` as alternatives, and the words after ordinals."""
    dotted = [facts for facts in languages().values() if facts.ordinal_before]
    counted = frozenset[str]().union(*(facts.months | facts.ordinal_before for facts in dotted))
    lists = {name: "|".join(words) for name, words in DATA["words"].items()}
    return lists | {"counted": "|".join(map(re.escape, sorted(counted)))}


_WORD_LISTS: Final = _word_lists()


def filled(pattern: str) -> str:
    """Return a pattern with the word lists that it names, such as `%months%`."""
    return re.sub(r"%(\w+)%", lambda found: _WORD_LISTS[found[1]], pattern)


NAMES: Final = {
    kind: re.compile(filled("|".join(patterns))) for kind, patterns in DATA["names"].items()
}
"""By kind: patterns of parts of the names of tags, tokens and keys in JSON."""
_WORD_BEFORE: Final = re.compile(r"([A-Za-z_]\w*(?:\.\w+)*(?::\d+)?)([\s`:]*)$")
NO_WORD: Final = re.compile(r"[a-z0-9]_[a-z0-9]|[a-z][A-Z]")  # `find_room`, `findRoom`
_ANNOUNCEMENT: Final = re.compile(
    r"(?i)(?:^|(?<=\n)|(?<=[.!?\u2026] ))"  # it begins a line or a sentence
    + filled(r"(?:(?:%call_label%\s*[\w.]+\s*\n\s*)?%call_label%|%call_beginnings%)\s*$")
)


class Effect(Enum):
    """What a mark changes in the text before and after it."""

    THOUGHTS = "what was said so far were thoughts"
    END = "the answer is over"
    CALL = "the word before it is the name of a tool"
    LABEL = "the words before it may announce a call"
    CITED = "the space before it is not spoken before a full stop"


EndFinder: TypeAlias = Callable[[str], int | None]
"""Gets the removed text so far; returns where it ends, or `None` if its end has not come."""


@dataclass(frozen=True, slots=True)
class Replacement:
    """What happens to a complete mark in the text, or to an ordinary character."""

    size: int  # the characters that are replaced
    said: str = ""  # is spoken in their place
    removes_until: EndFinder | None = None  # text after the mark is removed, too, up to here
    call_prefix: str | None = None  # stands before the removed text, if that may be a tool call
    effect: Effect | None = None
    is_template: bool = False  # it belongs to the model's template, and is no sign such as an emoji
    read_removed: "Callable[[str], Replacement] | None" = None  # reads the complete removed text
    words: str = ""  # part of the removed text, to be read as the model's words
    only_words: str = ""  # the same, but only if the answer has no other words


@dataclass(slots=True, kw_only=True)
class MarkPlace:
    """Where a mark stands, for the readers that need it.

    Attributes:
        keys: The parts of `SpokenTextRule` that are removed.
        tools: The names of the offered tools.
        said: The last characters that are said before the mark.
        struck: An `<s>` within the text is open.
        channels: The model writes in channels, so that an end is not that of the answer.
    """

    keys: Set[str]
    tools: Set[str]
    said: str = ""
    struck: bool = False
    channels: bool = False

    @property
    def name_and_space(self) -> str:
        """The word directly before the mark, or before its space if that is no ordinary word.

        With the name of a module, as in `api.book`, but not with the last word of a sentence.
        """
        match = _WORD_BEFORE.search(self.said)
        if match is None:
            return ""
        *modules, name = match[1].split(".")
        while modules and (self.is_tool_name(modules[-1]) or NAMES["calls"].search(modules[-1])):
            name = f"{modules.pop()}.{name}"
        return name + match[2] if not match[2] or self.is_tool_name(name) else ""

    def announcement(self, name: str) -> str:
        """Return the words before a call that announce it; `name` is what follows them."""
        match = _ANNOUNCEMENT.search(self.said.removesuffix(name))
        return match[0] if match else ""

    def is_tool_name(self, word: str) -> bool:
        """Return whether a word is the name of a tool, offered or not."""
        bare = word.rpartition(".")[2]
        return bare in self.tools or NO_WORD.search(word) is not None


def until(pattern: str) -> EndFinder:
    """Return a function that finds the first match of a pattern, whatever its case."""
    ending = re.compile(pattern, re.IGNORECASE)

    def find_end(text: str) -> int | None:
        match = ending.search(text, max(0, len(text) - LOOK_BACK))
        return match.end() if match else None

    return find_end


def name_parts(name: str) -> str:
    """Return a name with its parts separated by underscores, without a vendor's namespace."""
    name = re.sub(r"(?<=[a-z])(?=[A-Z])|[\s\u2581-]+", "_", name.strip())
    return name.rpartition(":")[2].strip("/_").lower()
