"""The phrases of people, mailboxes, menus and call-screening assistants, and their weights.

They are grouped by purpose: a machine says that the person is not available, explains what to do
after a tone, names itself, promises a call, offers keys. One pattern contains all wordings of one
such statement, so that no statement is counted twice. Patterns match words without punctuation or
accents, as `unaccented` returns them. The phrases of each language are in `calls/languages/`.

Each phrase in the recognised text has points. A machine must be ahead of a person by the points of
one sentence that only machines say. So a person who offers to take a message, in a machine's words,
still counts as a person, and a single misrecognised word decides nothing.
"""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from calls.languages.facts import languages

# The points of a phrase.
ALONE: Final = 4  # a machine's sentence, which a person may still quote: "Press one? Why?"
WITH_ANOTHER: Final = 2  # people say it, too
OPENER: Final = 1  # the beginning of firms' greetings, by a person or a machine


class Cue(StrEnum):
    """What a phrase indicates."""

    SCREENING = "screening"  # a call-screening assistant asks who calls, and why
    HOLD = "hold"  # the assistant asks us to wait for the person
    MENU = "menu"  # a telephone menu
    FULL = "full"  # a mailbox that takes no message
    VOICEMAIL = "voicemail"
    PERSON = "person"


_COMPILED: Final = tuple(
    {
        Cue(cue): tuple((re.compile(phrase), points) for phrase, points in phrases.items())
        for cue, phrases in facts.machines.items()
    }
    for facts in languages().values()
    if facts.machines
)
_ANSWERS: Final = frozenset[str]().union(*(facts.answers for facts in languages().values()))
_LATIN: Final = re.compile("[\u00c0-\u024f]")
_LETTERS: Final = {"ё": "е", "ß": "ss", "ı": "i", "ł": "l", "ø": "o", "æ": "ae", "\u0307": ""}  # noqa: RUF001
GREETS_WORDS: Final = 3  # words of a short greeting, at most; as in Asterisk's AMD
MACHINES: Final = (Cue.SCREENING, Cue.MENU, Cue.FULL, Cue.VOICEMAIL)
BEEP_POINTS: Final = ALONE  # a beep after speech counts as much as a conclusive sentence


@dataclass(frozen=True, slots=True, kw_only=True)
class Cues:
    """The cues found in a text, with their points."""

    points: Mapping[Cue, int] = field(default_factory=dict[Cue, int])
    alone: frozenset[Cue] = frozenset()  # cues with one conclusive sentence
    greets: bool = False  # a short greeting and nothing else

    @property
    def person(self) -> int:
        """The points for a person."""
        return self.points.get(Cue.PERSON, 0)

    @property
    def definite(self) -> Cue | None:
        """The machine that is ahead of a person by one conclusive sentence, or `None`."""
        return self._machine_ahead_by(ALONE)

    @property
    def certain(self) -> Cue | None:
        """The machine that is ahead by two conclusive sentences, or `None`."""
        return self._machine_ahead_by(2 * ALONE)

    @property
    def sure(self) -> bool:
        """Whether `definite` rests on more than two phrases that people use, too."""
        return self.definite in self.alone or self.certain is not None

    @property
    def recorded(self) -> bool:
        """Whether the words are a recording's if the speech is as long as one.

        Two conclusive sentences, or more that people use, too, but not those alone.
        """
        return self.certain is not None and self.certain in self.alone

    @property
    def hinted(self) -> bool:
        """Whether machines' phrases have more points than a person's."""
        machine = sum(self.points.get(item, 0) for item in MACHINES)
        return machine > self.person

    @property
    def beeps(self) -> bool:
        """Whether a beep after these words would be that of a mailbox."""
        return BEEP_POINTS + self.points.get(Cue.VOICEMAIL, 0) - self.person - self.greets >= ALONE

    def _machine_ahead_by(self, points: int) -> Cue | None:
        """Return the first of `MACHINES` that is at least `points` ahead of a person, or `None`."""
        for machine in MACHINES:
            if self.points.get(machine, 0) - self.person >= points:
                return machine
        return None


def unaccented(text: str) -> str:
    """Return words in lower case, without accents, apostrophes and punctuation, for comparison."""
    small = _LATIN.sub(
        lambda letter: unicodedata.normalize("NFD", letter[0])[0],
        text.lower().translate(str.maketrans(_LETTERS)),
    )
    return " ".join(
        re.sub(r"[^\w ]", " ", re.sub("['\N{RIGHT SINGLE QUOTATION MARK}]", "", small)).split()
    )


def read_cues(text: str) -> Cues:
    """Return the cues in the words so far."""
    words = unaccented(text)
    matched = {cue: _points_for(cue, words) for cue in Cue}
    alone = frozenset(cue for cue, points in matched.items() if max(points, default=0) >= ALONE)
    greets = len(words.split()) <= GREETS_WORDS and words.split(" ")[0] in _ANSWERS
    points = {cue: sum(values) for cue, values in matched.items() if values}
    return Cues(points=points, alone=alone, greets=greets)


def _points_for(cue: Cue, words: str) -> list[int]:
    """Return the points in the language in which there are most: the words are in one language."""
    by_language = (
        [points for phrase, points in compiled.get(cue, ()) if phrase.search(words)]
        for compiled in _COMPILED
    )
    return max(by_language, key=sum)
