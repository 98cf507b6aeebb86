"""One rung's voice for clips: speaks texts one by one through the provider's TTS service.

A failing voice is retried like all work outside a turn, by `operations/retrying.py`.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any, Final, Self, cast

import numpy as np
from numpy.typing import NDArray
from pipecat.frames.frames import (
    AggregatedTextFrame,
    CancelFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.utils.text.base_text_aggregator import TextType
from pipecat.workers.runner import WorkerRunner

from bot.clips.store import RATE_HZ
from calls.voice import ATTEMPT, Voice
from fallbacks.failure import Failure, Kind, failed
from fallbacks.word_times import is_cut_short
from operations.retrying import Retries, run_with_retries
from providers.catalog import provider
from providers.provider import RungSpec

TEXT_S: Final = 15.0  # for one text, connecting included
AUDIBLE_LEVEL: Final = 164  # sample value, of 32768: about -46 dBFS
MARGIN_S: Final = 0.03  # of silence, kept at both ends


class UnspokenError(Exception):
    """A voice did not speak a text; the message is one redacted line."""

    def __init__(self, kind: Kind, text: str, *, failure: Failure | None = None) -> None:
        """Create the error; `failure` is what the provider itself reported, if anything."""
        super().__init__(text)
        self._kind = kind
        self._failure = failure

    def failure(self, rung: str) -> Failure:
        """Return this error as a failure of that rung."""
        return self._failure or failed(self._kind, "tts", provider=rung, reason=str(self))


class RungVoice:
    """A rung's voice; connects on first use, and reconnects after a failure."""

    def __init__(self, rung: RungSpec, retries: Retries) -> None:
        self._rung = rung
        self._retries = retries
        self._say: Callable[[str], Awaitable[bytes]] | None = None
        self._connection = AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *raised: Any) -> None:
        await self._connection.__aexit__(*raised)

    async def say(self, text: str) -> NDArray[np.int16]:
        """Return a text as 16-bit mono samples at `RATE_HZ`, without the silence around it.

        Raises:
            ServiceError: The voice failed in all retries.
        """
        return await run_with_retries(
            partial(self._say_once, text),
            asked=("tts", self._rung.name),
            classify=self._failure_of,
            retries=self._retries,
        )

    async def _say_once(self, text: str) -> NDArray[np.int16]:
        """Say a text once; after a failure, disconnect, so that the next try connects again."""
        if self._say is None:
            self._say = await self._connection.enter_async_context(connect_voice(self._rung))
        try:
            return trim(await self._say(text), text)
        except UnspokenError:
            self._say = None
            await self._connection.aclose()
            raise

    def _failure_of(self, error: Exception) -> Failure | None:
        return error.failure(self._rung.name) if isinstance(error, UnspokenError) else None


class _AudioCollector:
    """Receives a service's callbacks and collects the audio of one text at a time."""

    def __init__(self) -> None:
        self.attempt = 0
        self._pcm = bytearray()
        self._ended = asyncio.Event()
        self._failed: Failure | None = None

    def start_text(self) -> int:
        """Begin a new text; return its attempt number."""
        self.attempt += 1
        self._pcm.clear()
        self._ended.clear()
        self._failed = None
        return self.attempt

    async def collect(self) -> bytes:
        """Wait for the end of the text and return its audio.

        Raises:
            UnspokenError: The voice failed.
        """
        await self._ended.wait()
        if self._failed:
            raise UnspokenError(self._failed.kind, self._failed.reason, failure=self._failed)
        return bytes(self._pcm)

    async def sound(self, attempt: int, pcm: bytes) -> None:
        """Add audio of the current attempt."""
        if attempt == self.attempt:
            self._pcm += pcm

    async def word(
        self, attempt: int, text: str, *, start_s: float, end_s: float | None = None
    ) -> None:
        """Ignore word times: clips need none."""

    async def spoken(self, attempt: int, *, more: bool = False) -> None:
        """Mark the text as complete, unless more of its audio follows."""
        if attempt == self.attempt and not more:
            self._ended.set()

    async def failed(self, attempt: int, failure: Failure) -> None:
        """Record the failure of the current attempt."""
        if attempt == self.attempt:
            self._give_up(failure)

    async def connecting(self) -> None:
        """Do nothing: `TEXT_S` includes connecting."""

    async def connected(self) -> None:
        """Do nothing: audio follows."""

    async def unreachable(self, failure: Failure) -> None:
        """Record that no connection can be made."""
        self._give_up(failure)

    async def lost(self, failure: Failure | None) -> None:
        """Record the loss of the connection, if it was a failure."""
        if failure:
            self._give_up(failure)

    def _give_up(self, failure: Failure) -> None:
        self._failed = failure
        self._ended.set()


@asynccontextmanager
async def connect_voice(rung: RungSpec) -> AsyncIterator[Callable[[str], Awaitable[bytes]]]:
    """Run a rung's service while the block runs; yield a function that returns a text as PCM.

    The function takes one text at a time, and raises `UnspokenError` if the voice fails or takes
    longer than `TEXT_S`.
    """
    collector = _AudioCollector()
    service = provider("tts", rung.kind).build(rung)
    cast("Voice", service).listen(collector)
    worker = PipelineWorker(
        Pipeline([service]),
        params=PipelineParams(audio_in_sample_rate=RATE_HZ, audio_out_sample_rate=RATE_HZ),
        enable_rtvi=False,
        enable_turn_tracking=False,
        cancel_runner_on_idle_timeout=False,
        idle_timeout_secs=None,
    )

    async def say(text: str) -> bytes:
        """Return the audio of a text; raise `UnspokenError` if it is not complete in `TEXT_S`."""
        start = LLMFullResponseStartFrame()
        start.metadata[ATTEMPT] = collector.start_text()
        sentence = AggregatedTextFrame(text, TextType.SENTENCE, raw_text=text)
        await worker.queue_frames([start, sentence, LLMFullResponseEndFrame()])
        try:
            async with asyncio.timeout(TEXT_S):
                return await collector.collect()
        except TimeoutError as late:
            raise UnspokenError(Kind.SILENT, f"no complete audio within {TEXT_S:g} s") from late

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(runner.run(), name=f"render clips of {rung.name}")
        try:
            yield say
        finally:
            await worker.pipeline.queue_frame(CancelFrame())
            await worker.cancel(reason="rendered")


def trim(pcm: bytes, text: str) -> NDArray[np.int16]:
    """Return the audio of a text with all but `MARGIN_S` of the silence around it cut off.

    The audio is 16-bit mono at `RATE_HZ`.

    Raises:
        UnspokenError: The audio is silent, or too short for the whole text.
    """
    samples = np.frombuffer(pcm[: len(pcm) // 2 * 2], dtype="<i2")  # whole samples of 2 bytes
    loud = np.flatnonzero(np.abs(samples.astype(np.int32)) > AUDIBLE_LEVEL)
    margin = round(MARGIN_S * RATE_HZ)
    if not loud.size or is_cut_short(text, audible_s=float(loud[-1] - loud[0]) / RATE_HZ):
        raise UnspokenError(Kind.CUT, "the audio is far too short for its text")
    return samples[max(0, loud[0] - margin) : loud[-1] + margin].astype(np.int16)
