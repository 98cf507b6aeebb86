"""A stock Pipecat bot on virtual time: its own aggregators around three stages, and simulators."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from pipecat.adapters.llm.schemas.tools_schema import ToolsSchema
from pipecat.audio.vad.silero import SileroVADAnalyzer
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import (
    LLMContextAggregatorPair,
    LLMUserAggregatorParams,
)
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.processors.frameworks.rtvi import RTVIProcessor
from pipecat.services.cartesia.tts import CartesiaTTSService
from pipecat.services.deepgram.stt import DeepgramSTTService
from pipecat.services.elevenlabs.tts import ElevenLabsTTSService
from pipecat.services.openai.llm import OpenAILLMService
from pipecat.turns.user_turn_strategies import UserTurnStrategies
from pipecat.utils.types import NOT_GIVEN

from holdline import Ladders, rung
from lab.control import LabControl
from lab.drill.evidence import sent_between
from lab.drill.judge import ExpectedWords, ReplyVerdict, judge
from lab.drill.matching import TELEPHONE, EarPath
from lab.simulators.lab import Lab
from tests.kit.bench import at_work, worker_of
from tests.kit.caller import frames_of
from tests.kit.line import PlayedLine
from tests.kit.near import running
from tests.kit.waiting import until
from tests.lab.simulators import synthetic_caller as caller

RATE_HZ = 8000
QUIET_S = 4.0  # longer than any pause before or in a reply
FLOOR_RMS = 3.0  # the noise of a line
SERVICES: dict[str, Any] = {
    "deepgram": DeepgramSTTService,
    "openai": OpenAILLMService,
    "cartesia": CartesiaTTSService,
    "elevenlabs": ElevenLabsTTSService,
}
URLS = {"deepgram": "base_url", "openai": "base_url", "cartesia": "url", "elevenlabs": "url"}


@dataclass(kw_only=True)
class StockCall:
    """A running call."""

    lab: Lab
    worker: PipelineWorker
    line: PlayedLine
    context: LLMContext
    told: list[Any]
    pair: LLMContextAggregatorPair
    call: Ladders | None = None
    _talking: asyncio.Queue[bytes] = field(default_factory=asyncio.Queue)
    stopped_at: float = 0.0

    async def run_line(self) -> None:
        """Deliver the caller's audio in real time; noise while they are silent."""
        due_at = time.monotonic()
        while True:
            speaks = not self._talking.empty()
            pcm = self._talking.get_nowait() if speaks else noise()
            for frame in frames_of(pcm, RATE_HZ):
                await self.worker.queue_frame(frame)
                due_at += len(frame.audio) / 2 / RATE_HZ
                await asyncio.sleep(max(0.0, due_at - time.monotonic()))
            if speaks:
                self.stopped_at = time.monotonic()
                self._talking.task_done()

    async def say(self, text: str) -> None:
        """Say something; returns when the last sample was sent."""
        self._talking.put_nowait(caller.say(text, rate_hz=RATE_HZ))
        await self._talking.join()

    def facts(self, *kinds: type[Any]) -> list[Any]:
        return [event for event in self.told if isinstance(event, kinds)]

    def said(self, role: str) -> list[str]:
        """Return the messages of one side in the context."""
        messages: Sequence[Any] = self.context.messages
        own = (m for m in messages if m.get("role") == role)
        return [str(m["content"]) for m in own if m.get("content")]

    async def until(self, met: Callable[[], object], *, within_s: float = 30.0) -> None:
        await until(met, within_s=within_s, every_s=0.02)

    async def ask(self, text: str) -> None:
        """Say something, and wait until the line has been silent for some time."""
        await self.say(text)
        await self.quiet()

    async def quiet(self) -> None:
        """Wait until nothing was played for `QUIET_S` since the caller stopped."""
        await self.until(
            lambda: time.monotonic() > max(self.stopped_at, self.line.free_at_s) + QUIET_S
        )

    def probe_all(self) -> None:
        """Let each rung be probed at once."""
        assert self.call
        for used in self.call._shared.rungs:
            used.prober.reset()

    async def heard(
        self, answer: str, *, since_s: float = 0.0, path: EarPath = TELEPHONE
    ) -> ReplyVerdict:
        """Judge what the caller heard of an answer, by the sound on the line alone."""
        began_s = self.line.played[0][0] if self.line.played else 0.0
        recording = np.zeros(round(RATE_HZ * (self.line.free_at_s - began_s)) + RATE_HZ, np.int16)
        for at, frame in self.line.played:
            first, samples = round((at - began_s) * RATE_HZ), np.frombuffer(frame.audio, np.int16)
            recording[first : first + len(samples)] = samples
        async with LabControl(running(self.lab)) as control:
            sent = await sent_between(control, since_s, float("inf"))
        said = ExpectedWords(text=answer)
        return judge(recording, sent, said=said, stop_s=self.stopped_at - began_s, line=path)


def noise() -> bytes:
    return caller.noise(0.2, rms=FLOOR_RMS, rate_hz=RATE_HZ)


def arguments(lab: Lab, name: str) -> tuple[Any, dict[str, Any]]:
    """Return the class of a simulated provider's service, and its arguments."""
    peer = lab.instance(name)
    given = {"api_key": peer.api_key, URLS[peer.kind]: peer.url}
    return SERVICES[peer.kind], given


def ladders(lab: Lab, **options: Any) -> Ladders:
    """Return ladders of all of a lab's providers."""

    def stage(*names: str) -> list[Any]:
        rungs = [(name, *arguments(lab, name)) for name in names]
        return [rung(cls, name=name, **given) for name, cls, given in rungs]

    return Ladders(
        stt=stage("deepgram", "deepgram-b"),
        llm=stage("openai", "openai-b"),
        tts=stage("cartesia", "elevenlabs"),
        **options,
    )


@asynccontextmanager
async def stock_call(
    lab: Lab,
    stages: Sequence[FrameProcessor] = (),
    *,
    rate_hz: int = RATE_HZ,
    tools: ToolsSchema | None = None,
    make: Callable[..., Ladders] = ladders,
    rtvi: RTVIProcessor | None = None,
    told: list[Any] | None = None,
    turns: UserTurnStrategies | None = None,
    **options: Any,
) -> AsyncIterator[StockCall]:
    """Run a stock bot during the block.

    Args:
        lab: The simulated providers.
        stages: The recogniser, the model and the voice; empty for those of `make`.
        rate_hz: The sample rate of the bot's own audio.
        tools: The tools in the context.
        make: Makes the call's ladders.
        rtvi: Sends Pipecat's clients what happens, as in every stock bot.
        told: Where events are kept.
        turns: How Pipecat's aggregator begins and ends turns.
        options: Of `make`.
    """
    told = [] if told is None else told
    call = None if stages else make(lab, on_event=told.append, **options)
    stt, llm, tts = (call.stt, call.llm, call.tts) if call else stages
    context = LLMContext(messages=[], tools=tools or NOT_GIVEN)
    user = LLMUserAggregatorParams(vad_analyzer=SileroVADAnalyzer(), user_turn_strategies=turns)
    pair = LLMContextAggregatorPair(context, user_params=user)
    line = PlayedLine(ahead_s=0.02)
    above = [rtvi] if rtvi else []
    observers = [rtvi.create_rtvi_observer()] if rtvi else []
    worker = worker_of(
        *above, stt, pair.user(), llm, tts, line, pair.assistant(),
        rate_hz=RATE_HZ, observers=observers,
    )  # fmt: skip
    worker._params.audio_out_sample_rate = rate_hz
    talk = StockCall(
        lab=lab, worker=worker, line=line, context=context, told=told, call=call, pair=pair
    )
    async with at_work(worker, limit_s=200.0), asyncio.TaskGroup() as tasks:
        listening = tasks.create_task(talk.run_line())
        yield talk
        listening.cancel()
        if call is None:  # a stock service that hangs would keep the end of the call waiting
            await worker.cancel()
