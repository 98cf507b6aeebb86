"""The delays of a provider, drawn from a seeded distribution."""

import asyncio
import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Tempo:
    """A provider's distribution of delays.

    Attributes:
        ttfb_s: Median seconds from request to first output.
        spread: Sigma of the log-normal around it; 0.25 puts p95 at 1.5 times the median.
        rate: Units of output a second: tokens, or seconds of audio.
        jitter: The share by which the gap between outputs varies, up or down.
        source: Where the numbers come from.
    """

    ttfb_s: float
    rate: float
    source: str
    spread: float = 0.25
    jitter: float = 0.3


class Delays:
    """Draws the delays of one instance; the same seed gives the same delays."""

    def __init__(self, tempo: Tempo, *, seed: int = 0, speed: float = 1.0) -> None:
        self.tempo = tempo
        self._speed = speed
        self._chance = random.Random(seed)  # noqa: S311 - a simulation's dice, not a secret

    def ttfb_s(self) -> float:
        """Draw the seconds from request to first output."""
        drawn = self._chance.lognormvariate(math.log(self.tempo.ttfb_s), self.tempo.spread)
        return drawn / self._speed

    def gap_s(self, units: float = 1.0, *, factor: float = 1.0) -> float:
        """Draw the seconds that `units` of output take at `factor` of the normal rate."""
        jitter = 1 + self._chance.uniform(-self.tempo.jitter, self.tempo.jitter)
        return units * jitter / (self.tempo.rate * factor * self._speed)

    async def wait_first(self) -> float:
        """Wait for the first output's drawn delay, and return it in seconds."""
        delay_s = self.ttfb_s()
        await asyncio.sleep(delay_s)
        return delay_s

    async def wait_gap(self, *, factor: float = 1.0) -> float:
        """Wait for the drawn delay of one unit of output, and return it in seconds."""
        delay_s = self.gap_s(factor=factor)
        await asyncio.sleep(delay_s)
        return delay_s


QUICK: Final[Mapping[str, Tempo]] = {
    "deepgram": Tempo(
        ttfb_s=0.01,
        rate=1.0,  # unused: results follow the audio
        source="chosen: the words are there before a client's detector says that speech is over",
    ),
    "openai": Tempo(
        ttfb_s=0.12,
        rate=32.0,  # tokens: 40 ms a word; the receptionist's words have 1.28 tokens
        source="chosen: the quickest small models",
    ),
    "cartesia": Tempo(
        ttfb_s=0.10,
        rate=0.2 / 0.06,  # seconds of audio a second: a word of 200 ms takes 60 ms
        source="chosen: the quickest voices, from a machine near them",
    ),
    "elevenlabs": Tempo(ttfb_s=0.10, rate=0.2 / 0.06, source="chosen: as Cartesia's"),
}
TEMPOS: Final[Mapping[str, Mapping[str, Tempo]]] = {"usual": {}, "quick": QUICK}
