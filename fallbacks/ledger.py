"""What of an utterance was handed to a voice, has arrived as sound, and was heard.

Times of words are seconds of the utterance's own sound, counted from its first sample across all
the rungs that spoke parts of it; each rung's own times are re-based on what was kept of the rungs
before. A word has arrived when its last sample has, with a margin, for the providers' word times
are not exact. When a rung dies, the rest begins at the first word that has not arrived, and what
came of that word is dropped, so that every word is heard once. That works as long as no more is let
go to the line than `let_go_s` says: the sound of whole words, or, before silence, whatever came.
"""

from dataclasses import dataclass
from typing import Final

MARGIN_S: Final = 0.05  # word times against samples, as seen with both voices (chosen)
# ElevenLabs tells whole milliseconds, rounded anew in each message: in a long sentence they add up.
ROUNDING_S: Final = 0.01
LEAD_S: Final = 0.1  # the line is fed with half words rather than let run dry sooner than this
UNTIMED_S: Final = 0.6  # so much sound without any word time: this voice gives none today
CHARACTER_S: Final = 0.065  # of speech, the space included: some 150 words a minute
_AHEAD: Final = 3  # words looked ahead when a voice says something else than we wrote


def sayable(word: str) -> str:
    """Return what of a word is spoken: letters and digits, caseless."""
    return "".join(each for each in word.casefold() if each.isalnum())


@dataclass(slots=True)
class _Word:
    text: str
    start_s: float | None = None
    end_s: float | None = None


@dataclass(slots=True)
class _Voice:
    """The rung that speaks now."""

    attempt: int
    base_s: float  # of the utterance, where its sound begins
    first: int  # its first word
    done: int  # it says that it has spoken everything before this word
    done_s: float  # and its sound up to here
    arrived: int  # the first word that has not fully arrived; it only grows
    timed: bool
    at: int  # the word that its word times have come to
    spelt: int = 0  # characters of that word that they have come to
    received_s: float = 0.0


def _voice(attempt: int, *, base_s: float, first: int, timed: bool) -> _Voice:
    return _Voice(
        attempt=attempt,
        base_s=base_s,
        first=first,
        done=first,
        done_s=base_s,
        arrived=first,
        timed=timed,
        at=first,
    )


class SpeechLedger:
    """Every word of one utterance, once."""

    def __init__(self, *, margin_s: float = MARGIN_S) -> None:
        self._margin_s = margin_s
        self._words: list[_Word] = []
        self._open = False  # the last word may go on with the next text
        self._voice = _voice(-1, base_s=0.0, first=0, timed=True)
        self._released_s = 0.0

    @property
    def text(self) -> str:
        """All that was handed over."""
        return self._joined(0, len(self._words))

    @property
    def rest(self) -> str:
        """What has not fully arrived: what the next rung would have to say."""
        return self._joined(self._arrived(), len(self._words))

    @property
    def owed(self) -> bool:
        """Whether a voice still owes sound: only then is its silence a gap."""
        return self._arrived() < len(self._words)

    @property
    def sent(self) -> bool:
        """Whether the sound has come as far as the voice's own times of all words go.

        They are not exact, so a word may be owed that was sent; its silence is no gap, though.
        """
        ends = [self._words[at].end_s for at in range(self._arrived(), len(self._words))]
        there_s = self.received_s + ROUNDING_S
        return all(end_s is not None and end_s <= there_s for end_s in ends)

    @property
    def untold(self) -> tuple[int, float]:
        """How many words stand behind the last one that the voice timed, and how much sound."""
        voice = self._voice
        last, end_s = voice.first - 1, voice.base_s
        for at in range(voice.first, len(self._words)):
            word = self._words[at]
            if word.start_s is not None:
                last, end_s = at, word.start_s if word.end_s is None else word.end_s
        return len(self._words) - 1 - last, self.received_s - end_s

    @property
    def received_s(self) -> float:
        """The sound of the utterance there is, in seconds, what was dropped left out."""
        return self._voice.base_s + self._voice.received_s

    @property
    def keep_s(self) -> float:
        """Up to where the sound is good if the voice dies now; what came after it is dropped."""
        voice, arrived = self._voice, self._arrived()
        if not voice.timed:
            return self.received_s
        ends = [self._end_s(each) for each in range(arrived - 1, voice.done - 1, -1)]
        clean_s = next((end_s for end_s in ends if end_s is not None), voice.done_s)
        return max(min(clean_s, self.received_s), min(self._released_s, self.received_s))

    def hand_over(self, text: str) -> None:
        """Take in text that is to be spoken, in pieces of any size."""
        pieces = text.split()
        joins = self._open and self.owed and not text[:1].isspace()
        if joins and pieces:
            self._words[-1].text += pieces.pop(0)
        self._words += [_Word(each) for each in pieces]
        self._open = text[-1:] != "" and not text[-1].isspace()

    def begin(self, attempt: int, *, timed: bool = True) -> str:
        """Let another attempt speak the rest, and return it.

        Args:
            attempt: Its number; what comes from earlier ones is ignored from now on.
            timed: Whether this voice says when each word is spoken; if not, that is estimated.
        """
        first, base_s = self._arrived(), self.keep_s
        for at in range(self._voice.first, first):
            self._words[at].start_s = self._start_s(at)
            self._words[at].end_s = self._end_s(at)
        for word in self._words[first:]:
            word.start_s = word.end_s = None
        self._voice = _voice(attempt, base_s=base_s, first=first, timed=timed)
        return self.rest

    def audio(self, attempt: int, length_s: float) -> None:
        """Take in that so much sound has arrived."""
        voice = self._voice
        if voice.attempt != attempt:
            return
        voice.received_s += length_s
        if voice.at == voice.first and voice.spelt == 0 and voice.received_s > UNTIMED_S:
            voice.timed = False

    def word(self, attempt: int, said: str, *, start_s: float, end_s: float | None = None) -> None:
        """Take in when a word is spoken, in seconds of this attempt's own sound.

        A voice may split our words, run them together or say them otherwise ("3" as "three"): they
        are followed letter by letter, and found again at the next word that is as we wrote it.
        """
        voice = self._voice
        if voice.attempt != attempt:
            return
        voice.timed = True
        start_s += voice.base_s
        end_s = None if end_s is None else end_s + voice.base_s
        letters = sayable(said)
        while letters and voice.at < len(self._words):
            letters = self._spell(letters, start_s=start_s, end_s=end_s)

    def done(self, attempt: int) -> None:
        """Take in that the voice has spoken all that was handed over until now."""
        voice = self._voice
        if voice.attempt != attempt:
            return
        self._fill(len(self._words))
        voice.done, voice.done_s = len(self._words), self.received_s

    def let_go_s(self, queued_s: float) -> float:
        """Return up to where the utterance's sound may be let go to the line.

        Args:
            queued_s: What is queued on the line and not yet played. If that is little, half words
                are better than silence.
        """
        return self.received_s if queued_s < LEAD_S else self.keep_s

    def released(self, until_s: float) -> None:
        """Take in that the utterance's sound went to the line up to here."""
        self._released_s = max(self._released_s, until_s)

    def heard(self, played_s: float) -> str:
        """Return the words that the caller has heard when this much of the sound was played.

        A word of which the greater part was played counts as heard.
        """
        upto = 0
        for at, word in enumerate(self._words):
            if self._heard(at, played_s):
                upto = at + 1
            elif sayable(word.text):  # a dash may have no time of its own
                break
        return self._joined(0, upto)

    def heard_at(self, at: int) -> tuple[str, float] | None:
        """Return a word by its number, and how much sound is played when it counts as heard.

        None: there is no such word yet, or nobody has said when it is spoken.
        """
        start_s = self._start_s(at) if at < len(self._words) else None
        if start_s is None:
            return None
        end_s = self._end_s(at)
        if end_s is None:
            end_s = start_s + CHARACTER_S * len(self._words[at].text)
        return self._words[at].text, (start_s + end_s) / 2

    def _heard(self, at: int, played_s: float) -> bool:
        found = self.heard_at(at)
        return found is not None and found[1] <= played_s and (self._start_s(at) or 0.0) < played_s

    def _spell(self, letters: str, *, start_s: float, end_s: float | None) -> str:
        """Follow one of our words as far as the said letters go; return what is left of them."""
        voice = self._voice
        word = self._words[voice.at]
        left = sayable(word.text)[voice.spelt :]
        word.start_s = start_s if word.start_s is None else word.start_s
        same = min(len(left), len(letters))
        if left[:same] != letters[:same]:
            return self._find(letters, start_s)
        voice.spelt += same
        if same == len(left):
            word.end_s = end_s if left else start_s  # a dash is not spoken
            voice.at, voice.spelt = voice.at + 1, 0
        return letters[same:]

    def _find(self, letters: str, start_s: float) -> str:
        """Go on at one of the next words that is as said, or stay: this is still the same one."""
        voice = self._voice
        ahead = range(voice.at + 1, min(voice.at + 1 + _AHEAD, len(self._words)))
        found = next((n for n in ahead if sayable(self._words[n].text) == letters), None)
        if found is None:
            return ""
        for word in self._words[voice.at : found]:
            word.start_s = start_s if word.start_s is None else word.start_s
            word.end_s = start_s
        voice.at, voice.spelt = found, 0
        return letters

    def _arrived(self) -> int:
        """The first word whose sound has not fully arrived."""
        voice = self._voice
        voice.arrived = max(voice.arrived, voice.done)
        while voice.arrived < len(self._words) and self._whole(voice.arrived):
            voice.arrived += 1
        return voice.arrived

    def _whole(self, at: int) -> bool:
        if not sayable(self._words[at].text):
            return at > 0  # a dash comes with the word before it
        end_s = self._end_s(at)
        if end_s is None or end_s > self.received_s + ROUNDING_S:
            return False
        sure = end_s + self._margin_s <= self.received_s
        return sure or end_s - self._margin_s <= self._released_s  # or on the line already

    def _start_s(self, at: int) -> float | None:
        word = self._words[at]
        if word.start_s is not None or self._voice.timed or at < self._voice.first:
            return word.start_s
        return self._guess_s(at)

    def _end_s(self, at: int) -> float | None:
        """When a word ends: as told, as the next one begins, or as estimated."""
        word = self._words[at]
        if word.end_s is not None:
            return word.end_s
        if not self._voice.timed and at >= self._voice.first:
            return self._guess_s(at + 1)
        after = self._words[at + 1] if at + 1 < len(self._words) else None
        return None if after is None or word.start_s is None else after.start_s

    def _guess_s(self, at: int) -> float:
        """Where a word of an untimed voice begins, by the letters before it."""
        told = at
        while told > self._voice.first and self._words[told - 1].end_s is None:
            told -= 1
        begun = self._voice.base_s if told == self._voice.first else self._words[told - 1].end_s
        letters = sum(len(each.text) + 1 for each in self._words[told:at])
        return (begun or 0.0) + CHARACTER_S * letters

    def _fill(self, upto: int) -> None:
        """Spread the words without times over the sound behind the last word that has some."""
        first = upto
        while first > self._voice.first and self._words[first - 1].end_s is None:
            first -= 1
        at_s = self._voice.base_s if first == self._voice.first else self._end_s(first - 1) or 0.0
        letters = sum(len(each.text) + 1 for each in self._words[first:upto])
        pace_s = max(0.0, self.received_s - at_s) / max(1, letters)
        for word in self._words[first:upto]:
            word.start_s = at_s if word.start_s is None else word.start_s
            at_s += pace_s * (len(word.text) + 1)
            word.end_s = max(at_s, word.start_s)

    def _joined(self, first: int, upto: int) -> str:
        return " ".join(each.text for each in self._words[first:upto])
