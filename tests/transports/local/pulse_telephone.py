"""The drill's telephone for `holdline mic`, which runs between two PulseAudio sinks.

Mouth and ear are recorded in the same way, so that both recordings have the recorder's delay.
"""

import asyncio
import signal
import statistics
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np
import soxr
from numpy.typing import NDArray

from lab.drill.sound import RATE_HZ, join_spans, stretches
from runtime import clock
from tests.transports.local import pulse

Pcm = NDArray[np.int16]

ROOT: Final = Path(__file__).resolve().parents[3]
PAUSE_S: Final = 0.3  # a shorter pause belongs to the speech around it, as in the carrier's ear
PIECE_BYTES: Final = pulse.RATE_HZ // 50 * 2
FORMAT: Final = ("--format=s16le", f"--rate={pulse.RATE_HZ}", "--channels=1", "--raw")
QUICKLY: Final = "--latency-msec=20"
LEFT_S: Final = 30.0  # a guard
RINGS_S: Final = 60.0  # a guard: a busy machine takes long to load what listens and speaks
FAINT: Final = 100  # of 32768: resampling leaves less of silence
END_S: Final = 20.0  # for a goodbye
TONE_S: Final = 0.2
REST_S: Final = 0.8
TONES: Final = 5
SETTLED_S: Final = 3.0  # until the mirror has begun


class RecordedSink:
    """The sound played on a sink, at the telephone's rate, and when it was played."""

    def __init__(self, name: str, card: Mapping[str, str]) -> None:
        self._name, self._card = name, card
        self._narrow = soxr.ResampleStream(pulse.RATE_HZ, RATE_HZ, 1, dtype="int16")
        self._pieces: list[Pcm] = []
        self._size = 0  # samples taken, at PulseAudio's rate
        self.started_at = float("inf")  # the earliest that any piece allows
        self.flows = asyncio.Event()

    async def record(self) -> None:
        """Record until it is cancelled."""
        program = await asyncio.create_subprocess_exec(
            *("parec", "-d", f"{self._name}.monitor", *FORMAT, QUICKLY),
            env=self._card,
            stdout=asyncio.subprocess.PIPE,
        )
        assert program.stdout
        try:
            while True:
                self._take(await program.stdout.readexactly(PIECE_BYTES))
        finally:
            program.terminate()
            await program.wait()

    def heard(self) -> Pcm:
        """Return everything so far."""
        return np.concatenate([np.zeros(0, np.int16), *self._pieces])

    async def more(self) -> None:
        """Wait for the next piece."""
        self.flows.clear()
        await self.flows.wait()

    def onsets_s(self) -> list[float]:
        """Return when each sound began, on the monotonic clock."""
        spans = join_spans(stretches(self.heard()), within_s=PAUSE_S)
        return [self.started_at + begin for begin, _ in spans]

    def _take(self, piece: bytes) -> None:
        samples = np.frombuffer(piece, "<i2")
        self._size += samples.size
        self._pieces.append(self._narrow.resample_chunk(samples))
        # Late reading does not make the sound late.
        self.started_at = min(self.started_at, clock.monotonic() - self._size / pulse.RATE_HZ)
        self.flows.set()


class SoundCardTelephone:
    """A person at this machine; seconds are the call's, from the first sample heard on."""

    def __init__(self, config: Path, keys: Mapping[str, str], folder: Path) -> None:
        """Create a telephone; entering it starts the agent.

        Args:
            config: The agent's configuration, for `holdline mic`.
            keys: Environment variables for the configuration.
            folder: For PulseAudio's files; must exist.
        """
        self._config, self._keys, self._folder = config, keys, folder
        self._stack = AsyncExitStack()
        self._card: Mapping[str, str] = {}
        self._process: asyncio.subprocess.Process | None = None
        self._ear = self._mouth = RecordedSink("", {})

    async def __aenter__(self) -> Self:
        """Start the agent, and wait until it has begun to speak."""
        async with AsyncExitStack() as stack:
            self._card = stack.enter_context(pulse.sound_card(self._folder))
            self._ear, self._mouth = (
                RecordedSink(name, self._card) for name in ("agent", "caller")
            )
            tasks = await stack.enter_async_context(asyncio.TaskGroup())
            for item in (self._ear, self._mouth):
                stack.callback(tasks.create_task(item.record()).cancel)
                await item.flows.wait()
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "bot", "mic", "--headphones", "--config", self._config),
                env={**self._card, **self._keys},
                cwd=ROOT,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
            )
            async with asyncio.timeout(RINGS_S):
                while not self.bursts() and not self.over:
                    await self._ear.more()
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Hang up."""
        assert self._process
        if not self.over:
            self._process.send_signal(signal.SIGINT)
        async with asyncio.timeout(END_S):
            await self._process.wait()
        await self._stack.__aexit__(kind, error, trace)

    @property
    def started_at(self) -> float:
        """When the first sample was heard, on the monotonic clock."""
        return self._ear.started_at

    @property
    def now_s(self) -> float:
        """Seconds since `started_at`."""
        return clock.monotonic() - self.started_at

    @property
    def over(self) -> bool:
        """Whether the agent has ended the call."""
        return self._process is not None and self._process.returncode is not None

    def heard(self) -> Pcm:
        """Return what was heard so far."""
        return self._ear.heard()

    def bursts(self) -> list[tuple[float, float]]:
        """Return the spans in which the agent was heard, in seconds."""
        return join_spans(stretches(self.heard()), within_s=PAUSE_S)

    async def say(self, samples: Pcm) -> float:
        """Say 8000 Hz sound; return when its last sample has left."""
        before = self._mouth.heard().size
        wide = soxr.resample(samples.astype(np.float32), RATE_HZ, pulse.RATE_HZ).astype("<i2")
        program = await asyncio.create_subprocess_exec(
            *("paplay", "-d", "caller", *FORMAT, QUICKLY),
            env=self._card,
            stdin=asyncio.subprocess.PIPE,
        )
        await program.communicate(wide.tobytes())
        last = int(np.flatnonzero(np.abs(samples) > FAINT)[-1])
        async with asyncio.timeout(LEFT_S):
            while (at := self._begun(before)) is None or self._mouth.heard().size < at + last:
                await self._mouth.more()
        first = int(np.flatnonzero(np.abs(samples) > FAINT)[0])
        left_s = (at - first + samples.size) / RATE_HZ
        return self._mouth.started_at + left_s - self.started_at

    def _begun(self, since: int) -> int | None:
        loud = np.flatnonzero(np.abs(self._mouth.heard()[since:]) > FAINT)
        return since + int(loud[0]) if loud.size else None


async def measure_card(folder: Path) -> float:
    """Return the delay of a tone from mouth to ear through an echo on the sound card."""
    sound = pulse.tone(600, TONE_S)
    place = folder / "mirror"
    await asyncio.to_thread(place.mkdir, parents=True)
    with pulse.sound_card(place) as card:
        ear, mouth = (RecordedSink(name, card) for name in ("agent", "caller"))
        mirror = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.transports.local.pulse_mirror"),
            env=dict(card),
            cwd=ROOT,
            stderr=asyncio.subprocess.DEVNULL,
        )
        async with asyncio.TaskGroup() as tasks:
            recording = [tasks.create_task(item.record()) for item in (ear, mouth)]
            await asyncio.sleep(SETTLED_S)
            for _ in range(TONES):
                await asyncio.to_thread(pulse.speak, card, sound)
                await asyncio.sleep(REST_S)
            for item in recording:
                item.cancel()
        mirror.terminate()
        await mirror.wait()
    heard, said = (item.onsets_s() for item in (ear, mouth))
    return statistics.median(b - a for a, b in zip(said, heard, strict=True))
