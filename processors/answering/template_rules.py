"""Reads the tags and tokens in a model's text by the parts of their names.

Each model has its own template: a name with "think" in it belongs to thoughts, one with "tool" to a
tool call, and one with "end" ends an answer. `names` in `marks.yaml` lists these parts, `_RULES`
what each kind of element does. Of an element that is not known, the words are spoken.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from processors.answering.removal_rules import (
    DATA,
    LOOK_BACK,
    NAMES,
    Effect,
    EndFinder,
    MarkPlace,
    Replacement,
    name_parts,
    until,
)

WORDS_IN_DATA: Final = 3  # an element with as many is text (chosen)
_BARS: Final = "|\uff5c"
_LAST_ELEMENT: Final = re.compile(r"[<\u25c1]([^<>\n\u25c1\u25b7]{1,60})[>\u25b7]$")
_TYPE: Final = re.compile(r"\stype\s*=\s*[\"']?([\w-]+)")
_END_TAG: Final = re.compile(r"end_of_\w+|\w+_end|end_?(?:think|thought|reason)\w*")  # of a name
_VALUE: Final = re.compile(r"=\s*[\"']?([^\s\"'>]+)")
_own_turn: Final = until(
    r"(?=(?:<[^<>\n]{1,30}>|\[\|)(?:assistant|model)\b)|(?=<\|(?:assistant|model)\|>)|(?=\[/INST\])"
)
_end_of_word: Final = until(r"(?=[^\w])")
_MARKUP: Final = frozenset(DATA["markup"])
_BREAKS: Final = frozenset(DATA["breaks"])


@dataclass(frozen=True, slots=True)
class Element:
    """A tag or a token.

    Attributes:
        written: The element as the model wrote it.
        tag: The name of a tag as written; empty for a token.
        name: The name as `name_parts` returns it.
        opens: Its content may follow.
        ends: It ends something: `</think>`, `<|/think|>`, `<call|>`, `<|end_of_thought|>`.
        place: Where it stands.
    """

    written: str
    tag: str
    name: str
    opens: bool
    ends: bool
    place: MarkPlace

    @property
    def is_token(self) -> bool:
        """Whether it is no tag."""
        return not self.tag

    def is_named(self, kind: str) -> bool:
        """Return whether a part of the name tells this kind."""
        return NAMES[kind].search(self.name) is not None

    def has_name(self, kind: str) -> bool:
        """Return whether the whole name tells this kind."""
        return NAMES[kind].fullmatch(self.name) is not None

    def removed(
        self,
        removes_until: EndFinder | None = None,
        read_removed: Callable[[str], Replacement] | None = None,
        *,
        effect: Effect | None = None,
    ) -> Replacement:
        """Return the element's removal.

        Args:
            removes_until: Finds the end of text that is removed with it; `None` for none.
            read_removed: Reads that text once it is complete, because it may hold words to say.
            effect: What the removal changes in the text before it.
        """
        size = len(self.written)
        found = Replacement(size, "", removes_until, effect=effect, read_removed=read_removed)
        return replace(found, is_template=True)

    def end_of_content(self, kind: str) -> EndFinder | None:
        """Return a function that finds the end of the element's content; `None` if it has none.

        `kind` is the row of `names` in `marks.yaml` by which closing tokens are known.
        """
        if not self.opens:
            return None
        if self.is_token:
            return _end_of_block(kind)
        ends = {re.sub("begin|start", "end", self.tag), f"{self.tag}_end"}  # without a slash
        ends |= {f"{begun}{self.tag}" for begun in ("end", "end_", "end_of_")}
        ends -= {self.tag, *self.place.tools}
        closing = "|".join(map(re.escape, ends))
        return until(rf"<(?:/[^<>\n]{{0,30}}{re.escape(self.tag)}|{closing})\s*>")


def tag(match: re.Match[str], place: MarkPlace) -> Replacement | None:
    """Return how to replace a tag; `None` if its kind is kept."""
    name = name_parts(match[2])
    is_end = _END_TAG.fullmatch(name) is not None and match[2] not in place.tools
    ends = bool(match[1]) or is_end
    opens = not ends and not match[0].endswith("/>")
    return _replacement_of(Element(match[0], match[2], name, opens, ends, place))


def token(match: re.Match[str], place: MarkPlace) -> Replacement | None:
    """Return how to replace a special token; `None` if its kind is kept."""
    name = name_parts(next(filter(None, match.groups())))
    has_slash = match[0].strip("<\u25c1" + _BARS).startswith("/")
    ends = has_slash or bool(match[2]) or _has_end_in_name(name)
    return _replacement_of(Element(match[0], "", name, not ends, ends, place))


def _replacement_of(element: Element) -> Replacement | None:
    """Return the replacement by the first of `_RULES` that applies; `None` without one."""
    for key, applies, replaced in _RULES:
        if key in element.place.keys and applies(element):
            return replaced(element)
    return None


def _has_end_in_name(name: str) -> bool:
    """Return whether a token ends an answer, or a part of it."""
    return NAMES["ends"].search(name) is not None and not NAMES["no_ends"].search(name)


def _ends_answer_by_name(name: str) -> bool:
    """Return whether a token ends an answer, and not only a part of it such as a call."""
    is_part = NAMES["calls"].search(name) or NAMES["thoughts"].search(name)
    return _has_end_in_name(name) and (name == "call" or not is_part)


def _end_of_block(kind: str) -> EndFinder:
    """Return a function that finds the tag or token that ends a block of this kind, or any end."""

    def find_end(text: str) -> int | None:
        match = _LAST_ELEMENT.search(text[-LOOK_BACK - 2 :]) if text[-1] in ">\u25b7" else None
        if match is None:
            return None
        inside = match[1].strip(_BARS)
        name = name_parts(inside)
        if inside.startswith("/"):
            closes = f"<{inside[1:]}" not in text  # or else it ends a tag in the block
        else:
            is_right = match[1][0] not in _BARS and match[1][-1] in _BARS  # `<call|>`
            closes = is_right or kind == "channel_ends" or _has_end_in_name(name)
        is_end = closes and (NAMES[kind].search(name) or _ends_answer_by_name(name))
        return len(text) if is_end else None

    return find_end


def _remove_header(element: Element) -> Replacement:
    """Remove a channel's header."""
    return element.removed(until(r"<\|message\|>|^\s*\w+\n|^\s*final(?=[^<\w])"), _after_header)


def _after_header(header: str) -> Replacement:
    """Return what follows a channel's header: words, a call, or thoughts."""
    to = re.search(r"to=(\S+)", header)
    if to is None and re.match(r"\s*(?:final|commentary)", header):
        return Replacement(0)
    prefix, end = f"{to[1]} " if to else None, _end_of_block("channel_ends")
    return Replacement(0, removes_until=end, call_prefix=prefix, is_template=True)


def _follows_header(element: Element) -> bool:
    """Return whether a channel's header was said as words, because its token is missing."""
    is_header = NAMES["channels"].fullmatch(element.place.said.strip()) is not None
    return element.is_token and element.name == "message" and is_header


def _take_header_back(element: Element) -> Replacement:
    """Withdraw the words that are a header; what follows is that of its channel."""
    header = element.place.said
    return element.removed(until(""), lambda _: _after_header(header), effect=Effect.THOUGHTS)


def _holds_thoughts(element: Element) -> bool:
    """Return whether an element holds the model's thoughts, by its name or its type."""
    names = "_".join((element.name, *_TYPE.findall(element.written.lower())))
    return NAMES["thoughts"].search(names) is not None


def _remove_thoughts(element: Element) -> Replacement:
    """Remove the thoughts in an element, or those before its end."""
    effect = Effect.THOUGHTS if element.ends else None
    return element.removed(element.end_of_content("thoughts"), effect=effect)


def _remove_content(element: Element) -> Replacement:
    return element.removed(element.end_of_content("asides"))


def _remove_recipient(element: Element) -> Replacement:
    """Remove the recipient of Functionary's messages."""
    return element.removed(until(r"(?=[\n<])"), _after_recipient)


def _after_recipient(name: str) -> Replacement:
    """Return what follows the name of a recipient: words, or a call."""
    if name.strip() in ("all", "assistant", "user"):
        return Replacement(0)
    end = until(r"<\|(?:stop|from)\|>")
    return Replacement(0, removes_until=end, call_prefix=f"{name} ", is_template=True)


def _holds_call(element: Element) -> bool:
    """Return whether it belongs to a call: by its name, or because it names an offered tool."""
    if not element.tag:
        return element.is_named("calls") and element.name != "call"  # that token ends an answer
    named = [element.tag, *_VALUE.findall(element.written)]
    return element.is_named("calls") or not element.place.tools.isdisjoint(named)


def _keep_call(element: Element) -> Replacement:
    """Return the removal that keeps a call to be run; a part that begins none is only removed."""
    if element.ends or (element.is_token and "sep" in element.name):
        return element.removed()
    end = element.end_of_content("calls") or until("")  # a tag alone is complete
    prefix, effect = element.written, Effect.LABEL
    if element.is_token:
        prefix = element.place.name_and_space
        is_name = element.place.is_tool_name(prefix)
        prefix, effect = (prefix, Effect.CALL) if is_name else ("", Effect.LABEL)
    return replace(element.removed(end, effect=effect), call_prefix=prefix)


def _is_others_turn(element: Element) -> bool:
    return element.has_name("others") and (element.opens or not element.is_token)


def _end_with_turn(element: Element) -> Replacement:
    """End the answer; before its first word, remove the turn."""
    end = _own_turn if element.is_token else element.end_of_content("others")
    return element.removed(end, effect=Effect.END)


def _ends_answer(element: Element) -> bool:
    """Return whether an element ends the answer, such as `</s>`; not one that strikes text out."""
    if element.place.channels and element.name in ("end", "s"):
        return False
    is_s = element.name == "s" and not element.is_token and element.ends
    return (is_s and not element.place.struck) or _ends_answer_by_name(element.name)


def _remove_role(element: Element) -> Replacement:
    return element.removed(_end_of_word, _after_role)


def _after_role(role: str) -> Replacement:
    """Return what follows the name of a role: another's turn is not the answer's."""
    is_others = NAMES["others"].match(role.lower())
    return Replacement(0, "", _own_turn, effect=Effect.END) if is_others else Replacement(0)


def _remove_role_or_end(element: Element) -> Replacement:
    """Remove the name of a role after it, if one follows; a closing one is the answer's end."""
    if not element.opens:
        return element.removed(effect=Effect.END)
    return element.removed(_end_of_word, _after_role_or_word)


def _after_role_or_word(word: str) -> Replacement:
    """Return what to do with the word after a mark: a role is removed, any other word is said."""
    found = _after_role(word)
    is_role = found.effect or re.match(r"(?i)(?:assistant|model)\b", word)
    return found if is_role else Replacement(0, words=word)


def _is_special(element: Element) -> bool:
    """Return whether it is any other token, or a tag that stands for one."""
    stands_for_one = element.has_name("before_roles") or element.has_name("special")
    return element.is_token or stands_for_one or _ends_answer_by_name(element.name)


def _remove_tag(element: Element) -> Replacement:
    """Remove a tag; the words in an unknown element stay, unless they may be data."""
    if element.name in _BREAKS:
        return Replacement(len(element.written), "\n", is_template=True)
    if element.opens and element.name not in _MARKUP:
        return element.removed(_end_of_nested(element.tag), _words_inside)
    return element.removed()


def _end_of_nested(tag: str) -> EndFinder:
    """Return a function that ends at the first word, or after an element that begins with a tag."""
    closed = until(rf"</{re.escape(tag)}\s*>")

    def find_end(text: str) -> int | None:
        begun = text.lstrip()
        if not begun:
            return None
        return closed(text) if begun[0] == "<" and begun[1:2] not in ("/", "|", "!") else 0

    return find_end


def _words_inside(element: str) -> Replacement:
    """Return the words of an element that is not known; single words are data."""
    words = re.sub(r"<[^<>]*>", " ", element).strip()
    return Replacement(0, words=words if len(words.split()) >= WORDS_IN_DATA else "")


_RULES: Final[
    tuple[tuple[str, Callable[[Element], bool], Callable[[Element], Replacement]], ...]
] = (
    ("reasoning", lambda e: e.is_token and e.name == "channel" and e.opens, _remove_header),
    ("reasoning", _follows_header, _take_header_back),
    ("reasoning", _holds_thoughts, _remove_thoughts),
    ("reasoning", lambda e: not e.is_token and e.is_named("asides"), _remove_content),
    ("tool_calls", lambda e: e.is_token and e.name in ("recipient", "from"), _remove_recipient),
    ("tool_calls", _holds_call, _keep_call),
    ("special_tokens", _is_others_turn, _end_with_turn),
    ("special_tokens", _ends_answer, lambda e: e.removed(effect=Effect.END)),
    ("special_tokens", lambda e: e.has_name("before_roles") and e.opens, _remove_role),
    ("special_tokens", lambda e: e.has_name("before_roles_or_words"), _remove_role_or_end),
    ("special_tokens", _is_special, Element.removed),
    ("markdown", lambda e: not e.is_token, _remove_tag),
)
"""The part of `SpokenTextRule` that removes an element, which one, and how. The first applies."""
