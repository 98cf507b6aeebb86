"""The caller's own sound, kept for a rung that must hear it again; its words are delivered once.

A recogniser that dies takes with it what it had not yet written down. The sound of the utterance,
with a moment before it, is kept; the next recogniser gets all of it, and what it writes of the part
that was delivered already is dropped: by its word times if it gives any, else by its words.
"""

import math
from collections import deque
from collections.abc import Sequence
from typing import Final

from fallbacks.word_times import plain
from processors.hearing.attempt_rules import HeardWord, Reading

BEFORE_S: Final = 0.5  # kept before the utterance: a VAD is sure of speech a little late
KEPT_S: Final = 30.0  # of one utterance; a caller who speaks longer is asked to repeat
LOUD: Final = 0.03  # of the loudest sample: 30 dB below it is no word's beginning (chosen)
JUDGED: Final = 50  # chunks after speech was noticed; the loudest sample is looked for in them
SOFT_S: Final = 0.15  # before that: a word may begin softly (chosen)
ALIKE: Final = 0.7  # share of words that may differ where two recognisers heard the same


class SoundRing:
    """The last seconds of the caller's sound.

    Times are seconds of the stream: the first byte ever pushed is at 0.
    """

    def __init__(self, *, bytes_a_second: int, kept_s: float = KEPT_S) -> None:
        self._rate = bytes_a_second
        self._kept_bytes = int(kept_s * bytes_a_second)
        self._chunks: deque[bytes] = deque()
        self._first = 0  # the stream's byte that the ring begins with
        self._end = 0

    @property
    def end_s(self) -> float:
        """How much sound came so far."""
        return self._end / self._rate

    @property
    def start_s(self) -> float:
        """Where the kept sound begins."""
        return self._first / self._rate

    def seconds(self, sound_bytes: int) -> float:
        """Return how long so much sound is."""
        return sound_bytes / self._rate

    def push(self, sound: bytes) -> None:
        """Keep one more chunk; the oldest go when there are too many."""
        self._chunks.append(sound)
        self._end += len(sound)
        while self._end - self._first > self._kept_bytes and len(self._chunks) > 1:
            self._first += len(self._chunks.popleft())

    def forget(self, before_s: float) -> None:
        """Forget the sound before a moment, in whole chunks: the utterance is over."""
        before = int(before_s * self._rate)
        while self._chunks and self._first + len(self._chunks[0]) <= before:
            self._first += len(self._chunks.popleft())

    def since(self, from_s: float) -> tuple[bytes, ...]:
        """Return the chunks from a moment on; the first is cut to begin there.

        The cut is at a whole 16-bit sample.
        """
        skip = max(0, int(from_s * self._rate) - self._first) & ~1
        kept: list[bytes] = []
        for chunk in self._chunks:
            if skip < len(chunk):
                kept.append(chunk[skip:])
            skip = max(0, skip - len(chunk))
        return tuple(kept)

    def onset_s(self, from_s: float, noticed_s: float) -> float:
        """Return where, between two moments, it is loud for the first time, and a little before.

        A recogniser that takes sound hardly faster than it comes is late by all the silence that it
        is given first.
        """
        loud = LOUD * max(map(_peak, self.since(noticed_s)[:JUDGED]), default=0)
        at_s = from_s
        for chunk in self.since(from_s):
            if at_s >= noticed_s or _peak(chunk) > loud:
                break
            at_s += self.seconds(len(chunk))
        return max(from_s, min(at_s, noticed_s) - SOFT_S)


def _peak(sound: bytes) -> int:
    whole = memoryview(sound[: len(sound) // 2 * 2]).cast("h")
    return max(map(abs, whole), default=0)


def replay_from_s(speech_began_s: float, ring_start_s: float) -> float:
    """Return where a replay begins, given when speech was first noticed."""
    return max(ring_start_s, speech_began_s - BEFORE_S)


class Transcripts:
    """What was delivered of the present utterance, so that nothing is delivered twice.

    Attributes:
        guess: The last interim result, until a final one with words follows.
    """

    def __init__(self) -> None:
        self._attempt: int | None = None
        self._delivered: list[HeardWord] = []
        self._until_s: float | None = 0.0  # of the stream: words before were delivered
        self._again: list[str] = []  # delivered words that the present attempt may write again
        self.guess: Reading | None = None

    @property
    def text(self) -> str:
        """All that was delivered of this utterance."""
        return " ".join(heard_word.text for heard_word in self._delivered)

    @property
    def again_from_s(self) -> float:
        """Where in the stream whoever writes next has to begin; 0: with the whole utterance.

        A recogniser takes sound hardly faster than it comes: given again what was delivered, it
        wrote the last words when the turn was over. It begins with a whole word, since half a one
        may be written as another.
        """
        if self._until_s is None:
            return 0.0
        before_s = self._until_s - BEFORE_S
        starts = (
            heard_word.start_s for heard_word in self._delivered if heard_word.start_s <= before_s
        )
        return max(starts, default=0.0)

    def open(self) -> None:
        """Begin another utterance, by the same recogniser."""
        self._delivered, self._again, self.guess = [], [], None
        self._until_s = self._until_s or 0.0

    def begin(self, attempt: int, *, replayed: bool, from_s: float = 0.0) -> None:
        """Let another recogniser write, who heard the utterance from its start or only from now.

        Args:
            attempt: Whose words are delivered.
            replayed: Whether it was given sound again.
            from_s: Of the stream; it heard nothing before.
        """
        self._attempt = attempt
        heard = (heard_word for heard_word in self._delivered if heard_word.end_s > from_s)
        self._again = [heard_word.text for heard_word in heard] if replayed else []

    def deliver(self, attempt: int, text: str, *, words: Sequence[HeardWord] = ()) -> str:
        """Count a final transcript as delivered, and return what of it is new."""
        if attempt != self._attempt:
            return ""
        if words and self._until_s is not None:
            new = self._new_by_time(words, self._until_s)
        else:
            left = self._new_by_words(text.split())
            new = [HeardWord(text=item, start_s=math.inf, end_s=math.inf) for item in left]
            self._until_s = None if new else self._until_s
        self._delivered += new
        return " ".join(heard_word.text for heard_word in new)

    def deliver_guess(self) -> str:
        """Count the guess as delivered, in the place of a final; return what of it is new."""
        guess, self.guess, attempt = self.guess, None, self._attempt
        if guess is None or attempt is None:
            return ""
        new_text = self.deliver(attempt, guess.text, words=guess.words)
        self._again = guess.text.split()  # its final may still come
        return new_text

    def _new_by_time(self, words: Sequence[HeardWord], until_s: float) -> list[HeardWord]:
        new = [word for word in words if (word.start_s + word.end_s) / 2 >= until_s]
        self._until_s = max([until_s, *[heard_word.end_s for heard_word in new]])
        return new

    def _new_by_words(self, heard: list[str]) -> list[str]:
        used, skipped = matched(self._again, heard)
        self._again = self._again[used:]
        return heard[skipped:]


def matched(old: Sequence[str], heard: Sequence[str]) -> tuple[int, int]:
    """Return how many words of `old` are written again in how many of the first of `heard`.

    Two recognisers seldom write the same, so this is the cheapest alignment in which one of the
    two is used up; if even that is nothing alike, nothing was written again: (0, 0).
    """
    left, right = [plain(word) for word in old], [plain(word) for word in heard]
    row = list(range(len(right) + 1))
    edge: list[tuple[int, int, int]] = []
    for used, word in enumerate(left, start=1):
        before, row = row, [used]
        for at, other in enumerate(right, start=1):
            same = before[at - 1] + (word != other)
            row.append(min(same, before[at] + 1, row[-1] + 1))
        edge.append((row[-1], used, len(right)))
    edge += [(cost, len(left), at) for at, cost in enumerate(row)]
    cost, used, skipped = min(edge, key=lambda each: (each[0] / max(each[1], each[2], 1), -each[2]))
    return (used, skipped) if cost <= ALIKE * max(used, skipped) else (0, 0)
