"""Fallbacks for when providers fail: an apology, and what the calls of a process share."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from pipecat.frames.frames import EndFrame, TTSSpeakFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.workers.runner import WorkerRunner

from bot.clips.store import ClipStore, clips_folder
from configuration.settings import Settings
from configuration.texts import sentence, texts_with
from operations.database.database import Database
from operations.record.callbacks import Callbacks
from processors.holding.utterance_rules import (
    DEFAULT_LANGUAGE,
    FallbackText,
    Situation,
    in_language,
)
from providers.catalog import provider
from providers.menu_ear import MenuEar
from providers.provider import RungSpec
from transports.leg import Leg

APOLOGY: Final = sentence(Situation.APOLOGY, DEFAULT_LANGUAGE)
APOLOGY_S: Final = 10.0  # the sentence takes about 4 s; then the line closes


async def apologise(leg: Leg, language: str = DEFAULT_LANGUAGE, text: str = APOLOGY) -> bool:
    """Speak an apology without a pipeline, and end the leg; return False if that was cut short.

    Args:
        leg: The caller's line.
        language: A language that the local voice speaks.
        text: The apology.

    Raises:
        ExceptionGroup: The leg could not be answered.
    """
    heard = True
    rate_hz = leg.facts.sample_rate_hz
    rung = RungSpec(name="apology", stage="tts", kind="local", url="", sample_rate_hz=rate_hz)
    rung = replace(rung, language=language)
    voice = provider("tts", "local").build(rung)
    worker = PipelineWorker(
        Pipeline([leg.input(), voice, leg.output()]),
        params=PipelineParams(audio_in_sample_rate=rate_hz, audio_out_sample_rate=rate_hz),
        enable_rtvi=False,
        enable_turn_tracking=False,
        cancel_runner_on_idle_timeout=False,
        idle_timeout_secs=None,
    )

    async def gone(reason: str) -> None:
        nonlocal heard
        heard = False
        await worker.cancel(reason=reason)

    leg.on_gone(gone)
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    try:
        async with asyncio.timeout(APOLOGY_S), asyncio.TaskGroup() as tasks:
            tasks.create_task(_speak_apology(leg, worker, text), name="apologise")
            await runner.run()
    except TimeoutError:
        await gone("apology took too long")
    return heard


async def _speak_apology(leg: Leg, worker: PipelineWorker, text: str) -> None:
    await leg.answered()
    await worker.queue_frames([TTSSpeakFrame(text), EndFrame()])


@dataclass(frozen=True, slots=True, kw_only=True)
class LastResort:
    """The fallbacks that all calls of a process share, for when no provider answers."""

    utterances: tuple[FallbackText, ...]
    clips: ClipStore
    callbacks: Callbacks
    messages: Path
    ear: MenuEar

    @classmethod
    def of(cls, settings: Settings, database: Database) -> "LastResort":
        """Return the fallbacks that the settings describe; blocks while it reads the texts.

        Raises:
            ConfigError: The owner's texts are wrong.
        """
        return cls(
            utterances=texts_with(settings.hold.utterances),
            clips=ClipStore(clips_folder(settings)),
            callbacks=Callbacks(database),
            messages=settings.logs.dir / "messages",
            ear=MenuEar(),
        )

    def texts(self, language: str) -> Sequence[FallbackText]:
        """Return the texts in a language."""
        return in_language(self.utterances, language)

    async def close(self) -> None:
        """End the process of the menu's recogniser."""
        await self.ear.close()
