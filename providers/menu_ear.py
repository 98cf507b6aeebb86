"""Recognises the menu's words on this machine, in one process for all calls.

A caller answers the menu with one short word, so there is no stream: the sound of a whole utterance
goes in, and the matching phrase comes out about 50 ms later. So one process serves every call, and
costs nothing while no menu is read. It needs no network and no key.
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

EAR_HZ: Final = 16_000  # the process's sample rate
DATA: Final = Path(__file__).parent / "data"
WORDS: Final = Ear(
    rate_hz=EAR_HZ, jsgf=str(DATA / "menu_words.gram"), dict=str(DATA / "menu_words.dict")
)
# A cut utterance ends where the detector was sure of the silence, often about 0.1 s after an "s"
# that fades. So silence is appended: judged by that tenth alone, a silence seems to be none.
# Measured with 0.1 to 0.25 s after a word, four synthetic voices, two rates: of 256 answers 248 are
# understood (226 without it, and -3.0). Of 1,088 other utterances, chosen because they sound like
# an answer, 687 are mistaken for one (713); so the caller confirms every choice.
QUIET_BEHIND_S: Final = 0.2
QUIET: Final = -2.4
ANSWER_S: Final = 4.0  # chosen: includes a cold start on a busy machine
FAILURES: Final = 3  # in a row, after which the process is not restarted


class MenuEar:
    """The process, started on first use and kept for the next outage."""

    def __init__(self, ear: Ear = WORDS) -> None:
        self._process = SphinxProcess(ear)
        self._running = False
        self._failures = 0
        self._one_at_a_time = asyncio.Lock()

    @property
    def usable(self) -> bool:
        """Whether it works, as far as known."""
        return self._failures < FAILURES

    async def warm(self) -> None:
        """Load the process before a caller speaks; a failure shows at the next request."""
        await self.understand(b"", EAR_HZ)

    async def understand(self, pcm: bytes, rate_hz: int) -> str:
        """Return the phrase that was said; empty if it was none of them or is unknown.

        Args:
            pcm: One utterance, 16-bit mono, with a little silence around it.
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
        finally:  # also if the call ends meanwhile: a late answer must not answer the next request
            if not answered:
                await self.close()
        self._failures = 0 if answered else self._failures + 1
        if answered:
            return heard
        logger.warning("the menu's words cannot be recognised on this machine: {}", why)
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
    """Return the sound at the process's rate, with silence appended."""
    samples = np.frombuffer(pcm[: len(pcm) & ~1], "<i2")
    if not samples.size:
        return b""
    if rate_hz != EAR_HZ:
        samples = soxr.resample(samples, rate_hz, EAR_HZ)
    return samples.astype("<i2").tobytes() + bytes(2 * round(QUIET_BEHIND_S * EAR_HZ))
