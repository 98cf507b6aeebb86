"""Fallbacks for when providers fail: texts, clips, local speech, the outage menu, callbacks."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

from pipecat.frames.frames import EndFrame, TTSSpeakFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.workers.runner import WorkerRunner

from bot.clips.store import CallVoice, ClipStore, clips_folder
from configuration.agent import AgentSettings
from configuration.rungs import follows_caller, rung_of
from configuration.sections import HoldLineSettings
from configuration.settings import Settings
from configuration.texts import sentence, texts_with
from operations.database.database import Database
from operations.record.callbacks import Callbacks
from processors.holding.late_answer_rules import Holding, HoldSettings
from processors.holding.menu_rules import CHOICES, LANGUAGE
from processors.holding.on_device_words import NoEar, WordEar
from processors.holding.outage_rules import Step
from processors.holding.utterance_rules import (
    DEFAULT_LANGUAGE,
    FallbackText,
    Situation,
    in_language,
)
from providers.catalog import provider
from providers.local_tts import say_locally
from providers.menu_ear import MenuEar
from providers.provider import RungSpec
from transports.leg import Leg

APOLOGY: Final = sentence(Situation.APOLOGY, DEFAULT_LANGUAGE)
APOLOGY_S: Final = 10.0  # the sentence takes about 4 s; then the line closes


async def apologise(leg: Leg, language: str = DEFAULT_LANGUAGE, text: str = APOLOGY) -> bool:
    """Speak an apology on a leg without a pipeline, and end the leg; return whether it was heard.

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


def holding_of(hold: HoldLineSettings) -> Holding:
    """Return the rules for late answers, with the configured times."""
    return Holding(
        HoldSettings(
            first_s=hold.first_s,
            last_s=hold.last_s,
            clip_s=hold.clip_s,
            silence_s=hold.silence_s,
            turns_apart=hold.turns_apart,
        )
    )


def menu_steps(steps: Sequence[Step], *, keys: bool) -> list[Step]:
    """Return the outage menu's steps on this line; `keys`: whether the line carries keypad digits.

    `LOCAL` is not a step of the menu. Without keys, `KEYPAD` is left out, and `CHOSEN` too unless
    callers can choose by word.
    """
    left_out = {Step.LOCAL} if keys else {Step.LOCAL, Step.KEYPAD}
    if not keys and Step.WORDS not in steps:
        left_out |= {Step.CHOSEN}
    return [step for step in steps if step not in left_out]


def menu_ear(last_resort: LastResort, steps: Sequence[Step], *, keys: bool) -> WordEar:
    """Return the recogniser of the menu's words; `NoEar` without its step or its texts."""
    menu = Situation.MENU_EITHER if keys else Situation.MENU_WORDS
    needed = {menu, *(entry.question for entry in CHOICES.values())}
    found = {fallback_text.situation for fallback_text in last_resort.texts(LANGUAGE)}
    return last_resort.ear if Step.WORDS in steps and found >= needed else NoEar()


def call_voice(
    clips: ClipStore,
    settings: Settings,
    agent: AgentSettings,
    *,
    rate_hz: int,
    speaking: Callable[[], str | None],
) -> CallVoice:
    """Return the voice of the fallback texts; `speaking` returns the name of the active rung."""
    ladder = settings.stages.tts
    rungs = [rung_of(item, "tts", agent=agent, sample_rate_hz=rate_hz) for item in ladder]
    like = next((rung for rung in rungs if rung.kind == "local"), None)
    return CallVoice(
        clips,
        voices={rung.name: rung for rung in rungs},
        following=frozenset(item.name for item in ladder if follows_caller(item, agent)),
        speaking=speaking,
        local=partial(say_locally, rate_hz=rate_hz, like=like),
        rate_hz=rate_hz,
    )
