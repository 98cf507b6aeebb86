"""Keeps the caller's audio for another recogniser, and delivers each word once.

When a recogniser fails, audio that it has not transcribed yet would be lost. So the audio of the
utterance, and of a moment before it, is kept. The next recogniser gets it again. The part of its
transcript that was already delivered is dropped, by its word times if it reports any, and otherwise
by comparing words.
"""

import math
from collections import deque
from collections.abc import Sequence
from typing import Final

from calls.transcript import Heard, HeardWord
from fallbacks.word_times import letters_of

BEFORE_S: Final = 0.5  # audio before an utterance: a VAD reports speech a little late
UTTERANCE_KEPT_S: Final = 30.0  # of one utterance, at most; earlier audio cannot be replayed
LOUD: Final = 0.03  # share of the loudest sample; no word begins 30 dB below it (chosen)
JUDGED_CHUNKS: Final = 50  # chunks after speech was noticed in which to find the loudest sample
SOFT_S: Final = 0.15  # audio before the first loud moment: a word may begin softly (chosen)
TWICE_S: Final = 0.05  # between equal results: no word was said again in it (chosen)
MAX_DIFFERENCE: Final = 0.7  # share of the words of two transcripts of the same speech


class SoundRing:
    """The last seconds of the caller's audio.

    Times are in seconds from the first byte of the stream.
    """

    def __init__(self, *, bytes_a_second: int, kept_s: float = UTTERANCE_KEPT_S) -> None:
        self._rate = bytes_a_second
        self._kept_bytes = int(kept_s * bytes_a_second)
        self._chunks: deque[bytes] = deque()
        self._first = 0  # the position of the ring's first byte in the stream
        self._end = 0

    @property
    def end_s(self) -> float:
        """The seconds of audio so far."""
        return self._end / self._rate

    @property
    def start_s(self) -> float:
        """The start of the kept audio."""
        return self._first / self._rate

    def seconds(self, sound_bytes: int) -> float:
        """Return the length of a number of bytes, in seconds."""
        return sound_bytes / self._rate

    def push(self, sound: bytes) -> None:
        """Add a chunk of 16-bit audio; above the limit, the oldest chunks are dropped."""
        self._chunks.append(sound)
        self._end += len(sound)
        while self._end - self._first > self._kept_bytes and len(self._chunks) > 1:
            self._first += len(self._chunks.popleft())

    def forget(self, before_s: float) -> None:
        """Drop the audio before a moment, in whole chunks."""
        before = int(before_s * self._rate)
        while self._chunks and self._first + len(self._chunks[0]) <= before:
            self._first += len(self._chunks.popleft())

    def since(self, from_s: float) -> tuple[bytes, ...]:
        """Return the chunks from a moment on; the first is cut at a whole 16-bit sample."""
        skip = max(0, int(from_s * self._rate) - self._first) & ~1  # even: samples have 2 bytes
        kept: list[bytes] = []
        for chunk in self._chunks:
            if skip < len(chunk):
                kept.append(chunk[skip:])
            skip = max(0, skip - len(chunk))
        return tuple(kept)

    def onset_s(self, from_s: float, noticed_s: float) -> float:
        """Return a moment shortly before the first loud chunk from `from_s` to `noticed_s`.

        Some recognisers process audio hardly faster than real time, so silence at the beginning
        would delay them by its whole length.
        """
        loud = LOUD * max(map(_peak_of, self.since(noticed_s)[:JUDGED_CHUNKS]), default=0)
        at_s = from_s
        for chunk in self.since(from_s):
            if at_s >= noticed_s or _peak_of(chunk) > loud:
                break
            at_s += self.seconds(len(chunk))
        return max(from_s, min(at_s, noticed_s) - SOFT_S)


def _peak_of(sound: bytes) -> int:
    """Return the loudest absolute sample of 16-bit audio; 0 without samples."""
    whole = memoryview(sound[: len(sound) // 2 * 2]).cast("h")  # samples of 2 bytes
    return max(map(abs, whole), default=0)


def replay_from_s(speech_began_s: float, ring_start_s: float) -> float:
    """Return where a replay begins, given when speech was first noticed."""
    return max(ring_start_s, speech_began_s - BEFORE_S)


class Transcripts:
    """The delivered transcripts of the current utterance, so that nothing is delivered twice.

    Attributes:
        guess: The latest interim result; `None` after a final result with words.
    """

    def __init__(self) -> None:
        self._attempt: int | None = None
        self._delivered: list[HeardWord] = []
        # Words before this time of the stream were delivered; `None` if words without times were.
        self._until_s: float | None = 0.0
        self._repeatable: list[str] = []  # delivered words that the current attempt may repeat
        # The letters of its last final result without times, and when that came.
        self._last_final: tuple[str, tuple[float, ...]] = ("", ())
        self._pending = 0  # how often the caller has begun to speak, without such a result since
        self._replayed = False  # the current attempt got audio again, faster than it was said
        self.guess: Heard | None = None

    @property
    def text(self) -> str:
        """The delivered text of this utterance."""
        return " ".join(heard_word.text for heard_word in self._delivered)

    @property
    def again_from_s(self) -> float:
        """Where in the stream the next recogniser may start; 0 for the whole utterance.

        A recogniser processes audio hardly faster than real time. If it also got the delivered
        part, its last words would come after the end of the turn. It starts with a whole word,
        because half a word may be transcribed as another one.
        """
        if self._until_s is None:
            return 0.0
        before_s = self._until_s - BEFORE_S
        starts = (
            heard_word.start_s for heard_word in self._delivered if heard_word.start_s <= before_s
        )
        return max(starts, default=0.0)

    def start_utterance(self, *, final_pending: bool = False) -> None:
        """Start another utterance, with the same recogniser.

        Args:
            final_pending: Whether the final result of a delivered guess may still arrive. It may
                also begin with that, and go on with words of this utterance.
        """
        self._delivered, self.guess, self._pending = [], None, 1 + final_pending
        self._repeatable = self._repeatable if final_pending else []
        self._until_s = self._until_s or 0.0

    def go_on(self) -> None:
        """Record that the caller speaks again in the same utterance, after a pause."""
        self._pending += 1

    def use_recogniser(self, attempt: int, *, replayed: bool, from_s: float = 0.0) -> None:
        """Switch to the results of another recogniser, in the middle of an utterance or between.

        The delivered words and the guess are kept. Later results of the previous recogniser are
        ignored. The new one may repeat delivered words if audio was replayed to it; they are
        dropped once. Only words that end after `from_s` count as repeatable, and delivered words
        without times always do.

        Args:
            attempt: The attempt whose words are delivered from now on.
            replayed: Whether it got audio that another recogniser had already transcribed.
            from_s: Where its audio begins, in seconds of the stream; unused unless `replayed`.
        """
        self._attempt, self._replayed, self._last_final = attempt, replayed, ("", ())
        words = (heard_word for heard_word in self._delivered if heard_word.end_s > from_s)
        if replayed or self._delivered:  # otherwise it may repeat the last utterance's guess
            self._repeatable = [heard_word.text for heard_word in words] if replayed else []

    def deliver(
        self,
        attempt: int,
        text: str,
        *,
        words: Sequence[HeardWord] = (),
        came_at: tuple[float, ...] = (),
    ) -> str:
        """Record a final transcript as delivered, and return its new part.

        The new part is empty if the attempt is not the current one, or if all words were delivered.
        Words with times are compared by time, others by text. Of the same result twice at once,
        the second is dropped.

        Args:
            attempt: The attempt that it is from.
            text: Its text.
            words: Its words, if they have times.
            came_at: When it came, on each clock that can tell two results apart; empty if it is not
                a result.
        """
        if attempt != self._attempt:
            return ""
        if words and self._until_s is not None:
            new = self._new_by_time(words, self._until_s)
        elif came_at and self._was_sent_twice(text, came_at):
            return ""
        else:
            new_words = self._new_by_words(text.split())
            new = [HeardWord(text=item, start_s=math.inf, end_s=math.inf) for item in new_words]
            self._until_s = None if new else self._until_s
        self._delivered += new
        return " ".join(heard_word.text for heard_word in new)

    def deliver_guess(self) -> str:
        """Record the guess as delivered, in place of a final; return its new part or ""."""
        guess, self.guess, attempt = self.guess, None, self._attempt
        if guess is None or attempt is None:
            return ""
        if not self._delivered:  # without final results, the same words were said again
            self._repeatable = []
        new_text = self.deliver(attempt, guess.text, words=guess.words)
        self._repeatable = guess.text.split()  # the final result may still arrive
        return new_text

    def _was_sent_twice(self, text: str, came_at: tuple[float, ...]) -> bool:
        """Return whether a final result without times repeats the last one; remember it.

        After a stall or a replay, the results of several utterances come at once. These may be
        alike, and no word may be lost.
        """
        (last, last_at), letters = self._last_final, letters_of(text)
        self._last_final = letters, came_at
        several, self._pending = self._pending > 0, max(0, self._pending - 1)
        at_once = all(at - before < TWICE_S for at, before in zip(came_at, last_at, strict=False))
        return letters == last and at_once and not (several or self._replayed)

    def _new_by_time(self, words: Sequence[HeardWord], until_s: float) -> list[HeardWord]:
        """Return the words that are mostly after `until_s`, and remember where they end."""
        new = [word for word in words if (word.start_s + word.end_s) / 2 >= until_s]
        self._until_s = max([until_s, *[heard_word.end_s for heard_word in new]])
        return new

    def _new_by_words(self, words: list[str]) -> list[str]:
        """Return the words after those that repeat delivered ones, which are used up."""
        used, skipped = matched(self._repeatable, words)
        self._repeatable = self._repeatable[used:]
        return words[skipped:]


def matched(old: Sequence[str], heard: Sequence[str]) -> tuple[int, int]:
    """Return how many first words of `old` are repeated, and by how many first words of `heard`.

    Two recognisers rarely agree word by word. So this is the cheapest alignment that uses up one of
    the two. If even this one differs too much, nothing was repeated: (0, 0).
    """
    left, right = [letters_of(word) for word in old], [letters_of(word) for word in heard]
    row = list(range(len(right) + 1))
    edge: list[tuple[int, int, int]] = []
    for used, word in enumerate(left, start=1):
        previous_row, row = row, [used]
        for at, other in enumerate(right, start=1):
            same = previous_row[at - 1] + (word != other)
            row.append(min(same, previous_row[at] + 1, row[-1] + 1))
        edge.append((row[-1], used, len(right)))
    edge += [(cost, len(left), at) for at, cost in enumerate(row)]
    cost, used, skipped = min(edge, key=lambda cut: (cut[0] / max(cut[1], cut[2], 1), -cut[2]))
    return (used, skipped) if cost <= MAX_DIFFERENCE * max(used, skipped) else (0, 0)
