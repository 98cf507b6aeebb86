"""The outage menu: what a call says and does while a whole stage is down.

Its steps need less and less: a clip that fits the caller's request; a menu, which needs no
provider, by words if this machine can recognise them, and by keys; the caller's choice; a goodbye.
Every turn that finds the stage down continues from the last step, and so does every silence that is
too long. Nothing repeats without end: `clips` turns get clips, the menu is read `menus` times, then
comes the goodbye. When the stage works again, the conversation continues where it was. When one
fails again before the caller has spoken, so do the steps.

A choice ends the call, and a word may be misheard. So a spoken choice is confirmed, and counts when
the caller says yes. A key is not confirmed, except for a callback: a caller ID may be forged, so
the number is read out, and counts when the key is pressed again. While a caller waits for a person,
or is with one, the menu pauses: otherwise its goodbye would cut the two off.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from math import inf
from typing import Final, TypeAlias

from calls.events import CallerStarted, CallerStopped
from fallbacks.events import AnswerEmpty, AttemptWon, StageExhausted, StageRecovered, StepTaken
from processors.holding.line_rules import (
    CallerMessage,
    Choice,
    ChoiceDone,
    Consent,
    CutLine,
    HangUp,
    KeepMessage,
    LineAction,
    LineEvent,
    Meaning,
    RecordMessage,
    RunMenuChoice,
    SpeakFor,
    Spoken,
    Then,
)
from processors.holding.utterance_rules import Situation
from processors.turn.floor import Floor, TurnBegan

QUESTIONS: Final = 3  # confirmations while a stage is down
REPLY_S: Final = 3.5  # of silence, for a caller to reply: a clip may ask, a menu always does
CLIPS: Final = 2  # turns that get clips before the next step
MENUS: Final = 2  # readings of the menu
BURST_S: Final = 0.8  # between the keys of a number that the caller types (chosen)


class Step(StrEnum):
    """The steps of the outage menu."""

    CLIP = "clip"
    LOCAL = "local"  # the local voice says what no other could; by itself it says nothing
    WORDS = "words"
    KEYPAD = "keypad"
    CHOSEN = "chosen"
    GOODBYE = "goodbye"


KEYS: Final[Mapping[str, Choice]] = {
    "1": Choice.CALLBACK,
    "2": Choice.MESSAGE,
    "0": Choice.PERSON,
}
STEPS: Final = tuple(Step)
MENU: Final = frozenset({Step.WORDS, Step.KEYPAD})
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


@dataclass(frozen=True, slots=True, kw_only=True)
class OutageSettings:
    """The pace of the outage menu."""

    steps: Sequence[Step] = STEPS
    clips: int = CLIPS
    menus: int = MENUS
    silence_s: float = REPLY_S
    keys: Mapping[str, Choice] = field(default_factory=lambda: KEYS)  # what each chooses

    @property
    def has_keys(self) -> bool:
        """Whether choices can be made by keys."""
        return Step.KEYPAD in self.steps


class OutageSteps:
    """The steps of one outage: how often each was taken, and which is due.

    Attributes:
        stage: The stage that is down.
        since: Since when; monotonic, in seconds.
        asked: The choice that the caller is to confirm.
        questions: The confirmations so far.
    """

    def __init__(self, stage: str, settings: OutageSettings, *, now: float) -> None:
        """Begin before the first step."""
        self.stage = stage
        self.since = now
        self.asked: Choice | None = None
        self.questions = 0
        self._settings = settings
        self._at = 0  # in the steps
        self._taken: Counter[Step] = Counter()

    @property
    def step(self) -> Step | None:
        """The step taken last; `None` after the last of all."""
        steps = self._settings.steps
        return steps[self._at] if self._at < len(steps) else None

    def go(self, *, words: bool) -> Step | None:
        """Take the step that is due, the same again or the next possible one, and return it.

        Args:
            words: The menu's words can be recognised here.

        Returns:
            `None` if a goodbye is due.
        """
        while (step := self.step) is not None:
            if self._taken[step] < self._times(step, words=words):
                self._taken[step] += 1
                return None if step is Step.GOODBYE else step
            self._at += 1
        return None

    def choose(self) -> bool:
        """Go to the caller's choice; return False if no such step follows the menu."""
        self._at += 1
        steps = list(self._settings.steps)
        if Step.CHOSEN not in steps[self._at :]:
            return False
        self._at = steps.index(Step.CHOSEN)
        return True

    def _times(self, step: Step, *, words: bool) -> int:
        menus = self._settings.menus
        times = {
            Step.CLIP: self._settings.clips,
            Step.WORDS: menus - self._taken[Step.KEYPAD] if words else 0,
            Step.KEYPAD: menus - self._taken[Step.WORDS],
            Step.GOODBYE: 1,
        }
        return times.get(step, 0)  # the other two are not taken by themselves


class OutageMenu:
    """The outage menu of one call, down its steps and back; events in, actions out.

        menu = OutageMenu(floor)
        menu.handle(StageExhausted(stage="llm", attempts=2), 100.0)  # a clip
        menu.tick(menu.wake_at)                                      # the next step

    Attributes:
        hears_words: Whether choices can be spoken: in this language, on this machine.
        reads_number: Whether the number of a callback is known, and read out to be confirmed.
        message: The message that the caller is leaving, or `None`.
        over: Whether the goodbye was said.
        away: Whether the caller waits for a person or is with one: then the menu pauses.
        parting: Whether a goodbye was requested that ends the call, whatever the caller says.
        quiet_since: From when silence counts, unless the caller speaks: the line runs dry then, or
            the caller has stopped. `None` before either.
    """

    def __init__(self, floor: Floor, settings: OutageSettings | None = None) -> None:
        """Begin with no stage down.

        Args:
            floor: Of the call.
            settings: The pace.
        """
        self.hears_words = self.reads_number = False
        self.message: CallerMessage | None = None
        self.over = self.away = self.parting = False
        self.quiet_since: float | None = None
        self._floor = floor
        self._settings = settings or OutageSettings()
        self._down: set[str] = set()
        self._outage: OutageSteps | None = None
        self._last: OutageSteps | None = None  # the outage that ended last
        self._stepped = False  # one step is enough for a turn; silence takes the next
        self._astray_at = -inf  # when a key without a meaning was pressed
        self._hang_up_at: float | None = None

    @property
    def step(self) -> Step | None:
        """The step taken last; `None` if no stage is down."""
        return self._outage.step if self._outage else None

    @property
    def has_the_line(self) -> bool:
        """Whether no answer may be heard any more: a message is left, or the goodbye said."""
        return self.over or self.step is Step.CHOSEN

    @property
    def takes_keys(self) -> bool:
        """Whether a key is a menu choice, ends a message, or is meant for a person."""
        return self.away or self.has_the_line or self._offers_keys

    @property
    def listens(self) -> bool:
        """Whether the caller's words may be a choice: the menu of words was read."""
        return not (self.over or self.away) and self.step is Step.WORDS

    @property
    def in_charge(self) -> bool:
        """Whether the menu keeps the line from falling silent."""
        return self.has_the_line or (self.step is not None and self._stepped)

    @property
    def wake_at(self) -> float | None:
        """When to call `tick`, or `None`."""
        if self.away:
            return None
        message_at = self.message.over_at if self.message else None
        moments = (self._step_at, message_at, self._hang_up_at)
        return min((moment for moment in moments if moment is not None), default=None)

    def handle(self, event: LineEvent, now: float) -> Actions:
        """Return the actions for an event."""
        actions: Actions = ()
        match event:
            case StageExhausted():
                actions = self._lose(event.stage, now)
            case AttemptWon():
                actions = self._recover(event.stage, now)
            case AnswerEmpty(asks_again=True):
                actions = (_speak(Then.NOTHING, Situation.STT, Situation.LLM),)
            case Spoken():
                actions = self._note_spoken(event, now)
            case ChoiceDone():
                actions = self._finish(event)
            case CallerStarted() | TurnBegan():  # a turn may have keys alone, or soft words
                self._stepped = False
            case CallerStopped():  # it may have been a cough, without a turn
                self.quiet_since = now
            case _:
                pass
        return actions

    def tick(self, now: float) -> Actions:
        """Return the actions that are due by now."""
        if self.away:
            return ()
        if self.message and self.message.over(now):
            return self.give_up_message()
        if self._hang_up_at is not None and now >= self._hang_up_at:
            self._hang_up_at = None
            return (HangUp(),)
        return self._go(now) if self._step_at is not None and now >= self._step_at else ()

    def press(self, digit: str, now: float) -> Actions:
        """Handle a key; it counts once the menu was read, or ends a message."""
        if self.message and not self.parting:
            self.message.key(now)
            return (CutLine(),)
        if self.parting or not self._offers_keys:
            return ()
        chosen = self._settings.keys.get(digit)
        if chosen is None:  # the menu again, but only once for a typed number
            typed, self._astray_at = now - self._astray_at < BURST_S, now
            if typed:
                return ()
        outage = self._outage
        if chosen is Choice.CALLBACK and self.reads_number and outage and outage.asked != chosen:
            outage.asked, self.quiet_since = chosen, now
            return (CutLine(), _speak(Then.WAIT, Situation.CONFIRM_NUMBER))
        return (CutLine(), *self._go(now, chosen=chosen))

    def hear(self, meaning: Meaning, now: float) -> Actions:
        """Handle one of the menu's words: a choice, a digit, yes or no."""
        outage = self._outage
        if outage is None or self.parting or not self.listens:
            return ()
        asked, outage.asked = outage.asked, None
        if isinstance(meaning, Consent) and asked is None:
            return ()  # there was no question: treated as an unanswered turn
        self._stepped = True  # the turn takes no further step
        if isinstance(meaning, Consent):
            return (CutLine(), *self._go(now, chosen=asked if meaning is Consent.YES else None))
        choice = meaning if isinstance(meaning, Choice) else self._settings.keys.get(meaning)
        if choice is None or outage.questions >= QUESTIONS:
            return (CutLine(), *self._go(now))
        outage.asked, self.quiet_since = choice, now
        outage.questions += 1
        by_number = choice is Choice.CALLBACK and self.reads_number
        question = Situation.ASK_NUMBER if by_number else QUESTION[choice]
        return (CutLine(), _speak(Then.WAIT, question))

    def give_up_message(self) -> Actions:
        """Store what was said so far of a message: it is over, or the caller has hung up."""
        message, self.message = self.message, None
        return (KeepMessage(message=message),) if message else ()

    @property
    def _offers_keys(self) -> bool:
        """Whether a key may be a choice: the menu was the last thing read."""
        return not (self.over or self.away) and self._settings.has_keys and self.step in MENU

    @property
    def _step_at(self) -> float | None:
        """When the silence has lasted too long, or `None`."""
        if self._outage is None or self.has_the_line or self._floor.caller_speaking:
            return None  # a message has its own limit on silence
        return None if self.quiet_since is None else self.quiet_since + self._settings.silence_s

    def _lose(self, stage: str, now: float) -> Actions:
        """Take a step for a turn that finds no rung in this stage.

        A turn that was already told of an outage is told nothing at once, because a stage that
        comes and goes would play one clip after the other. If that outage was over, the step after
        its last one is taken when a silence is too long.
        """
        self._down.add(stage)
        if self.away:
            return ()
        told, self._stepped = self._stepped, True
        if self.has_the_line:
            return ()
        if not told:
            if self._outage is None:
                self._outage = OutageSteps(stage, self._settings, now=now)
            return self._go(now)
        if self._outage is None and self._last is not None:
            self._outage, self._last = self._last, None
            self._outage.stage, self._outage.since = stage, now
            self.quiet_since = now if self.quiet_since is None else self.quiet_since
        return ()

    def _recover(self, stage: str, now: float) -> Actions:
        """Resume the conversation where it was, if the announced stage works again."""
        self._down.discard(stage)
        outage = self._outage
        if outage is None or stage != outage.stage or self.has_the_line:
            return ()
        self._last, self._outage, outage.asked = outage, None, None
        return (StageRecovered(stage=stage, down_s=now - outage.since),)

    def _note_spoken(self, event: Spoken, now: float) -> Actions:
        """Count silence from the end of what was said; go on if there was no text for a step."""
        then = event.action.then
        if then is Then.HANG_UP:
            self._hang_up_at = event.dry_at or now
        elif then is Then.WAIT and event.dry_at is None and self._outage:
            return () if self.has_the_line else self._go(now)
        elif then is Then.WAIT or (then is Then.HOLD and self._stepped):
            # The line may be held, in a turn that was told of an outage that is now over.
            self.quiet_since = event.dry_at or now
        return ()

    def _finish(self, event: ChoiceDone) -> Actions:
        """Tell the result of a choice and say goodbye, or make the next best choice."""
        if not event.done and event.choice in INSTEAD:
            stage = self._outage.stage if self._outage else ""
            choice = INSTEAD[event.choice]
            return _carry_out(choice, stage, has_keys=self._settings.has_keys)
        told: Actions = ()
        if event.lost:
            told = (_speak(Then.NOTHING, Situation.NOT_KEPT, must=True),)
        elif event.choice in DONE:
            told = (_speak(Then.NOTHING, DONE[event.choice], must=True),)
        return (*told, *self._part())

    def _go(self, now: float, *, chosen: Choice | None = None) -> Actions:
        """Take the step that the caller chose, or the one that is due."""
        if self._outage is None:
            return ()
        stage, has_keys = self._outage.stage, self._settings.has_keys
        self.quiet_since, self._outage.asked = now, None
        if chosen is not None:
            if not self._outage.choose():
                return self._part()
            return (_taken(stage, Step.CHOSEN), *_carry_out(chosen, stage, has_keys=has_keys))
        step = self._outage.go(words=self.hears_words)
        if step is None:
            return self._part()
        said = _said_at(step, stage, several=len(self._down) > 1, has_keys=has_keys)
        return (_taken(stage, step), _speak(Then.WAIT, *said))

    def _part(self) -> Actions:
        """Say goodbye and hang up, once."""
        if self.over:
            return ()
        self.over = True
        stage = self._outage.stage if self._outage else ""
        goodbye = _speak(Then.HANG_UP, Situation.GOODBYE, must=True)
        return (_taken(stage, Step.GOODBYE), goodbye)


def _speak(then: Then, *situations: Situation, must: bool = False) -> SpeakFor:
    return SpeakFor(situations=situations, then=then, must=must)


def _taken(stage: str, step: Step) -> StepTaken:
    return StepTaken(stage=stage, step=step.value)


def _said_at(step: Step, stage: str, *, several: bool, has_keys: bool) -> tuple[Situation, ...]:
    """Return the situations of what is said at a step, if several stages are down or one is."""
    if step is Step.CLIP:
        own = OF_STAGE.get(stage, Situation.DOWN)
        return (Situation.DOWN, own) if several else (own, Situation.DOWN)
    words = step is Step.WORDS
    return (MENU_OF[words, not words or has_keys],)


def _carry_out(choice: Choice, stage: str, *, has_keys: bool) -> Actions:
    """Return the actions for a choice: a message is recorded here, others go elsewhere."""
    if choice is not Choice.MESSAGE:
        return (RunMenuChoice(choice=choice, stage=stage),)
    after_tone = () if has_keys else (Situation.MESSAGE_WORDS,)
    return (_speak(Then.NOTHING, *after_tone, Situation.MESSAGE, must=True), RecordMessage())
