"""The audio of a telephone: what it plays, what is said into it, and the echo of its line."""

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Final

import numpy as np

from lab.simulators.carrier.sound_code import MULAW_CODE, SoundCode
from lab.simulators.mulaw import Pcm

AUDIBLE: Final = 200  # of 32768, about -44 dBFS: line noise is below it
LINE_CHECK_S: Final = 0.02
PAUSE_S: Final = 0.3  # a shorter pause belongs to the speech around it


@dataclass(slots=True)
class Burst:
    """A span of audible sound, in samples from the start of the call."""

    start: int
    end: int


class CarrierEar:
    """Plays what arrives, and records when every sample was heard.

    Audio that arrives while the queue is empty is played at once, otherwise after the queue. All
    times are seconds from the start of the call.
    """

    def __init__(self, code: SoundCode = MULAW_CODE) -> None:
        """Play sound in a carrier's code."""
        self.code = code
        self.bursts: list[Burst] = []
        self._pieces: deque[tuple[int, bytes]] = deque()  # first sample, encoded audio
        self._dry_at = 0  # the sample at which the queue will be empty
        self._marks: deque[tuple[int, str]] = deque()

    def hear(self, payload: bytes, at_s: float) -> None:
        """Queue audio that arrived at `at_s`, and add the audible part of it to `bursts`."""
        start = max(self._dry_at, round(at_s * self.code.rate_hz))
        self._pieces.append((start, payload))
        samples = self.code.decode(payload)
        self._dry_at = start + samples.size
        loud = np.flatnonzero(np.abs(samples.astype(np.int32)) > AUDIBLE)
        if loud.size:
            self._add_speech_span(start + int(loud[0]), start + int(loud[-1]) + 1)

    def _add_speech_span(self, start: int, end: int) -> None:
        """Add a span of speech, in samples; join it to the last burst after less than `PAUSE_S`."""
        if self.bursts and start - self.bursts[-1].end < PAUSE_S * self.code.rate_hz:
            self.bursts[-1].end = end
        else:
            self.bursts.append(Burst(start, end))

    def mark(self, name: str) -> None:
        """Set a mark, which is due when the audio that is queued now has been played."""
        self._marks.append((self._dry_at, name))

    def take_due_marks(self, at_s: float) -> list[str]:
        """Remove and return the marks whose audio has been played by `at_s`."""
        now = round(at_s * self.code.rate_hz)
        names: list[str] = []
        while self._marks and self._marks[0][0] <= now:
            names.append(self._marks.popleft()[1])
        return names

    def clear(self, at_s: float) -> list[str]:
        """Drop what was not played by `at_s`; remove and return all marks."""
        now = round(at_s * self.code.rate_hz)
        while self._pieces and self._pieces[-1][0] >= now:
            self._pieces.pop()
        if self._pieces:
            start, payload = self._pieces.pop()
            self._pieces.append((start, payload[: (now - start) * self.code.sample_bytes]))
        self._dry_at = min(self._dry_at, now)
        while self.bursts and self.bursts[-1].start >= now:
            self.bursts.pop()
        if self.bursts:
            self.bursts[-1].end = min(self.bursts[-1].end, now)
        names = [name for _, name in self._marks]
        self._marks.clear()
        return names

    def audio_between(self, start: int, end: int) -> Pcm:
        """Return the audio from one sample to another, with silence where nothing was played."""
        heard = np.zeros(end - start, dtype=np.int16)
        for first, payload in reversed(self._pieces):
            piece = self.code.decode(payload)
            if first + len(piece) <= start:
                break
            if first < end:
                piece = piece[max(0, start - first) : end - first]
                heard[max(0, first - start) :][: len(piece)] = piece
        return heard

    def has_spoken(self, since: int, now_s: float, *, quiet_s: float) -> bool:
        """Return whether sound was played after sample `since`, and then none for `quiet_s`."""
        if not self.bursts or self.bursts[-1].end <= since:
            return False
        return now_s - self.bursts[-1].end / self.code.rate_hz >= quiet_s

    def recording(self, until_s: float) -> Pcm:
        """Return everything heard from the start of the call until `until_s`, with silence."""
        heard = np.zeros(max(0, round(until_s * self.code.rate_hz)), dtype=np.int16)
        for start, payload in self._pieces:
            piece = self.code.decode(payload)[: max(0, len(heard) - start)]
            heard[start : start + len(piece)] = piece
        return heard


class CarrierMouth:
    """The speech that a telephone still has to send.

    Attributes:
        silent: Set while no speech is pending.
    """

    def __init__(self, code: SoundCode = MULAW_CODE, *, tick_s: float = 0.02) -> None:
        """Send in a carrier's code."""
        self.silent = asyncio.Event()
        self.silent.set()
        self._code = code
        self._piece = round(tick_s * code.rate_hz)  # samples
        self._speech = bytearray()

    def begin(self, pcm: Pcm) -> None:
        """Queue sound of the code's rate."""
        self._speech += self._code.encode(pcm)
        self.silent.clear()

    def next_payload(self, echo: Pcm | None = None) -> bytes:
        """Return the payload of the next tick's media message, with an echo mixed in.

        Takes the next piece of the speech; sets `silent` at the first tick without speech.
        """
        payload = self._next_speech()
        if echo is None or not echo.any():
            return payload
        mixed = self._code.decode(payload).astype(np.int32) + echo
        return self._code.encode(mixed.clip(-32768, 32767).astype(np.int16))

    def _next_speech(self) -> bytes:
        """Return a tick's speech, filled up with silence; set `silent` if there is none."""
        size = self._piece * self._code.sample_bytes
        if not self._speech:
            self.silent.set()
            return self._code.silence * self._piece
        piece = bytes(self._speech[:size])
        del self._speech[:size]
        missing = (size - len(piece)) // self._code.sample_bytes
        return piece + self._code.silence * missing


@dataclass(frozen=True, slots=True, kw_only=True)
class LineEcho:
    """The agent's audio in the caller's, as from a loudspeaker or a bad hybrid."""

    delay_s: float = 0.3  # over a mobile network
    level_db: float = -24.0

    def audio_in_tick(self, ear: CarrierEar, ticks: int, tick_s: float) -> Pcm:
        """Return what is heard of the agent's audio in one tick: later by `delay_s`, and quieter.

        Args:
            ear: Holds the agent's audio since the start of the call.
            ticks: The number of the tick, from 0.
            tick_s: How long a tick lasts.
        """
        rate_hz = ear.code.rate_hz
        size = round(tick_s * rate_hz)
        start = ticks * size - round(self.delay_s * rate_hz)
        factor = 10 ** (self.level_db / 20)
        return (ear.audio_between(start, start + size) * factor).astype(np.int16)


class Handset:
    """A caller's telephone during one call: what the person says and hears.

    Attributes:
        ear: What it plays.
        echo: The line's echo of the agent's audio; `None` without one.
        started_at: When the call was connected, on the loop's clock.
        ended: Set when the call is over.
        ended_by: `agent` or `caller`, once it is over.
        ended_s: When that was, in seconds of the call.
    """

    ended_by = ""
    ended_s: float | None = None
    echo: LineEcho | None = None

    def __init__(self, code: SoundCode, *, tick_s: float) -> None:
        """Use audio in a carrier's code, in pieces of `tick_s`."""
        self.ear = CarrierEar(code)
        self.started_at = 0.0
        self.ended = asyncio.Event()
        self._mouth = CarrierMouth(code, tick_s=tick_s)
        self._tick_s = tick_s

    @property
    def now_s(self) -> float:
        """Seconds since the call was connected."""
        return asyncio.get_running_loop().time() - self.started_at

    @property
    def rate_hz(self) -> int:
        """The rate of all sound."""
        return self.ear.code.rate_hz

    @property
    def over(self) -> bool:
        """Whether the call is over."""
        return self.ended.is_set()

    def bursts(self) -> list[tuple[float, float]]:
        """Return the spans in which the agent was heard, in seconds from the start of the call."""
        return [(burst.start / self.rate_hz, burst.end / self.rate_hz) for burst in self.ear.bursts]

    @property
    def heard_at(self) -> list[float]:
        """The starts of the agent's speech, in seconds from the start of the call."""
        return [burst.start / self.rate_hz for burst in self.ear.bursts]

    def heard(self) -> Pcm:
        """Return everything the caller has heard, at `rate_hz`, from the start of the call."""
        return self.ear.recording(self.now_s if self.ended_s is None else self.ended_s)

    def begin(self, pcm: Pcm) -> None:
        """Queue sound of `rate_hz`; it starts at once if nothing is being said."""
        self._mouth.begin(pcm)

    async def say(self, pcm: Pcm) -> float:
        """Say sound of `rate_hz` after what is being said.

        Returns:
            The time when all of it has left, or the call has ended, in seconds of the call.
        """
        self.begin(pcm)
        await self._mouth.silent.wait()
        return self.now_s

    async def listen(self, *, quiet_s: float = 0.8, within_s: float = 10.0) -> Pcm:
        """Wait until the agent has spoken and been quiet for `quiet_s`; return what was heard.

        Raises:
            TimeoutError: This did not happen within `within_s`.
            ConnectionError: The call ended first.
        """
        since = round(self.now_s * self.rate_hz)
        async with asyncio.timeout(within_s):
            while True:
                if self.ear.has_spoken(since, self.now_s, quiet_s=quiet_s):
                    return self.heard()[since:]
                if self.ended.is_set():
                    raise ConnectionError(f"the call was ended by the {self.ended_by}")
                await asyncio.sleep(LINE_CHECK_S)

    def _end_call(self, by: str) -> None:
        """End the call, unless it is over: drop queued sound, and wake up `say` and `listen`."""
        if not self.ended.is_set():
            self.ended_by, self.ended_s = by, self.now_s
            self.ear.clear(self.now_s)  # queued sound is never heard
            self.ended.set()
            self._mouth.silent.set()

    def _next_sound(self, ticks: int) -> bytes:
        """Return a tick's sound, with the line's echo in it."""
        echo = self.echo and self.echo.audio_in_tick(self.ear, ticks, self._tick_s)
        return self._mouth.next_payload(echo)
