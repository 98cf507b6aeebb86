"""The sound of an utterance on its way to the caller's line: what has come, and what may go.

The sound that has come plays on whatever happens to the voice it came from. While another voice is
asked for the rest, nothing goes out beyond the words that the first one has surely spoken: the
other one says the next of them again.
"""

from collections.abc import Sequence
from typing import Final, Protocol

from fallbacks.ledger import LEAD_S, SpeechLedger
from fallbacks.speaking import PlaySound, PlayWord, SoundCame, WordTimed

SAMPLE_BYTES: Final = 2
DRAIN_S: Final = 0.01  # past the moment at which the ledger lets half words go


class OutgoingLine(Protocol):
    """The caller's line: it plays without a gap what it has."""

    dry_at: float

    def queued_s(self, now: float) -> float:
        """Return the seconds of sound that are still to be played."""
        ...

    def add(self, length_s: float, now: float) -> None:
        """Note that so much sound was let go to the line."""
        ...


class SoundOutlet:
    """Holds the sound of the voice in charge, and lets go what is safe.

    Attributes:
        ledger: What of the utterance has come, by its words.
        said: How many words were let go.
        holding: Whether the rest is asked of another voice.
    """

    def __init__(self, line: OutgoingLine, *, rate_hz: int) -> None:
        self.ledger = SpeechLedger()
        self.said = 0
        self._line = line
        self._rate_hz = rate_hz
        self._pcm = bytearray()  # arrived, not let go
        self._released = 0  # samples
        self._hold_s: float | None = None

    @property
    def holding(self) -> bool:
        """Whether nothing may go out but what is sure, because the rest is asked elsewhere."""
        return self._hold_s is not None

    @property
    def drained_at(self) -> float | None:
        """When the line is so empty that half words are better than nothing."""
        if not self._pcm or self.holding:
            return None
        return self._line.dry_at - LEAD_S + DRAIN_S

    def add(self, came: SoundCame | WordTimed) -> None:
        """Add what came of the voice in charge."""
        if isinstance(came, WordTimed):
            self.ledger.word(came.attempt, came.text, start_s=came.start_s, end_s=came.end_s)
        else:
            self.ledger.audio(came.attempt, len(came.pcm) / SAMPLE_BYTES / self._rate_hz)
            self._pcm += came.pcm

    def hold(self) -> None:
        """Let nothing go beyond what has surely come."""
        self._hold_s = self.ledger.keep_s

    def unhold(self) -> None:
        """Let go as usual: the voice in charge goes on."""
        self._hold_s = None

    def switch_voice(
        self, attempt: int, held: Sequence[SoundCame | WordTimed], *, timed: bool
    ) -> None:
        """Put another voice in charge of the rest; what is not sure of the last one is dropped.

        Args:
            attempt: Its attempt.
            held: What it has sent already.
            timed: Whether it says when each word is spoken.
        """
        kept = round(self.ledger.keep_s * self._rate_hz) - self._released
        del self._pcm[SAMPLE_BYTES * max(0, kept) :]
        self.ledger.begin(attempt, timed=timed)
        self.unhold()
        for came in held:
            self.add(came)

    def release(self, now: float) -> list[PlaySound | PlayWord]:
        """Let go what may go now: each word behind the sound in which it is spoken."""
        if self._hold_s is None:
            return self._release_until(self.ledger.let_go_s(self._line.queued_s(now)), now)
        return self._release_until(self._hold_s, now)

    def release_last(self, now: float) -> list[PlaySound | PlayWord]:
        """Let go all that has come whole: nothing more will."""
        released = self._release_until(self.ledger.keep_s, now)
        words = self.ledger.words.joined().split()
        upto = len(words) - len(self.ledger.rest.split())
        return [*released, *(PlayWord(word=word) for word in words[self.said : upto])]

    def _release_until(self, until_s: float, now: float) -> list[PlaySound | PlayWord]:
        released: list[PlaySound | PlayWord] = []
        while (heard := self.ledger.words.heard_at(self.said)) and heard[1] <= until_s:
            released += self._release_sound(heard[1], now)
            released.append(PlayWord(word=heard[0]))
            self.said += 1
        released += self._release_sound(until_s, now)
        self.ledger.released_s = self._released / self._rate_hz
        return released

    def _release_sound(self, until_s: float, now: float) -> list[PlaySound]:
        there = len(self._pcm) // SAMPLE_BYTES
        samples = min(round(until_s * self._rate_hz) - self._released, there)
        if until_s >= self.ledger.received_s:  # seconds are not samples: leave no odd one behind
            samples = there
        if samples <= 0:
            return []
        pcm = bytes(self._pcm[: SAMPLE_BYTES * samples])
        del self._pcm[: SAMPLE_BYTES * samples]
        self._released += samples
        self._line.add(samples / self._rate_hz, now)
        return [PlaySound(pcm=pcm)]
