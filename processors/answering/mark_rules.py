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
        """Return how to replace the mark at `at`, if it is complete there."""
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


def _call(
    prefix: str,
    end: EndFinder,
    effect: Effect | None = Effect.CALL,
    *,
    size: int = 0,
    read: Callable[[str], Replacement] | None = None,
) -> Replacement:
    """Return how to remove what may be a call, up to `end`, after a mark of `size` characters."""
    found = Replacement(size, removes_until=end, call_prefix=prefix, effect=effect)
    return replace(found, is_template=True, read_removed=read)


def _end_of_brackets() -> EndFinder:
    """Return a function that ends with the bracket that closes the first one."""
    brackets = Brackets()
    return lambda text: len(text) if brackets.close(text[-1]) else None


def _json(_match: re.Match[str], place: MarkPlace) -> Replacement:
    """Return JSON: the arguments of the tool named before it, or else a call or an answer."""
    if name := place.name_and_space:
        return _call(name, _end_of_brackets())
    read = partial(answer_in_json, place.tools)
    return _call("", _end_of_brackets(), Effect.LABEL, read=read)


def _fence(match: re.Match[str], place: MarkPlace) -> Replacement:
    """Return a fence up to its closing marks: it may hold a call, an answer or code."""
    end, read = until(re.escape(match[0])), partial(answer_in_fence, place.tools)
    return _call("", end, Effect.LABEL, size=len(match[0]), read=read)


def _code(match: re.Match[str], place: MarkPlace) -> Replacement | None:
    """Return a call in code, such as `book(day="Monday")`; only its brackets follow."""
    name = place.name_and_space
    has_arguments = re.match(r"\w+\s*[=:]|\{|[\w.]+\(", match[1] or "")
    if not (has_arguments or place.is_tool_name(name)):
        return None
    return _call(name, _end_of_brackets())


def _arguments(match: re.Match[str], place: MarkPlace) -> Replacement:
    """Return Mistral's `[ARGS]`, which stands between a tool's name and its arguments."""
    return _call(f"{place.name_and_space} ", first_object_end(), size=len(match[0]))


def _react(match: re.Match[str], _place: MarkPlace) -> Replacement:
    """Return an action and its input, which is JSON, a fence or a line, as a call."""
    return _call(match[0], _end_of_input(), Effect.LABEL, size=len(match[0]))


def _to_tool(match: re.Match[str], _place: MarkPlace) -> Replacement:
    """Return a call whose recipient is named in a message's header."""
    has_no_tokens = match.string[match.end()] == "{"
    end = first_object_end() if has_no_tokens else until(r"<\|(?:call|end|return)\|>")
    return _call(match[0], end, Effect.LABEL, size=len(match[0]))


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


def _citation(match: re.Match[str], place: MarkPlace) -> Replacement | None:
    """Return how to remove a citation; `None` for the number of a key or a choice: "press [1]"."""
    has_word = match[0][1].isalpha()  # `[doc1]`
    is_choice = match[1] in "'\u2019" or (not has_word and _IN_CHOICES.search(place.said))
    is_key = is_choice or _AFTER_KEY.search(place.said)  # "[1]'e bas"
    return None if is_key else Replacement(len(match[0]))


def _direction(match: re.Match[str], _place: MarkPlace) -> Replacement | None:
    """Return how to replace a stage direction; `None` for emphasis within a sentence."""
    goes_on = (match[2] or "").islower()
    return Replacement(len(match[0])) if match[1].islower() and not goes_on else None


def _entity(match: re.Match[str], _place: MarkPlace) -> Replacement:
    return Replacement(len(match[0]), html.unescape(match[0]))


_READERS: Final[Mapping[str, Callable[[re.Match[str], MarkPlace], Replacement | None]]] = {
    "tag": tag,
    "token": token,
    "json": _json,
    "fence": _fence,
    "code": _code,
    "arguments": _arguments,
    "react": _react,
    "to": _to_tool,
    "entity": _entity,
    "direction": _direction,
    "citation": _citation,
}
"""Functions for marks whose replacement a template cannot describe."""


def _mark(row: dict[str, str]) -> TextMark:
    """Return a mark; one of words may begin with each of their beginnings."""
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


MARKS: Final = tuple(map(_mark, DATA["marks"]))
