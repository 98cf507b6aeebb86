"""The call to a person during a warm transfer: briefs the person and waits for an answer."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from loguru import logger
from pipecat.audio.utils import create_stream_resampler
from pipecat.frames.frames import InterruptionWorkerFrame, TTSSpeakFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.workers.runner import WorkerRunner

from bot.call.last_resort import say_locally
from bot.call.services import Shared, build_rungs
from bot.config.agent import AgentSettings
from calls.line import CallerLine
from calls.turn import Turn
from processors.holding.line_rules import Consent
from processors.speaking.stage import TtsStage
from processors.transfer.person_leg import PersonEar, PersonVoice, PersonWords, SaidFrame
from processors.transfer.waiting_line import TakeSound
from processors.turn.sound_path import order_interruptions
from processors.wiring import CallWiring
from transports.leg import Leg


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonNews:
    """Callbacks for what the person does; none of them may wait."""

    gone: Callable[[], None]
    key: Callable[[str], None]
    word: Callable[[Consent], None]


class PersonCall:
    """One person's leg with the agent's voice and, after joining, the caller.

    person = PersonCall(leg, shared, agent, wiring=wiring, language="en", news=news)
    running = group.create_task(person.run())
    await person.ask("Hello. To take the call, press 1.")
    person.join(gate_of_caller)
    await person.hang_up("caller_hung_up")
    """

    def __init__(
        self,
        leg: Leg,
        shared: Shared,
        agent: AgentSettings,
        *,
        wiring: CallWiring,
        language: str,
        news: PersonNews,
    ) -> None:
        self._leg, self._news = leg, news
        rate_hz = leg.facts.sample_rate_hz
        line, turn = CallerLine(), Turn(budget_s=shared.settings.latency.budget_s)
        turn.attempts = wiring.turn.attempts  # no two attempts of a call share a number
        voices = build_rungs("tts", shared, agent=agent, sample_rate_hz=rate_hz)
        tts = TtsStage(
            voices,
            policy=shared.policies["tts"],
            tell=wiring.outside,
            clock=wiring.clock,
            turn=turn,
            line=line,
        )
        self._tts = tts
        self._ear = PersonEar()

        async def local(text: str) -> bytes:
            return await asyncio.to_thread(say_locally, text, language, rate_hz=rate_hz)

        self._voice = PersonVoice(line, say_locally=local, clock=wiring.clock)
        tts.say_unsaid = self._voice.keep_unsaid
        self._ear.on_key, self._ear.on_word = news.key, news.word
        self._worker = _worker([leg.input(), self._ear, tts, self._voice, leg.output()], rate_hz)

    @property
    def rate_hz(self) -> int:
        """The sample rate of the person's line."""
        return self._leg.facts.sample_rate_hz

    def hear_words(self, words: PersonWords) -> None:
        """Let the person answer in words, too; call it before `run`."""
        self._ear.words = words

    @property
    def hears_words(self) -> bool:
        """Whether the person may answer `ask` with yes or no."""
        return self._ear.hears_words

    async def run(self) -> None:
        """Return when the person's leg is over; raises nothing."""
        self._leg.on_gone(self._gone)
        runner = WorkerRunner(handle_sigint=False)
        try:
            await runner.add_workers(self._worker)
            await runner.run()
        except Exception as broken:  # noqa: BLE001 - must not end the caller's leg, too
            logger.opt(exception=broken).error("a person's leg failed")
        finally:
            self._news.gone()

    async def ask(self, text: str) -> None:
        """Say a text and return once it was heard; a yes or no counts from then on."""
        self._ear.listen(on=False)
        await self._say(text)
        self._ear.listen(on=True)

    async def _say(self, text: str) -> None:
        self._voice.said.clear()
        await self._leg.answered()
        await self._tts.queue_frame(TTSSpeakFrame(text, append_to_context=False))
        await self._tts.queue_frame(SaidFrame())
        await self._voice.heard()

    async def join(self, caller: TakeSound, *, caller_rate_hz: int) -> TakeSound:
        """Let the caller hear the person; return what takes the caller's audio for the person."""
        frame = InterruptionWorkerFrame()
        await self._voice.push_frame(frame, FrameDirection.UPSTREAM)
        self._ear.listen(on=False)
        self._ear.take = resampled(caller, self.rate_hz, caller_rate_hz)
        return resampled(self._voice.play, caller_rate_hz, self.rate_hz)

    async def hang_up(self, reason: str) -> None:
        """End the leg; does nothing if it is over."""
        self._ear.take = None
        if not self._worker.has_finished():
            await self._worker.cancel(reason=reason)
        await self._leg.hang_up(reason)

    async def _gone(self, reason: str) -> None:
        self._news.gone()
        await self._worker.cancel(reason=reason)


def resampled(take: TakeSound, rate_hz: int, wanted_hz: int) -> TakeSound:
    """Return a `take` that resamples audio to another rate."""
    if rate_hz == wanted_hz:
        return take
    resampler = create_stream_resampler()

    async def pass_on(pcm: bytes) -> None:
        await take(await resampler.resample(pcm, rate_hz, wanted_hz))

    return pass_on


def _worker(listed: list[FrameProcessor], rate_hz: int) -> PipelineWorker:
    return PipelineWorker(
        Pipeline(order_interruptions(listed)),
        params=PipelineParams(audio_in_sample_rate=rate_hz, audio_out_sample_rate=rate_hz),
        enable_rtvi=False,
        enable_turn_tracking=False,
        cancel_runner_on_idle_timeout=False,
        idle_timeout_secs=None,
    )
