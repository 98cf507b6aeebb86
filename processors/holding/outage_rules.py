"""The outage menu: what a call says and does while a whole stage is down.

Its steps depend on less and less: a clip that fits the caller's request; a menu, which needs no
provider, to be answered by keypad and, if this machine can recognise them, by words; the caller's
choice; a goodbye. The next step is taken in each turn in which the stage is down, and after each
silence that is too long. At most `clips` clips are said, the menu is read at most `menus` times,
then the goodbye follows. When the stage works again, the conversation continues where it was. If a
stage then fails again before the caller has spoken, the menu continues after its last step. While
all recognisers are known to be down, nobody is asked to repeat: the menu comes first, and says why.

A choice ends the call, and a word may be misheard. So a spoken choice must be confirmed with "yes".
A digit need not be confirmed, except for a callback: a caller ID may be forged, so the number is
read out, and the caller presses the digit again to confirm it. The menu pauses while a caller waits
for a person or talks to one, so that its goodbye does not cut them off.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import inf
from typing import Any, Final, TypeAlias

from calls.events import CallerStarted, CallerStopped
from calls.plain_values import from_plain
from fallbacks.events import AnswerEmpty, AttemptWon, StageExhausted, StageRecovered, StepTaken
from processors.holding.line_rules import (
    CallerMessage,
    ChoiceDone,
    CutLine,
    HangUp,
    KeepMessage,
    LineAction,
    LineEvent,
    RecordMessage,
    RunMenuChoice,
    SpeakFor,
    Spoken,
    Then,
    earliest,
)
from processors.holding.menu_rules import CHOICES, KEYS, Choice, Consent, Meaning
from processors.holding.utterance_rules import Situation
from processors.turn.floor import Away, AwayChanged, Floor, TurnBegan

QUESTIONS: Final = 3  # questions to confirm a choice, at most, in one outage
REPLY_S: Final = 3.5  # silence in which the caller may reply to a clip or the menu
CLIPS: Final = 2  # clips before the next step
MENUS: Final = 2  # times that the menu is read
BURST_S: Final = 0.8  # the longest pause between the digits of a typed number (chosen)


class Step(StrEnum):
    """The steps of the outage menu."""

    CLIP = "clip"
    LOCAL = "local"  # the local voice finishes an answer; no words of the menu belong to this step
    WORDS = "words"
    KEYPAD = "keypad"
    CHOSEN = "chosen"
    GOODBYE = "goodbye"


STEPS: Final = tuple(Step)
MENU: Final = frozenset({Step.WORDS, Step.KEYPAD})
MENU_OF: Final = {
    (False, True): Situation.MENU,
    (True, False): Situation.MENU_WORDS,
    (True, True): Situation.MENU_EITHER,
}
"""The menu's text; the key is whether words can be recognised, and whether digits can be used."""
SITUATION_OF: Final = {"stt": Situation.STT, "llm": Situation.LLM, "tts": Situation.TTS}

Actions: TypeAlias = tuple[LineAction, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OutageSettings:
    """The steps and limits of the outage menu.

    Attributes:
        reads_number: Whether the callback number is known, and is read out to be confirmed.
        is_deaf: Returns whether all recognisers are known to be down, for a time.
    """

    steps: Sequence[Step] = STEPS
    clips: int = CLIPS
    menus: int = MENUS
    silence_s: float = REPLY_S
    reads_number: bool = False
    is_deaf: Callable[[float], bool] = lambda _: False

    @property
    def has_keys(self) -> bool:
        """Whether choices can be made by keypad."""
        return Step.KEYPAD in self.steps


class OutageSteps:
    """The steps of one outage: how often each was taken, and which is due.

    Attributes:
        stage: The stage that is down.
        since: When the outage began; monotonic, in seconds.
        asked: The choice that the caller was asked to confirm, or `None`.
        questions: The number of such questions so far.
        explained: Whether the caller was told that speech recognition is down.
    """

    def __init__(self, stage: str, settings: OutageSettings, *, now: float) -> None:
        """Create an outage before its first step."""
        self.stage = stage
        self.since = now
        self.asked: Choice | None = None
        self.questions = 0
        self.explained = False
        self._settings = settings
        self._at = 0  # index of the current step in `settings.steps`
        self._taken: Counter[Step] = Counter()

    @property
    def step(self) -> Step | None:
        """The step taken last, or at first the first one; `None` after all steps."""
        steps = self._settings.steps
        return steps[self._at] if self._at < len(steps) else None

    def go(self, *, words: bool, deaf: bool = False) -> Step | None:
        """Take the step that is due, which may be the same one again, and return it.

        Args:
            words: Whether this machine can recognise the menu's words.
            deaf: Whether asking the caller to repeat is useless: clips are left out before a menu.

        Returns:
            The step; `None` if the goodbye is due.
        """
        while (step := self.step) is not None:
            if self._taken[step] < self._limit_of(step, words=words, deaf=deaf):
                self._taken[step] += 1
                return None if step is Step.GOODBYE else step
            self._at += 1
        return None

    @property
    def kept(self) -> dict[str, Any]:
        """The steps so far, for the call's resume state. A choice must be made again."""
        taken = {step.value: times for step, times in self._taken.items()}
        menus = [
            at for at, step in enumerate(self._settings.steps) if step in MENU and self._taken[step]
        ]
        at = min(menus[-1:] or [0]) if self.step is Step.CHOSEN else self._at
        return {"stage": self.stage, "at": at, "taken": taken, "explained": self.explained}

    def restore(self, kept: Mapping[str, Any]) -> None:
        """Go on after these steps; raise an error if they are damaged."""
        self._at, self.explained = from_plain(int, kept["at"]), from_plain(bool, kept["explained"])
        taken = {Step(step): from_plain(int, times) for step, times in kept["taken"].items()}
        self._taken.update(taken)

    def choose(self) -> bool:
        """Go to the step `CHOSEN`; return False if it does not follow the current step."""
        self._at += 1
        steps = list(self._settings.steps)
        if Step.CHOSEN not in steps[self._at :]:
            return False
        self._at = steps.index(Step.CHOSEN)
        return True

    def _limit_of(self, step: Step, *, words: bool, deaf: bool) -> int:
        """Return how often a step may be taken in all; the two menus share one limit."""
        menus, steps = self._settings.menus, self._settings.steps
        has_menu = Step.KEYPAD in steps or (words and Step.WORDS in steps)
        times = {
            Step.CLIP: 0 if deaf and has_menu else self._settings.clips,
            Step.WORDS: menus - self._taken[Step.KEYPAD] if words else 0,
            Step.KEYPAD: menus - self._taken[Step.WORDS],
            Step.GOODBYE: 1,
        }
        return times.get(step, 0)  # `LOCAL` comes with the local voice, `CHOSEN` with a choice


class OutageMenu:
    """The outage menu of one call; takes events and returns actions.

        menu = OutageMenu(floor)
        menu.handle(StageExhausted(stage="llm", attempts=2), 100.0)  # a clip
        menu.tick(menu.wake_at)                                      # the next step

    Attributes:
        hears_words: Whether this machine can recognise the menu's words in the current language.
        message: The message that the caller is leaving, or `None`.
        over: Whether the goodbye was said.
        quiet_since: When the current silence began or will begin: at the end of the audio on the
            line, or when the caller stopped. `None` before either.
    """

    def __init__(self, floor: Floor, settings: OutageSettings | None = None) -> None:
        """Create the menu while no stage is down.

        Args:
            floor: The call's floor.
            settings: Steps and limits, if not the defaults.
        """
        self.hears_words = False
        self.message: CallerMessage | None = None
        self.over = False
        self.quiet_since: float | None = None
        self._floor = floor
        self._settings = settings or OutageSettings()
        self._down: set[str] = set()
        self._outage: OutageSteps | None = None
        self._last: OutageSteps | None = None  # the outage that ended last
        self._stepped = False  # a step was taken in this turn; only silence takes another one
        self._unknown_digit_at = -inf  # when a digit without a meaning was pressed last
        self._hang_up_at: float | None = None

    @property
    def step(self) -> Step | None:
        """The step taken last; `None` if no outage was announced."""
        return self._outage.step if self._outage else None

    @property
    def is_paused(self) -> bool:
        """Whether the caller waits for a person or talks to one."""
        return Away.PERSON in self._floor.away

    @property
    def has_the_line(self) -> bool:
        """Whether answers are dropped: the caller has made a choice, or the goodbye was said."""
        return self.over or self.step is Step.CHOSEN

    @property
    def takes_keys(self) -> bool:
        """Whether a digit is a menu choice, ends a message, or is meant for a person."""
        return self.is_paused or self.has_the_line or self._offers_keys

    @property
    def listens(self) -> bool:
        """Whether the caller's words may be a choice: the menu that offers words was read last."""
        return not (self.over or self.is_paused) and self.step is Step.WORDS

    @property
    def in_charge(self) -> bool:
        """Whether the menu, and not `Holding`, prevents long silences."""
        return self.has_the_line or (self.step is not None and self._stepped)

    @property
    def wake_at(self) -> float | None:
        """When to call `tick`, or `None`."""
        if self.is_paused:
            return None
        message_at = self.message.over_at if self.message else None
        return earliest(self._step_at, message_at, self._hang_up_at)

    @property
    def kept(self) -> dict[str, Any]:
        """The outage in progress, for the call's resume state; empty without one."""
        return self._outage.kept if self._outage else {}

    def restore(self, kept: Mapping[str, Any], now: float) -> None:
        """Go on with an outage, unless it is damaged: then an error is raised."""
        outage = OutageSteps(str(kept["stage"]), self._settings, now=now)
        outage.restore(kept)
        self._outage, self.quiet_since = outage, now

    def handle(self, event: LineEvent, now: float) -> Actions:
        """Record an event, and return the actions for it; none if it does not concern the menu."""
        actions: Actions = ()
        match event:
            case StageExhausted():
                actions = self._stage_lost(event.stage, now)
            case AttemptWon():
                actions = self._stage_recovered(event.stage, now)
            case AnswerEmpty(asks_again=True):
                actions = (_speech_for(Then.NOTHING, Situation.STT, Situation.LLM),)
            case Spoken():
                actions = self._note_spoken(event, now)
            case ChoiceDone():
                actions = self._choice_finished(event)
            case CallerStarted() | TurnBegan():  # a turn may consist of digits, or of soft words
                self._stepped = False
            case CallerStopped() | AwayChanged(Away.PERSON):  # perhaps a cough, without a turn
                self.quiet_since = now
            case _:
                pass
        return actions

    def tick(self, now: float) -> Actions:
        """Return the actions that are due by now; none while the menu is paused."""
        if self.is_paused:
            return ()
        if self.message and self.message.over(now):
            return self.give_up_message()
        if self._hang_up_at is not None and now >= self._hang_up_at:
            self._hang_up_at = None
            return (HangUp(),)
        return self._take_step(now) if self._step_at is not None and now >= self._step_at else ()

    def press(self, digit: str, now: float) -> Actions:
        """Return the actions for a digit, which ends a message, or is a choice.

        It is a choice if keys were offered last. After an unknown digit, the menu is read again.
        For some choices, the number is confirmed first.
        """
        if self.message and not self._floor.parting:
            self.message.key(now)
            return (CutLine(),)
        if self._floor.parting or not self._offers_keys:
            return ()
        chosen = KEYS.get(digit)
        if chosen is None:  # read the menu again, but only once for a number that is typed
            is_typed = now - self._unknown_digit_at < BURST_S
            self._unknown_digit_at = now
            if is_typed:
                return ()
        outage = self._outage
        question = CHOICES[chosen].confirm_number if chosen else None
        if question and self._settings.reads_number and outage and outage.asked != chosen:
            outage.asked, self.quiet_since = chosen, now
            return (CutLine(), _speech_for(Then.WAIT, question))
        return (CutLine(), *self._take_step(now, chosen=chosen))

    def hear(self, meaning: Meaning, now: float) -> Actions:
        """Return the actions for a recognised word of the menu: a choice, a digit, yes or no.

        None if there is no outage, the call is ending, or the menu does not listen; nor for a yes
        or no without a question.
        """
        outage = self._outage
        if outage is None or self._floor.parting or not self.listens:
            return ()
        asked, outage.asked = outage.asked, None
        if isinstance(meaning, Consent) and asked is None:
            return ()  # there was no question; the turn is handled like any other
        self._stepped = True  # no further step in this turn
        if isinstance(meaning, Consent):
            confirmed = asked if meaning is Consent.YES else None
            return (CutLine(), *self._take_step(now, chosen=confirmed))
        choice = meaning if isinstance(meaning, Choice) else KEYS.get(meaning)
        if choice is None or outage.questions >= QUESTIONS:
            return (CutLine(), *self._take_step(now))
        outage.asked, self.quiet_since = choice, now
        outage.questions += 1
        by_number = CHOICES[choice].ask_number if self._settings.reads_number else None
        return (CutLine(), _speech_for(Then.WAIT, by_number or CHOICES[choice].question))

    def give_up_message(self) -> Actions:
        """Store the message so far, if any: it is complete, or the caller has hung up."""
        message, self.message = self.message, None
        return (KeepMessage(message=message),) if message else ()

    @property
    def _offers_keys(self) -> bool:
        """Whether a digit may be a choice: the menu was the last step."""
        return not (self.over or self.is_paused) and self._settings.has_keys and self.step in MENU

    @property
    def _step_at(self) -> float | None:
        """When the silence has lasted too long, or `None`."""
        if self._outage is None or self.has_the_line or self._floor.caller_speaking:
            return None  # `CallerMessage` limits the silence in a message
        return None if self.quiet_since is None else self.quiet_since + self._settings.silence_s

    def _stage_lost(self, stage: str, now: float) -> Actions:
        """Record that a stage has no rung left; return the step of the menu for it.

        There is only one step in a turn, because an unstable stage would otherwise cause one clip
        after another. If an earlier outage was announced in this turn and is over, it continues:
        its next step is taken when a silence is too long.
        """
        self._down.add(stage)
        if self.is_paused:
            return ()
        stepped, self._stepped = self._stepped, True
        if self.has_the_line:
            return ()
        if not stepped:
            if self._outage is None:
                self._outage = OutageSteps(stage, self._settings, now=now)
            return self._take_step(now)
        if self._outage is None and self._last is not None:
            self._outage, self._last = self._last, None
            self._outage.stage, self._outage.since = stage, now
            self.quiet_since = now if self.quiet_since is None else self.quiet_since
        return ()

    def _stage_recovered(self, stage: str, now: float) -> Actions:
        """Record that a stage works again; if it was the announced one, end the outage.

        The conversation then continues where it was. Returns `StageRecovered`, or nothing.
        """
        self._down.discard(stage)
        outage = self._outage
        if outage is None or stage != outage.stage or self.has_the_line:
            return ()
        self._last, self._outage, outage.asked = outage, None, None
        return (StageRecovered(stage=stage, down_s=now - outage.since),)

    def _note_spoken(self, event: Spoken, now: float) -> Actions:
        """Measure silence from the end of the utterance; if it had no text, take the next step."""
        then = event.action.then
        if then is Then.HANG_UP:
            self._hang_up_at = event.dry_at or now
        elif then is Then.WAIT and event.dry_at is None and self._outage:
            return () if self.has_the_line else self._take_step(now)
        elif then is Then.WAIT or (then is Then.HOLD and self._stepped):
            # `HOLD` counts, too, in a turn whose outage was announced and is over. The moment is
            # infinite if the caller spoke first: then the silence begins when the caller stops.
            self.quiet_since = event.dry_at or now
        return ()

    def _choice_finished(self, event: ChoiceDone) -> Actions:
        """Return the actions after a choice was carried out, or failed.

        If it failed and has a substitute, that is tried. Otherwise its result is announced, if
        there is a text for it, and the goodbye follows.
        """
        entry = CHOICES[event.choice]
        if not event.done and entry.substitute:
            stage = self._outage.stage if self._outage else ""
            return _carry_out(entry.substitute, stage, has_keys=self._settings.has_keys)
        result: Actions = ()
        if event.lost:  # a message with words; an empty one is dropped without comment
            result = (_speech_for(Then.NOTHING, Situation.NOT_KEPT, protected=True),)
        elif event.done and entry.said_after:
            result = (_speech_for(Then.NOTHING, entry.said_after, protected=True),)
        return (*result, *self._say_goodbye())

    def _take_step(self, now: float, *, chosen: Choice | None = None) -> Actions:
        """Return the actions of the step that the caller chose, or of the one that is due.

        It restarts the measured silence. Without an outage there are none; the goodbye is last.
        """
        if self._outage is None:
            return ()
        stage, has_keys = self._outage.stage, self._settings.has_keys
        self.quiet_since, self._outage.asked = now, None
        if chosen is not None:
            if not self._outage.choose():
                return self._say_goodbye()
            return (_step_taken(stage, Step.CHOSEN), *_carry_out(chosen, stage, has_keys=has_keys))
        outage, deaf = self._outage, stage == "stt" and self._settings.is_deaf(now)
        step = outage.go(words=self.hears_words, deaf=deaf)
        if step is None:
            return self._say_goodbye()
        situations = _situations_at(step, stage, several=len(self._down) > 1, has_keys=has_keys)
        why: Actions = ()
        if deaf and step in MENU and not outage.explained:
            outage.explained, why = (
                True,
                (_speech_for(Then.NOTHING, Situation.DEAF, Situation.DOWN),),
            )
        return (_step_taken(stage, step), *why, _speech_for(Then.WAIT, *situations))

    def _say_goodbye(self) -> Actions:
        """Return the actions for a goodbye and the hang-up; none if they were returned before."""
        if self.over:
            return ()
        self.over = True
        stage = self._outage.stage if self._outage else ""
        goodbye = _speech_for(Then.HANG_UP, Situation.GOODBYE, protected=True)
        return (_step_taken(stage, Step.GOODBYE), goodbye)


def _speech_for(then: Then, *situations: Situation, protected: bool = False) -> SpeakFor:
    """Return the action that says a text for the first of these situations that has one."""
    return SpeakFor(situations=situations, then=then, protected=protected)


def _step_taken(stage: str, step: Step) -> StepTaken:
    return StepTaken(stage=stage, step=step.value)


def _situations_at(
    step: Step, stage: str, *, several: bool, has_keys: bool
) -> tuple[Situation, ...]:
    """Return the situations whose texts may be said at a step, in order of preference."""
    if step is Step.CLIP:
        situation = SITUATION_OF.get(stage, Situation.DOWN)
        return (Situation.DOWN, situation) if several else (situation, Situation.DOWN)
    words = step is Step.WORDS
    return (MENU_OF[words, not words or has_keys],)


def _carry_out(choice: Choice, stage: str, *, has_keys: bool) -> Actions:
    """Return the actions for a choice: record a message, or run the choice elsewhere."""
    if choice is not Choice.MESSAGE:
        return (RunMenuChoice(choice=choice, stage=stage),)
    after_tone = () if has_keys else (Situation.MESSAGE_WORDS,)
    return (
        _speech_for(Then.NOTHING, *after_tone, Situation.MESSAGE, protected=True),
        RecordMessage(),
    )
