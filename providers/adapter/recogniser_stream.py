"""One stream of a recogniser: what was sent and asked for, and which results answer that."""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import soxr

from calls.transcript import HeardWord

HEARS_S: Final = 2.5  # after its last word, until which it counts as listening (chosen)
SIGN_S: Final = 0.5  # between two reports of messages without words (chosen)
AHEAD_S: Final = 1.0  # the most that a word may end after the audio sent (chosen)
BACK_S: Final = 0.5  # the most that a word may overlap the previous one (chosen)


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalAnswer:
    """What a final result says about the audio.

    Attributes:
        late: Whether it belongs to audio that the stage no longer wants.
        complete: Whether it answers the latest request.
        end_s: The end of the audio that it covers, if it answers a request.
    """

    late: bool = False
    complete: bool = False
    end_s: float | None = None


class RecogniserStream:
    """What was sent on a connection, and the requests to finish that are still unanswered.

    Attributes:
        sent_s: Seconds of audio on this connection.
        base_s: Those that were sent before the service itself opened its present socket.
        flowing: Whether a result with words has arrived.
        open_words: Whether interim words are newer than the last final ones.
    """

    def __init__(self, *, counts: bool) -> None:
        """Begin a stream; `counts`: each request is answered by exactly one final result."""
        self.sent_s = self.base_s = 0.0
        self.flowing = self.open_words = False
        self._counts = counts
        self._asked: deque[float] = deque()  # the audio sent before each unanswered request
        self._late = 0  # how many of these are no longer wanted; they come first
        self._cancelled = False  # the last request was, and no audio was sent since
        self._heard_at = self._signed_at = -math.inf

    @property
    def asked(self) -> bool:
        """Whether a request is unanswered."""
        return bool(self._asked)

    def send(self, seconds: float) -> None:
        """Record that audio was sent."""
        self.sent_s += seconds
        self._cancelled = False

    def note_request(self, *, cancelled: bool = False) -> None:
        """Record a request to finish; `cancelled` means that its result is not wanted."""
        self._asked.append(self.sent_s)
        self._cancelled = cancelled

    def note_utterance(self) -> None:
        """Record that the caller speaks; requests of earlier utterances are no longer of use.

        A service that answers each request still answers them after a cancellation: these results
        count as late.
        """
        if self._cancelled and self._counts:
            self._late = len(self._asked)
        if not self._counts:
            self._asked.clear()
        self._cancelled, self._heard_at = False, -math.inf

    def finish(self, *, answers: bool) -> FinalAnswer:
        """Record a final result; return what it says about the audio.

        If it may answer a request (`answers`), it answers the oldest one, or all of a service that
        does not answer each.
        """
        self.open_words = False
        if not answers or not self._asked:
            return FinalAnswer()
        late, self._late = self._late > 0, max(0, self._late - 1)
        end_s = self._asked.popleft() if self._counts else self._asked[-1]
        if not self._counts:
            self._asked.clear()
        return FinalAnswer(late=late, complete=not self._asked, end_s=end_s)

    def hears(self, now: float) -> None:
        """Record proof that it listens: words, or another sign that it heard speech."""
        self._heard_at = now

    def signs(self, now: float) -> bool:
        """Return whether to report a message without words: at most one in `SIGN_S`.

        `True` counts as reported.
        """
        due = now - self._signed_at >= SIGN_S
        self._signed_at = now if due else self._signed_at
        return due

    def may_settle(self, now: float) -> bool:
        """Return whether an unanswered request needs no answer: all words are final already.

        Without proof that it still listens, it may as well have become mute.
        """
        return self.asked and not self.open_words and now - self._heard_at <= HEARS_S


def wrong_times(words: Sequence[HeardWord], *, sent_s: float) -> bool:
    """Return whether word times are impossible: backwards, negative, or beyond the audio."""
    before_s = 0.0
    for word in words:
        if not before_s - BACK_S <= word.start_s <= word.end_s <= sent_s + AHEAD_S:
            return True
        before_s = word.start_s
    return False


class Resampler:
    """Converts one stream of 16-bit audio to another rate."""

    def __init__(self, to_hz: int) -> None:
        """Convert to `to_hz`."""
        self._to_hz = to_hz
        self._from_hz = 0
        self._stream: soxr.ResampleStream | None = None

    def take(self, sound: bytes, from_hz: int) -> bytes:
        """Return audio at the other rate; the last milliseconds are held back."""
        if from_hz == self._to_hz:
            return sound
        if self._stream is None or from_hz != self._from_hz:
            self._from_hz = from_hz
            self._stream = soxr.ResampleStream(from_hz, self._to_hz, 1, dtype="float32")
        whole = np.frombuffer(sound[: len(sound) & ~1], "<i2").astype(np.float32)  # whole samples
        return _as_bytes(self._stream.resample_chunk(whole))

    def drain(self) -> bytes:
        """Return what is held back, and empty it.

        The next `take` begins another stream.
        """
        stream, self._stream = self._stream, None
        if stream is None:
            return b""
        return _as_bytes(stream.resample_chunk(np.zeros(0, np.float32), last=True))


def _as_bytes(samples: "np.ndarray[tuple[int], np.dtype[np.float32]]") -> bytes:
    return samples.round().clip(-32768, 32767).astype("<i2").tobytes()
