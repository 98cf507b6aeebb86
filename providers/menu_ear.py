"""Recognises the menu's words on this machine, in one process for all calls.

A caller answers the menu with one short word, so nothing is streamed: the audio of a whole
utterance goes in, and the matching phrase comes out about 50 ms later. One process serves all
calls, and uses no CPU while no menu is read. It needs no network and no key.
"""

import asyncio
from pathlib import Path
from typing import Final

import numpy as np
import soxr
from loguru import logger

from providers.sphinx_ear import Ear, SphinxResult, is_installed
from providers.sphinx_process import SphinxProcess
from providers.sphinx_worker import Command

EAR_HZ: Final = 16_000  # the process's sample rate
DATA: Final = Path(__file__).parent / "data"
WORDS: Final = Ear(
    rate_hz=EAR_HZ, jsgf=str(DATA / "menu_words.gram"), dict=str(DATA / "menu_words.dict")
)
# An utterance ends where the detector was sure of the silence, often only 0.1 s after an "s" that
# fades. So silence is appended: the score of such a short silence is too low.
# Measured with 0.1 to 0.25 s after a word, four synthetic voices, two rates: of 256 answers 248 are
# understood (226 without appended silence, with a limit of -3.0). Of 1,088 other utterances, chosen
# because they sound like an answer, 687 are mistaken for one (713); so the caller confirms every
# choice.
APPENDED_SILENCE_S: Final = 0.2
QUIET: Final = -2.4  # the lowest `SphinxResult.quiet` of an accepted answer
MENU_WORD_S: Final = 4.0  # chosen: includes a cold start on a busy machine
MAX_FAILURES: Final = 3  # in a row; then the process is not restarted


class MenuEar:
    """The recogniser's process, started on first use and kept for the next outage."""

    def __init__(self, ear: Ear = WORDS) -> None:
        self._process = SphinxProcess(ear)
        self._running = False
        self._failures = 0
        self._installed = is_installed()  # otherwise the menu is by keypad alone
        self._lock = asyncio.Lock()  # the process answers one request at a time

    @property
    def usable(self) -> bool:
        """Whether it works, as far as is known."""
        return self._installed and self._failures < MAX_FAILURES

    async def warm(self) -> None:
        """Load the process before a caller speaks; a failure is logged."""
        await self.understand(b"", EAR_HZ)

    async def understand(self, pcm: bytes, rate_hz: int) -> str:
        """Return the phrase that was said; empty if it was not one of the menu's, or on failure.

        Waits for earlier requests. The first request starts the process. After `MAX_FAILURES` in a
        row, nothing is recognised any more.

        Args:
            pcm: One utterance, 16-bit mono, with a little silence around it.
            rate_hz: The sample rate of `pcm`.
        """
        async with self._lock:
            if not self.usable:
                return ""
            samples = await asyncio.to_thread(_resample_and_pad, pcm, rate_hz)
            result = await self._get_answer(samples)
        return result.text.replace("_", " ") if result.quiet >= QUIET else ""

    async def close(self) -> None:
        """End the process; the next request starts another."""
        self._running = False
        await self._process.close()

    async def _get_answer(self, pcm: bytes) -> SphinxResult:
        """Return the process's answer; without one, end the process and return an empty answer.

        Failures in a row are counted. The next request starts another process.
        """
        reason, answered = "no answer in time", False
        try:
            async with asyncio.timeout(MENU_WORD_S):
                result = await self._ask_process(pcm)
            answered, reason = result.what == "final", result.text
        except TimeoutError:
            result = SphinxResult(what="failed")
        except OSError as error:
            result, reason = SphinxResult(what="failed"), type(error).__name__
        finally:
            # Even if cancelled: a late answer must not be taken as the answer to the next request.
            if not answered:
                await self.close()
        self._failures = 0 if answered else self._failures + 1
        if answered:
            return result
        logger.warning("the menu's words cannot be recognised on this machine: {}", reason)
        return SphinxResult(what="final")

    async def _ask_process(self, pcm: bytes) -> SphinxResult:
        """Start the process if necessary; return its answer to one utterance, or its failure."""
        if not self._running:
            await self._process.start()
            self._running = True
        self._process.send(Command.WHOLE, pcm)
        async for result in self._process.results():
            if result.what == "failed" or result.finished:
                return result
        return SphinxResult(what="failed", text="its process ended")


def _resample_and_pad(pcm: bytes, rate_hz: int) -> bytes:
    """Return the audio at the process's rate, with silence appended."""
    samples = np.frombuffer(pcm[: len(pcm) & ~1], "<i2")  # whole samples of 2 bytes
    if not samples.size:
        return b""
    if rate_hz != EAR_HZ:
        samples = soxr.resample(samples, rate_hz, EAR_HZ)
    return samples.astype("<i2").tobytes() + bytes(2 * round(APPENDED_SILENCE_S * EAR_HZ))
