"""Rules for aligning the sound of a voice without word times with its text.

It costs processor time, so it is done only when it matters: when the voice fails or stalls, when
the caller interrupts it, in long speech from time to time, so that no alignment is long, and when a
text that the voice calls spoken may lack its end: an HTTP body can end in mid-sentence as if it
were complete. Such a text is short for this voice, or ends abruptly. Meanwhile the voice's failure
or end waits, at most `ALIGN_S`. Without a result, times are estimated.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from fallbacks.word_times import TimedWord, WordTimes, usual_s
from runtime.pcm import SAMPLE_BYTES

LONG_S: Final = 20.0  # speech after which its words are aligned, and their sound is forgotten
MAX_ALIGNED_S: Final = 30.0  # of sound that is kept; of more, words are estimated
SHORT: Final = 0.9  # of the time that the voice usually takes (chosen)
ABRUPT: Final = 1.0  # the same for sound that ends without a silence (chosen)
ABRUPT_S: Final = 0.03  # the longest such silence
FIRST_PACE: Final = 1.2  # of the usual time: the pace of a voice that has not spoken yet (chosen)
LEARN: Final = 0.2  # the weight of the latest text in a voice's pace (chosen)
LEARN_FROM_S: Final = 1.0  # the pace of a shorter text says little (chosen)
LEAST_WORDS: Final = 2  # of one word, an alignment cannot say how much is spoken
# A text: its first word, the word after it, and where its sound begins in the utterance.
Part: TypeAlias = tuple[int, int, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class AlignSound:
    """Find the words of a text in a sound, which may end in the middle of it.

    Attributes:
        attempt: The attempt of the voice.
        words: The words; their text with spaces is `text`.
        text: The text that the voice was to speak.
        pcm: Its sound.
        first: The index of the first word in the utterance.
        from_s: Where the sound begins in the utterance, in seconds.
        received_s: How much of the voice's sound had been received.
        heard_s: Up to where an interrupted caller has heard the sound, in seconds, if only those
            words are wanted.
        ended: Whether the voice says that it has spoken all words; see `lacks_end`.
        reported_s: The ends of the words by the voice's own report, if that is in doubt.
    """

    attempt: int
    words: tuple[str, ...]
    text: str
    pcm: bytes
    first: int
    from_s: float
    received_s: float
    heard_s: float | None = None
    ended: bool = False
    reported_s: tuple[float | None, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SoundAligned:
    """The result of an alignment.

    Attributes:
        attempt: The attempt of the voice.
        asked: The request.
        ends_s: The ends of the words that are spoken to their end, in seconds of the utterance;
            `None` if the sound could not be aligned.
    """

    attempt: int
    asked: AlignSound
    ends_s: tuple[float, ...] | None


class KeptSound:
    """The sound of a voice, from the first word on whose time is not sure.

    Attributes:
        rate_hz: Its sample rate.
        from_s: Where it begins in the utterance, in seconds.
    """

    def __init__(self, rate_hz: int) -> None:
        self.rate_hz = rate_hz
        self.from_s = 0.0
        self._pcm = bytearray()
        self._first = 0
        self._complete = True

    @property
    def pcm(self) -> bytes:
        """The sound, 16-bit mono."""
        return bytes(self._pcm)

    @property
    def length_s(self) -> float:
        """The length of the sound that is kept, in seconds."""
        return len(self._pcm) / SAMPLE_BYTES / self.rate_hz

    def start_voice(self, first: int, from_s: float) -> None:
        """Keep the sound of another voice, which begins at this word and time."""
        self._pcm.clear()
        self._first, self.from_s, self._complete = first, from_s, True

    def add(self, pcm: bytes) -> None:
        """Keep more sound; beyond `MAX_ALIGNED_S`, none is added, and `request` returns `None`."""
        self._complete = self._complete and self.length_s <= MAX_ALIGNED_S
        if self._complete:
            self._pcm += pcm

    def request(
        self,
        words: WordTimes,
        *,
        attempt: int,
        received_s: float,
        until_s: float | None = None,
        part: Part | None = None,
    ) -> AlignSound | None:
        """Return a request to align it; `None` if it is empty, or not complete.

        Args:
            words: The words of the utterance.
            attempt: The attempt of the voice.
            received_s: How much of the voice's sound was received.
            until_s: Up to where the caller has heard the utterance, if that is asked.
            part: The text that has ended, if that is asked.
        """
        if not self._complete or not self._pcm:
            return None
        first, last, from_s = part or (self._first, None, self.from_s)
        if from_s < self.from_s:
            first, from_s = self._first, self.from_s
        return AlignSound(
            attempt=attempt,
            words=tuple(word.text for word in words.words[first:last]),
            text=words.text_from(first, last),
            pcm=bytes(self._pcm[SAMPLE_BYTES * round((from_s - self.from_s) * self.rate_hz) :]),
            first=first,
            from_s=from_s,
            received_s=received_s,
            heard_s=None if until_s is None else max(0.0, until_s - from_s),
            ended=part is not None,
        )

    def forget(self, first: int, from_s: float) -> None:
        """Forget the sound before a word whose beginning is known."""
        del self._pcm[: SAMPLE_BYTES * max(0, round((from_s - self.from_s) * self.rate_hz))]
        self._first, self.from_s = first, from_s


def is_doubtful(words: Sequence[TimedWord], s: float, quiet_s: float, pace: float | None) -> bool:
    """Return whether words may be missing in `s` seconds of sound before `quiet_s` of silence.

    `pace` is the time that the voice takes, as a share of the usual time; `None` if unknown.
    """
    if sum(bool(word.letters) for word in words) < LEAST_WORDS or any("<" in w.text for w in words):
        return False  # no voice speaks a tag
    share = ABRUPT if quiet_s < ABRUPT_S else SHORT
    return s < share * (pace or FIRST_PACE) * usual_s(word.letters for word in words)


def learn_pace(paces: dict[str, float], voice: str, words: Sequence[TimedWord], s: float) -> None:
    """Update the pace of a voice, which has spoken words in `s` seconds; ignore a short text."""
    if (usual := usual_s(word.letters for word in words)) >= LEARN_FROM_S:
        paces[voice] = (1 - LEARN) * paces.get(voice, s / usual) + LEARN * s / usual
