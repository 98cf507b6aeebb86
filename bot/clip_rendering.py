"""Renders clips: each text, in each speaking rung's voice, through that provider's own service."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import Final, cast

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

from bot.clips import RATE_HZ, Clip, ClipStore
from bot.config import Settings
from bot.rungs import rung_of, spoken
from calls.voice import ATTEMPT, Voice
from fallbacks.failure import Failure
from fallbacks.utterances import Utterance, in_language
from providers.catalog import provider
from providers.provider import Rung

TEXT_S: Final = 15.0  # for one text, its connection included
AUDIBLE: Final = 164  # of 32768, about -46 dBFS
MARGIN_S: Final = 0.03  # of silence kept at both ends
LETTER_S: Final = 0.025  # the least that a letter takes: speech takes 0.07 s, so less was cut off

Go = Callable[[], Awaitable[None]]
"""Returns when the next text may be rendered."""


class UnspokenError(Exception):
    """A voice did not say what it was asked; the text is one redacted line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """What became of one clip."""

    rung: str
    text: str
    error: str = ""  # empty: it is there


class _Ear:
    """Collects what a voice says for one text after the other."""

    def __init__(self) -> None:
        self.attempt = 0
        self._pcm = bytearray()
        self._said = asyncio.Event()
        self._failed = ""

    def begin(self) -> int:
        """Forget the last text; return the number of the next."""
        self.attempt += 1
        self._pcm.clear()
        self._said.clear()
        self._failed = ""
        return self.attempt

    async def heard(self) -> bytes:
        """Return the text's sound when it has been said.

        Raises:
            UnspokenError: It will not be.
        """
        await self._said.wait()
        if self._failed:
            raise UnspokenError(self._failed)
        return bytes(self._pcm)

    async def sound(self, attempt: int, pcm: bytes) -> None:
        """Take sound."""
        if attempt == self.attempt:
            self._pcm += pcm

    async def word(
        self, attempt: int, text: str, *, start_s: float, end_s: float | None = None
    ) -> None:
        """Take a word's time, which is of no use here."""

    async def spoken(self, attempt: int) -> None:
        """Take that all has been said."""
        if attempt == self.attempt:
            self._said.set()

    async def failed(self, attempt: int, failure: Failure) -> None:
        """Take that it has failed."""
        if attempt == self.attempt:
            self._give_up(failure)

    async def connecting(self) -> None:
        """Take that a connection is being made."""

    async def connected(self) -> None:
        """Take that there is one."""

    async def unreachable(self, failure: Failure) -> None:
        """Take that there will be none."""
        self._give_up(failure)

    async def lost(self, failure: Failure | None) -> None:
        """Take that it is gone."""
        if failure:
            self._give_up(failure)

    def _give_up(self, failure: Failure) -> None:
        self._failed = f"{failure.kind.value}: {failure.reason}"
        self._said.set()


def wanted(settings: Settings, utterances: Sequence[Utterance]) -> Iterator[tuple[Rung, str]]:
    """Yield each text with each speaking rung, the preferred one's first; once, whoever says it."""
    seen = set[str]()
    for each in settings.stages.tts:
        if each.kind == "local":
            continue  # speaks at once, and needs nothing ahead
        for agent in (settings.agent, *settings.agents.values()):
            rung = rung_of(each, "tts", agent=agent, sample_rate_hz=RATE_HZ)
            for utterance in in_language(utterances, spoken(agent.language, "tts")):
                name = Clip.of(rung, utterance.text).name
                if name not in seen:
                    seen.add(name)
                    yield rung, utterance.text


async def render_missing(
    settings: Settings,
    utterances: Sequence[Utterance],
    store: ClipStore,
    *,
    go: Go | None = None,
) -> AsyncIterator[Rendered]:
    """Render what is not there yet; a voice that fails is not asked for its other texts.

    Args:
        settings: The rungs and the agents.
        utterances: All texts.
        store: Where clips are kept.
        go: Waits for the moment at which the next text may be asked for.
    """
    missing = await asyncio.to_thread(_missing, settings, utterances, store)
    for _, pairs in groupby(missing, key=lambda pair: (pair[0].name, pair[0].language)):
        rung, *_ = (texts := list(pairs))[0]
        if go:
            await go()
        async with speaking(rung) as say:
            for _, text in texts:
                if go:
                    await go()
                try:
                    samples = trimmed(await say(text), text)
                except UnspokenError as unspoken:
                    yield Rendered(rung=rung.name, text=text, error=str(unspoken))
                    break
                await asyncio.to_thread(store.save, Clip.of(rung, text), samples)
                yield Rendered(rung=rung.name, text=text)


def _missing(
    settings: Settings, utterances: Sequence[Utterance], store: ClipStore
) -> list[tuple[Rung, str]]:
    return [
        (rung, text)
        for rung, text in wanted(settings, utterances)
        if not store.has(Clip.of(rung, text))
    ]


@asynccontextmanager
async def speaking(rung: Rung) -> AsyncIterator[Callable[[str], Awaitable[bytes]]]:
    """Connect to a rung while the block runs; it is given a function that has a text said."""
    ear = _Ear()
    service = provider("tts", rung.kind).build(rung)
    cast("Voice", service).listen(ear)
    worker = PipelineWorker(
        Pipeline([service]),
        params=PipelineParams(audio_in_sample_rate=RATE_HZ, audio_out_sample_rate=RATE_HZ),
        enable_rtvi=False,
        enable_turn_tracking=False,
        cancel_runner_on_idle_timeout=False,
        idle_timeout_secs=None,
    )

    async def say(text: str) -> bytes:
        start = LLMFullResponseStartFrame()
        start.metadata[ATTEMPT] = ear.begin()
        sentence = AggregatedTextFrame(text, TextType.SENTENCE, raw_text=text)
        await worker.queue_frames([start, sentence, LLMFullResponseEndFrame()])
        try:
            async with asyncio.timeout(TEXT_S):
                return await ear.heard()
        except TimeoutError as late:
            raise UnspokenError(f"nothing within {TEXT_S:g} s") from late

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(runner.run(), name=f"render clips of {rung.name}")
        try:
            yield say
        finally:
            await worker.pipeline.queue_frame(CancelFrame())
            await worker.cancel(reason="rendered")


def trimmed(pcm: bytes, text: str) -> NDArray[np.int16]:
    """Return the sound of a text without the silence around it.

    Raises:
        UnspokenError: It is far too short for the text: the voice was cut off.
    """
    samples = np.frombuffer(pcm[: len(pcm) // 2 * 2], dtype="<i2")
    loud = np.flatnonzero(np.abs(samples.astype(np.int32)) > AUDIBLE)
    letters = sum(each.isalnum() for each in text)
    margin = round(MARGIN_S * RATE_HZ)
    if not loud.size or (loud[-1] - loud[0]) / RATE_HZ < LETTER_S * letters:
        raise UnspokenError("far too short for its text")
    return samples[max(0, loud[0] - margin) : loud[-1] + margin].astype(np.int16)
