"""The outage script: what is said and done, step by step, while a whole stage is down.

`OutageMenu` decides which step the call has reached. Here the step becomes speech, a menu choice, a
caller's message or the end of the call. While a caller waits for a person, or is with one, the
script pauses: otherwise its goodbye would cut the two off.
"""

from typing import Final, TypeAlias

from calls.events import CallerStarted, CallerStopped
from fallbacks.facts import AnswerEmpty, AttemptWon, StageExhausted, StageRecovered, StepTaken
from processors.holding.descent_rules import (
    AskBack,
    Carry,
    Choice,
    Descending,
    GoOn,
    OutageMenu,
    PlayClip,
    ReadMenu,
    SayGoodbye,
    Step,
    UseLocal,
)
from processors.holding.line_rules import (
    AnswerSounded,
    CallerAway,
    CallerMessage,
    ChoiceDone,
    CutLine,
    EarChecked,
    HangUp,
    KeepMessage,
    LineAction,
    LineEvent,
    MenuKeyPressed,
    MenuWordSaid,
    MessageBegan,
    RecordMessage,
    RunMenuChoice,
    SpeakFor,
    Spoken,
    Then,
)
from processors.holding.utterance_rules import Situation
from processors.turn.floor import Floor

MENU_OF: Final = {
    (False, True): Situation.MENU,
    (True, False): Situation.MENU_WORDS,
    (True, True): Situation.MENU_EITHER,
}
"""By whether words can be spoken, and keys pressed."""
QUESTION: Final = {
    Choice.CALLBACK: Situation.ASK_CALLBACK,
    Choice.MESSAGE: Situation.ASK_MESSAGE,
    Choice.PERSON: Situation.ASK_PERSON,
}
DONE: Final = {
    Choice.CALLBACK: Situation.CALLBACK
}  # the others: a transfer begins with its own announcement
INSTEAD: Final = {Choice.PERSON: Choice.CALLBACK, Choice.CALLBACK: Choice.MESSAGE}
"""The substitutes for choices that fail, for instance because the number is unknown."""
OF_STAGE: Final = {"stt": Situation.STT, "llm": Situation.LLM, "tts": Situation.TTS}

Actions: TypeAlias = tuple[LineAction, ...]


class OutageScript:
    """Turns the decisions of `OutageMenu` into speech and actions; events in, actions out.

    Attributes:
        message: The message that the caller is leaving, or `None`.
    """

    def __init__(self, descent: OutageMenu, floor: Floor) -> None:
        self.message: CallerMessage | None = None
        self._descent = descent
        self._floor = floor
        self._down: set[str] = set()
        self._stage = ""  # the stage of the current outage
        self._stepped = False  # one step is enough for a turn; silence takes the next
        self._hang_up_at: float | None = None
        self._away = False

    @property
    def has_the_line(self) -> bool:
        """Whether no answer may be heard any more: a message is left, or the goodbye said."""
        return self._descent.over or self._descent.step is Step.CHOSEN

    @property
    def takes_keys(self) -> bool:
        """Whether a key is a menu choice, ends a message, or is meant for a person."""
        return self._away or self.has_the_line or self._descent.takes_keys

    @property
    def in_charge(self) -> bool:
        """Whether the script keeps the line from falling silent."""
        return self.has_the_line or (self._descent.step is not None and self._stepped)

    @property
    def wake_at(self) -> float | None:
        """When to call `tick`, or `None`."""
        if self._away:
            return None
        step_at = None if self._floor.caller_speaking else self._descent.wake_at
        message_at = self.message.over_at if self.message else None
        moments = (step_at, message_at, self._hang_up_at)
        return min((moment for moment in moments if moment is not None), default=None)

    def handle(self, event: LineEvent, now: float) -> Actions:
        """Return the actions for an event."""
        actions: Actions = ()
        match event:
            case StageExhausted() | AttemptWon():
                actions = self._of_stage(event, now)
            case MenuKeyPressed() | MenuWordSaid():
                actions = self._chosen(event, now)
            case AnswerEmpty(asks_again=True):
                actions = (_speak(Then.NOTHING, Situation.STT, Situation.LLM),)
            case Spoken() if event.action.then is Then.HANG_UP:
                self._hang_up_at = event.dry_at or now
            case Spoken() if event.action.then is Then.WAIT and event.dry_at is None:
                # This step had no text.
                actions = self._actions(self._descent.down(self._stage, now), now)
            case ChoiceDone() if not event.done and event.choice in INSTEAD:
                keys = self._descent.has_keys
                actions = carry_out(INSTEAD[event.choice], stage=self._stage, keys=keys)
            case ChoiceDone():
                steps = self._descent.carried(event.choice if event.done else None)
                actions = (*_words_behind(event), *self._actions(steps, now))
            case _:
                self._note(event, now)
        return actions

    def tick(self, now: float) -> Actions:
        """Return the actions that are due by now."""
        if self._away:
            return ()
        if self.message and self.message.over(now):
            return self.give_up_message()
        if self._hang_up_at is not None and now >= self._hang_up_at:
            self._hang_up_at = None
            return (HangUp(),)
        if self._floor.caller_speaking:
            return ()
        return self._actions(self._descent.tick(now), now)

    def give_up_message(self) -> Actions:
        """Store what was said so far of a message: it is over, or the caller has hung up."""
        message, self.message = self.message, None
        return (KeepMessage(message=message),) if message else ()

    def _of_stage(self, event: StageExhausted | AttemptWon, now: float) -> Actions:
        if isinstance(event, AttemptWon):
            self._down.discard(event.stage)
            steps = self._descent.recovered(now) if event.stage == self._stage else ()
            return self._actions(steps, now)
        self._down.add(event.stage)
        if self._away:
            return ()
        if self._descent.step is None and not self._descent.over:
            self._stage = event.stage
        told, self._stepped = self._stepped, True
        return self._actions(self._descent.down(event.stage, now, told=told), now)

    def _chosen(self, event: MenuKeyPressed | MenuWordSaid, now: float) -> Actions:
        if isinstance(event, MenuWordSaid):
            steps = self._descent.heard(event.meaning, now)
            self._stepped = self._stepped or bool(steps)  # the next turn takes no further step
        elif self.message:
            self.message.key(now)
            return (CutLine(),)
        else:
            steps = self._descent.key(event.digit, now)
        return (CutLine(), *self._actions(steps, now)) if steps else ()

    def _note(self, event: LineEvent, now: float) -> None:
        match event:
            case CallerStarted():
                self._stepped = False
            case CallerStopped():
                # Silence counts at once: it may have been a cough, without a turn.
                self._descent.quiet_since = now
            case Spoken() if event.action.then is Then.WAIT or (
                # The line is held, in a turn that was told of an outage that is now over.
                event.action.then is Then.HOLD and self._stepped
            ):
                self._descent.quiet_since = event.dry_at or now
            case AnswerSounded():
                self._descent.quiet_since = event.dry_at
            case CallerAway():
                self._away = event.away
                self._descent.quiet_since = now
            case EarChecked():
                self._descent.hears_words = event.usable
            case MessageBegan():
                self.message = event.message
            case _:
                pass

    def _actions(self, steps: tuple[Descending, ...], now: float) -> Actions:
        while any(isinstance(descending, UseLocal) for descending in steps):
            steps = self._descent.down(self._stage, now)  # the local voice has said what it can
        several, keys = len(self._down) > 1, self._descent.has_keys
        return tuple(
            action
            for step in steps
            for action in actions_of(step, stage=self._stage, several=several, keys=keys)
        )


def actions_of(step: Descending, *, stage: str, several: bool, keys: bool) -> Actions:
    """Return the actions of one step.

    Args:
        step: What was decided.
        stage: The stage of the outage.
        several: More than one stage is down.
        keys: Menu choices can be made by keys.
    """
    actions: Actions = ()
    match step:
        case PlayClip():
            own = OF_STAGE.get(stage, Situation.DOWN)
            situations = (Situation.DOWN, own) if several else (own, Situation.DOWN)
            actions = (_taken(stage, Step.CLIP), _speak(Then.WAIT, *situations))
        case ReadMenu():
            at = Step.WORDS if step.words else Step.KEYPAD
            menu = MENU_OF[step.words, step.keys]
            actions = (_taken(stage, at), _speak(Then.WAIT, menu))
        case AskBack():
            actions = (_speak(Then.WAIT, QUESTION[step.choice]),)
        case Carry():
            chosen = carry_out(step.choice, stage=stage, keys=keys)
            actions = (_taken(stage, Step.CHOSEN), *chosen)
        case SayGoodbye():
            goodbye = _speak(Then.HANG_UP, Situation.GOODBYE, must=True)
            actions = (_taken(stage, Step.GOODBYE), goodbye)
        case GoOn():
            actions = (StageRecovered(stage=step.stage, down_s=step.down_s),)
        case UseLocal():
            pass  # the local voice has said what it can
    return actions


def carry_out(choice: Choice, *, stage: str, keys: bool) -> Actions:
    """Return the actions for a choice: a message is recorded here, the others go to `MenuChoices`.

    Args:
        choice: The caller's.
        stage: The stage that is down.
        keys: The caller can end a message with a key.
    """
    if choice is not Choice.MESSAGE:
        return (RunMenuChoice(choice=choice, stage=stage),)
    after_tone = () if keys else (Situation.MESSAGE_WORDS,)
    return (_speak(Then.NOTHING, *after_tone, Situation.MESSAGE, must=True), RecordMessage())


def _speak(then: Then, *situations: Situation, must: bool = False) -> SpeakFor:
    return SpeakFor(situations=situations, then=then, must=must)


def _taken(stage: str, step: Step) -> StepTaken:
    return StepTaken(stage=stage, step=step.value)


def _words_behind(done: ChoiceDone) -> Actions:
    """Return what the caller is told about the choice, before the goodbye."""
    if done.lost:
        return (_speak(Then.NOTHING, Situation.NOT_KEPT, must=True),)
    if done.choice not in DONE:
        return ()
    return (_speak(Then.NOTHING, DONE[done.choice], must=True),)
