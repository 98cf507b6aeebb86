"""What a call does while a whole stage is down: carries out what `Descent` decides."""

from collections import deque
from collections.abc import Callable, Iterable
from typing import Final, Protocol

from calls.entry import Tell
from calls.events import CallbackWanted, MessageLeft, PersonWanted
from calls.turn import Turn
from fallbacks.descent import (
    AskBack,
    Carry,
    Descending,
    Descent,
    GoOn,
    PlayClip,
    ReadMenu,
    SayGoodbye,
    Step,
    UseLocal,
)
from fallbacks.facts import StageRecovered, StepTaken
from fallbacks.menu_words import Choice, Meaning
from fallbacks.utterances import Situation
from processors.message import Message

MENU_OF: Final = {
    (False, True): Situation.MENU,
    (True, False): Situation.MENU_WORDS,
    (True, True): Situation.MENU_EITHER,
}
"""By whether words can be said, and keys pressed."""
QUESTION: Final = {
    Choice.CALLBACK: Situation.ASK_CALLBACK,
    Choice.MESSAGE: Situation.ASK_MESSAGE,
    Choice.PERSON: Situation.ASK_PERSON,
}
OF_STAGE: Final = {"stt": Situation.STT, "llm": Situation.LLM, "tts": Situation.TTS}
REASON: Final = "outage"
"""Why a call ended, as in `CallEnded`, that could not be answered any more."""


class Desk(Protocol):
    """Does what a caller chose from the menu."""

    async def call_back(self, reason: str) -> bool:
        """Note that this caller is to be called back; False: nobody knows the number."""
        ...

    async def connect(self) -> bool:
        """Connect the caller with a person; False: this telephone cannot."""
        ...

    async def keep_message(self, pcm: bytes, rate_hz: int) -> bool:
        """Keep what the caller said: 16-bit mono; False: it could not be kept."""
        ...

    async def hang_up(self, reason: str) -> None:
        """End the call, whatever hangs in it."""
        ...


class Mouth(Protocol):
    """Speaks on the caller's line."""

    async def say(self, *situations: Situation, must: bool = False) -> float | None:
        """Speak for the first situation that has a text left.

        Returns:
            When the line will be dry again: never (`inf`) when the caller spoke first; None when
            no text was left.
        """
        ...

    async def begin_message(self) -> Message:
        """Sound the tone, and record from its end on."""
        ...


class WayDown:
    """Stands between the decisions of a call and its line."""

    def __init__(
        self,
        *,
        descent: Descent,
        desk: Desk,
        mouth: Mouth,
        tell: Tell,
        turn: Turn,
        clock: Callable[[], float],
    ) -> None:
        """Prepare.

        Args:
            descent: Decides.
            desk: Does what the caller chose.
            mouth: Speaks.
            tell: Takes the facts.
            turn: The turn in progress.
            clock: Monotonic, in seconds.
        """
        self.message: Message | None = None
        self._descent = descent
        self._desk = desk
        self._mouth = mouth
        self._tell = tell
        self._turn = turn
        self._clock = clock
        self._keys = descent.has_keys
        self._down: set[str] = set()
        self._stage = ""  # what the present way down is about
        self._stepped = False  # one step is enough for one turn; silence takes the next
        self._todo: deque[Descending] = deque()
        self._hang_up_at: float | None = None

    @property
    def has_the_line(self) -> bool:
        """Whether no answer may be heard any more: a message is left, or the goodbye said."""
        return self._descent.over or self._descent.step is Step.CHOSEN

    @property
    def engaged(self) -> bool:
        """Whether a stage is down."""
        return self._descent.step is not None or self._descent.over

    @property
    def listens(self) -> bool:
        """Whether what the caller says may be one of the menu's words."""
        return self._descent.listens

    @property
    def in_charge(self) -> bool:
        """Whether it sees to it that the line is not silent."""
        return self.has_the_line or (self.engaged and self._stepped)

    @property
    def wake_at(self) -> float | None:
        """When `act` has something to do."""
        if self._todo:
            return self._clock()
        message_at = self.message.over_at if self.message else None
        moments = (self._descent.wake_at, message_at, self._hang_up_at)
        return min((each for each in moments if each is not None), default=None)

    def exhausted(self, stage: str) -> None:
        """A turn found nobody in this stage."""
        self._down.add(stage)
        if self._stepped:
            return
        self._stepped = True
        self._stage = self._stage if self.engaged else stage
        self._todo.extend(self._descent.down(stage, self._clock()))

    def answered(self, stage: str) -> None:
        """A rung of this stage did what it was asked."""
        self._down.discard(stage)
        if stage == self._stage:
            self._todo.extend(self._descent.recovered(self._clock()))

    def key(self, digit: str) -> bool:
        """The caller pressed a key; return whether it means something here."""
        if self.message:
            self.message.key(self._clock())
            return True
        steps = self._descent.key(digit, self._clock())
        self._todo.extend(steps)
        return bool(steps)

    def hears(self, *, words: bool) -> None:
        """Say whether this machine can hear the menu's words itself now."""
        self._descent.hears(words=words)

    def word(self, meaning: Meaning) -> bool:
        """The caller said one of the menu's words; return whether it means something here."""
        steps = self._descent.heard(meaning, self._clock())
        self._stepped = self._stepped or bool(steps)  # the turn that follows takes no other
        self._todo.extend(steps)
        return bool(steps)

    def caller_started(self) -> None:
        """The caller speaks."""
        self._stepped = False
        self._descent.caller_started()
        if self.message:
            self.message.voice(self._clock(), speaking=True)

    def caller_stopped(self) -> None:
        """The caller is silent; perhaps it was a cough, and no turn comes of it."""
        self.spoken(self._clock())
        if self.message:
            self.message.voice(self._clock(), speaking=False)

    def spoken(self, dry_at: float) -> None:
        """Something is on the line until then."""
        if self.engaged:
            self._descent.spoken(dry_at)

    async def act(self, now: float) -> None:
        """Do what is to be done, and what is due."""
        if self.message and self.message.over(now):
            await self._keep()
        if self._hang_up_at is not None and now >= self._hang_up_at:
            self._hang_up_at = None
            await self._desk.hang_up(REASON)
            return
        self._todo.extend(self._descent.tick(now))
        while self._todo:
            await self._do(self._todo.popleft())

    async def close(self) -> None:
        """Keep what was said so far: the caller has hung up."""
        if self.message:
            await self._keep()

    async def _do(self, step: Descending) -> None:
        match step:
            case PlayClip():
                self._took(Step.CLIP)
                await self._speak(*self._situations())
            case UseLocal():
                await self._go_on()  # what the local voice can say, it has said already
            case ReadMenu():
                self._took(Step.WORDS if step.words else Step.KEYPAD)
                await self._speak(MENU_OF[step.words, step.keys])
            case AskBack():
                await self._speak(QUESTION[step.choice])
            case Carry():
                self._took(Step.CHOSEN)
                await self._carry(step.choice)
            case SayGoodbye():
                self._took(Step.GOODBYE)
                dry_at = await self._mouth.say(Situation.GOODBYE, must=True)
                self._hang_up_at = dry_at or self._clock()
            case GoOn():
                self._tell(StageRecovered(stage=step.stage, down_s=step.down_s))

    def _situations(self) -> Iterable[Situation]:
        several = len(self._down) > 1
        own = OF_STAGE.get(self._stage, Situation.DOWN)
        return (Situation.DOWN, own) if several else (own, Situation.DOWN)

    async def _speak(self, *situations: Situation) -> None:
        dry_at = await self._mouth.say(*situations)
        if dry_at is None:
            await self._go_on()
        else:
            self._descent.spoken(dry_at)

    async def _go_on(self) -> None:
        """Take the next step: there was nothing to say for this one."""
        self._todo.extend(self._descent.down(self._stage, self._clock()))

    async def _carry(self, choice: Choice) -> None:
        match choice:
            case Choice.PERSON:
                self._tell(PersonWanted(turn=self._turn.number, reason=f"{self._stage} is down"))
                if await self._desk.connect():
                    await self._mouth.say(Situation.PERSON, must=True)
                    self._todo.extend(self._descent.carried(choice, done=True))
                else:
                    await self._carry(Choice.CALLBACK)
            case Choice.CALLBACK:
                reason = f"{self._stage} is down"
                if await self._desk.call_back(reason):
                    self._tell(CallbackWanted(turn=self._turn.number, when="", reason=reason))
                    await self._mouth.say(Situation.CALLBACK, must=True)
                    self._todo.extend(self._descent.carried(choice, done=True))
                else:
                    await self._carry(Choice.MESSAGE)  # nobody knows the number
            case Choice.MESSAGE:
                after_tone = () if self._keys else (Situation.MESSAGE_WORDS,)
                await self._mouth.say(*after_tone, Situation.MESSAGE, must=True)
                self.message = await self._mouth.begin_message()

    async def _keep(self) -> None:
        message, self.message = self.message, None
        if message is None:
            return
        kept = message.spoken and await self._desk.keep_message(message.pcm, message.rate_hz)
        if kept:
            self._tell(MessageLeft(length_s=message.length_s))
        self._todo.extend(self._descent.carried(Choice.MESSAGE, done=bool(kept)))

    def _took(self, step: Step) -> None:
        self._tell(StepTaken(stage=self._stage, step=step.value))
