"""Carries out the actions of `HoldDecision`: speech, the menu's choices, messages, hang-up."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from pipecat.frames.frames import Frame, InterruptionFrame, OutputAudioRawFrame
from pipecat.processors.frame_processor import FrameProcessor

from calls.line import CallerLine
from calls.stereo import SAMPLE_BYTES
from processors.holding.decision import HoldDecision
from processors.holding.line_rules import (
    CallerMessage,
    CutLine,
    HangUp,
    HearWords,
    KeepMessage,
    LineAction,
    LineEvent,
    Meaning,
    RecordMessage,
    RunMenuChoice,
    SpeakFor,
    Spoken,
    heard_here,
)
from processors.holding.on_device_words import OnDeviceWords
from processors.holding.own_voice import ChoiceActions, OwnVoice
from processors.ladder.stage import Alarm

BEHIND_S: Final = 0.4  # on the line: later audio is dropped, or two speakers drift apart


class WaitingSound(OutputAudioRawFrame):
    """A tone for a waiting caller, or the voice of the person at the other end."""


class OtherSound:
    """Puts such audio onto a line."""

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
            await self._push(WaitingSound(pcm, self.rate_hz, 1))
            self._line.add(len(pcm) / SAMPLE_BYTES / self.rate_hz, self._now())

    async def put_soon(self, pcm: bytes) -> None:
        """Queue it, unless it would be heard too late."""
        if self._line.queued_s(self._now()) <= BEHIND_S:
            await self.put(pcm)


async def until_heard(line: CallerLine, clock: Callable[[], float]) -> None:
    """Return once everything on a line was heard, by our own reckoning."""
    while (left_s := line.queued_s(clock())) > 0:  # noqa: ASYNC110 - a line has no event
        await asyncio.sleep(left_s)


class HoldActions:
    """Passes each event to the decision at once, and carries out the actions in its own task.

    Attributes:
        decision: Decides.
        voice: Says what the call says itself.
        words: Recognises the menu's words.
        choices: Carries out choices, and stores a message as it comes.
        alarm: Rings when the decision was told something.
    """

    def __init__(
        self,
        owner: FrameProcessor,
        *,
        decision: HoldDecision,
        voice: OwnVoice,
        words: OnDeviceWords,
        choices: ChoiceActions,
    ) -> None:
        self.decision = decision
        self.voice = voice
        self.words = words
        self.choices = choices
        self._owner = owner
        self._now = voice.clock
        self._actions: deque[LineAction] = deque()
        self.alarm = Alarm(voice.clock)
        voice.added = self.alarm.ring

    def start(self) -> None:
        """Begin to follow events and the clock."""
        self.alarm.start(
            self._owner, lambda: earliest(self.decision.wake_at, self.voice.wake_at), self._act
        )

    async def stop(self) -> None:
        """Stop acting and listening."""
        await self.alarm.stop()
        await self.words.stop()

    def handle(self, event: LineEvent) -> None:
        """Decide on an event, and carry out the actions soon."""
        self.follow(self.decision.handle(event, self._now()))

    def follow(self, actions: Iterable[LineAction]) -> None:
        """Carry out actions as soon as the alarm has rung."""
        self._actions.extend(actions)
        self.alarm.ring()

    def give_way(self) -> None:
        """Stop our own speech while the caller speaks, and begin none.

        Pipecat interrupts only at the beginning of a turn. One may already be open: its words are
        pending, or it was a sound without any.
        """
        speaks = self.voice.speaker.speaks
        self.voice.stop()  # at once, because `do` waits for speech in preparation
        if speaks:
            self._actions.append(CutLine())
            self.alarm.ring()

    async def do(self, action: LineAction) -> None:
        """Carry out one action; its result is an event."""
        match action:
            case SpeakFor():
                dry_at = await self.voice.speak(
                    action, over_caller=self.voice.floor.caller_speaking
                )
                self.handle(Spoken(action=action, dry_at=dry_at))
            case RunMenuChoice() | KeepMessage() | HangUp():
                if done := await self.choices.ask(action):
                    self.handle(done)
            case RecordMessage():
                begins_at, rate_hz = await self.voice.sound_tone(), self.voice.speaker.rate_hz
                self.decision.outage.message = CallerMessage(
                    self.voice.floor, begins_at=begins_at, rate_hz=rate_hz
                )
            case CutLine():
                self.voice.stop()
                self.voice.line.flush(self._now())
                # below us only: the caller has heard the menu
                await self._owner.push_frame(InterruptionFrame())
            case HearWords():
                if self._ear_usable:
                    self.words.start(self._owner, self._note_word)
            case fact:
                self.voice.emit(fact)

    async def speak_rest(self) -> None:
        """Say what no voice could say; during a message, only mandatory words."""
        must = self.decision.outage.has_the_line
        await self.voice.speak_rest(self._take_rest, must=must)

    async def _act(self, now: float) -> None:
        self.voice.note_heard(now)
        await self.speak_rest()
        self.decision.outage.hears_words = self._ear_usable
        self._actions.extend(self.decision.tick(now))
        while self._actions:
            await self.do(self._actions.popleft())

    @property
    def _ear_usable(self) -> bool:
        """Whether the menu's words can be recognised, in the language spoken now."""
        return self.words.usable and heard_here(self.voice.phrases.language)

    def _note_word(self, meaning: Meaning | None) -> None:
        """Process a recognised word of the menu; `None` if it was none of them."""
        self.alarm.ring()  # it is not waited for any longer
        if meaning is not None:
            self.follow(self.decision.outage.hear(meaning, self._now()))

    def _take_rest(self, dry_at: float | None) -> None:
        self.decision.take_rest(dry_at, self._now())
        self.alarm.ring()


def earliest(*moments: float | None) -> float | None:
    """Return the earliest of the moments that are not `None`."""
    return min((moment for moment in moments if moment is not None), default=None)
