"""What of a second model's answer is new, after a first one was cut off in the middle.

The second is asked to go on after the words already said. It may do so, with or without a space;
or begin again from the top; or take up the last words once more. Its first words are held until
it is plain which, and what was said already is dropped. Words are compared without case and
punctuation, because models differ in both.
"""

import re
from dataclasses import dataclass, field
from typing import Final

_WORD: Final = re.compile(r"\S+")
_CLOSING: Final = ".,;:!?)]}%'\u2019\u201d\u2026"  # these follow a word without a space


@dataclass(slots=True)
class Continuation:
    """Lets through what comes after `said`; after nothing, everything."""

    said: str
    _held: str = ""
    _open: bool = False
    _words: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self._words = [_bare(each) for each in _WORD.findall(self.said)]
        self._open = not self._words

    def feed(self, text: str) -> str:
        """Take in a piece of the second answer; return what may be handed on now."""
        if self._open:
            return text
        self._held += text
        found = _WORD.findall(self._held)
        whole = found if self._held[-1:].isspace() else found[:-1]
        return self._decided([_bare(each) for each in whole], last=False)

    def end(self) -> str:
        """Take in that the second answer is complete; return what was still held."""
        if self._open:
            return ""
        return self._decided([_bare(each) for each in _WORD.findall(self._held)], last=True)

    def _decided(self, new: list[str], *, last: bool) -> str:
        if not new:
            return ""
        if not last and self._may_repeat(new):
            return ""
        self._open = True
        return self._joined(self._without(self._repeated(new)))

    def _may_repeat(self, new: list[str]) -> bool:
        """Say whether all of `new` so far is a run of words that were said."""
        said, size = self._words, len(new)
        if size <= len(said) and self._same(new, said[:size], at_end=size == len(said)):
            return True
        return any(said[at : at + size] == new for at in range(len(said) - size + 1))

    def _repeated(self, new: list[str]) -> int:
        """Return how many of the first words were said already."""
        said = self._words
        if len(new) >= len(said) and self._same(new[: len(said)], said, at_end=True):
            return len(said)  # began again from the top
        if new == said[: len(new)]:
            return len(new)  # began again, and did not come as far
        most = min(len(new), len(said))
        return next((size for size in range(most, 0, -1) if new[:size] == said[-size:]), 0)

    def _same(self, new: list[str], said: list[str], *, at_end: bool) -> bool:
        """Compare words; the last one said may have been cut in the middle."""
        if not at_end:
            return new == said
        return new[:-1] == said[:-1] and new[-1].startswith(said[-1])

    def _without(self, words: int) -> str:
        places = list(_WORD.finditer(self._held))
        if not words:
            return self._held
        dropped = places[words - 1]
        rest = self._held[dropped.end() :]
        again, cut = _bare(dropped.group()), self._words[-1]
        if words == len(self._words) and again != cut:
            return dropped.group()[len(cut) :] + rest  # the rest of a word that was cut
        return rest if rest.strip() else ""

    def _joined(self, text: str) -> str:
        if not text or text[0].isspace() or self.said[-1:].isspace():
            return text
        cut_word = bool(self._held) and not self._held.startswith(text) and text[0].isalnum()
        return text if text[0] in _CLOSING or cut_word else f" {text}"


def _bare(word: str) -> str:
    return "".join(each for each in word.lower() if each.isalnum())
