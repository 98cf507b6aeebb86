"""Hears the menu's words on this machine: one process for all calls, no network and no key.

A caller answers the menu with one short word, so no stream is followed: the sound of a whole
utterance goes in, and what was said of the few phrases there are comes out, some 50 ms later. So
one process serves every call, and costs nothing while no menu is read.
"""

import asyncio
from pathlib import Path
from typing import Final

import numpy as np
import soxr
from loguru import logger

from providers.sphinx_ear import Ear, SphinxResult
from providers.sphinx_process import SphinxProcess
from providers.sphinx_worker import Command

EAR_HZ: Final = 16_000  # what the process hears at
DATA: Final = Path(__file__).parent / "data"
WORDS: Final = Ear(
    rate_hz=EAR_HZ, jsgf=str(DATA / "menu_words.gram"), dict=str(DATA / "menu_words.dict")
)
# What is cut out of a line ends where its detector was sure of the silence, often some 0.1 s
# behind an "s" that fades. So quiet is added behind it: judged by that tenth alone, a silence
# seems to be none. Measured with 0.1 to 0.25 s behind a word, four synthetic voices, two rates:
# of 256 answers 248 are understood (226 without it, and -3.0). Of 1,088 other utterances, chosen
# because they sound like an answer, 687 are taken for one (713); so every choice is asked back.
QUIET_BEHIND_S: Final = 0.2
QUIET: Final = -2.4
ANSWER_S: Final = 4.0  # chosen: a process that has to be started first, on a busy machine
FAILURES: Final = 3  # in a row, after which it is not started again


class MenuEar:
    """The process, started when it is first needed and kept: the next outage needs it again."""

    def __init__(self, ear: Ear = WORDS) -> None:
        self._process = SphinxProcess(ear)
        self._running = False
        self._failures = 0
        self._one_at_a_time = asyncio.Lock()

    @property
    def usable(self) -> bool:
        """Whether it hears, as far as is known."""
        return self._failures < FAILURES

    async def warm(self) -> None:
        """Have it loaded before somebody speaks; a failure shows when it is asked."""
        await self.understand(b"", EAR_HZ)

    async def understand(self, pcm: bytes, rate_hz: int) -> str:
        """Return which phrase was said; nothing when it was none, or cannot be known.

        Args:
            pcm: One utterance, 16-bit mono, with a little silence before and behind it.
            rate_hz: Of the sound.
        """
        async with self._one_at_a_time:
            if not self.usable:
                return ""
            samples = await asyncio.to_thread(_prepared, pcm, rate_hz)
            heard = await self._answer(samples)
        return heard.text.replace("_", " ") if heard.quiet >= QUIET else ""

    async def close(self) -> None:
        """End the process."""
        self._running = False
        await self._process.close()

    async def _answer(self, pcm: bytes) -> SphinxResult:
        why, answered = "no answer in time", False
        try:
            async with asyncio.timeout(ANSWER_S):
                heard = await self._ask_process(pcm)
            answered, why = heard.what == "final", heard.text
        except TimeoutError:
            heard = SphinxResult(what="failed")
        except OSError as wrong:
            heard, why = SphinxResult(what="failed"), type(wrong).__name__
        finally:  # also when the call ends meanwhile: a late answer must not be the next one's
            if not answered:
                await self.close()
        self._failures = 0 if answered else self._failures + 1
        if answered:
            return heard
        logger.warning("the menu's words cannot be heard on this machine: {}", why)
        return SphinxResult(what="final")

    async def _ask_process(self, pcm: bytes) -> SphinxResult:
        if not self._running:
            await self._process.start()
            self._running = True
        self._process.send(Command.WHOLE, pcm)
        async for heard in self._process.results():
            if heard.what == "failed" or heard.finished:
                return heard
        return SphinxResult(what="failed", text="its process ended")


def _prepared(pcm: bytes, rate_hz: int) -> bytes:
    """Return the sound at the ear's rate, with quiet behind it."""
    samples = np.frombuffer(pcm[: len(pcm) & ~1], "<i2")
    if not samples.size:
        return b""
    if rate_hz != EAR_HZ:
        samples = soxr.resample(samples, rate_hz, EAR_HZ)
    return samples.astype("<i2").tobytes() + bytes(2 * round(QUIET_BEHIND_S * EAR_HZ))
