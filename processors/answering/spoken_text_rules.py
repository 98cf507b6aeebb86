"""Cleans a model's text as it streams, so that only speech is left.

A model writes Markdown, tags, reasoning, tool calls and special tokens even when told not to.
Voices read these aloud or fall silent. `SpokenText` removes them character by character. It holds
text only while it may become a mark, and at most `MAX_HELD` characters. So ordinary words pass at
once, and the result does not depend on how the text was split.

Each row of `_MARKS` describes a mark: its beginning, its complete form, and the text to say
instead. Pipecat's `strip_markdown` needs whole sentences (from "**We", "open**" it does not remove
the asterisks), and does not remove tags, reasoning and tool calls.
"""

import html
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field, fields, replace
from string import digits
from typing import Final, TypeAlias

MAX_HELD: Final = 200  # characters; the longest tag seen has 90
MAX_KEPT: Final = 8_000  # characters of a removed tool call; a longer one is not run
_ENDINGS: Final = frozenset(".!?\u2026\u3002\uff01\uff1f")
_LOOK_BACK: Final = 60  # last characters in which the end of removed text is searched
_JOINERS: Final = frozenset("\u200d\ufe0e\ufe0f\u20e3")  # inside an emoji

# Stage directions. In square brackets, `_ACTED` words are always stage directions. In other marks
# some of them may belong to a sentence: "We advise *pausing* it", "Symptoms (coughing, fever)".
_ACTED: Final = (
    r"(?:smil|laugh|sigh|chuckl|paus|nod|giggl|whisper|gasp|cough|wink|grin|shrug|inhal|exhal|"
    r"yawn|sniff?|sob|frown|groan|hum)(?:e?s|m?ing)\b|clears (?:[a-z]+ )?throat"
)
_FEELS: Final = (
    r"(?:smil|laugh|sigh|chuckl|nod|giggl|gasp|wink|grin|shrug|frown|groan)e?s\b"
    r"|clears (?:[a-z]+ )?throat"
)
_MONTH: Final = (  # of languages that write "1. Mai", where the number is not a list item
    r"(?:jan|feb|apr|jun|jul|aug|sep|okt|nov|dez|dec|m[a\u00e4][ijr](?:z|s|ts|e|us)?\b)"
)
_ATTRIBUTE: Final = r"\s+[\w:.-]+\s*=\s*(?:\"[^\"\n]*\"|'[^'\n]*'|[^\s\"'<>]+)"
_REASONING: Final = frozenset(
    {"think", "thinking", "thought", "thoughts", "reasoning", "reflection", "scratchpad"}
)
_CALLS: Final = frozenset(
    {"tool_call", "tool_calls", "tool_code", "tool_use", "tool_response", "tools", "invoke"}
    | {"function", "function_call", "function_calls", "antml:function_calls", "antml:invoke"}
)
_SPECIAL: Final = frozenset(
    {"s", "bos", "eos", "unk", "pad", "sys", "end_of_turn", "start_of_turn", "eos_token"}
)
_BREAKS: Final = frozenset({"br", "p", "li", "tr", "div", "ul", "ol", "table", "h1", "h2", "h3"})
_BEGINS: Final = frozenset({"line", "item", "sentence"})
_ITEM: Final = r"\g<1>, "
_ROLE_FOLLOWS: Final = re.compile(r"start_of_turn|(?:im_)?start|start_header_id")
_CALL_FOLLOWS: Final = re.compile(r"python_tag|tool.calls?(?:.begin)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class SpokenTextRule:
    """What is removed from a model's text; each part can be turned off.

    Attributes:
        markdown: Marks of emphasis, headings, lists, tables and HTML; their words stay.
        links: Addresses; a link's text and the host's name stay.
        code: Blocks of code with their content, and backticks.
        emoji: Emoji and other pictures.
        stage_directions: `*smiles warmly*`, `(laughs)`, `[sighs]`.
        reasoning: Blocks in which a model reasons.
        tool_calls: Tool calls that a model writes as text.
        special_tokens: Tokens of a chat template, such as `<|im_end|>`.
    """

    markdown: bool = True
    links: bool = True
    code: bool = True
    emoji: bool = True
    stage_directions: bool = True
    reasoning: bool = True
    tool_calls: bool = True
    special_tokens: bool = True

    @property
    def keys(self) -> frozenset[str]:
        """The names of the parts that are removed."""
        return frozenset(key.name for key in fields(self) if getattr(self, key.name))


Over: TypeAlias = Callable[[str], int | None]
"""Gets the removed text so far; returns where it ends, or `None` if its end has not come."""


@dataclass(frozen=True, slots=True)
class _Found:
    """A complete mark in the text, or an ordinary character."""

    size: int  # its length
    said: str = ""  # what is said instead
    over: Over | None = None  # finds the end of text that is removed after the mark, too
    call: str | None = None  # a prefix for the removed text, if that may be a tool call


@dataclass(frozen=True, slots=True)
class _Mark:
    """One kind of mark.

    Attributes:
        key: The attribute of `SpokenTextRule` that removes it; empty if its reader decides.
        first: The possible first characters.
        whole: The complete form; required text after the mark is a lookahead.
        begun: The possible beginnings; text that matches is held.
        said: What is said instead, as a template of `re`, or the name of a reader in `_READERS`.
        where: Where the mark may be. `line`, `sentence`: at the beginning of one. `row`, `address`:
            inside one. `item`: at the beginning of a line that is an item, a heading or a row.
        over: If set, the text after the mark is removed until this pattern matches.
        is_call: Whether the removed text may be a tool call.
    """

    key: str
    first: str
    whole: str
    begun: str = "(?!)"
    _: KW_ONLY
    said: str = ""
    where: str = ""
    over: str = ""
    is_call: bool = False
    _whole: re.Pattern[str] = field(init=False)  # compiled at import, so that no call waits for it
    _begun: re.Pattern[str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_whole", re.compile(self.whole))
        object.__setattr__(self, "_begun", re.compile(self.begun))

    def find(self, text: str, at: int, keys: frozenset[str]) -> _Found | None:
        """Return the mark at `at`, if it is complete there."""
        match = self._whole.match(text, at)
        if match is None:
            return None
        size = match.end() - at
        if read := _READERS.get(self.said):
            return read(match, size, keys)
        over = _until(self.over) if self.over else None
        return _Found(size, match.expand(self.said), over, "" if self.is_call else None)

    def may_be(self, text: str, at: int) -> bool:
        """Return whether the text from `at` on may become this mark."""
        return self._begun.fullmatch(text, at) is not None


_MARKS: Final = (
    _Mark("code", "`", "```", "`{1,2}", over="```", is_call=True),
    _Mark("code", "`", "`"),
    _Mark("tool_calls", "{[", r"(?:\[\s*)?\{\s*\"", r"\[?\s*(?:\{\s*)?", said="json", where="line"),
    _Mark("markdown", "#", r"#{1,6}[ \t]", "#{1,6}", where="item"),
    _Mark("markdown", ">", r">[ \t]", ">", where="line"),
    _Mark("markdown", "-*_=", r"([-*_=])\1{2,}(?=\s)", r"([-*_=])\1*", where="line"),
    _Mark(
        "markdown", "-*+\u2022\u2013", r"[-*+\u2022\u2013][ \t]", r"[-*+\u2022\u2013]", where="item"
    ),
    _Mark("markdown", digits, r"(\d{1,2})\)[ \t]", r"\d{1,2}", said=r"\1, ", where="item"),
    _Mark(
        "markdown",
        digits,
        rf"(\d{{1,2}})\.[ \t](?i:(?!{_MONTH}))(?=\w{{0,12}}\W|\w{{13}})",
        r"\d{1,2}(?:\)|\.(?:[ \t]\w{0,12})?)?",
        said=_ITEM,
        where="item",
    ),
    _Mark("markdown", "|", r"\|[ \t]?", where="item"),
    _Mark("markdown", "-:", r"[-:]{2,}(?=[\s|])", "[-:]+", where="row"),
    _Mark("markdown", " \t|", r"[ \t|]*\|[ \t|]*(?=\n)", r"[ \t|]+", where="row"),
    _Mark("markdown", " \t|", r"[ \t|]*\|[ \t|]*(?=[^\s|])", r"[ \t|]+", said="cell", where="row"),
    _Mark(
        "stage_directions",
        "*",
        r"\*([^\W\d_A-Z*])[^*\n]{0,60}\*(?=[.,!?]*(?:[ \t]+(\S)|\n))",
        r"\*(?:[^\W\d_A-Z*][^*\n]{0,60}(?:\*[.,!?]*[ \t]*)?)?",
        said="direction",
        where="sentence",
    ),
    _Mark(
        "stage_directions",
        "*([",
        rf"\[(?:{_ACTED})[^\]\n]{{0,60}}\]|\*(?:{_FEELS})[^*\n]{{0,60}}\*"
        rf"|\((?:{_FEELS})(?: [a-z]{{1,12}}ly| a (?:bit|little)| out loud)?\)",
        r"[*(\[](?:[a-z]{0,12}|clears [a-z ]{0,14})|"
        rf"\[(?:{_ACTED})[^\]\n]{{0,60}}|[*(](?:{_FEELS})[^*)\n]{{0,60}}",
    ),
    _Mark("markdown", "_", r"(?<=\w)_+(?=[^\W_])", "_+", said=r"\g<0>"),
    # A service code such as *100#, a product such as 2*3, and the star key are not emphasis.
    _Mark(
        "markdown",
        "*",
        r"\*(?=[\d#])|(?<=\d)\*+(?=\d)|(?<=[\d ])\*(?= )"
        r"|(?<=[ \"'(\u201e\u201c])\*(?=[.,;:!?)\"'\u201c\u201d-])",
        r"\*+",
        said=r"\g<0>",
    ),
    _Mark("markdown", "*_", r"[*_]+(?=[^*_])", "[*_]+"),
    _Mark("markdown", "~", "~~", "~"),
    _Mark("markdown", "\\", r"\\(?=[^\w\s])", r"\\"),
    _Mark("markdown", "&", r"&#?\w{1,10};", r"&#?\w{0,10}", said="entity"),
    _Mark("reasoning", "[", r"\[THINK\]", r"\[[A-Z]{0,5}", over=r"\[/THINK\]"),
    _Mark("tool_calls", "[", r"\[TOOL_CALLS\]", r"\[[A-Z_]{0,10}", over="(?!)", is_call=True),
    _Mark("special_tokens", "[", r"\[/?(?:INST|THINK)\]", r"\[/?[A-Z]{0,5}"),
    _Mark("links", "[", r"\[\^?\d{1,3}\](?=[^(])", r"\[\^?\d{0,3}\]?"),
    _Mark("links", "!", r"(?<!\S)!(?=\[)", r"(?<!\S)!"),
    _Mark("links", "[", r"\["),
    _Mark("links", "]", r"\]\(", r"\]", over=r"\)|(?=\n)"),
    _Mark("links", "]", r"\](?=[^(])", r"\]"),
    _Mark(
        "links",
        "hw",
        r"(?<!\w)(?:https?://(?:www\.)?|www\.)(?=\S)",
        r"(?<!\w)(?:h(?:t(?:t(?:ps?(?::/{0,2})?)?)?)?|w{1,3}|www\.)(?:(?<=/)w{1,3}|(?<=/)www\.)?",
    ),
    _Mark(
        "links",
        "/?#",
        r"[/?#](?=\S)",
        "[/?#]",
        where="address",
        over=r"(?=[.,;:!?]*[\s)>\]\"\u2019-\u201d\u3000-\u9fff\uff00-\uffef])",
    ),
    _Mark("links", "<", r"<(?=https?:/|[\w.+-]+@\w)", r"<[\w.+-]*[:@]?"),
    _Mark("links", ">", ">", where="address"),
    _Mark(
        "",
        "<",
        rf"<(/?)([A-Za-z][\w:.-]*)(=[\w.-]+)?(?:{_ATTRIBUTE})*\s*/?>",
        rf"</?(?:[A-Za-z][\w:.=-]*(?:{_ATTRIBUTE})*"
        r"(?:\s+(?:[\w:.-]+\s*(?:=\s*(?:\"[^\"\n]*|'[^'\n]*)?)?)?)?\s*/?)?",
        said="tag",
    ),
    _Mark(
        "",
        "<",
        r"<[|\uff5c]([^<>\n|\uff5c]{1,40})[|\uff5c]>",
        r"<(?:[|\uff5c][^<>\n]{0,40})?",
        said="token",
    ),
)


def _is_picture(character: str, before: str) -> bool:
    """Return whether a character is an emoji or another pictogram, or part of one."""
    if character in _JOINERS:
        return character != "\u200d" or before[-1:] == "\ufe0f" or _is_emoji(before[-1:])
    return _is_emoji(character)


def _is_emoji(character: str) -> bool:
    if not ("\u2190" <= character < "\u3000" or character >= "\U0001f000"):
        return False  # units of measure, such as \u00b0 and \u33a1, are spoken
    return unicodedata.category(character) in ("So", "Sk", "Cf")


def _until(pattern: str) -> Over:
    ending = re.compile(pattern, re.IGNORECASE)

    def over(text: str) -> int | None:
        match = ending.search(text, max(0, len(text) - _LOOK_BACK))
        return match.end() if match else None

    return over


class _JsonOver:
    """Finds the end of JSON by its brackets, character by character."""

    def __init__(self) -> None:
        self._depth = 0
        self._quoted = self._escaped = False

    def __call__(self, text: str) -> int | None:
        character = text[-1]
        if self._escaped or (self._quoted and character == "\\"):
            self._escaped = not self._escaped
        elif character == '"':
            self._quoted = not self._quoted
        elif not self._quoted:
            self._depth += (character in "[{") - (character in "]}")
        return None if self._depth else len(text)


def _tag(match: re.Match[str], size: int, keys: frozenset[str]) -> _Found | None:
    """Return how to replace a tag, by its name."""
    closing, name, value = match[1], match[2].lower(), match[3] or ""
    block = not closing and not match[0].endswith("/>")
    over = _until(rf"</{re.escape(match[2])}\s*>") if block else None
    if name in _REASONING and "reasoning" in keys:
        return _Found(size, over=over)
    if name in _CALLS and "tool_calls" in keys:
        return _Found(size, over=over, call=f"{value[1:]} " if block else None)
    if name in _SPECIAL and "special_tokens" in keys:
        role = block and _ROLE_FOLLOWS.fullmatch(name)
        return _Found(size, over=_until(r"(?=[^\w])") if role else None)
    return _Found(size, "\n" if name in _BREAKS else "") if "markdown" in keys else None


def _token(match: re.Match[str], size: int, keys: frozenset[str]) -> _Found | None:
    """Return how to replace a special token, by its name."""
    name = match[1].strip().lower()
    if _CALL_FOLLOWS.fullmatch(name) and "tool_calls" in keys:
        return _Found(size, over=_until(r"<[|\uff5c][^<>\n]*(?:end|eom|eot)[^<>\n]*>"), call="")
    if name == "channel" and "reasoning" in keys:  # only the final channel is spoken
        return _Found(size, over=_until(r"(?<=final)<\|message\|>|^final(?=[^<\w])"))
    if "special_tokens" not in keys:
        return None
    return _Found(size, over=_until(r"(?=[^\w])") if _ROLE_FOLLOWS.fullmatch(name) else None)


def _json(_match: re.Match[str], _size: int, _keys: frozenset[str]) -> _Found:
    return _Found(0, over=_JsonOver(), call="")


def _direction(match: re.Match[str], size: int, _keys: frozenset[str]) -> _Found | None:
    """Return how to replace a stage direction; `None` for emphasis within a sentence."""
    goes_on = (match[2] or "").islower()
    return _Found(size) if match[1].islower() and not goes_on else None


def _entity(match: re.Match[str], size: int, _keys: frozenset[str]) -> _Found:
    return _Found(size, html.unescape(match[0]))


_READERS: Final[Mapping[str, Callable[[re.Match[str], int, frozenset[str]], _Found | None]]] = {
    "tag": _tag,
    "token": _token,
    "json": _json,
    "entity": _entity,
    "direction": _direction,
}
"""Functions for marks whose replacement a template cannot describe."""

_BY_FIRST: Final = {
    first: [mark for mark in _MARKS if first in mark.first]
    for first in set("".join(mark.first for mark in _MARKS))
}


class SpokenText:
    """Cleans the text of one attempt at an answer.

        text = SpokenText(SpokenTextRule())
        text.write("We are **open**.")  # "We are open."
        text.finish()                   # ""

    Attributes:
        calls: Removed texts that may be tool calls, as written.
        signs: Whether there was text outside removed blocks: words, or signs such as an emoji.
    """

    def __init__(self, rule: SpokenTextRule | None = None) -> None:
        self.calls: list[str] = []
        self.signs = False
        self._keys = (rule or SpokenTextRule()).keys
        self._held = ""  # text that may become a mark
        self._before = ""  # the last two characters before the held text, as written
        self._last = ""  # the last character returned that is not white space
        self._skip: _Found | None = None  # the mark after which text is being removed
        self._skipped = ""  # the removed text after that mark
        self._tail = ""  # the last character returned
        self._removed = False  # text was removed since the last word
        self._in = set(_BEGINS)  # where the next character is: see `_Mark.where`
        self._item = 0  # the number of the latest list item
        self._closes = False  # a full stop is added at the end of the line, if it has none

    def write(self, text: str) -> str:
        """Add text in pieces of any size; return the text to say now."""
        return "".join(self._add(character) for character in text)

    def finish(self) -> str:
        """End the text; return the last text to say."""
        said = self._add("\n", ended=True) + self._drain(ended=True)
        if self._skip and self._skip.call is not None:  # it was not closed
            self.calls.append(self._skip.call + self._skipped)
        return said

    def _add(self, character: str, *, ended: bool = False) -> str:
        """Add a character, to the held text or to the removed text; return what is said now."""
        if self._skip is None:
            self._held += character
            return self._drain(ended=ended)
        self._skipped += character
        end = self._skip.over(self._skipped) if self._skip.over else None
        if end is None:
            if len(self._skipped) > MAX_KEPT:
                self._skip = replace(self._skip, call=None)
                self._skipped = self._skipped[-_LOOK_BACK:]
            return ""
        if self._skip.call is not None:
            self.calls.append(self._skip.call + self._skipped[:end])
        self._held, self._skip, self._skipped = self._skipped[end:], None, ""
        return self._drain(ended=ended)

    def _drain(self, *, ended: bool = False) -> str:
        """Decide as much of the held text as possible; at the end ignore the added line break."""
        said = ""
        while self._held and self._skip is None and not (ended and self._held == "\n"):
            found = self._decide()
            if found is None and len(self._held) <= MAX_HELD and not ended:
                break
            said += self._take(found or _Found(1, self._held[0]))
        return said

    def _decide(self) -> _Found | None:
        """Return how to replace the first held characters; `None` if more text is needed."""
        text, at, first = self._before + self._held, len(self._before), self._held[0]
        for mark in _BY_FIRST.get(first, ()):
            if mark.key and mark.key not in self._keys:
                continue
            if mark.where and mark.where not in self._in:
                continue
            if (found := mark.find(text, at, self._keys)) and self._is_next(mark, found):
                self._note_mark(mark, first)
                return found
            if mark.may_be(text, at):
                return None
        if "emoji" in self._keys and _is_picture(first, self._before):
            return _Found(1)
        if first == "\n" and self._closes and self._last.isalnum():
            return _Found(1, ".\n")
        return _Found(1, first)

    def _is_next(self, mark: _Mark, found: _Found) -> bool:
        """Return whether a numbered item begins or continues a list; "3. Mai" does neither."""
        if mark.said != _ITEM:
            return True
        number = int(found.said[: -len(", ")])
        previous, self._item = self._item, number
        return number in (1, previous + 1)

    def _note_mark(self, mark: _Mark, first: str) -> None:
        """Update where the text after a mark is; see `_Mark.where`."""
        if mark.where == "item":
            self._closes = True
            self._in.discard("sentence")  # emphasis in an item is not a stage direction
            self._in |= {"row"} if first == "|" else set[str]()
        if mark.key == "links" and first in "hw<":
            self._in.add("address")

    def _take(self, found: _Found) -> str:
        """Remove the characters from the held text, and return what is said for them."""
        written, self._held = self._held[: found.size], self._held[found.size :]
        self._before = (self._before + written)[-2:]
        said = self._spaced(found.said)
        self._note_place(written, said)
        if found.over is None:
            self.signs = self.signs or not written.isspace()
            return said
        # The text held after the mark is read again, because it is part of the removed text.
        self._skip, again, self._held = found, self._held, ""
        return said + "".join(self._add(character) for character in again)

    def _spaced(self, said: str) -> str:
        """Return the text to say, without a second space where text was removed."""
        if said == "cell":
            said = ", " if self._last.isalnum() else " "
        doubled = self._tail in ("", "\n") or (self._tail == " " and said != "\n")
        if said.isspace() and self._removed and doubled:
            return ""
        self._removed = not said or (self._removed and said.isspace())
        self._tail = said[-1:] or self._tail
        self._last = said.strip()[-1:] or self._last
        return said

    def _note_place(self, written: str, said: str) -> None:
        """Update where the next character is; see `_Mark.where`."""
        if written == "\n":
            self._in, self._closes = set(_BEGINS), False
        elif said and not said.isspace():
            self._in -= _BEGINS
        elif written.isspace():
            self._in -= {"address"}
            self._in |= {"sentence"} if self._last in _ENDINGS else set[str]()
