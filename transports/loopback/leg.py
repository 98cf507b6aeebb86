"""A line without a network: plays recorded audio into a call, and records what the caller hears."""

import asyncio
import itertools
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pipecat.frames.frames import (
    CancelFrame,
    EndFrame,
    InputAudioRawFrame,
    InterruptionFrame,
    OutputAudioRawFrame,
    StartFrame,
)
from pipecat.processors.frame_processor import FrameDirection
from pipecat.transports.base_input import BaseInputTransport
from pipecat.transports.base_transport import TransportParams

from transports.leg import Clock, Gone, LegFacts, PlainLeg
from transports.leg_output import LegOutput


class LoopbackLine:
    """The audio that the caller hears, sample by sample, from the moment the call is answered."""

    def __init__(self, *, sample_rate_hz: int, clock: Clock) -> None:
        self.sample_rate_hz = sample_rate_hz
        self.clock = clock
        self.started_at_s: float | None = None
        self.closed = False
        self.busy_until_s = 0.0  # the end of everything played so far
        self._pieces: list[tuple[int, NDArray[np.int16]]] = []

    def open(self) -> None:
        """Set the beginning of the recording."""
        self.started_at_s = self.clock()

    def play(self, at_s: float, samples: NDArray[np.int16]) -> None:
        """Store samples that the caller hears from `at_s` on; monotonic, in seconds."""
        start_s = at_s - (self.started_at_s if self.started_at_s is not None else at_s)
        self.busy_until_s = at_s + samples.size / self.sample_rate_hz
        self._pieces.append((max(0, round(start_s * self.sample_rate_hz)), samples))

    def heard(self) -> NDArray[np.int16]:
        """Return all audio that was heard as one recording, with silence in the gaps."""
        length = max((start + piece.size for start, piece in self._pieces), default=0)
        recording = np.zeros(length, dtype=np.int16)
        for start, piece in self._pieces:
            recording[start : start + piece.size] = piece
        return recording


class LoopbackMouth:
    """The audio that the caller still has to say, frame by frame."""

    def __init__(self, samples: NDArray[np.int16], *, step: int) -> None:
        self._step = step
        self._silence = np.zeros(step, dtype=np.int16)
        self._rest = samples
        self._said = asyncio.Event()
        self._shut = False
        self.silent_frames = 0  # since the last voiced frame

    def take(self, samples: NDArray[np.int16]) -> None:
        """Append samples, to be said after the pending ones."""
        self._rest = np.concatenate([self._rest, samples])
        self._said.clear()

    def next(self) -> NDArray[np.int16]:
        """Remove and return the next frame: audio, or silence if none is left.

        The first frame without audio shows that everything was said.
        """
        piece, self._rest = self._rest[: self._step], self._rest[self._step :]
        if piece.size:
            self.silent_frames = 0
        else:
            self.silent_frames += 1
            self._said.set()
        return np.concatenate([piece, self._silence[piece.size :]])

    def shut(self) -> None:
        """Record that the caller leaves: `wait_until_said` raises from now on."""
        self._shut = True
        self._said.set()

    async def wait_until_said(self) -> None:
        """Wait until everything was said.

        Raises:
            ConnectionError: The caller has left the line.
        """
        if not self._shut:
            await self._said.wait()
        if self._shut:
            raise ConnectionError("the caller has left the line")


FRAME_S: Final = 0.02


class LoopbackLeg(PlainLeg):
    """Plays a caller's recording into a call in real time, and records what the caller hears.

    With `say`, a test can let the caller react.

    Args:
        caller: 16-bit mono samples at `sample_rate_hz`; silence follows them.
        sample_rate_hz: 8000 or 16000.
        linger_s: How long the caller stays on the line after the last sample; may be infinite.
        content_s: The caller hangs up earlier if both have been silent for this long.
        clock: Monotonic, in seconds.
    """

    def __init__(
        self,
        caller: NDArray[np.int16],
        *,
        sample_rate_hz: int,
        linger_s: float,
        content_s: float = float("inf"),
        clock: Clock,
    ) -> None:
        self.facts = LegFacts(transport="loopback", sample_rate_hz=sample_rate_hz)
        self._gone: Gone | None = None
        params = TransportParams(
            audio_in_enabled=True,
            audio_out_enabled=True,
            audio_out_end_silence_secs=0,
            audio_out_10ms_chunks=2,
        )
        self.line = LoopbackLine(sample_rate_hz=sample_rate_hz, clock=clock)
        self._mouth = LoopbackMouth(caller, step=round(FRAME_S * sample_rate_hz))
        patience = (linger_s, min(linger_s, content_s))
        self._input = _Input(params, self._mouth, patience, self.line, self._hung_up)
        self._output = _Output(params, self.line)

    def input(self) -> BaseInputTransport:
        """Return the processor that receives the caller's audio."""
        return self._input

    def output(self) -> LegOutput:
        """Return the processor that records what the caller hears."""
        return self._output

    async def say(self, samples: NDArray[np.int16]) -> None:
        """Say samples as the caller, and wait until they were said.

        Args:
            samples: 16-bit mono at the leg's rate, spoken after the caller's pending words.

        Raises:
            ConnectionError: The caller left the line first.
        """
        self._mouth.take(samples)
        await self._mouth.wait_until_said()

    def on_gone(self, gone: Gone) -> None:
        """Call `gone` when the caller hangs up."""
        self._gone = gone

    async def hang_up(self, reason: str = "") -> None:
        """End the line; the caller says nothing more, and `on_gone` is not called."""
        self.line.closed = True

    async def _hung_up(self) -> None:
        """Call the listener of `on_gone`, at most once."""
        gone, self._gone = self._gone, None
        if gone:
            await gone("caller_hung_up")


class _Input(BaseInputTransport):
    def __init__(
        self,
        params: TransportParams,
        mouth: LoopbackMouth,
        patience: tuple[float, float],
        line: LoopbackLine,
        hung_up: Callable[[], Any],
    ) -> None:
        super().__init__(params)
        self._mouth = mouth
        self._linger_s, self._content_s = patience
        self._line = line
        self._hung_up = hung_up
        self._speaking: asyncio.Task[None] | None = None

    async def start(self, frame: StartFrame) -> None:
        """Open the line, whose recording begins now, and start the task that speaks."""
        await super().start(frame)
        await self.set_transport_ready(frame)
        self._line.open()
        self._speaking = self.create_task(self._push_in_real_time(), "the recorded caller speaks")

    async def stop(self, frame: EndFrame) -> None:
        """Stop speaking."""
        await self._stop_speaking()
        await super().stop(frame)

    async def cancel(self, frame: CancelFrame) -> None:
        """Stop speaking at once."""
        await self._stop_speaking()
        await super().cancel(frame)

    async def cleanup(self) -> None:
        """Stop the task."""
        await self._stop_speaking()
        await super().cleanup()

    async def _stop_speaking(self) -> None:
        """Silence the caller, and end the task that plays their audio unless it is this one."""
        self._mouth.shut()
        task, self._speaking = self._speaking, None
        if task and task is not asyncio.current_task():
            await self.cancel_task(task)

    def _caller_stays(self) -> bool:
        """Return whether the caller stays: not silent for `linger_s`, nor both for `content_s`."""
        waited_s = self._mouth.silent_frames * FRAME_S
        silent_s = self._line.clock() - self._line.busy_until_s
        return waited_s < self._linger_s and min(waited_s, silent_s) < self._content_s

    async def _push_in_real_time(self) -> None:
        """Push the caller's frames in real time until the caller hangs up or the line ends."""
        rate_hz = self._line.sample_rate_hz
        started_at_s = self._line.clock()
        for number in itertools.count(1):
            if self._line.closed:
                self._mouth.shut()
                return
            if not self._caller_stays():
                break
            piece = self._mouth.next()
            await self.push_audio_frame(
                InputAudioRawFrame(audio=piece.tobytes(), sample_rate=rate_hz, num_channels=1)
            )
            due_s = started_at_s + number * FRAME_S
            await asyncio.sleep(max(0.0, due_s - self._line.clock()))
        self._mouth.shut()
        await self._hung_up()


class _Output(LegOutput):
    def __init__(self, params: TransportParams, line: LoopbackLine) -> None:
        super().__init__(params)
        self._line = line
        self._free_at_s = 0.0

    async def start(self, frame: StartFrame) -> None:
        """Open the line."""
        await super().start(frame)
        await self.set_transport_ready(frame)

    async def process_frame(self, frame: Any, direction: FrameDirection) -> None:
        """Reset the pacing on an interruption, which drops queued audio."""
        if isinstance(frame, InterruptionFrame):
            self._free_at_s = 0.0
        await super().process_frame(frame, direction)

    async def play_piece(self, frame: OutputAudioRawFrame) -> bool:
        """Play one chunk at real-time pace, as a loudspeaker would."""
        now_s = self._line.clock()
        begin_s = max(now_s, self._free_at_s)
        samples = np.frombuffer(frame.audio, dtype="<i2").astype(np.int16)
        self._line.play(begin_s, samples)
        self._free_at_s = begin_s + samples.size / frame.sample_rate
        await self.sleep(max(0.0, self._free_at_s - FRAME_S - now_s))
        return True
