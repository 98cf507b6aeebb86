"""The marks in a model's text that are not speech, as a table for `SpokenText`.

Each row of `marks.yaml` is a `TextMark`: its beginning, its complete form, and what to say instead.
`template_rules.py` reads tags and tokens, `wrapped_answer_rules.py` JSON and fences.
"""

import html
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from processors.answering.removal_rules import (
    DATA,
    Effect,
    EndFinder,
    MarkPlace,
    Replacement,
    filled,
    until,
)
from processors.answering.template_rules import tag, token
from processors.answering.wrapped_answer_rules import answer_in_fence, answer_in_json
from processors.answering.written_call_rules import Brackets

ITEM: Final = r"\g<1>, "
CELL: Final = "cell"


@dataclass(frozen=True, slots=True, kw_only=True)
class TextMark:
    """One kind of mark.

    Attributes:
        key: The attribute of `SpokenTextRule` that removes it; empty if its reader decides.
        first: The possible first characters.
        whole: The complete form; required text after the mark is a lookahead.
        begun: The possible beginnings; text that matches is held.
        said: What is said instead, as a template of `re`.
        reader: The name in `_READERS` of a function that returns what is said instead.
        where: Where the mark may be. `start`, `line`, `sentence`: at the beginning of the text, or
            of one. `row`, `address`: inside one. `item`: at the beginning of a line that is an
            item, a heading or a row. `other`: after a sentence and a line break. `called`: after
            a removed call.
        removes_until: If set, the text after the mark is removed until this pattern matches.
        effect: What it changes in the text around it.
    """

    whole: re.Pattern[str]  # compiled at import, so that no call waits for it
    first: str
    key: str = ""
    begun: re.Pattern[str]
    said: str = ""
    reader: str = ""
    where: str = ""
    removes_until: str = ""
    effect: Effect | None = None

    def find(self, text: str, at: int, place: MarkPlace) -> Replacement | None:
        """Return how to replace the mark at `at`; `None` if no complete mark begins there."""
        match = self.whole.match(text, at)
        if match is None:
            return None
        if self.reader:
            return _READERS[self.reader](match, place)
        return Replacement(
            len(match[0]),
            said=match.expand(self.said),
            removes_until=until(self.removes_until) if self.removes_until else None,
            call_prefix="" if self.removes_until and self.key == "tool_calls" else None,
            effect=self.effect,
            is_template=self.key in ("special_tokens", "reasoning", "tool_calls"),
        )

    def may_be(self, text: str, at: int) -> bool:
        """Return whether the text from `at` on may become this mark."""
        return self.begun.fullmatch(text, at) is not None


def _call_removal(
    prefix: str,
    end: EndFinder,
    effect: Effect | None = Effect.CALL,
    *,
    size: int = 0,
    read: Callable[[str], Replacement] | None = None,
) -> Replacement:
    """Return a removal up to `end` that keeps the removed text as a possible tool call.

    Args:
        prefix: Text to put before the removed text, such as the tool's name.
        end: Finds the end of the removed text.
        effect: What the removal changes in the text before it.
        size: The length of the mark itself, in characters.
        read: Reads the removed text once it is complete; `None` if it holds no words to say.
    """
    found = Replacement(size, removes_until=end, call_prefix=prefix, effect=effect)
    return replace(found, is_template=True, read_removed=read)


def _end_of_brackets() -> EndFinder:
    """Return a function that ends with the bracket that closes the first one."""
    brackets = Brackets()
    return lambda text: len(text) if brackets.close(text[-1]) else None


def _read_json_mark(_match: re.Match[str], place: MarkPlace) -> Replacement:
    """Return the removal of JSON.

    After a tool's name, it is that tool's arguments. Otherwise it is a call or an answer, which is
    decided once it is complete.
    """
    if name := place.name_and_space:
        return _call_removal(name, _end_of_brackets())
    read = partial(answer_in_json, place.tools)
    return _call_removal("", _end_of_brackets(), Effect.LABEL, read=read)


def _read_fence(match: re.Match[str], place: MarkPlace) -> Replacement:
    """Return the removal of a fence up to its closing marks; it may hold a call or an answer."""
    end, read = until(re.escape(match[0])), partial(answer_in_fence, place.tools)
    return _call_removal("", end, Effect.LABEL, size=len(match[0]), read=read)


def _read_code_call(match: re.Match[str], place: MarkPlace) -> Replacement | None:
    """Return the removal of a call in code, such as `book(day="Monday")`, from its bracket on.

    `None` if the brackets are ordinary text.
    """
    name = place.name_and_space
    has_arguments = re.match(r"\w+\s*[=:]|\{|[\w.]+\(", match[1] or "")
    if not (has_arguments or place.is_tool_name(name)):
        return None
    return _call_removal(name, _end_of_brackets())


def _read_arguments_token(match: re.Match[str], place: MarkPlace) -> Replacement:
    """Return the removal of Mistral's `[ARGS]`, between a tool's name and its arguments."""
    return _call_removal(f"{place.name_and_space} ", first_object_end(), size=len(match[0]))


def _read_react_action(match: re.Match[str], _place: MarkPlace) -> Replacement:
    """Return the removal of an action and its input, which is JSON, a fence or a line."""
    return _call_removal(match[0], _end_of_input(), Effect.LABEL, size=len(match[0]))


def _to_tool(match: re.Match[str], _place: MarkPlace) -> Replacement:
    """Return a call whose recipient is named in a message's header."""
    has_no_tokens = match.string[match.end()] == "{"
    end = first_object_end() if has_no_tokens else until(r"<\|(?:call|end|return)\|>")
    return _call_removal(match[0], end, Effect.LABEL, size=len(match[0]))


_END_OF_THOUGHT: Final = filled(
    r"\n\W*(?=(?:Action|%own_labels%)%closed%:)|\n\s*(?:\n(?=[^\n])|(?=```|[<{\[]))"
)
_NO_ANSWER: Final = re.compile(
    filled(r"\n\W*(?:(?:%others_labels%)%closed%[:\uff1a]|(?:Action|%own_labels%)\W*\Z)")
)


def _read_thought_label(match: re.Match[str], _place: MarkPlace) -> Replacement:
    """Return the removal of thoughts after their label.

    If their end is not marked, they have one line, and the others are the answer, up to an invented
    next turn, or to a label that is cut off.
    """
    find, ends = until(_END_OF_THOUGHT), list[int]()

    def find_end(text: str) -> int | None:
        if (end := find(text)) is not None:
            ends.append(end)
        return end

    def read(removed: str) -> Replacement:
        lines = "" if ends else _NO_ANSWER.split(removed.lstrip())[0]
        return Replacement(0, only_words=lines.partition("\n")[2])

    return Replacement(len(match[0]), "", find_end, is_template=True, read_removed=read)


def first_object_end() -> EndFinder:
    """Return a function that finds the end of the first object in JSON."""
    brackets = Brackets()
    return lambda text: len(text) if "{" in text and brackets.close(text[-1]) else None


def _end_of_input() -> EndFinder:
    """Return a function that finds the end of a JSON value, a fence, or a line."""
    brackets = Brackets()

    def find_end(text: str) -> int | None:
        begun = text.lstrip()
        if begun[:1] == "`":
            return len(text) if begun.count("```") > 1 else None
        if begun[:1] in ("{", "["):
            return len(text) if brackets.close(text[-1]) else None
        return len(text) if begun and text[-1] == "\n" else None

    return find_end


_KEY: Final = filled(r"(?i:\b(?:%keys%)(?:\s+\w{1,3}){0,2})")
_NUMBERED: Final = filled(r"(?i:\b(?:%numbered%)(?:\s+[^\W\d]{1,3}){0,2})")
_AFTER_KEY: Final = re.compile(rf"(?:{_KEY}|{_NUMBERED})\s*$")
_IN_CHOICES: Final = re.compile(
    rf"{_KEY}\s+\d{{1,4}}\b[^.!?]*$|{_NUMBERED}\s+\d{{1,4}}(?:,|\s+[^\W\d]{{1,3}})\s*$"
)


def _read_citation(match: re.Match[str], place: MarkPlace) -> Replacement | None:
    """Return how to remove a citation; `None` for the number of a key or a choice: "press [1]"."""
    has_word = match[0][1].isalpha()  # `[doc1]`
    is_choice = match[1] in "'\u2019" or (not has_word and _IN_CHOICES.search(place.said))
    is_key = is_choice or _AFTER_KEY.search(place.said)  # "[1]'e bas"
    return None if is_key else Replacement(len(match[0]))


def _read_stage_direction(match: re.Match[str], _place: MarkPlace) -> Replacement | None:
    """Return how to replace a stage direction; `None` for emphasis within a sentence."""
    goes_on = (match[2] or "").islower()
    return Replacement(len(match[0])) if match[1].islower() and not goes_on else None


def _read_html_entity(match: re.Match[str], _place: MarkPlace) -> Replacement:
    """Return how to replace an entity such as `&amp;` with its character."""
    return Replacement(len(match[0]), html.unescape(match[0]))


_READERS: Final[Mapping[str, Callable[[re.Match[str], MarkPlace], Replacement | None]]] = {
    "tag": tag,
    "token": token,
    "json": _read_json_mark,
    "fence": _read_fence,
    "code": _read_code_call,
    "arguments": _read_arguments_token,
    "react": _read_react_action,
    "thought": _read_thought_label,
    "to": _to_tool,
    "entity": _read_html_entity,
    "direction": _read_stage_direction,
    "citation": _read_citation,
}
"""Functions for marks whose replacement a template cannot describe."""


def _mark_from_row(row: dict[str, str]) -> TextMark:
    """Return the mark that a row of `marks.yaml` describes.

    A mark that consists of words is found in any case, also while only their first letters have
    come.
    """
    row = {key: filled(text) for key, text in row.items()}
    effect = Effect[row.pop("effect")] if "effect" in row else None
    labels, after = row.pop("words", ""), row.pop("after", "")
    if labels:
        labels = "|".join((labels, labels.upper(), labels.lower()))
        row["whole"] = f"(?i:{row['whole']})"
        row["first"] = "".join({label[0] for label in labels.split("|")})
        row["begun"] = "|".join(
            "(?:".join(map(re.escape, label)) + after + ")?" * (len(label) - 1)
            for label in labels.split("|")
        )
    whole, begun = re.compile(row.pop("whole")), re.compile(row.pop("begun", "(?!)"))
    return TextMark(whole=whole, begun=begun, effect=effect, **row)


MARKS: Final = tuple(map(_mark_from_row, DATA["marks"]))
