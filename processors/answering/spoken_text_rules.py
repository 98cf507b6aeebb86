"""Cleans a model's text as it streams, so that only speech is left.

A model writes Markdown, tags, reasoning, tool calls and special tokens even when told not to.
Voices read these aloud or fall silent. `SpokenText` removes them character by character. It holds
text only while it may become a mark, and at most `MAX_HELD` characters. So ordinary words pass at
once, and the result does not depend on how the text was split. What shows only later not to be
speech is taken back: the name of a tool before its arguments, and thoughts before their end.

Pipecat's `strip_markdown` needs whole sentences (from "**We", "open**" it does not remove the
asterisks), and does not remove tags, reasoning and tool calls.
"""

import re
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass, fields, replace
from typing import Final

from processors.answering.mark_rules import CELL, ITEM, MARKS, TextMark, first_object_end
from processors.answering.removal_rules import (
    LOOK_BACK,
    NO_WORD,
    Effect,
    MarkPlace,
    Replacement,
    until,
)
from processors.answering.written_call_rules import end_of_first_call

MAX_HELD: Final = 200  # characters; the longest tag seen has 90
MAX_KEPT: Final = 8_000  # characters of a removed tool call; a longer one is not run
MAX_UNCLOSED: Final = 10  # calls without an end in one text; each costs a pass over the rest
MAX_TEXT: Final = 20_000  # of a complete text; an ordinary one takes 0.2 s at most
MAX_WORD: Final = 100  # characters before a mark that are looked at
_ENDINGS: Final = frozenset(".!?\u2026\u3002\uff01\uff1f")
_JOINERS: Final = frozenset("\u200d\ufe0e\ufe0f\u20e3")  # inside an emoji
_BEGINS: Final = frozenset({"line", "item", "sentence"})
_LEFT_BY_WORDS: Final = _BEGINS | {"start", "other", "called"}
_IN_WORD: Final = re.compile(r"[\w.]")
_DOMAIN: Final = re.compile(r"(?<![\w@.-])(?:[a-z0-9-]+\.)+[a-z]{2,24}$")
_ARGUMENTS_FOLLOW: Final = re.compile(r"(?:[^\w.!?,;<({\[][^.!?,;<({\[]{0,40}|\s*\n\s*)(?=\{)")
_BETWEEN: Final = re.compile(r"[^\w.!?,;<({\[][^.!?,;<({\[]{0,40}")  # name and arguments
_SPACE: Final = re.compile(r"\s{1,4}")
# Complete texts: a value of code; a stage direction, in whatever words.
_VALUE: Final = re.compile(r"(?i)(?:null|none|nil|undefined|nan|n/a|true|false)[.!]?")
_DIRECTION: Final = re.compile(
    r"\([^()\[\]{}\"]*\)[.!]?|\[[^()\[\]{}\"]*\][.!]?|\*{1,2}[^\W\d_A-Z][^*\n]*\*{1,2}[.!]?"
)
# A tag, a token or a call that the end of the text cuts off: "<tool_ca", "[TOOL", "[find_roo".
_CUT_OFF: Final = re.compile(
    r"<(?:[/!|\uff5c][^>]*|[A-Za-z_][^>]*(?<![.!?,;]))?|\u25c1[^\u25b7]*|\](?:[~<]|!.).*|\[\|.*"
    r"|[\[{]+(?:[\s\"']*|/?[A-Z_]+|\w+_\w*)|to=[A-Za-z].*"
    r"|(?i:action)\s*:\s*(?:\w+_\w*\s*|[\w.`\"]+\s*\n\s*A[\w ]{0,11}\s*)?"
)
_IN_CHANNELS: Final = frozenset({"<|channel|>", "<|message|>"})
_OF_OTHERS: Final = ("special_tokens", "other")  # the mark that begins a turn of another
_NO_NAME: Final = Replacement(0)


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


def spoken_part(text: str, rule: SpokenTextRule | None = None, *, is_turn: bool = True) -> str:
    """Return what is to be spoken of a complete text that a model wrote.

    Of a value such as `null` that is nothing.

    Args:
        text: The text; of a very long one only the beginning.
        rule: What is removed; `None` for everything that is not speech.
        is_turn: See `SpokenText`.
    """
    if _VALUE.fullmatch(text[:MAX_TEXT].strip()):
        return ""
    cleaner = SpokenText(rule, is_turn=is_turn)
    said = cleaner.write(text[:MAX_TEXT])
    rest = cleaner.finish()
    return (said[: len(said) - cleaner.taken_back] + rest).strip()


def spoken_goodbye(text: str, rule: SpokenTextRule) -> str:
    """Return what is to be spoken of a goodbye: nothing if all of it is in brackets.

    Of other texts, such as a summary, what is in brackets may be all that is known.
    """
    directed = rule.stage_directions and _DIRECTION.fullmatch(text[:MAX_TEXT].strip())
    return "" if directed else spoken_part(text, rule)


def _is_picture(character: str, before: str) -> bool:
    """Return whether a character is an emoji or another pictogram, or part of one."""
    if character in _JOINERS:
        return character != "\u200d" or before[-1:] == "\ufe0f" or _is_emoji(before[-1:])
    return _is_emoji(character)


def _is_emoji(character: str) -> bool:
    """Return whether a character is a picture or part of one, which no voice can say."""
    if not ("\u2190" <= character < "\u3000" or character >= "\U0001f000"):
        return False  # units of measure, such as \u00b0 and \u33a1, are spoken
    return unicodedata.category(character) in ("So", "Sk", "Cf")


_BY_FIRST: Final = {
    first: [mark for mark in MARKS if first in mark.first]
    for first in set("".join(mark.first for mark in MARKS))
}


def _end_of_unclosed_call(mark: Replacement, removed: str, tools: Collection[str]) -> int:
    """Return where the removed call ends; the length of the text if no words follow it."""
    written = f"{mark.call_prefix or ''}{removed}"
    names_tool = any(name in written for name in tools)
    if mark.call_prefix is None or (mark.read_removed and not names_tool):
        return len(removed)
    end = end_of_first_call(removed, may_be_code=names_tool)
    if mark.read_removed is None or mark.read_removed(removed[:end]).words:
        return end
    found = mark.read_removed(removed)
    return len(removed) if found.words or found.only_words else end  # it is an answer, and no call


def _may_be_call(mark: Replacement, removed: str, tools: Collection[str]) -> bool:
    """Return whether removed text may be a call of one of these tools."""
    names_tool = any(name in removed for name in tools)
    return bool(mark.call_prefix) or (mark.call_prefix is not None and names_tool)


class SpokenText:
    """Cleans the text of one attempt at an answer.

        text = SpokenText(SpokenTextRule())
        text.write("We are **open**.")  # "We are open."
        text.finish()                   # ""

    Attributes:
        calls: Removed texts that may be tool calls, as written.
        signs: Whether there was text outside removed blocks: words, or signs such as an emoji.
        cut_off: Whether it ended within a tag, a token or what may be a call of an offered tool.
        taken_back: The last characters returned by earlier calls that are not to be spoken after
            all: the name of a tool whose arguments follow, or thoughts. The reader sets it to 0.
    """

    def __init__(
        self,
        rule: SpokenTextRule | None = None,
        *,
        tools: Collection[str] = (),
        is_turn: bool = True,
    ) -> None:
        """Create it without text.

        Args:
            rule: What is removed; `None` for everything that is not speech.
            tools: The names of the offered tools.
            is_turn: It is a turn of a conversation, so that "Caller:" begins an invented next turn.
                In a summary, that is content.
        """
        self._is_turn = is_turn
        self.calls: list[str] = []
        self.signs = self.cut_off = False
        self.taken_back = 0
        self._keys = (rule or SpokenTextRule()).keys
        self._tools = frozenset(tools)
        self._first = {*_BY_FIRST, *(name[:1] for name in tools)}  # of marks and tools' names
        self._place = MarkPlace(keys=self._keys, tools=self._tools)
        self._new = ""  # what `write` or `finish` will return
        self._said = 0  # characters returned and not taken back, also those of `_out`
        self._held: str = ""  # text that may become a mark
        self._before: str = ""  # the last two characters before the held text, as written
        self._removing: Replacement | None = None  # the mark after which text is being removed
        self._removed_text = ""  # the removed text after that mark
        self._only_words = ""  # a removed answer, which is said if there are no other words
        self._follows_removal = False  # text was removed since the last word
        self._cited = False  # that text was a citation
        self._has_ended = False  # an end was written; what follows is not the answer's
        self._places = {*_BEGINS, "start"}  # where the next character is: see `TextMark.where`
        self._item = 0  # the number of the latest list item
        self._closes = False  # a full stop is added at the end of the line, if it has none
        self._goes_on = False  # the line before ended within a sentence

    def write(self, text: str) -> str:
        """Add text in pieces of any size; return the text to say now."""
        self._new = ""
        for character in text:
            self._add_character(character)
        return self._new

    def finish(self) -> str:
        """End the text; return the last text to say.

        Text that was held for a mark which never ended is said. `calls` then holds all possible
        tool calls.
        """
        self._new = ""
        self._add_character("\n", ended=True)
        self._decide_held_text(ended=True)
        for left in reversed(range(MAX_UNCLOSED)):
            if self._removing is None or self._has_ended:
                break
            mark, removed = self._removing, self._removed_text  # it was not closed
            end = _end_of_unclosed_call(mark, removed, self._tools) if left else len(removed)
            self.cut_off = end == len(removed) and _may_be_call(mark, removed, self._tools)
            self._note_removed(mark, removed[:end], removed[end:])
            self._decide_held_text(ended=True)
        if self._only_words and not any(item.isalnum() for item in self._place.said):
            self._held, self._only_words = f"{self._only_words}\n", ""
            self._has_ended, self._removing = False, None
            self._decide_held_text(ended=True)
        return self._new

    def _is_cut_off(self, held: str) -> bool:
        """Return whether text at the end is the beginning of a tag, a token or a call."""
        if _IN_WORD.match(self._before[-1:]) and held[:1].isalnum():
            return False
        bare = held.lstrip("[{")
        if bare and any(name.startswith(bare) for name in self._tools):
            return bare != held or ("_" in bare and bare not in self._tools)
        if re.fullmatch(r"\(\s*[\w.]*", held):
            name = self._place.name_and_space.strip(" `:")
            return not self._before[-1:].isspace() and self._place.is_tool_name(name)
        return _CUT_OFF.fullmatch(held) is not None

    def _add_character(self, character: str, *, ended: bool = False) -> None:
        """Add a character to what is said, to the held text, or to the text of a removal.

        Only an ordinary character is said at once. One that may begin a mark is held until the
        characters after it decide. After a written end, all are ignored.

        Args:
            character: The next character as written.
            ended: Whether the text ends here; the character is then the line break after it.
        """
        if self._has_ended:
            return
        if self._removing is None and not self._held and self._is_plain(character):
            self._before = self._before[-1:] + character
            self._places -= _LEFT_BY_WORDS
            self._follows_removal, self._cited, self.signs = False, False, True
            self._append_said(character)
            return
        if self._removing is None:
            self._held += character
            self._decide_held_text(ended=ended)
            return
        self._removed_text += character
        find_end = self._removing.removes_until
        end = find_end(self._removed_text) if find_end else None
        if end is None:
            if len(self._removed_text) > MAX_KEPT:  # too long to be read; only its end matters
                self._removing = replace(self._removing, call_prefix=None, read_removed=None)
                self._removed_text = self._removed_text[-LOOK_BACK:]
            return
        mark, removed, rest = self._removing, self._removed_text[:end], self._removed_text[end:]
        self._removing, self._removed_text = None, ""
        self._note_removed(mark, removed, rest)
        self._decide_held_text(ended=ended)

    def _is_plain(self, character: str) -> bool:
        """Return whether a letter or digit begins neither a mark nor a tool's name."""
        if not character.isalnum():
            return False
        return self._before[-1:].isalnum() or character not in self._first

    def _note_removed(self, mark: Replacement, removed: str, rest: str = "") -> None:
        """Use the text that a mark removed: keep a possible call, and say the answer in it.

        Args:
            mark: The removal.
            removed: The removed text.
            rest: Text after it, which is held again.
        """
        if mark.call_prefix is not None:
            self.calls.append(mark.call_prefix + removed)
            self._places.add("called")
        self._held, self._removing, self._removed_text = rest, None, ""
        if mark.read_removed is None:
            return
        found = mark.read_removed(removed)
        self._only_words = self._only_words or found.only_words
        self._held = found.words + rest
        if found.effect or found.removes_until:
            self._apply(found)

    def _decide_held_text(self, *, ended: bool = False) -> None:
        """Decide as much of the held text as possible; at the end ignore the added line break."""
        while self._held and self._removing is None and not (ended and self._held == "\n"):
            if ended and self._is_cut_off(self._held.removesuffix("\n")):
                self._carry_out(Effect.CALL if self._held[0] == "(" else Effect.LABEL)
                self._held, self.cut_off = "", True
                break
            found = self._next_replacement()
            if found is None and len(self._held) <= MAX_HELD and not ended:
                break
            self._apply(found or Replacement(1, self._held[0]))

    def _next_replacement(self) -> Replacement | None:
        """Return how to replace the first held characters; `None` if more text is needed."""
        text, at, first = self._before + self._held, len(self._before), self._held[0]
        if (named := self._read_name(text[at - 1 : at])) is not _NO_NAME:
            return named
        if first == "/" and _DOMAIN.search(self._place.said):
            self._places.add("address")
        for mark in self._marks_for(first):
            if (found := mark.find(text, at, self._place)) and self._is_next(mark, found):
                self._note_mark(mark, first, text[at : at + found.size])
                return found
            if mark.may_be(text, at):
                return None
        is_picture = "emoji" in self._keys and _is_picture(first, self._before)
        closes = first == "\n" and self._closes and self._last_nonspace.isalnum()
        return Replacement(1, "" if is_picture else ".\n" if closes else first)

    def _marks_for(self, first: str) -> list[TextMark]:
        """Return the marks that may begin with this character here, in their order."""
        return [
            mark
            for mark in _BY_FIRST.get(first, ())
            if (not mark.key or mark.key in self._keys)
            and (not mark.where or mark.where in self._places)
            and (self._is_turn or (mark.key, mark.where) != _OF_OTHERS)
        ]

    def _read_name(self, before: str) -> Replacement | None:
        """Return a call whose name is followed by its arguments, but not directly.

        `None` if that may still come, and `_NO_NAME` if it does not. Only names that are no words
        of a language are held for longer than until the next character.
        """
        if _IN_WORD.match(before) or not self._held[0].isalpha() or "tool_calls" not in self._keys:
            return _NO_NAME
        for name in self._tools:
            if len(self._held) <= len(name):
                if name.startswith(self._held):
                    return None
                continue
            if not self._held.startswith(name):
                continue
            rest = self._held[len(name) :]
            if match := _ARGUMENTS_FOLLOW.match(rest):
                over = until("```") if "```" in match[0] else first_object_end()
                call = f"{name}{match[0]}"
                return Replacement(len(call), "", over, call, Effect.LABEL, is_template=True)
            is_word = name.isalpha() and not NO_WORD.search(name)
            between = _SPACE if is_word else _BETWEEN
            if between.fullmatch(rest):
                return None
        return _NO_NAME

    def _is_next(self, mark: TextMark, found: Replacement) -> bool:
        """Return whether a numbered item begins or continues a list; "3. Mai" does neither."""
        if mark.said != ITEM:
            return True
        number = int(found.said[: -len(", ")])
        previous, self._item = self._item, number
        return not self._goes_on if number == 1 else number == previous + 1

    def _note_mark(self, mark: TextMark, first: str, written: str) -> None:
        """Note where the text after a mark is (see `TextMark.where`), such as in a list item.

        `written` is the mark's text. A space before a table cell is taken back.
        """
        if mark.where == "item" or (mark.said == CELL and mark.where != "row"):
            self._closes = True
            self._places.discard("sentence")  # emphasis in an item is not a stage direction
            self._places |= {"row"} if first == "|" else set[str]()
        if mark.key == "links" and first in "hw<":
            self._places.add("address")
        if mark.said == CELL and self._last_character == " ":
            self._take_back(1)
        self._cited = mark.effect is Effect.CITED
        place = self._place
        place.struck = self._said > 0 and (place.struck or written == "<s>")
        place.channels = place.channels or written in _IN_CHANNELS

    def _apply(self, found: Replacement) -> None:
        """Carry out a replacement of the first held characters, and say what replaces them.

        If it also removes what follows, the rest of the held text is read as a part of the removal.
        """
        written, self._held = self._held[: found.size], self._held[found.size :]
        self._before = (self._before + written)[-2:]
        label = self._carry_out(found.effect)
        if found.call_prefix == "" and not self._tools.isdisjoint(re.findall(r"[\w-]+", label)):
            found = replace(found, call_prefix=label)  # it names the tool
        said = self._spaced_text(found.said)
        self._note_place(written, said)
        self._append_said(said)
        if found.removes_until is None:
            self.signs = self.signs or not (found.is_template or written.isspace())
            return
        # The text held after the mark is read again, because it is part of the removed text.
        self._removing, held, self._held = found, self._held, ""
        for character in held:
            self._add_character(character)

    def _carry_out(self, effect: Effect | None) -> str:
        """Take back or end text as a mark requires; an end before any text is ignored.

        Returns the words that announced a call, which are taken back.
        """
        label = ""
        match effect:
            case Effect.THOUGHTS:
                self._take_back(self._said)
                self.signs, self._only_words, self._places = False, "", {*_BEGINS, "start"}
                self._follows_removal = self._closes = False
            case Effect.END if self._said or self.calls or self._only_words:
                self._has_ended, self._held = True, ""
            case Effect.CALL | Effect.LABEL:
                name = self._place.name_and_space if effect is Effect.CALL else ""
                label = self._place.announcement(name)
                self._take_back(len(label + name))
                self._follows_removal = self._follows_removal or bool(label + name)
                self.signs = self.signs and (self._said > 0 or not label + name)
            case _:
                pass
        return label

    @property
    def _last_character(self) -> str:
        """The last character that is said."""
        return self._place.said[-1:]

    @property
    def _last_nonspace(self) -> str:
        """The last character that is said and is not white space."""
        return self._place.said.rstrip()[-1:]

    def _append_said(self, said: str) -> None:
        """Append text to what `write` and `finish` return; remember its end for later marks."""
        self._new += said
        self._said += len(said)
        self._place.said = (self._place.said + said)[-MAX_WORD:]

    def _take_back(self, characters: int) -> None:
        """Withdraw the last characters that were said."""
        from_out = min(characters, len(self._new))
        self._new = self._new[: len(self._new) - from_out]
        self.taken_back += characters - from_out
        self._said -= characters
        self._place.said = self._place.said[: max(0, len(self._place.said) - characters)]

    def _spaced_text(self, said: str) -> str:
        """Return the text to say, without a second space where text was removed.

        It may take back a space before a punctuation mark, and notes whether a removal came last.
        """
        if said == CELL:
            said = ", " if self._last_nonspace.isalnum() else " "
        if self._cited and said and said in ".,;:!?" and self._last_character == " ":
            self._take_back(1)
        doubled = self._last_character in ("", "\n") or (
            self._last_character == " " and said != "\n"
        )
        if said.isspace() and self._follows_removal and doubled:
            return ""
        self._follows_removal = not said or (self._follows_removal and said.isspace())
        self._cited = self._cited and not said.strip()
        return said

    def _note_place(self, written: str, said: str) -> None:
        """Note where the next character is (see `TextMark.where`).

        `written` is the text that the model wrote last, `said` what was said for it.
        """
        if written == "\n":
            self._goes_on = (
                self._last_nonspace.isalnum() or self._last_nonspace == ","
            ) and not self._closes
            self._goes_on = self._goes_on and not self._before.isspace()
            self._places, self._closes = set(_BEGINS), False
            if self.calls or self._last_nonspace in _ENDINGS:
                self._places.add("other")
        elif said and not said.isspace():
            self._places -= _LEFT_BY_WORDS
        elif written.isspace():
            self._places -= {"address"}
            self._places |= {"sentence"} if self._last_nonspace in _ENDINGS else set[str]()
