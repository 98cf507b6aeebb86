"""The TTS stage in a small pipeline, with simulated providers and a line in real time."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

from pipecat.frames.frames import (
    Frame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
    MetricsFrame,
    TTSTextFrame,
)
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMAssistantAggregator
from pipecat.processors.frame_processor import FrameDirection

from calls.line import CallerLine
from calls.turn import Turn
from fallbacks.availability import AvailabilityTable, Place
from fallbacks.events import AttemptFailed, AttemptStarted, RungChosen, StageExhausted
from fallbacks.ladder import Pace, StagePolicy
from lab.simulators.lab import Lab, Spec
from lab.simulators.record import SpokenWord
from processors.speaking.stage import TtsStage
from providers.catalog import PROVIDERS, provider
from providers.provider import RungSpec
from tests.kit.bench import Tap, at_work, rung_spec, worker_of
from tests.kit.line import PlayedLine
from tests.kit.waiting import until

RATE_HZ = 8000


@dataclass(kw_only=True)
class Talk:
    """A running stage."""

    lab: Lab
    stage: TtsStage
    worker: PipelineWorker
    line: PlayedLine
    kept: list[Frame]  # that left the stage
    context: LLMContext
    turn: Turn
    caller_line: CallerLine
    told: list[Any] = field(default_factory=list)
    unsaid: list[str] = field(default_factory=list)
    protected: list[bool] = field(default_factory=list)  # for each of `unsaid`
    finished: asyncio.Event = field(default_factory=asyncio.Event)

    async def put(self, *frames: Frame) -> None:
        for frame in frames:
            await self.worker.queue_frame(frame)

    async def reply(self, *texts: str) -> float:
        """Let the model answer; return when the caller stopped."""
        at = time.monotonic()
        self.turn.caller_stopped(at)
        words = [LLMTextFrame(f"{text} ") for text in texts]
        await self.put(LLMFullResponseStartFrame(), *words, LLMFullResponseEndFrame())
        return at

    async def reply_slowly(self, *texts: str, gap_s: float) -> None:
        await self.begin_reply()
        await self.write(*texts, gap_s=gap_s)
        await self.end_reply()

    async def begin_reply(self) -> None:
        self.turn.caller_stopped(time.monotonic())
        await self.put(LLMFullResponseStartFrame())

    async def write(self, *texts: str, gap_s: float) -> None:
        for text in texts:
            await self.put(LLMTextFrame(f"{text} "))
            await asyncio.sleep(gap_s)

    async def end_reply(self) -> None:
        await self.put(LLMFullResponseEndFrame())

    async def until(self, met: Any, *, within_s: float = 8.0) -> None:
        await until(met, within_s=within_s)

    @property
    def said(self) -> list[str]:
        messages = cast("Sequence[Any]", self.context.messages)
        return [str(m["content"]) for m in messages if m.get("role") == "assistant"]

    def spoken_by(self, name: str) -> list[SpokenWord]:
        return list(self.lab.record.words(name))

    def facts(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.told if isinstance(event, kind)]

    def kept_of(self, kind: type[Any]) -> list[Any]:
        return [frame for frame in self.kept if isinstance(frame, kind)]

    @property
    def words(self) -> str:
        return " ".join(frame.text for frame in self.kept_of(TTSTextFrame))

    @property
    def asked(self) -> list[str]:
        return [fact.provider for fact in self.facts(AttemptStarted)]

    @property
    def failures(self) -> list[tuple[str, str]]:
        return [(fact.provider, str(fact.kind)) for fact in self.facts(AttemptFailed)]

    def __str__(self) -> str:
        kinds = (AttemptStarted, AttemptFailed, RungChosen, StageExhausted)
        return "\n".join(str(event) for event in self.told if isinstance(event, kinds))


def rung(lab: Lab, name: str, own: RungSpec | None = None, *, language: str = "") -> RungSpec:
    if own is not None and own.name == name:
        return own
    peer = lab.instances.get(name)
    there = (peer.url, peer.api_key) if peer else ("", "")
    options = {"language": language} if language else {}
    return rung_spec("tts", name, there[0], name=name, api_key=there[1], **options)


def policy(names: Sequence[str], now: float) -> StagePolicy:
    places = [Place(stage="tts", provider=name, credential=name) for name in names]
    known = {item.kind: item.facts for item in PROVIDERS if item.stage == "tts"}
    untimed = {name for name in names if name not in known or not known[name].word_times}
    availability = AvailabilityTable(places, now=now, priors_s={"tts": 0.3})
    return StagePolicy(
        stage="tts",
        availability=availability,
        untimed=frozenset(untimed),
        pace=Pace(late_min_s=0.35, late_max_s=0.6, gap_s=0.4),
    )


def _talk(
    lab: Lab,
    names: Sequence[str],
    stage_policy: StagePolicy,
    own: RungSpec | None,
    *,
    language: str,
) -> Talk:
    told: list[Any] = []
    turn, caller_line = Turn(budget_s=1.5), CallerLine()

    async def unsaid(rest: str, *, protected: bool) -> None:
        talk.unsaid.append(rest)
        talk.protected.append(protected)

    stage = TtsStage(
        {
            spec.name: provider("tts", spec.kind).build(spec)
            for spec in (rung(lab, name, own, language=language) for name in names)
        },
        policy=stage_policy,
        emit=told.append,
        clock=time.monotonic,
        turn=turn,
        line=caller_line,
        say_unsaid=unsaid,
    )
    line, kept, context = PlayedLine(ahead_s=0.02), list[Frame](), LLMContext()
    tap = Tap(kept, FrameDirection.DOWNSTREAM)
    worker = worker_of(stage, tap, line, LLMAssistantAggregator(context), rate_hz=RATE_HZ)
    talk = Talk(
        lab=lab,
        stage=stage,
        worker=worker,
        line=line,
        kept=kept,
        context=context,
        turn=turn,
        caller_line=caller_line,
        told=told,
    )
    return talk


@asynccontextmanager
async def talking(
    lab: Lab,
    names: Sequence[str] = ("cartesia", "elevenlabs"),
    *,
    shared: StagePolicy | None = None,
    own: RungSpec | None = None,
    language: str = "",
    limit_s: float = 40.0,
) -> AsyncIterator[Talk]:
    """Run the stage on these rungs during the block, then end it as a call ends.

    `own` is the rung of its name; the others are the lab's.
    """
    talk = _talk(lab, names, shared or policy(names, time.monotonic()), own, language=language)
    async with at_work(talk.worker, limit_s=limit_s) as run:
        run.add_done_callback(lambda _: talk.finished.set())
        yield talk


@asynccontextmanager
async def laboratory(**options: Any) -> AsyncIterator[Lab]:
    kinds = ("cartesia", "elevenlabs", "aura", "openai")
    specs = [Spec(name=kind, kind=kind) for kind in kinds]
    async with Lab(specs, **options) as lab:
        yield lab


def usage(talk: Talk) -> list[str]:
    """Return the processors that reported what they will bill."""
    frames = talk.kept_of(MetricsFrame)
    return [
        value.processor
        for frame in frames
        for value in frame.data
        if type(value).__name__ == "TTSUsageMetricsData"
    ]
