"""Says what a call says unasked: to a late answer, in an outage, to a silent or waiting caller.

`HoldLine` is directly before the output, so that no hanging stage can block it. It turns the
call's frames and events into events of `HoldDecision`, which decides when to speak and about what.
`HoldActions` (`processors/holding/line_executor.py`) carries out the resulting actions.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pipecat.frames.frames import (
    BotStoppedSpeakingFrame,
    CancelFrame,
    EndFrame,
    Frame,
    FunctionCallInProgressFrame,
    FunctionCallResultFrame,
    InputAudioRawFrame,
    InterruptionFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    StartFrame,
    SystemFrame,
    TTSAudioRawFrame,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor, FrameProcessorSetup

from calls.entry import Emit
from calls.events import (
    CallerStarted,
    CallerStopped,
    DictationHeard,
    Event,
    TranscriptFinal,
    TurnDecided,
)
from calls.line import CallerLine
from calls.turn import Turn
from fallbacks.events import (
    AnswerEmpty,
    AttemptFailed,
    AttemptStarted,
    AttemptWon,
    EarlyAnswerTaken,
    PauseJudged,
    StageExhausted,
)
from processors.holding.decision import HoldDecision, HoldRules
from processors.holding.farewell import Farewell
from processors.holding.line_executor import HoldActions, drop_answer, note_delivered
from processors.holding.on_device_words import OnDeviceWords, WordEar
from processors.holding.own_voice import ChoiceActions, ClipVoice, MenuChoices, OwnVoice, Phrases
from processors.ladder.stage import Alarm
from processors.speaking.pcm import quiet_end
from processors.speaking.speech_queue import WITHDRAWN
from processors.turn.floor import AwayChanged, Floor, FloorEvent, KeyGiven, TurnBegan, WordsCame

# For the local voice to speak; it takes some hundredths of a second (chosen).
LOCAL_S: Final = 0.5


@dataclass
class AnsweredFrame(SystemFrame):
    """The other party has picked up. An outbound call has a pipeline while it rings."""


class HoldLine(FrameProcessor):
    """Passes frames on without delay, and speaks when `HoldDecision` says so.

    Attributes:
        decision: The call's decision; others may read it.
        voice: Speaks fallback texts and the rest of answers.
        delivered: Finds words of answers that are missing on the line.

    Args:
        rules: What decides what is said.
        phrases: The fallback texts.
        voice: Renders them.
        choices: Carries out menu choices.
        ear: Recognises the menu's words on this machine.
        remember: Adds text to the assistant's context.
        line: The caller's line.
        floor: The call's floor.
        turn: The turn in progress.
        emit: Publishes events.
        clock: Monotonic, in seconds.
        farewell: Speaks to a silent caller, and ends the call; `None` without such rules.
    """

    def __init__(
        self,
        *,
        rules: HoldRules,
        phrases: Phrases,
        voice: ClipVoice,
        choices: MenuChoices,
        ear: WordEar,
        remember: Callable[[str], None],
        line: CallerLine,
        floor: Floor,
        turn: Turn,
        emit: Emit,
        clock: Callable[[], float],
        farewell: Farewell | None = None,
    ) -> None:
        """Wire the decision, the voice and the executor together, and listen to the floor."""
        super().__init__(name="local")  # events name the local voice as the provider of its speech
        self._phrases, self._line, self._now = phrases, line, clock
        alarm, words = Alarm(clock), OnDeviceWords(ear, clock=clock)
        self.decision = HoldDecision(rules, floor, word_until=lambda: words.pending_until)
        self.voice = OwnVoice(
            phrases=phrases,
            voice=voice,
            remember=remember,
            line=line,
            floor=floor,
            turn=turn,
            emit=emit,
            clock=clock,
            push=self.push_frame,
            on_added=alarm.ring,
        )
        menu = ChoiceActions(choices, emit=emit, turn=turn)
        self._executor = HoldActions(
            self, self.decision, self.voice, alarm, words=words, choices=menu, farewell=farewell
        )
        self.delivered = self._executor.delivered
        floor.listeners.append(self._on_floor_event)

    def note_answered(self) -> None:
        """Record that the caller hears something else: no answer is pending any more."""
        self.decision.sounded(self._line.dry_at, self._now())
        self._executor.alarm.ring()

    def note_nothing_said(self) -> None:
        """Record that the caller's turn is over without a transcript, and no model is asked."""
        self.decision.answer.nothing_said(self._now())
        self._executor.alarm.ring()

    def play_on_hold(self, *, on: bool) -> None:
        """Start or stop playing tones and phrases when the line is silent."""
        if on:
            self.decision.rhythm.start(self._now())
        else:
            self.decision.rhythm.stop()
        self._executor.alarm.ring()

    def reassure(self) -> None:
        """Say next that it takes a moment longer: the caller has asked for a person again.

        No effect unless `play_on_hold` is on.
        """
        self.decision.rhythm.hurry(self._now())
        self._executor.alarm.ring()

    async def until_quiet(self) -> None:
        """Wait until neither side has spoken for a moment, and nothing is about to be said.

        There is no time limit: it may not return before the call ends.
        """
        self.decision.result_since = self._now()
        self._executor.alarm.ring()
        await self._executor.quiet.wait()

    def notice(self, event: Event) -> None:
        """Process an event of the call at the moment it is published; most events are ignored."""
        match event:
            case (
                StageExhausted() | AttemptFailed() | AttemptStarted() | AttemptWon() | PauseJudged()
            ):
                self._executor.handle(event)
            case EarlyAnswerTaken() | AnswerEmpty():
                self._executor.handle(event)
            case DictationHeard():
                self._executor.handle(CallerStopped(at_s=event.until_s, noticed_at_s=self._now()))
            case TurnDecided():  # not published for a turn without words, which gets no answer
                self._executor.handle(event)
            case TranscriptFinal():
                self._phrases.take_in(event)
            case _:
                pass

    def hear(self, frame: InputAudioRawFrame) -> None:
        """Record the caller's audio in a message, or pass it to the recogniser of menu words."""
        executor = self._executor
        if message := self.decision.outage.message:
            executor.choices.record(message, message.sound(frame.audio, self._now()))
        else:
            executor.words.sound(frame.audio, frame.sample_rate)

    async def speak_locally(self, rest: str, *, protected: bool = False) -> None:
        """Put words on the line, in the local voice, that no provider's voice could say.

        What the agent says next must follow them. So this returns when they are on the line, or
        after `LOCAL_S`; until then, an interruption drops only words that can be interrupted.

        Args:
            rest: The words.
            protected: Whether the words cannot be interrupted.
        """
        self.voice.keep_rest(rest, protected=protected)
        speaking = self.create_task(self._executor.speak_rest(), f"{self.name}: the rest")
        await asyncio.wait([speaking], timeout=LOCAL_S)  # does not cancel it

    async def setup(self, setup: FrameProcessorSetup) -> None:
        """Read the line's sample rate."""
        await super().setup(setup)
        self.voice.speaker.rate_hz = self._executor.tones.rate_hz = setup.audio_out_sample_rate

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Pass a frame on and tell the decision; drop an answer after a menu choice or the goodbye.

        Before the end of the call, words that are left for the local voice are said.
        """
        await super().process_frame(frame, direction)
        if self.decision.outage.has_the_line and drop_answer(frame, self._line, self._now()):
            return
        if isinstance(frame, EndFrame):
            await self._executor.speak_rest()  # it may be a goodbye that no other voice could say
        await self.push_frame(frame, direction)
        match frame:
            case StartFrame():
                self._executor.start()
            case EndFrame() | CancelFrame():
                await self._executor.stop()
            case _:
                note_delivered(frame, self.delivered)
                self._note_frame(frame)

    async def cleanup(self) -> None:
        """Stop; publish the words that were heard, and store a message in progress."""
        await super().cleanup()
        await self._executor.stop()
        self.voice.end()
        for action in self.decision.outage.give_up_message():
            await self._executor.do(action)

    def _on_floor_event(self, event: FloorEvent) -> None:
        """Give a change of the floor to the decision; when the caller starts, stop our own speech.

        Any other change wakes the task that carries out the actions.
        """
        executor = self._executor
        match event:
            case CallerStarted():
                executor.words.began(listens=self.decision.outage.listens)
                executor.handle(event)
                executor.give_way()
            case CallerStopped():
                executor.words.stopped()
                executor.handle(event)
            case TurnBegan() | AwayChanged() | KeyGiven():
                executor.handle(event)
            case WordsCame() if event.text.strip():
                executor.handle(event)
            case _:
                executor.alarm.ring()

    def _note_frame(self, frame: Frame) -> None:
        """Tell the decision about a frame, and wake the task that carries out its actions.

        The frame that ends an answer comes after its last audio.
        """
        executor, now, dry_at = self._executor, self._now(), self._line.dry_at
        answer = self.decision.answer
        match frame:
            case InterruptionFrame():
                executor.voice.stop()
                answer.cut_off(withdrawn_at=now if frame.metadata.get(WITHDRAWN) else None)
            case FunctionCallInProgressFrame():
                answer.tool_began(frame.tool_call_id, now)
            case FunctionCallResultFrame():
                asks = frame.properties is None or frame.properties.run_llm is not False
                answer.tool_ended(frame.tool_call_id, now, asks=asks)
            case TTSAudioRawFrame():
                quiet_samples = quiet_end(frame.audio)
                dry_at -= quiet_samples / frame.sample_rate
                self.decision.sounded(dry_at, now, audible=quiet_samples < frame.num_frames)
            case LLMFullResponseStartFrame() | LLMFullResponseEndFrame():
                begins, shown = isinstance(frame, LLMFullResponseStartFrame), bool(frame.skip_tts)
                answer.written(more=begins, shown=shown)
            case AnsweredFrame():
                self.decision.picked_up(now)
            case BotStoppedSpeakingFrame():
                pass  # the line may have ended earlier than expected
            case _:
                return
        executor.alarm.ring()
