"""Callers who speak and fall silent on cue, and a turn detector with a configurable delay."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from pipecat.audio.vad.vad_analyzer import VADAnalyzer, VADParams, VADState
from pipecat.frames.frames import (
    Frame,
    InputAudioRawFrame,
    STTMetadataFrame,
    TranscriptionFrame,
    UserStoppedSpeakingFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.observers.base_observer import BaseObserver
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import (
    LLMContextAggregatorPair,
    LLMUserAggregatorParams,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.turns.user_start import VADUserTurnStartStrategy
from pipecat.turns.user_turn_strategies import UserTurnStrategies

from fallbacks.events import PauseJudged
from processors.turn.detector import DetectorSettings, Examine, Judgement, TurnDetector, TurnJudges
from processors.turn.ending import PauseFrame, TurnStop
from processors.turn.sound_path import Faintness
from tests.kit.bench import at_work, worker_of

RATE_HZ = 8000
PIECE_S = 0.02
STOP_S = 0.2
SPEECH = np.full(round(RATE_HZ * PIECE_S), 3000, dtype="<i2").tobytes()
SILENCE = bytes(len(SPEECH))


class LoudnessVad(VADAnalyzer):
    """Takes every sound for speech."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.faintness = Faintness()

    async def analyze_audio(self, buffer: bytes) -> VADState:
        self.faintness.hear(np.frombuffer(buffer, np.int16), self.sample_rate)
        return await super().analyze_audio(buffer)

    def num_frames_required(self) -> int:
        return 256

    def voice_confidence(self, buffer: bytes) -> float:
        return float(any(buffer))


class Session:
    """A model that returns these probabilities, and then the last one again."""

    def __init__(self, *says: float) -> None:
        self.says = says
        self.asked = 0

    def run(self, _names: None, _feeds: object) -> list[Any]:
        says = self.says[min(self.asked, len(self.says) - 1)]
        self.asked += 1
        return [np.array([[says]])]


def slowly(takes_s: float) -> Callable[[Examine], "asyncio.Future[Judgement]"]:
    """Return an executor whose result comes after `takes_s` of the event loop's time."""

    def run(examine: Examine) -> "asyncio.Future[Judgement]":
        loop = asyncio.get_running_loop()
        found: asyncio.Future[Judgement] = loop.create_future()
        loop.call_later(takes_s, lambda: found.set_result(examine()))
        return found

    return run


class Watch(FrameProcessor):
    """Records when each frame passed."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[type[Frame], float]] = []

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        self.seen.append((type(frame), time.monotonic()))
        await self.push_frame(frame, direction)

    def at(self, kind: type[Frame]) -> list[float]:
        return [at for each, at in self.seen if each is kind]


class Above(FrameProcessor):
    """Records pauses, with the moment."""

    def __init__(self, pauses: list[tuple[str, float]]) -> None:
        super().__init__()
        self._pauses = pauses

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, PauseFrame):
            self._pauses.append((type(frame).__name__, time.monotonic()))
        await self.push_frame(frame, direction)


@dataclass
class Caller:
    """A caller whose transcript arrives at the end of each piece of speech."""

    session: Session
    judges: TurnJudges
    early: bool = True
    context: LLMContext = field(default_factory=lambda: LLMContext(messages=[]))
    watch: Watch = field(default_factory=Watch)
    told: list[Any] = field(default_factory=list)
    # The reports to processors above, and when they came.
    pauses: list[tuple[str, float]] = field(default_factory=list)
    above: Sequence[FrameProcessor] = ()
    silent_s: float = 2.0  # at the end
    says: Sequence[str] = ()  # instead of numbered words
    more_s: Callable[[str], float] = lambda _: 0.0
    observers: Sequence[BaseObserver] = ()

    async def speaks(self, *lengths_s: float) -> "Caller":
        """Speak and pause in turns, for these lengths, and then stay silent."""
        vad = LoudnessVad(
            params=VADParams(start_secs=0.2, stop_secs=STOP_S, confidence=0.5, min_volume=0.0)
        )
        detector = TurnDetector(
            self.session,
            vad=vad,
            faintness=vad.faintness,
            settings=DetectorSettings(early=self.early),
            judges=self.judges,
            clock=time.monotonic,
            emit=self.told.append,
        )
        stop = TurnStop(turn_analyzer=detector, on_sound=detector.note_silence, more_s=self.more_s)
        detector.tell_pause = stop.tell_above
        params = LLMUserAggregatorParams(
            vad_analyzer=vad,
            user_turn_strategies=UserTurnStrategies(
                start=[VADUserTurnStartStrategy()], stop=[stop]
            ),
            user_turn_stop_timeout=10.0,
        )
        pair = LLMContextAggregatorPair(self.context, user_params=params)
        order = [Above(self.pauses), *self.above, pair.user(), self.watch]
        worker = worker_of(*order, rate_hz=RATE_HZ, observers=self.observers)
        async with at_work(worker):
            await worker.queue_frame(STTMetadataFrame(service_name="stt", ttfs_p99_latency=0.35))
            await self._carry(worker, [*lengths_s, self.silent_s])
        return self

    async def _carry(self, worker: PipelineWorker, lengths_s: Sequence[float]) -> None:
        until = time.monotonic()
        for number, length_s in enumerate(lengths_s):
            speaks = number % 2 == 0
            if not speaks:
                text = self.says[number // 2] if self.says else f"words {number}"
                words = TranscriptionFrame(text, "", "", finalized=True)
                await worker.queue_frame(words)
            for _ in range(round(length_s / PIECE_S)):
                piece = SPEECH if speaks else SILENCE
                await worker.queue_frame(InputAudioRawFrame(piece, RATE_HZ, 1))
                until += PIECE_S
                await asyncio.sleep(max(0.0, until - time.monotonic()))

    @property
    def stops(self) -> list[float]:
        return self.watch.at(VADUserStoppedSpeakingFrame)

    @property
    def starts(self) -> list[float]:
        return self.watch.at(VADUserStartedSpeakingFrame)

    @property
    def decided(self) -> list[float]:
        return self.watch.at(UserStoppedSpeakingFrame)

    @property
    def judged(self) -> list[PauseJudged]:
        return [event for event in self.told if isinstance(event, PauseJudged)]

    @property
    def turns(self) -> list[str]:
        messages: list[Any] = list(self.context.messages)
        return [str(message["content"]) for message in messages]
