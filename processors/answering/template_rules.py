"""Reads the tags and tokens in a model's text by the parts of their names.

Each model has its own template: a name with "think" in it belongs to thoughts, one with "tool" to a
tool call, and one with "end" ends an answer. Of an element that is not known, the words are spoken.
"""

import re
from collections.abc import Callable, Set
from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeAlias

from fallbacks.data_files import read_data

LOOK_BACK: Final = 60  # last characters in which the end of removed text is searched
THOUGHTS: Final = re.compile(
    r"think|thought|reason|reflect|scratch|analy[sz]|ponder|rational|monolog|deliberat|introspec"
    r"|contemplat|planning|critique|strateg|denk|gedank|raisonn|razonam|ragionam"
    r"|(?:^|_)(?:cot|plan|inner)(?:_|$)"
)
_CALLS: Final = re.compile(
    r"tool|func|invoke|(?:^|_)calls?(?:_|$)|action|plugin|param|arg_|argument|(?:^|_)api(?:_|$)"
    r"|command|execute|ipython|python|observation"
)
_ENDS: Final = re.compile(r"end|eo[stm](?:_|$)|suffix|stop|return|^call$")
_NOT_AN_END: Final = re.compile(r"header|begin|start|sep|render|send|append|legend|calendar")
_CHANNEL_ENDS: Final = re.compile(r"channel|end|return|start|call")
_ROLES: Final = re.compile(r"start_of_(?:turn|role)|(?:im_)?start|start_header_id|role")
_MAYBE_ROLES: Final = re.compile(r"turn|(?:extra_id|special)_\d+")  # or else words follow
_OWN_ROLE: Final = re.compile(r"(?i)(?:assistant|model)\b")
_OTHERS_TURN: Final = re.compile(r"user|human|caller|system|tool|observation|customer|instruction")
_ASIDES: Final = re.compile(  # elements whose words are not for the caller
    r"internal|hidden|private|reminder|(?:^|_)(?:comment(?:ary)?|metadata|debug|ref|citations?"
    r"|footnotes?|style|script)(?:_|$)"
)
_SPECIAL: Final = frozenset({"bos", "unk", "pad", "sys", "mask", "sep", "cls"})
WORDS_INDATA: Final = 3  # an element with as many is text (chosen)
_NAME: Final = re.compile(r"([A-Za-z_][\w.]*(?::\d+)?)([\s`:]*)$")
# What announces a call, from the beginning of a line or sentence: "Tool call:", "result =".
_CALLED: Final = (
    r"(?:\w+[ _-]){0,6}?(?:tool|func|invo[kc]|action|call|api|arg|param|input)\w*"
    r"(?:[ _-]\w+){0,2}\s*:"
)
_LABEL: Final = re.compile(
    rf"(?i)(?:^|(?<=\n)|(?<=[.!?\u2026] ))(?:(?:{_CALLED}\s*[\w.]+\s*\n\s*)?{_CALLED}"
    r"|tool_code\s*\n|json\s*\n|\w+\s*=(?:\s*await\b)?|return\b|await\b|->|[$@])\s*$"
)
_NO_WORD: Final = re.compile(r"[a-z0-9]_[a-z0-9]|[a-z][A-Z]")  # `find_room`, `findRoom`
DATA: Final = read_data(__name__, "marks.yaml")
_MARKUP: Final = frozenset(DATA["markup"])
_BREAKS: Final = frozenset(DATA["breaks"])


class Effect(Enum):
    """What a mark changes in the text before and after it."""

    THOUGHTS = "what was said so far were thoughts"
    END = "the answer is over"
    CALL = "the word before it is the name of a tool"
    LABEL = "the words before it may announce a call"
    CITED = "the space before it is not spoken before a full stop"


Over: TypeAlias = Callable[[str], int | None]
"""Gets the removed text so far; returns where it ends, or `None` if its end has not come."""


@dataclass(frozen=True, slots=True)
class Found:
    """A complete mark in the text, or an ordinary character."""

    size: int  # its length
    said: str = ""  # what is said instead
    over: Over | None = None  # finds the end of text that is removed after the mark, too
    call: str | None = None  # a prefix for the removed text, if that may be a tool call
    effect: Effect | None = None
    is_template: bool = False  # it belongs to the model's template, and is no sign such as an emoji
    then: "Callable[[str], Found] | None" = None  # reads the removed text, once it is complete
    again: str = ""  # part of the removed text, to be read as the model's words
    spare: str = ""  # the same, but only if the answer has no other words


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
        """The word directly before the mark, or before its space if that is no ordinary word."""
        match = _NAME.search(self.said)
        if match is None:
            return ""
        return match[0] if not match[2] or self.is_name(match[1]) else ""

    def label(self, name: str) -> str:
        """Return the words before a call that announce it; `name` is what follows them."""
        match = _LABEL.search(self.said.removesuffix(name))
        return match[0] if match else ""

    def is_name(self, word: str) -> bool:
        """Return whether a word is the name of a tool, offered or not."""
        bare = word.rpartition(".")[2]
        return bare in self.tools or _NO_WORD.search(word) is not None


def until(pattern: str) -> Over:
    """Return a function that finds the first match of a pattern, whatever its case."""
    ending = re.compile(pattern, re.IGNORECASE)

    def over(text: str) -> int | None:
        match = ending.search(text, max(0, len(text) - LOOK_BACK))
        return match.end() if match else None

    return over


def parts(name: str) -> str:
    """Return a name with its parts separated by underscores, without a vendor's namespace."""
    name = re.sub(r"(?<=[a-z])(?=[A-Z])|[\s\u2581-]+", "_", name.strip())
    return name.rpartition(":")[2].strip("/_").lower()


def _ends_block(stem: re.Pattern[str]) -> Over:
    """Return a function that finds the tag or token that ends a block of this kind, or any end."""

    def over(text: str) -> int | None:
        if text[-1] not in ">\u25b7":
            return None
        match = re.search(r"[<\u25c1]([^<>\n\u25c1\u25b7]{1,60})[>\u25b7]$", text[-LOOK_BACK - 2 :])
        if match is None:
            return None
        inside = match[1].strip("|\uff5c")
        name = parts(inside)
        right_only = match[1][0] not in "|\uff5c" and match[1][-1] in "|\uff5c"
        is_tag_inside = inside.startswith("/") and f"<{inside[1:]}" in text
        closes = _ends(name) or right_only or inside.startswith("/") or stem is _CHANNEL_ENDS
        closes = closes and not is_tag_inside
        return len(text) if closes and (stem.search(name) or _is_end(name)) else None

    return over


def _is_end(name: str) -> bool:
    """Return whether a token ends an answer, and not only a part of it such as a call."""
    part = any(item.search(name) for item in (_NOT_AN_END, _CALLS, THOUGHTS))
    return _ENDS.search(name) is not None and (name == "call" or not part)


def _ends(name: str) -> bool:
    """Return whether a token ends an answer, or a part of it."""
    return _ENDS.search(name) is not None and not _NOT_AN_END.search(name)


def tag(match: re.Match[str], size: int, place: MarkPlace) -> Found | None:
    """Return how to replace a tag, by its name."""
    name = parts(match[2])
    readers = {
        "reasoning": _thought_tag,
        "tool_calls": _call_tag,
        "special_tokens": _special_tag,
        "markdown": _markup_tag,
    }
    found = (read(match, size, name, place) for key, read in readers.items() if key in place.keys)
    return next(filter(None, found), None)


def _opens(match: re.Match[str]) -> bool:
    return not match[1] and not match[0].endswith("/>")


def _after_tag(match: re.Match[str]) -> Over | None:
    """Return a function that finds the end of the element that a tag opens, if it opens one."""
    end = rf"</[^<>\n]{{0,30}}{re.escape(match[2])}\s*>"
    return until(end) if _opens(match) else None


def _thought_tag(match: re.Match[str], size: int, name: str, _place: MarkPlace) -> Found | None:
    """Return how to remove thoughts, or those before an end tag; `None` for another tag."""
    kinds = re.findall(r"\stype\s*=\s*[\"']?([\w-]+)", match[0].lower())
    if THOUGHTS.search("_".join((name, *kinds))):
        effect = Effect.THOUGHTS if match[1] else None
        return Found(size, over=_after_tag(match), effect=effect, is_template=True)
    if _ASIDES.search(name):
        return Found(size, over=_after_tag(match), is_template=True)
    return None


def _call_tag(match: re.Match[str], size: int, name: str, place: MarkPlace) -> Found | None:
    """Return how to remove a call, known by the tag or a tool's name; `None` for another tag."""
    given = re.findall(r"=\s*[\"']?([^\s\"'>]+)", match[0])
    if not _CALLS.search(name) and place.tools.isdisjoint([match[2], *given]):
        return None
    if match[1]:
        return Found(size, is_template=True)
    over = _after_tag(match) or _at_once
    return Found(size, over=over, call=match[0], effect=Effect.LABEL, is_template=True)


def _at_once(_text: str) -> int:
    return 0


def _special_tag(match: re.Match[str], size: int, name: str, place: MarkPlace) -> Found | None:
    """Return how to replace a tag that stands for a special token; `None` for another tag."""
    is_end = name == "s" and bool(match[1]) and not place.struck
    is_special = _is_end(name) or name in _SPECIAL or _ROLES.fullmatch(name) is not None
    if _OTHERS_TURN.fullmatch(name):
        return Found(size, over=_after_tag(match), effect=Effect.END, is_template=True)
    if not (is_end or is_special or _MAYBE_ROLES.fullmatch(name)):
        return None
    return _special(size, "end" if is_end else name, opens=_opens(match), place=place)


def _markup_tag(match: re.Match[str], size: int, name: str, _place: MarkPlace) -> Found | None:
    """Return how to replace any other tag: the words in it stay, unless they may be data."""
    if _opens(match) and name not in _MARKUP and name not in _BREAKS:
        return Found(size, over=_nested(match[2]), then=_words_inside, is_template=True)
    return Found(size, "\n" if name in _BREAKS else "", is_template=True)


def _nested(tag: str) -> Over:
    """Return a function that ends at the first word, or after an element that begins with a tag."""
    closed = until(rf"</{re.escape(tag)}\s*>")

    def over(text: str) -> int | None:
        begun = text.lstrip()
        if not begun:
            return None
        return closed(text) if begun[0] == "<" and begun[1:2] not in ("/", "|", "!") else 0

    return over


def _words_inside(element: str) -> Found:
    """Return the words of an element that is not known; single words are data."""
    words = re.sub(r"<[^<>]*>", " ", element).strip()
    return Found(0, again=words if len(words.split()) >= WORDS_INDATA else "")


def _special(size: int, name: str, *, opens: bool, place: MarkPlace) -> Found:
    """Return how to replace a token that is neither a call nor a thought."""
    if _is_end(name) and not (place.channels and name == "end"):
        return Found(size, effect=Effect.END, is_template=True)
    if _ROLES.fullmatch(name) and opens:
        return Found(size, over=until(r"(?=[^\w])"), then=_after_role, is_template=True)
    if _MAYBE_ROLES.fullmatch(name):
        over, end = (until(r"(?=[^\w])"), None) if opens else (None, Effect.END)
        return Found(size, over=over, effect=end, then=_after_maybe_role, is_template=True)
    if name == "constrain":
        return Found(size, over=until(r"(?=[^\w])"), is_template=True)
    others = _OTHERS_TURN.fullmatch(name) and opens
    return Found(size, effect=Effect.END if others else None, is_template=True)


def _after_role(role: str) -> Found:
    """Return what follows the name of a role: another's turn is not the answer's."""
    return Found(0, effect=Effect.END if _OTHERS_TURN.match(role.lower()) else None)


def _after_maybe_role(word: str) -> Found:
    """Return what follows a token that may stand before the name of a role."""
    found = _after_role(word)
    return found if found.effect or _OWN_ROLE.match(word) else Found(0, again=word)


def token(match: re.Match[str], size: int, place: MarkPlace) -> Found | None:
    """Return how to replace a special token, by its name."""
    name = parts(match[1] or match[2] or match[3] or match[4])
    closes = match[0].strip("<|\uff5c\u25c1").startswith("/") or bool(match[2])  # `<call|>`
    ends = closes or _ends(name)
    found: Found | None = None
    if "special_tokens" in place.keys:
        found = _special(size, name, opens=not closes, place=place)
    if "tool_calls" in place.keys:
        found = _call_token(size, name, ends=ends, place=place) or found
    if "reasoning" in place.keys and not (closes and name == "channel"):
        found = _thought_token(size, name, ends=ends) or found
    return found


def _thought_token(size: int, name: str, *, ends: bool) -> Found | None:
    """Return how to remove thoughts or a channel's header; `None` for another token."""
    if name == "channel":
        over = until(r"<\|message\|>|^\s*\w+\n|^\s*final(?=[^<\w])")
        return Found(size, over=over, then=_after_channel, is_template=True)
    if not THOUGHTS.search(name):
        return None
    if ends:
        return Found(size, effect=Effect.THOUGHTS, is_template=True)
    return Found(size, over=_ends_block(THOUGHTS), is_template=True)


def _call_token(size: int, name: str, *, ends: bool, place: MarkPlace) -> Found | None:
    """Return how to remove a call or a recipient; `None` for another token."""
    if name in ("recipient", "from"):
        return Found(size, over=until(r"(?=[\n<])"), then=_after_recipient, is_template=True)
    if not _CALLS.search(name) or ends or "sep" in name:
        return Found(size, is_template=True) if _CALLS.search(name) and name != "call" else None
    named = place.name_and_space if place.is_name(place.name_and_space) else ""
    effect = Effect.CALL if named else Effect.LABEL
    over = _ends_block(_CALLS)
    return Found(size, over=over, call=named, effect=effect, is_template=True)


def _after_channel(header: str) -> Found:
    """Return what follows a channel's header: words, a call, or thoughts."""
    to = re.search(r"to=(\S+)", header)
    if to is None and re.match(r"\s*(?:final|commentary)", header):
        return Found(0)
    over = _ends_block(_CHANNEL_ENDS)
    return Found(0, over=over, call=f"{to[1]} " if to else None, is_template=True)


def _after_recipient(name: str) -> Found:
    """Return what follows Functionary's name of a recipient: words, or a call."""
    if name.strip() in ("all", "assistant", "user"):
        return Found(0)
    return Found(0, over=until(r"<\|(?:stop|from)\|>"), call=f"{name} ", is_template=True)
