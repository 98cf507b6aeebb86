"""Speaks to a caller whose answer is late, and goes down step by step while nobody can answer.

It stands right above the line, so that nothing that hangs can be in its way, and delays nothing.
When to speak, and for which situation, is decided by `LineKeeper`; here frames and facts become its
events, and its actions sound.
"""

from collections import deque

from pipecat.frames.frames import (
    CancelFrame,
    EndFrame,
    Frame,
    InputAudioRawFrame,
    InputDTMFFrame,
    InterruptionFrame,
    StartFrame,
    TTSAudioRawFrame,
    TTSTextFrame,
    UserStoppedSpeakingFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor, FrameProcessorSetup

from calls.events import Event, TranscriptFinal
from fallbacks.caller_message import CallerMessage
from fallbacks.facts import (
    AttemptFailed,
    AttemptStarted,
    AttemptWon,
    EarlyAnswerTaken,
    PauseJudged,
    StageExhausted,
)
from fallbacks.line_events import (
    AnswerDue,
    AnswerSounded,
    AskDesk,
    CallerBegan,
    CallerFellSilent,
    CutLine,
    EarChecked,
    HangUp,
    HearWords,
    KeepMessage,
    LineAction,
    LineEvent,
    MenuKeyPressed,
    MenuWordOwed,
    MenuWordSaid,
    MessageBegan,
    RecordMessage,
    SpeakFor,
    Spoken,
    WordsCame,
)
from fallbacks.line_keeper import LineKeeper
from fallbacks.menu_words import Meaning, heard_here
from processors.desk import DeskClerk
from processors.fallback import Fallback
from processors.on_device_words import OnDeviceWords
from processors.own_voice import OwnVoice
from processors.pcm import audible
from processors.stages.alarm import Alarm
from processors.wiring import CallWiring


class HoldLine(FrameProcessor):
    """Delays nothing; speaks when the decisions say so."""

    def __init__(self, fallback: Fallback, wiring: CallWiring) -> None:
        super().__init__(name="local")  # what it says in place of a voice is the local voice's
        self._fallback = fallback
        self._line = wiring.line
        self._turn = wiring.turn
        self._faintness = wiring.faintness
        self._tell = wiring.tell
        self._now = wiring.clock
        self._keeper = LineKeeper(fallback.holding, fallback.descent)
        self._actions: deque[LineAction] = deque()
        self._voice = OwnVoice(fallback, wiring, push=self.push_frame)
        self._clerk = DeskClerk(fallback.desk, tell=wiring.tell, turn=wiring.turn)
        self._words = OnDeviceWords(fallback.ear, clock=wiring.clock)
        self._alarm = Alarm(wiring.clock)
        wiring.listeners.append(self.notice)

    @property
    def holding(self) -> bool:
        """Whether something was said in place of the answer that the caller still waits for."""
        return self._keeper.holding

    @property
    def takes_keys(self) -> bool:
        """Whether a key of the caller's is for the menu, or ends a message."""
        return self._keeper.way_down.takes_keys

    def note_answered(self) -> None:
        """Note that the caller is spoken to otherwise: no answer is owed any more."""
        self._handle(AnswerSounded(dry_at=self._line.dry_at, audible=True))

    def notice(self, event: Event) -> None:
        """Note a fact of the call at the moment when it is told; waits for nothing."""
        match event:
            case (
                StageExhausted() | AttemptFailed() | AttemptStarted() | AttemptWon() | PauseJudged()
            ):
                self._handle(event)
            case EarlyAnswerTaken():
                self._handle(event)
            case TranscriptFinal():
                self._fallback.phrases.take_in(event)
                self._handle(WordsCame())
            case _:
                pass

    def hear(self, frame: InputAudioRawFrame) -> None:
        """Record the caller's sound: of a message that is being left, or of the menu's words."""
        if message := self._keeper.way_down.message:
            self._clerk.record(message, message.sound(frame.audio, self._now()))
        else:
            self._words.sound(frame.audio, frame.sample_rate)

    def note_word(self, meaning: Meaning | None) -> None:
        """Note which of the menu's words was said; None: none of them."""
        self._handle(MenuWordOwed(until=self._words.owed_until))
        if meaning is not None:
            self._handle(MenuWordSaid(meaning=meaning))

    async def speak_locally(self, rest: str) -> None:
        """Have the local voice say soon what no voice could say."""
        self._voice.keep_rest(rest)
        self._alarm.ring()

    async def setup(self, setup: FrameProcessorSetup) -> None:
        """Learn the rate of the line."""
        await super().setup(setup)
        self._voice.rate_hz = setup.audio_out_sample_rate

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Pass everything on, but an answer that comes after the goodbye; read what it means."""
        await super().process_frame(frame, direction)
        has_the_line = self._keeper.way_down.has_the_line
        if has_the_line and isinstance(frame, TTSAudioRawFrame | TTSTextFrame):
            return
        if isinstance(frame, EndFrame) and not has_the_line:
            await self._voice.speak_rest(self._handle)  # a goodbye, perhaps
        await self.push_frame(frame, direction)
        match frame:
            case StartFrame():
                self._alarm.start(
                    self, lambda: earliest(self._keeper.wake_at, self._voice.wake_at), self._act
                )
            case EndFrame() | CancelFrame():
                await self._alarm.stop()
                await self._words.stop()
            case _:
                self._read(frame, self._now())

    async def cleanup(self) -> None:
        """Stop watching; keep a message that was being left."""
        await super().cleanup()
        await self._alarm.stop()
        await self._words.stop()
        for action in self._keeper.way_down.give_up_message():
            await self._do(action)

    def _read(self, frame: Frame, now: float) -> None:
        match frame:
            case VADUserStartedSpeakingFrame():
                self._words.began(listens=self._keeper.listens)
                self._handle(CallerBegan())
            case VADUserStoppedSpeakingFrame():
                self._words.stopped()
                worded = self._turn.worded
                stop_s = frame.stop_secs
                stopped_at = self._faintness.stopped_at(now, stop_s=stop_s, now=now)
                self._handle(CallerFellSilent(stopped_at=stopped_at, worded=worded))
                self._handle(MenuWordOwed(until=self._words.owed_until))
            case UserStoppedSpeakingFrame():
                self._handle(AnswerDue())
            case InterruptionFrame():
                self._voice.stop()
            case TTSAudioRawFrame():
                dry_at = self._line.dry_at
                self._handle(AnswerSounded(dry_at=dry_at, audible=audible(frame.audio)))
            case InputDTMFFrame():
                self._handle(MenuKeyPressed(digit=frame.button.value))
            case _:
                pass

    def _handle(self, event: LineEvent) -> None:
        """Decide what follows from an event; it is done as soon as the alarm has rung."""
        self._actions.extend(self._keeper.handle(event, self._now()))
        self._alarm.ring()

    async def _act(self, now: float) -> None:
        self._voice.note_heard(now)
        if not self._keeper.way_down.has_the_line:
            await self._voice.speak_rest(self._handle)
        usable = self._words.usable and heard_here(self._fallback.phrases.language)
        self._actions.extend(self._keeper.handle(EarChecked(usable=usable), now))
        self._actions.extend(self._keeper.tick(now))
        while self._actions:
            await self._do(self._actions.popleft())

    async def _do(self, action: LineAction) -> None:
        match action:
            case SpeakFor():
                dry_at = await self._voice.speak(action, over_caller=self._keeper.caller_speaks)
                self._handle(Spoken(action=action, dry_at=dry_at))
            case AskDesk() | KeepMessage() | HangUp():
                if done := await self._clerk.ask(action):
                    self._handle(done)
            case RecordMessage():
                message = CallerMessage(
                    begins_at=await self._voice.sound_tone(), rate_hz=self._voice.rate_hz
                )
                self._handle(MessageBegan(message=message))
            case CutLine():
                self._voice.stop()
                self._line.flush(self._now())
                await self.push_frame(InterruptionFrame())  # below us only: the menu was heard
            case HearWords():
                if self._words.usable and heard_here(self._fallback.phrases.language):
                    self._words.start(self, self.note_word)
            case fact:
                self._tell(fact)


def earliest(*moments: float | None) -> float | None:
    """Return the first of the moments that there are, or None."""
    return min((each for each in moments if each is not None), default=None)
