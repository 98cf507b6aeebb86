"""The marks in a model's text that are not speech, as a table for `SpokenText`.

Each row of `marks.yaml` is a `TextMark`: its beginning, its complete form, and what to say instead.
`template_rules.py` reads tags and tokens.
"""

import html
import re
from collections.abc import Callable, Mapping, Set
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, cast

from calls.languages.facts import languages
from processors.answering.template_rules import (
    DATA,
    THOUGHTS,
    Effect,
    Found,
    MarkPlace,
    Over,
    parts,
    tag,
    token,
    until,
)
from processors.answering.written_call_rules import (
    UNREADABLE,
    Brackets,
    as_object,
    looks_like_call,
    read_json,
)

_DATA: Final = Found(0, call="", effect=Effect.LABEL, is_template=True)
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
        said: What is said instead, as a template of `re`, or the name of a reader in `_READERS`.
        where: Where the mark may be. `start`, `line`, `sentence`: at the beginning of the text, or
            of one. `row`, `address`: inside one. `item`: at the beginning of a line that is an
            item, a heading or a row. `other`: after a sentence and a line break. `called`: after
            a removed call.
        over: If set, the text after the mark is removed until this pattern matches.
        effect: What it changes in the text around it.
    """

    whole: re.Pattern[str]  # compiled at import, so that no call waits for it
    first: str
    key: str = ""
    begun: re.Pattern[str]
    said: str = ""
    where: str = ""
    over: str = ""
    effect: Effect | None = None

    def find(self, text: str, at: int, place: MarkPlace) -> Found | None:
        """Return the mark at `at`, if it is complete there."""
        match = self.whole.match(text, at)
        if match is None:
            return None
        size = match.end() - at
        if read := _READERS.get(self.said):
            return read(match, size, place)
        over = until(self.over) if self.over else None
        template = self.key in ("special_tokens", "reasoning", "tool_calls")
        call = "" if self.over and self.key == "tool_calls" else None
        return Found(size, match.expand(self.said), over, call, self.effect, template)

    def may_be(self, text: str, at: int) -> bool:
        """Return whether the text from `at` on may become this mark."""
        return self.begun.fullmatch(text, at) is not None


def _brackets() -> Over:
    """Return a function that ends with the bracket that closes the first one."""
    brackets = Brackets()
    return lambda text: len(text) if brackets.close(text[-1]) else None


def _json(_match: re.Match[str], _size: int, place: MarkPlace) -> Found:
    """Return JSON: the arguments of the tool named before it, or else a call or an answer."""
    name = place.name_and_space
    if not name:
        return replace(_DATA, over=_brackets(), then=partial(_answer_in_json, place.tools))
    return Found(0, over=_brackets(), call=name, effect=Effect.CALL, is_template=True)


def _fence(match: re.Match[str], size: int, place: MarkPlace) -> Found:
    """Return a fence up to its closing marks: it may hold a call, an answer or code."""
    then = partial(_answer_in_fence, place.tools)
    return replace(_DATA, size=size, over=until(re.escape(match[0])), then=then)


def _code(match: re.Match[str], _size: int, place: MarkPlace) -> Found | None:
    """Return a call in code, such as `book(day="Monday")`; only its brackets follow."""
    name = place.name_and_space
    named = re.match(r"\w+\s*[=:]|\{|[\w.]+\(", match[1] or "")
    if not (named or place.is_name(name)):
        return None
    return Found(0, over=_brackets(), call=name, effect=Effect.CALL, is_template=True)


def _arguments(_match: re.Match[str], size: int, place: MarkPlace) -> Found:
    """Return Mistral's `[ARGS]`, which stands between a tool's name and its arguments."""
    call = f"{place.name_and_space} "
    return Found(size, over=first_object(), call=call, effect=Effect.CALL, is_template=True)


def _react(match: re.Match[str], size: int, _place: MarkPlace) -> Found:
    """Return an action and its input, which is JSON, a fence or a line, as a call."""
    return Found(size, over=_input_over(), call=match[0], is_template=True)


def _to_tool(match: re.Match[str], size: int, _place: MarkPlace) -> Found:
    """Return a call whose recipient is named in a message's header."""
    is_stripped = match.string[match.end()] == "{"  # there are no tokens
    over = first_object() if is_stripped else until(r"<\|(?:call|end|return)\|>")
    return Found(size, over=over, call=match[0], is_template=True)


def first_object() -> Over:
    """Return a function that finds the end of the first object in JSON."""
    brackets = Brackets()
    return lambda text: len(text) if "{" in text and brackets.close(text[-1]) else None


def _input_over() -> Over:
    """Return a function that finds the end of a JSON value, a fence, or a line."""
    brackets = Brackets()

    def over(text: str) -> int | None:
        begun = text.lstrip()
        if begun[:1] == "`":
            return len(text) if begun.count("```") > 1 else None
        if begun[:1] in ("{", "["):
            return len(text) if brackets.close(text[-1]) else None
        return len(text) if begun and text[-1] == "\n" else None

    return over


_WORDS: Final = (
    r"answer|response|reply|text|content|message|output|speech|say|result|spoken|utterance|sentence"
    r"|antwort|respuesta|r\u00e9ponse|risposta|resposta|antwoord|odpowied\u017a|yan\u0131t"
    r"|\u043e\u0442\u0432\u0435\u0442|\u56de\u7b54|\u56de\u590d|\u5fdc\u7b54|\u8fd4\u7b54|\ub2f5\ubcc0"
)
_ANSWERS: Final = re.compile(rf"(?:final_?)?(?:{_WORDS})s?(?:_text)?|parts|choices")
_PART_OF_ANSWER: Final = re.compile(  # `bot_message`, `reply_to_user`
    rf"(?!user|caller|human|input|error|tool|system)\w+_(?:{_WORDS})|(?:{_WORDS})_(?:to|for)_\w+"
)
_OTHERS_WORDS: Final = re.compile(
    r"user|caller|human|customer|input|error|tool|system|question|quer"
)
_ANSWERED: Final = re.compile(r"(?i)final|answer|respon|reply|speak|say|^(?:none|null|no_\w+)$")
_INPUTS: Final = frozenset({"action_input", "input", "arguments", "args", "parameters", "params"})
_CODE: Final = re.compile(r"(?m)^\s*[\w.]+(?:\(|\s*[=:+-]?=\s)|^\s*<\w|[;{}]\s*$|\w\(\)|=>|::")
_KEY: Final = rf"(?i:\b(?:{'|'.join(DATA['words']['keys'])})(?:\s+\w{{1,3}}){{0,2}})"
_KEYED: Final = re.compile(rf"{_KEY}\s*$|{_KEY}\s+\d{{1,4}}\b[^.!?]*$")
_PLAIN_FENCES: Final = frozenset({"", "text", "txt", "plaintext", "plain", "markdown", "md"})
_MARKUP_FENCES: Final = frozenset({"xml", "html", "ssml"})
_ENDS_OF_JSON: Final = ("", '"}', "}")  # the answer may have been cut off


def _answer_in_json(tools: Set[str], text: str) -> Found:
    """Return the answer that a model wrote as JSON; nothing for a call or other data."""
    for end in _ENDS_OF_JSON:
        with suppress(*UNREADABLE):
            value = read_json(text + end, 0)[0]
            break
    else:
        return Found(0)
    if answer := _answer_in(value, tools):
        return Found(0, again=answer)
    items = {parts(str(key)): item for key, item in as_object(value).items()}
    words = [
        item
        for key, item in items.items()
        if isinstance(item, str)
        and not (THOUGHTS.search(key) or _OTHERS_WORDS.search(key) or looks_like_call(value))
        and (_is_sentence(item) or (len(items) == 1 and " " in item.strip()))
    ]
    return Found(0, spare=words[0] if len(words) == 1 else "")


def _answer_in(value: Any, tools: Set[str]) -> str:
    """Return the words under a key such as `response`; nothing in a call or another's turn."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        found = [_answer_in(item, tools) for item in cast("list[Any]", value)]
        return " ".join(filter(None, found))
    items = [(parts(str(key)), item) for key, item in as_object(value).items()]
    named = {str(item) for key, item in items if key in ("action", "tool", "name") and item}
    answers = any(map(_ANSWERED.search, named - tools))
    is_others = as_object(value).get("role") not in (None, "assistant", "model")
    if is_others or (looks_like_call(value) and not answers):
        return ""
    held = [item for key, item in items if answers and key in _INPUTS]
    for wanted in (_ANSWERS, _PART_OF_ANSWER):
        spoken = (item for key, item in items if wanted.fullmatch(key) and not THOUGHTS.search(key))
        if found := next(filter(None, (_answer_in(item, tools) for item in (*held, *spoken))), ""):
            return found
    wraps = (item for key, item in items if as_object(item) and not _OTHERS_WORDS.search(key))
    return next(filter(None, (_answer_in(item, tools) for item in wraps)), "")


def _is_sentence(text: str) -> bool:
    """Return whether a text ends like a sentence, and has words or no Latin letters."""
    bare = text.rstrip().rstrip("\"'\u201d)]*_")
    ended = bare[-1:] != "" and bare[-1] in ".!?\u2026\u3002\uff01\uff1f\u061f\u0964"
    return ended and (" " in bare or not bare.isascii())


def _answer_in_fence(tools: Set[str], text: str) -> Found:
    """Return the words in a fence of text or markup; nothing for code."""
    content = re.sub(r"[`~]{3,}$", "", text)
    info, line, rest = content.partition("\n")
    if not line or " " in info.strip():
        info, rest = "", content
    words = rest.strip()
    if words[:1] in ("{", "["):
        return _answer_in_json(tools, words)
    kind = info.strip().lower()
    if kind in _MARKUP_FENCES and words[:1] == "<":
        return Found(0, spare=words)  # its tags are read like others
    if _CODE.search(words):
        return Found(0)
    if _is_sentence(words):
        words = words.strip('"')
        return Found(0, again=words) if kind in _PLAIN_FENCES else Found(0, spare=words)
    return Found(0, spare=words if kind in _PLAIN_FENCES else "")


def _cited(match: re.Match[str], size: int, place: MarkPlace) -> Found | None:
    """Return how to remove a citation; `None` for the number of a key or a choice: "press [1]"."""
    is_key = match[1] in "'\u2019" or _KEYED.search(place.said)  # "[1]'e bas\u0131n"
    return None if is_key else Found(size)


def _direction(match: re.Match[str], size: int, _place: MarkPlace) -> Found | None:
    """Return how to replace a stage direction; `None` for emphasis within a sentence."""
    goes_on = (match[2] or "").islower()
    return Found(size) if match[1].islower() and not goes_on else None


def _entity(match: re.Match[str], size: int, _place: MarkPlace) -> Found:
    return Found(size, html.unescape(match[0]))


_READERS: Final[Mapping[str, Callable[[re.Match[str], int, MarkPlace], Found | None]]] = {
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
    "cited": _cited,
}
"""Functions for marks whose replacement a template cannot describe."""


def _marks() -> tuple[TextMark, ...]:
    """Return the marks in `marks.yaml`, with its word lists filled in."""
    words = {name: "|".join(lists) for name, lists in DATA["words"].items()}
    dotted = [facts for facts in languages().values() if facts.ordinal_before]
    counted = frozenset[str]().union(*(facts.months | facts.ordinal_before for facts in dotted))
    words["counted"] = "|".join(map(re.escape, sorted(counted)))

    def fill(pattern: str) -> str:
        return re.sub(r"%(\w+)%", lambda found: words[found[1]], pattern)

    return tuple(_mark({key: fill(text) for key, text in row.items()}) for row in DATA["marks"])


def _mark(row: dict[str, str]) -> TextMark:
    """Return a mark; one of words may begin with each of their beginnings."""
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


MARKS: Final = _marks()
