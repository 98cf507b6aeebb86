"""How a carrier writes sound: telephone codes of one byte, or plain samples of two."""

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np
from pipecat.audio.resamplers.base_audio_resampler import BaseAudioResampler
from pipecat.audio.utils import alaw_to_pcm, pcm_to_alaw, pcm_to_ulaw, ulaw_to_pcm

Encoding: TypeAlias = Literal["mulaw", "alaw", "pcm", "pcm_big_endian"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Codec:
    """Mono sound on a carrier's wire."""

    encoding: Encoding
    rate_hz: int

    @property
    def sample_bytes(self) -> int:
        """How many bytes one sample takes."""
        return 2 if self.encoding in ("pcm", "pcm_big_endian") else 1

    def seconds(self, payload: bytes) -> float:
        """Return how long a payload sounds."""
        return len(payload) / self.sample_bytes / self.rate_hz

    def silence(self, size: int) -> bytes:
        """Return silence of so many bytes."""
        return _SILENCE[self.encoding] * size

    async def decode(self, payload: bytes, rate_hz: int, resampler: BaseAudioResampler) -> bytes:
        """Return a payload as 16-bit little-endian PCM at `rate_hz`."""
        match self.encoding:
            case "mulaw":
                return await ulaw_to_pcm(payload, self.rate_hz, rate_hz, resampler)
            case "alaw":
                return await alaw_to_pcm(payload, self.rate_hz, rate_hz, resampler)
            case "pcm":
                samples = payload[: len(payload) // 2 * 2]
            case "pcm_big_endian":
                samples = swapped(payload[: len(payload) // 2 * 2])
        return await resampler.resample(samples, self.rate_hz, rate_hz)

    async def encode(self, pcm: bytes, rate_hz: int, resampler: BaseAudioResampler) -> bytes:
        """Return 16-bit little-endian PCM at `rate_hz` as a payload."""
        match self.encoding:
            case "mulaw":
                return await pcm_to_ulaw(pcm, rate_hz, self.rate_hz, resampler)
            case "alaw":
                return await pcm_to_alaw(pcm, rate_hz, self.rate_hz, resampler)
            case "pcm":
                return await resampler.resample(pcm, rate_hz, self.rate_hz)
            case "pcm_big_endian":
                return swapped(await resampler.resample(pcm, rate_hz, self.rate_hz))


def swapped(samples: bytes) -> bytes:
    """Return 16-bit samples with the two bytes of each exchanged."""
    return np.frombuffer(samples, dtype="<i2").byteswap().tobytes()


_SILENCE: Final = {"mulaw": b"\xff", "alaw": b"\xd5", "pcm": b"\0", "pcm_big_endian": b"\0"}

MULAW: Final = Codec(encoding="mulaw", rate_hz=8000)
ALAW: Final = Codec(encoding="alaw", rate_hz=8000)
