"""Carries out the actions of `HoldDecision`: speech, tones, choices, messages, the end."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, assert_never

from loguru import logger
from pipecat.frames.frames import (
    Frame,
    InterruptionFrame,
    OutputAudioRawFrame,
    TTSAudioRawFrame,
    TTSTextFrame,
)
from pipecat.processors.frame_processor import FrameProcessor

from calls.events import CallerSilent
from calls.line import CallerLine
from fallbacks.events import StageRecovered, StepTaken
from processors.holding.decision import HoldDecision
from processors.holding.delivered_rules import DeliveredWords
from processors.holding.farewell import Farewell
from processors.holding.hold_rhythm_rules import HoldSound
from processors.holding.line_rules import (
    CallerMessage,
    CutLine,
    DeliverResults,
    HangUp,
    KeepMessage,
    LineAction,
    LineEvent,
    RecordMessage,
    RunMenuChoice,
    SpeakFor,
    Spoken,
    earliest,
)
from processors.holding.menu_rules import Meaning, is_recognised_here
from processors.holding.on_device_words import OnDeviceWords
from processors.holding.own_voice import ChoiceActions, OwnVoice
from processors.holding.silence_rules import Goodbye, Prompt
from processors.holding.tones import hold_tone
from processors.holding.utterance_rules import Situation
from processors.ladder.stage import Alarm
from processors.speaking.pcm import quiet_end
from runtime.pcm import SAMPLE_BYTES

# With more audio than this queued on a line, live audio is dropped: otherwise the delay between
# two people who talk would grow.
MAX_QUEUED_S: Final = 0.4
ON_HOLD: Final = (Situation.ON_HOLD,)


class WaitingSound(OutputAudioRawFrame):
    """A tone for a waiting caller, or the voice of the other person on the call."""


class OtherSound:
    """Puts `WaitingSound` on a line."""

    def __init__(
        self,
        line: CallerLine,
        *,
        push: Callable[[Frame], Awaitable[None]],
        clock: Callable[[], float],
    ) -> None:
        self.rate_hz = 0
        self._line = line
        self._push = push
        self._now = clock

    async def put(self, pcm: bytes) -> None:
        """Queue 16-bit mono at `rate_hz` on the line."""
        if pcm:
            # First: the line may report that it plays the audio before `push` returns.
            self._line.add(len(pcm) / SAMPLE_BYTES / self.rate_hz, self._now())
            await self._push(WaitingSound(pcm, self.rate_hz, 1))

    async def put_soon(self, pcm: bytes) -> None:
        """Queue live audio like `put`; drop it if it would be heard too late."""
        if self._line.queued_s(self._now()) <= MAX_QUEUED_S:
            await self.put(pcm)


async def until_heard(line: CallerLine, clock: Callable[[], float]) -> None:
    """Wait until all audio on a line should have been heard, also audio that is added meanwhile."""
    while (left_s := line.queued_s(clock())) > 0:  # noqa: ASYNC110 - a line has no event
        await asyncio.sleep(left_s)


class HoldActions:
    """Passes each event to the decision at once, and carries out the actions in its own task.

    Attributes:
        decision: Decides.
        voice: Speaks on the caller's line.
        words: Recognises the menu's words.
        choices: Carries out choices, and records a message while it is spoken.
        tones: Plays tones to a caller who waits for a person.
        delivered: Finds words that are missing on the line.
        alarm: To be rung after each change of the decision's state.
        quiet: Wakes those who wait until nothing is said, and nothing is about to be said.
    """

    def __init__(
        self,
        owner: FrameProcessor,
        decision: HoldDecision,
        voice: OwnVoice,
        alarm: Alarm,
        *,
        words: OnDeviceWords,
        choices: ChoiceActions,
        farewell: Farewell | None,
    ) -> None:
        """Begin with an empty queue of actions; `start` starts the task that runs them."""
        self.decision = decision
        self.voice = voice
        self.words = words
        self.choices = choices
        self.tones = OtherSound(voice.line, push=owner.push_frame, clock=voice.clock)
        self._farewell = farewell
        self._choice: asyncio.Task[None] | None = None
        self.delivered = DeliveredWords(voice.line)
        self._owner = owner
        self._now = voice.clock
        self._actions: deque[LineAction] = deque()
        self.alarm = alarm
        self.quiet = asyncio.Event()

    def start(self) -> None:
        """Start the task."""
        self.alarm.start(
            self._owner,
            lambda: earliest(self.decision.wake_at, self.voice.wake_at, self.delivered.wake_at),
            self._act_on_due,
        )

    async def stop(self) -> None:
        """End the tasks, also a choice in progress, and stop recognising words."""
        await self.alarm.stop()
        choice, self._choice = self._choice, None
        if choice is not None and choice is not asyncio.current_task():
            await self._owner.cancel_task(choice)
        await self.words.stop()

    def handle(self, event: LineEvent) -> None:
        """Pass an event to the decision at once, and queue the actions for the task."""
        self.queue_actions(self.decision.handle(event, self._now()))

    def queue_actions(self, actions: Iterable[LineAction]) -> None:
        """Queue actions for the task, and wake it."""
        self._actions.extend(actions)
        self.alarm.ring()

    def give_way(self) -> None:
        """Stop our own speech, because the caller has begun to speak.

        Pipecat interrupts only at the beginning of a turn. A turn may already be open, because its
        words are pending, or because it began with a sound without words.
        """
        speaks = self.voice.speaker.speaks
        self.voice.stop()  # here and not in the task, which may be waiting for speech to be ready
        if speaks:
            self._actions.append(CutLine())
            self.alarm.ring()

    async def do(self, action: LineAction) -> None:
        """Carry out one action, and pass its result to the decision."""
        match action:
            case SpeakFor() | Prompt() | HoldSound():
                await self._say_and_report(action)
            case RecordMessage() | RunMenuChoice() | KeepMessage():
                await self._serve_choice(action)
            case Goodbye() | HangUp():
                await self._end_call_for(action)
            case CutLine():
                await self._cut_line()
            case DeliverResults():
                self.quiet.set()
                self.quiet.clear()  # for those who wait from now on
            case StepTaken() | StageRecovered():
                self.voice.emit(action)
            case _:
                assert_never(action)

    async def _say_and_report(self, action: SpeakFor | Prompt | HoldSound) -> None:
        """Say or play something; a text's result goes to the decision as `Spoken`.

        A prompt is emitted as an event. Without a phrase for a waiting caller, a tone is played.
        """
        voice = self.voice
        match action:
            case SpeakFor():
                dry_at = await voice.speak(action, over_caller=voice.floor.caller_speaking)
                self.handle(Spoken(action=action, dry_at=dry_at))
            case Prompt():
                voice.emit(CallerSilent(prompts=action.prompts))
                await self._end_of_call.say(action.words)
            case HoldSound.WORD if said := voice.phrases.choose(ON_HOLD, topical=False):
                await voice.say(said.text, said.language, kept=True, protected=False)
            case HoldSound():
                await self.tones.put(hold_tone(self.tones.rate_hz))
            case _:
                assert_never(action)

    async def _serve_choice(self, action: RecordMessage | RunMenuChoice | KeepMessage) -> None:
        """Begin a message after its tone, run a choice in a task, or store a message.

        The result of a choice reaches the decision as `ChoiceDone`.
        """
        match action:
            case RecordMessage():
                begins_at, rate_hz = await self.voice.sound_tone(), self.voice.speaker.rate_hz
                self.decision.outage.message = CallerMessage(
                    self.voice.floor, begins_at=begins_at, rate_hz=rate_hz
                )
            case RunMenuChoice():  # it may take as long as a person's phone rings
                run = self._carry_out(action)
                self._choice = self._owner.create_task(run, f"{self._owner.name}: choice")
            case KeepMessage():
                await self._carry_out(action)
            case _:
                assert_never(action)

    async def _end_call_for(self, action: Goodbye | HangUp) -> None:
        """End the call: after a goodbye, or at once for `HangUp`, even if a part of it hangs."""
        if isinstance(action, HangUp):
            await self.choices.hang_up()
        else:
            reason, words = action.reason, action.words
            await self._end_of_call.end_call(reason, words=words, final=action.final)

    async def _carry_out(self, action: RunMenuChoice | KeepMessage) -> None:
        """Carry out a choice, and pass its result to the decision."""
        self.handle(await self.choices.carry_out(action))

    async def _cut_line(self) -> None:
        """Drop the audio on the line, and forget interruptible words that wait to be said."""
        self.voice.stop()
        self.delivered.forget()
        self.voice.line.flush(self._now())
        # Only to the processors below: the call's stages are not interrupted.
        await self._owner.push_frame(InterruptionFrame())

    @property
    def _end_of_call(self) -> Farewell:
        """What ends the call.

        Raises:
            RuntimeError: The call has rules that end it, but nothing that can.
        """
        if self._farewell is None:
            raise RuntimeError("this call has rules for silence or its length, but no farewell")
        return self._farewell

    async def speak_rest(self) -> None:
        """Say queued words in the local voice.

        After a menu choice or the goodbye, say only those that cannot be interrupted.
        """
        only_protected = self.decision.outage.has_the_line
        await self.voice.speak_rest(self._take_rest, only_protected=only_protected)

    async def _act_on_due(self, now: float) -> None:
        """Say words that are missing or left over, then carry out all actions that are due by now.

        During an outage, the recogniser of the menu's words is started, also in a call that was
        resumed in the middle of it, unless it cannot recognise the current language. Called by the
        alarm.
        """
        self.voice.note_heard(now)
        if (missing := self.delivered.tick(now)) and not self.voice.floor.caller_speaking:
            logger.error("the line has not played {} characters of an answer", len(missing))
            self.voice.line.flush(now)  # an output that is only late must not play them as well
            await self._owner.push_frame(InterruptionFrame())
            self.voice.keep_rest(missing, protected=False)
        await self.speak_rest()
        outage = self.decision.outage
        outage.hears_words = self._ear_usable
        self._actions.extend(self.decision.tick(now))
        if outage.hears_words and outage.step:
            self.words.start(self._owner, self._note_word)
        while self._actions:
            await self.do(self._actions.popleft())

    @property
    def _ear_usable(self) -> bool:
        """Whether the menu's words can be recognised, in the current language."""
        return self.words.usable and is_recognised_here(self.voice.phrases.language)

    def _note_word(self, meaning: Meaning | None) -> None:
        """Process the meaning of an utterance; `None` if it was not a word of the menu."""
        self.alarm.ring()  # announcements no longer wait for the result
        if meaning is not None:
            self.queue_actions(self.decision.outage.hear(meaning, self._now()))

    def _take_rest(self, dry_at: float | None) -> None:
        """Tell the decision that the local voice takes over words, and wake the task."""
        self.decision.take_rest(dry_at, self._now())
        self.alarm.ring()


def note_delivered(frame: Frame, delivered: DeliveredWords) -> None:
    """Record speech of an answer that goes to the line, or that it was interrupted."""
    match frame:
        case TTSAudioRawFrame() if quiet_end(frame.audio) < frame.num_frames:
            delivered.sounded(frame.num_frames / frame.sample_rate)
        case TTSTextFrame():
            delivered.word(frame.text, spaced=bool(frame.includes_inter_frame_spaces))
        case InterruptionFrame():
            delivered.forget()
        case _:
            pass


def drop_answer(frame: Frame, line: CallerLine, now: float) -> bool:
    """Drop speech of an answer that can be interrupted: take its length off the line's queue.

    Returns:
        Whether the frame was such speech, and so is not to be passed on.
    """
    if not isinstance(frame, TTSAudioRawFrame | TTSTextFrame) or not frame.interruptible:
        return False
    if isinstance(frame, TTSAudioRawFrame):
        line.drop(frame.num_frames / frame.sample_rate, now)
    return True
