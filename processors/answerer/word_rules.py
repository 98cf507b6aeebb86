"""What words give away who has picked up: a person, a machine, a menu, a telephone's assistant.

Each thing that is said in what was recognised so far has points (`phrase_rules.py`). A
machine has to be ahead of a person by as many points as one sentence has that no person says: so a
person who offers to take a message, with a machine's words, stays one, and a word that was
recognised wrongly decides nothing alone.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from processors.answerer.phrase_rules import ALONE, PHRASES, Cue

_COMPILED: Final = {
    cue: tuple((re.compile(each), points) for each, points in phrases.items())
    for cue, phrases in PHRASES.items()
}
_ACCENTS: Final = str.maketrans("áéíóúüñё", "aeiouun\N{CYRILLIC SMALL LETTER IE}")
_GREETS: Final = re.compile(r"(hello|hi|hey|yes|yeah|si|diga|digame|bueno|алло|да)\b")
GREETS_WORDS: Final = 3  # no more behind a short greeting; Asterisk's AMD takes more for a machine
MACHINES: Final = (Cue.SCREENING, Cue.MENU, Cue.FULL, Cue.VOICEMAIL)
BEEP_POINTS: Final = ALONE  # behind speech, it says as much as a sentence


@dataclass(frozen=True, slots=True, kw_only=True)
class Cues:
    """What was found in some words: points for each who says such things."""

    points: Mapping[Cue, int] = field(default_factory=dict[Cue, int])
    alone: frozenset[Cue] = frozenset()  # of whom one sentence was enough
    greets: bool = False  # a short greeting and nothing else

    @property
    def person(self) -> int:
        """Return what speaks for a person."""
        return self.points.get(Cue.PERSON, 0)

    @property
    def definite(self) -> Cue | None:
        """Return what the words say beyond doubt; None: nothing."""
        return self._ahead(ALONE)

    @property
    def certain(self) -> Cue | None:
        """Return what as much as two such sentences say; None: nothing."""
        return self._ahead(2 * ALONE)

    @property
    def sure(self) -> bool:
        """Whether more than two things decided that people say, too."""
        return self.definite in self.alone or self.certain is not None

    @property
    def hinted(self) -> bool:
        """Whether a machine may say so, and no person's words speak against it."""
        machine = sum(self.points.get(each, 0) for each in MACHINES)
        return machine > self.person

    @property
    def beeps(self) -> bool:
        """Whether a beep behind these words is a mailbox's."""
        return BEEP_POINTS + self.points.get(Cue.VOICEMAIL, 0) - self.person - self.greets >= ALONE

    def _ahead(self, points: int) -> Cue | None:
        for each in MACHINES:
            if self.points.get(each, 0) - self.person >= points:
                return each
        return None


def plain(text: str) -> str:
    """Return words in small letters without accents and marks."""
    small = text.lower().translate(_ACCENTS)
    return " ".join(
        re.sub(r"[^\w ]", " ", re.sub("['\N{RIGHT SINGLE QUOTATION MARK}]", "", small)).split()
    )


def read_cues(text: str) -> Cues:
    """Return what the words so far give away."""
    words = plain(text)
    said = {cue: _said(cue, words) for cue in _COMPILED}
    alone = frozenset(cue for cue, points in said.items() if max(points, default=0) >= ALONE)
    greets = len(words.split()) <= GREETS_WORDS and bool(_GREETS.match(words))
    points = {cue: sum(each) for cue, each in said.items() if each}
    return Cues(points=points, alone=alone, greets=greets)


def _said(cue: Cue, words: str) -> list[int]:
    return [points for phrase, points in _COMPILED[cue] if phrase.search(words)]
