"""The output of a pipeline in tests: a line that plays in real time."""

import asyncio
import time

import numpy as np
from pipecat.frames.frames import OutputAudioRawFrame, StartFrame
from pipecat.transports.base_output import BaseOutputTransport
from pipecat.transports.base_transport import TransportParams


class PlayedLine(BaseOutputTransport):
    """Plays in real time; keeps each frame and the moment at which it began to play."""

    def __init__(self, *, ahead_s: float = 0.0) -> None:
        """Accept audio up to `ahead_s` before the audio queued earlier has been played."""
        super().__init__(TransportParams(audio_out_enabled=True, audio_out_end_silence_secs=0))
        self.played: list[tuple[float, OutputAudioRawFrame]] = []
        self.free_at_s = 0.0
        self._ahead_s = ahead_s

    async def start(self, frame: StartFrame) -> None:
        await super().start(frame)
        await self.set_transport_ready(frame)

    async def write_audio_frame(self, frame: OutputAudioRawFrame) -> bool:
        now = time.monotonic()
        begins_s = max(now, self.free_at_s)
        self.played.append((begins_s, frame))
        self.free_at_s = begins_s + length_s(frame)
        await asyncio.sleep(max(0.0, self.free_at_s - self._ahead_s - now))
        return True

    @property
    def gaps_s(self) -> list[float]:
        """The silence before each frame after the first; 0 where frames follow without a gap."""
        ends = [at + length_s(frame) for at, frame in self.played]
        return [at - end for (at, _), end in zip(self.played[1:], ends, strict=False)]

    @property
    def length_s(self) -> float:
        return sum(length_s(frame) for _, frame in self.played)

    @property
    def audible_from(self) -> float:
        return next(at for at, frame in self.played if levels(frame).max() > 500)

    def level(self, level: int) -> list[float]:
        """Return the start of each frame that has a sample of exactly this level."""
        return [at for at, frame in self.played if level in levels(frame)]


def length_s(frame: OutputAudioRawFrame) -> float:
    return len(frame.audio) / 2 / frame.sample_rate


def levels(frame: OutputAudioRawFrame) -> np.ndarray:
    return np.abs(np.frombuffer(frame.audio, "<i2"))
