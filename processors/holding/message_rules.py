"""A message that the caller leaves: taken off the line, bounded, not lost by hanging up."""

from typing import Final

SAMPLE_BYTES: Final = 2
LIMIT_S: Final = 120.0  # chosen: what people say to a machine is far shorter
QUIET_S: Final = 3.5  # of silence that ends a message; 4 s are the longest silence of a call
OVER_TONE_S: Final = 0.5  # so long into a message, a voice is no end of what came before it


class CallerMessage:
    """Keeps the caller's sound from a moment on, until it is over.

    Moments are monotonic, in seconds.
    """

    def __init__(self, *, begins_at: float, rate_hz: int, limit_s: float = LIMIT_S) -> None:
        self.rate_hz = rate_hz
        self.spoken = False
        """Whether a voice was heard in it."""
        self._begins_at = begins_at
        self._ends_at = begins_at + limit_s
        self._room = round(limit_s * rate_hz) * SAMPLE_BYTES
        self._quiet_since: float | None = begins_at
        self._pcm = bytearray()
        self._finished = False

    @property
    def pcm(self) -> bytes:
        """What was recorded: 16-bit mono."""
        return bytes(self._pcm)

    @property
    def length_s(self) -> float:
        """How long it is."""
        return len(self._pcm) / SAMPLE_BYTES / self.rate_hz

    @property
    def over_at(self) -> float:
        """When it will be over, as things stand."""
        quiet_at = self._ends_at if self._quiet_since is None else self._quiet_since + QUIET_S
        return min(self._ends_at, quiet_at)

    def over(self, now: float) -> bool:
        """Say whether it is complete."""
        return self._finished or now >= self.over_at

    def sound(self, pcm: bytes, now: float) -> bytes:
        """Record a piece of the caller's sound; return as much of it as is in the message."""
        if now < self._begins_at or self.over(now):
            return b""
        # Who spoke into the tone and speaks on leaves a message all the same: it began but once.
        over_tone = self._quiet_since is None and now >= self._begins_at + OVER_TONE_S
        self.spoken = self.spoken or over_tone
        taken = pcm[: self._room - len(self._pcm)]
        self._pcm += taken
        return taken

    def voice(self, now: float, *, speaking: bool) -> None:
        """Note that the caller began or ceased to speak."""
        self.spoken = self.spoken or (speaking and now >= self._begins_at)
        self._quiet_since = None if speaking else max(now, self._begins_at)

    def key(self, now: float) -> None:
        """Finish: the caller pressed a key."""
        self._finished = self._finished or now >= self._begins_at
