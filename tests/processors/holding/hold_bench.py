"""The held line in a small pipeline, with a voice that is never late and a line in real time."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from pipecat.frames.frames import (
    Frame,
    InputAudioRawFrame,
    InterimTranscriptionFrame,
    InterruptionFrame,
    TTSAudioRawFrame,
    TTSStoppedFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMAssistantAggregator
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor

from calls.events import Event, TurnDecided
from calls.line import CallerLine
from calls.turn import Turn
from fallbacks.events import HeldTheLine, StageExhausted, StepTaken
from processors.holding.decision import HoldRules
from processors.holding.farewell import Farewell
from processors.holding.hold_line import HoldLine
from processors.holding.late_answer_rules import Holding, HoldSettings
from processors.holding.on_device_words import NoEar, WordEar
from processors.holding.outage_rules import OutageSettings
from processors.holding.own_voice import ClipAudioRawFrame, Phrases, SpokenClip
from processors.holding.silence_rules import CallLength, Silence
from processors.holding.utterance_rules import Chooser, utterances_of
from processors.turn.ending import TurnOpener
from processors.turn.floor import Floor
from processors.turn.sound_path import Faintness, SoundEnd
from tests.kit.bench import at_work, worker_of
from tests.kit.line import PlayedLine
from tests.kit.waiting import until

RATE_HZ = 8000
WORD_S = 0.03
ANSWER = 9000  # the answer's samples; clips are 1000, the local voice 3000
CLIP = 1000
LOCAL = 3000
NEVER = HoldSettings(first_s=1e6, last_s=1e6, clip_s=1e6, silence_s=1e6)
SOON = HoldSettings(first_s=0.1, last_s=0.15, clip_s=0.2, silence_s=0.3)
TEXTS = {
    "en": {
        "filler": ["One moment.", "Just a second."],
        "llm": ["I am still here.", {"text": "Which day would suit you?", "when": ["book"]}],
        "stt": ["Could you say it again?"],
        "tts": ["My usual voice is gone."],
        "down": ["We have a technical problem."],
        "menu": ["Press one to be called back, two to leave a message, zero for a person."],
        "menu_either": ["Say callback or press one."],
        "menu_words": ["Say callback, message or person."],
        "ask_callback": ["Shall we call you back?"],
        "ask_message": ["Will you leave a message?"],
        "callback": ["We will call you back."],
        "message": ["Speak after the tone."],
        "message_words": ["Speak after the tone, then be silent."],
        "person": ["I am connecting you."],
        "not_kept": ["Your message could not be kept."],
        "goodbye": ["Thank you and goodbye."],
    }
}


class Voices(FrameProcessor):
    """Replaces the TTS stage; adds the sound that it passes on to the line's queue."""

    def __init__(self, line: CallerLine) -> None:
        super().__init__()
        self._line = line

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        match frame:
            case TTSAudioRawFrame():
                self._line.add(len(frame.audio) / 2 / frame.sample_rate, time.monotonic())
            case InterruptionFrame():
                self._line.flush(time.monotonic())
            case _:
                pass
        await self.push_frame(frame, direction)


class Voice:
    """Says a text as sound of a fixed length."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.takes_s = 0.0

    async def say(self, text: str, language: str) -> SpokenClip:
        del language
        self.said.append(text)
        await asyncio.sleep(self.takes_s)
        return SpokenClip(sound(CLIP, WORD_S * len(text.split())), "cartesia")

    async def say_locally(self, text: str, language: str) -> bytes:
        del language
        self.said.append(text)
        await asyncio.sleep(self.takes_s)
        return sound(LOCAL, WORD_S * len(text.split()))


async def _nobody() -> bool:
    return False


class MenuChoices:
    """Records requests; nobody can be reached, unless `connects` says so."""

    def __init__(self, *, number: bool = True) -> None:
        self.number = number
        self.disk = True
        self.connects: Callable[[], Awaitable[bool]] = _nobody
        self.asked: list[str] = []
        self.message_s = self.recorded_s = 0.0

    async def call_back(self, reason: str) -> bool:
        self.asked.append(f"call back: {reason}")
        return self.number

    async def connect(self) -> bool:
        self.asked.append("connect")
        return await self.connects()

    def record(self, pcm: bytes, rate_hz: int) -> None:
        self.recorded_s += len(pcm) / 2 / rate_hz

    async def keep_message(self) -> bool:
        self.asked.append("keep message")
        self.message_s = self.recorded_s
        return self.disk

    async def drop_message(self) -> None:
        self.recorded_s = 0.0

    async def hang_up(self, reason: str) -> None:
        self.asked.append(f"hang up: {reason}")


def sound(level: int, length_s: float) -> bytes:
    return np.full(round(length_s * RATE_HZ), level, dtype="<i2").tobytes()


@dataclass(kw_only=True)
class Call:
    """A call with nothing but the held line."""

    hold: HoldLine
    worker: PipelineWorker
    line: PlayedLine
    voice: Voice
    desk: MenuChoices
    turn: Turn
    caller_line: CallerLine
    floor: Floor
    told: list[Any] = field(default_factory=list)
    remembered: list[str] = field(default_factory=list)
    context: LLMContext = field(default_factory=LLMContext)

    async def put(self, *frames: Frame) -> None:
        for frame in frames:
            await self.worker.queue_frame(frame)

    async def stops(self, *, decided: bool = True, worded: bool = False) -> float:
        """Let the caller speak; return when they stopped.

        Args:
            decided: Whether the turn ends with this speech.
            worded: Whether the recogniser has transcribed a word by then.
        """
        if not self.floor.caller_speaking:
            await self.starts()
        if worded:
            await self.put(
                InterimTranscriptionFrame("I would like", "", "2026-01-01T00:00:00+00:00")
            )
        at = time.monotonic()
        await self.put(VADUserStoppedSpeakingFrame(stop_secs=0.0))
        if decided:
            self.hold.notice(TurnDecided(turn=1, at_s=at))
        await self.until(lambda: not self.floor.caller_speaking)
        return at

    async def starts(self) -> None:
        await self.put(VADUserStartedSpeakingFrame(), InterruptionFrame())
        await self.until(lambda: self.floor.caller_speaking)

    async def answers(self, length_s: float = 0.1) -> None:
        await self.put(TTSAudioRawFrame(sound(ANSWER, length_s), RATE_HZ, 1), TTSStoppedFrame())

    async def presses(self, key: str) -> None:
        self.floor.key_pressed(key, "menu")

    async def says_word(self) -> None:
        await self.starts()
        await self.put(InputAudioRawFrame(sound(500, 0.3), RATE_HZ, 1))
        await self.stops(decided=False)

    async def says(self, length_s: float) -> None:
        """Speak into the line for `length_s`, in real time."""
        await self.put(VADUserStartedSpeakingFrame())
        for _ in range(round(length_s / 0.02)):
            await self.put(InputAudioRawFrame(sound(500, 0.02), RATE_HZ, 1))
            await asyncio.sleep(0.02)

    def exhausted(self, stage: str = "llm") -> None:
        self.hold.notice(StageExhausted(stage=stage, attempts=2))

    @property
    def steps(self) -> list[str]:
        return [event.step for event in self.told if isinstance(event, StepTaken)]

    @property
    def held(self) -> list[str]:
        return [event.utterance for event in self.told if isinstance(event, HeldTheLine)]

    async def until(self, true: Callable[[], object], *, within_s: float = 3.0) -> None:
        await until(true, within_s=within_s)

    def clips(self) -> list[float]:
        return [at for at, frame in self.line.played if isinstance(frame, ClipAudioRawFrame)]


def prompting_line(
    silence: Silence,
    length: CallLength,
    *,
    farewell: Farewell,
    line: CallerLine,
    floor: Floor,
    told: list[Event],
) -> HoldLine:
    """Return a held line that waits for answers for ever, so that only these rules speak."""
    return HoldLine(
        rules=HoldRules(holding=Holding(NEVER), silence=silence, length=length),
        phrases=Phrases(chooser=Chooser([]), language="en"),
        voice=Voice(),
        choices=MenuChoices(),
        ear=NoEar(),
        remember=lambda _: None,
        line=line,
        floor=floor,
        turn=Turn(budget_s=1.5),
        emit=told.append,
        clock=time.monotonic,
        farewell=farewell,
    )


@asynccontextmanager
async def held(
    settings: HoldSettings = SOON,
    *,
    outage: OutageSettings | None = None,
    number: bool = True,
    ear: WordEar | None = None,
    menu: Mapping[str, Any] | None = None,
) -> AsyncIterator[Call]:
    """Run a held line during the block, from this state of the outage menu."""
    voice, desk, turn = Voice(), MenuChoices(number=number), Turn(budget_s=1.5)
    told: list[Any] = []
    remembered: list[str] = []
    context = LLMContext()
    line, caller_line = PlayedLine(), CallerLine()
    floor = Floor(caller_line)

    def emit(event: Event) -> None:
        told.append(event)
        hold.notice(event)

    def remember(words: str) -> None:
        remembered.append(words)
        context.add_message({"role": "assistant", "content": words})

    hold = HoldLine(
        rules=HoldRules(holding=Holding(settings), outage=outage or OutageSettings(silence_s=0.3)),
        phrases=Phrases(chooser=Chooser(utterances_of(TEXTS)), language="en"),
        voice=voice,
        choices=desk,
        ear=ear or NoEar(),
        remember=remember,
        line=caller_line,
        floor=floor,
        turn=turn,
        emit=emit,
        clock=time.monotonic,
    )
    if menu:
        hold.decision.outage.restore(menu, time.monotonic())
    opener = TurnOpener(floor, turn=turn, faintness=Faintness(), clock=time.monotonic)
    assistant = LLMAssistantAggregator(context)
    order = [SoundEnd(hold.hear), opener, Voices(caller_line), hold, line, assistant]
    worker = worker_of(*order, rate_hz=RATE_HZ)
    call = Call(
        hold=hold,
        worker=worker,
        line=line,
        voice=voice,
        desk=desk,
        turn=turn,
        caller_line=caller_line,
        floor=floor,
        told=told,
        remembered=remembered,
        context=context,
    )
    async with at_work(worker, limit_s=20):
        yield call
