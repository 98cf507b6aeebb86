"""Both sides of a call as one stereo recording: caller left, agent right, aligned in time.

The audio of each side arrives in pieces, with jitter. A piece directly follows the previous one,
unless there was a gap: then silence is inserted. The caller's audio cannot end later than now. If
it would, a piece was only delayed, and the silence inserted for it is removed again. Audio older
than `SETTLED_S` no longer changes.
"""

from typing import Final

from runtime.pcm import SAMPLE_BYTES

JITTER_S: Final = 0.1  # the longest gap between two pieces that is not silence (chosen)
SETTLED_S: Final = 6.0  # the longest delay of a piece: a line without audio for 5 s is lost


class Side:
    """One channel of the recording."""

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._sound = bytearray()  # the audio after the samples that were taken
        self._taken = 0  # the number of samples taken
        self._padding: list[tuple[int, int]] = []  # inserted silence: first sample, length

    def add(self, pcm: bytes, begins_s: float) -> None:
        """Add a piece that starts `begins_s` after the beginning of the recording.

        It is appended, after silence if more than `JITTER_S` is missing; half a sample is dropped.
        """
        whole = pcm[: len(pcm) - len(pcm) % SAMPLE_BYTES]
        missing_s = begins_s - self.length_s
        if missing_s > JITTER_S:
            self.pad(begins_s)
        self._sound += whole

    @property
    def length_s(self) -> float:
        """The length so far, in seconds."""
        return self._end_in_samples / self._rate_hz

    @property
    def waiting_bytes(self) -> int:
        """The size of the audio that was not taken yet."""
        return len(self._sound)

    def pad(self, until_s: float) -> None:
        """Append silence up to `until_s` of the recording; do nothing if it is as long already."""
        missing = self._samples_over(until_s)
        if missing < 0:
            self._padding.append((self._end_in_samples, -missing))
            self._sound += bytes(-missing * SAMPLE_BYTES)

    def take_back(self, until_s: float) -> None:
        """Remove inserted silence, the latest first, so that the channel ends at `until_s`.

        Audio is never removed, nor silence that `take` has returned: so the channel may stay
        longer.
        """
        excess = self._samples_over(until_s)
        while excess > 0 and self._padding:
            first, size = self._padding.pop()
            # Samples that were taken cannot be removed.
            first, size = max(first, self._taken), size - max(0, self._taken - first)
            removed = max(0, min(excess, size))
            start = (first - self._taken) * SAMPLE_BYTES
            del self._sound[start : start + removed * SAMPLE_BYTES]
            excess -= removed
            if removed < size:
                self._padding.append((first, size - removed))

    def take(self, samples: int) -> bytes:
        """Return the next samples, which must be available."""
        size = samples * SAMPLE_BYTES
        pcm = bytes(self._sound[:size])
        del self._sound[:size]
        self._taken += samples
        self._padding = [gap for gap in self._padding if sum(gap) > self._taken]
        return pcm

    @property
    def _end_in_samples(self) -> int:
        return self._taken + len(self._sound) // SAMPLE_BYTES

    def _samples_over(self, until_s: float) -> int:
        return self._end_in_samples - round(until_s * self._rate_hz)


class Stereo:
    """Joins both sides as they arrive, and returns the audio that no longer changes.

    `now` is monotonic, in seconds.
    """

    def __init__(self, rate_hz: int) -> None:
        """Create an empty recording, which begins with its first piece."""
        self.rate_hz = rate_hz
        self._caller, self._agent = Side(rate_hz), Side(rate_hz)
        self._began: float | None = None

    @property
    def waiting_bytes(self) -> int:
        """The size of the audio held."""
        return self._caller.waiting_bytes + self._agent.waiting_bytes

    def hear_caller(self, pcm: bytes, now: float) -> None:
        """Add a piece of the caller's audio that ends now."""
        length_s = len(pcm) / SAMPLE_BYTES / self.rate_hz
        self._caller.add(pcm, self._seconds_since_begin(now - length_s))
        self._caller.take_back(self._seconds_since_begin(now))

    def hear_agent(self, pcm: bytes, now: float) -> None:
        """Add a piece of the agent's audio that begins now.

        The agent's audio may end later than now, which the caller's may not.
        """
        self._agent.add(pcm, self._seconds_since_begin(now))

    def take(self, now: float) -> bytes:
        """Remove and return the next audio that no longer changes, as 16-bit stereo; maybe none.

        Call it regularly, because all audio since the last call is held in memory.
        """
        settled_s = self._seconds_since_begin(now) - SETTLED_S
        for side in (self._caller, self._agent):
            side.pad(settled_s)
        return self._take_interleaved()

    def take_all(self) -> bytes:
        """Remove and return the rest at the end of the call; the shorter side ends in silence."""
        length_s = max(self._caller.length_s, self._agent.length_s)
        for side in (self._caller, self._agent):
            side.pad(length_s)
        return self._take_interleaved()

    def _take_interleaved(self) -> bytes:
        """Remove the audio that both sides have, and return it as 16-bit stereo."""
        samples = min(self._caller.waiting_bytes, self._agent.waiting_bytes) // SAMPLE_BYTES
        return interleaved(self._caller.take(samples), self._agent.take(samples))

    def _seconds_since_begin(self, at: float) -> float:
        """Return the seconds since the recording began, at least 0; the first call begins it."""
        if self._began is None:
            self._began = at
        return max(0.0, at - self._began)


def interleaved(left: bytes, right: bytes) -> bytes:
    """Return two channels of equal length as interleaved stereo."""
    joined = bytearray(len(left) + len(right))
    for position, (channel, byte) in enumerate(((left, 0), (left, 1), (right, 0), (right, 1))):
        joined[position::4] = channel[byte::SAMPLE_BYTES]
    return bytes(joined)
