"""The outage menu: what a call does while a whole stage is down, in steps that need less and less.

The steps are: a clip that fits the caller's request; the local rung; a menu, which needs no
provider, by words if this machine can recognise them, and by keys; the caller's choice; a goodbye.
Every turn that finds the stage down continues from the last step, and so does every silence that is
too long. Nothing repeats without end: `clips` turns get clips, the menu is read `menus` times, then
comes the goodbye. When the stage works again, the conversation continues where it was. When one
fails again before the caller has spoken, so do the steps.

A choice ends the call, and a word may be misheard. So a spoken choice is confirmed, and counts when
the caller says yes. A key is not confirmed.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import inf
from typing import Final, TypeAlias


class Choice(StrEnum):
    """The menu's choices."""

    CALLBACK = "callback"
    MESSAGE = "message"
    PERSON = "person"


class Consent(StrEnum):
    """A reply to a confirmation."""

    YES = "yes"
    NO = "no"


Meaning: TypeAlias = Choice | Consent | str
"""The meaning of a caller's word: a choice, a reply, or the key with that digit."""

DIGITS: Final = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
PHRASES: Final[Mapping[str, Meaning]] = {
    **{word: str(digit) for digit, word in enumerate(DIGITS)},
    "callback": Choice.CALLBACK,
    "call me back": Choice.CALLBACK,
    "message": Choice.MESSAGE,
    "person": Choice.PERSON,
    "yes": Consent.YES,
    "no": Consent.NO,
}
LANGUAGE: Final = "en"  # of the phrases, and of the one model included


def heard_here(language: str) -> bool:
    """Return whether the phrases are in this language, a tag such as `en-GB`."""
    return language.partition("-")[0].lower() == LANGUAGE


QUESTIONS: Final = 3  # confirmations while a stage is down
REPLY_S: Final = 3.5  # of silence, for a caller to reply: a clip may ask, a menu always does
CLIPS: Final = 2  # turns that get clips before the next step
MENUS: Final = 2  # readings of the menu
BURST_S: Final = 0.8  # between the keys of a number that the caller types (chosen)


class Step(StrEnum):
    """The steps of the outage menu."""

    CLIP = "clip"
    LOCAL = "local"
    WORDS = "words"
    KEYPAD = "keypad"
    CHOSEN = "chosen"
    GOODBYE = "goodbye"


KEYS: Final[Mapping[str, Choice]] = {
    "1": Choice.CALLBACK,
    "2": Choice.MESSAGE,
    "0": Choice.PERSON,
}
STEPS: Final = (
    *(Step.CLIP, Step.LOCAL, Step.WORDS, Step.KEYPAD),
    *(Step.CHOSEN, Step.GOODBYE),
)
MENU: Final = frozenset({Step.WORDS, Step.KEYPAD})


@dataclass(frozen=True, slots=True, kw_only=True)
class PlayClip:
    """Play a clip that fits the situation."""

    stage: str
    number: int  # of the clip in this outage, from 0; each number is another clip


@dataclass(frozen=True, slots=True, kw_only=True)
class UseLocal:
    """Let the stage's local rung do it."""

    stage: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadMenu:
    """Read the choices."""

    words: bool = False  # they can be spoken
    keys: bool = True  # they can be pressed


@dataclass(frozen=True, slots=True, kw_only=True)
class AskBack:
    """Ask the caller to confirm a choice."""

    choice: Choice


@dataclass(frozen=True, slots=True, kw_only=True)
class Carry:
    """Carry out the caller's choice, and report with `carried`."""

    choice: Choice


@dataclass(frozen=True, slots=True, kw_only=True)
class SayGoodbye:
    """Say goodbye and hang up."""

    carried: Choice | None  # the choice that was carried out, if any


@dataclass(frozen=True, slots=True, kw_only=True)
class GoOn:
    """The stage works again: resume the conversation where it was."""

    stage: str
    down_s: float


Descending: TypeAlias = PlayClip | UseLocal | ReadMenu | AskBack | Carry | SayGoodbye | GoOn


@dataclass(frozen=True, slots=True, kw_only=True)
class DescentSettings:
    """The pace of the outage menu."""

    steps: Sequence[Step] = STEPS
    clips: int = CLIPS
    menus: int = MENUS
    silence_s: float = REPLY_S
    keys: Mapping[str, Choice] | None = None  # by default 1 callback, 2 message, 0 person

    @property
    def has_keys(self) -> bool:
        """Whether choices can be made by keys."""
        return Step.KEYPAD in self.steps


class OutageSteps:
    """The steps of one outage: how often each was taken, and which is due.

    Attributes:
        stage: The stage that is down.
        since: Since when; monotonic, in seconds.
    """

    def __init__(self, stage: str, settings: DescentSettings, *, local: bool, now: float) -> None:
        """Begin before the first step; `local`: the stage has a usable local rung."""
        self.stage = stage
        self.since = now
        self._settings = settings
        self._local = local
        self._at = 0  # in the steps
        self._taken: Counter[Step] = Counter()

    @property
    def step(self) -> Step | None:
        """The step taken last; `None` after the last of all."""
        steps = self._settings.steps
        return steps[self._at] if self._at < len(steps) else None

    def go(self, *, words: bool) -> Descending | None:
        """Take the step that is due: the same again, or the next possible one.

        Args:
            words: The menu's words can be recognised here.

        Returns:
            `None` if a goodbye is due.
        """
        while (step := self.step) is not None:
            if self._taken[step] < self._times(step, words=words):
                self._taken[step] += 1
                return self._take(step)
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
            Step.LOCAL: int(self._local),
            Step.WORDS: menus - self._taken[Step.KEYPAD] if words else 0,
            Step.KEYPAD: menus - self._taken[Step.WORDS],
            Step.CHOSEN: 0,  # only by the caller's choice
            Step.GOODBYE: 1,
        }
        return times[step]

    def _take(self, step: Step) -> Descending | None:
        match step:
            case Step.CLIP:
                return PlayClip(stage=self.stage, number=self._taken[step] - 1)
            case Step.LOCAL:
                return UseLocal(stage=self.stage)
            case Step.WORDS:
                return ReadMenu(words=True, keys=self._settings.has_keys)
            case Step.KEYPAD:
                return ReadMenu()
            case _:
                return None


class OutageMenu:
    """The outage menu of one call, down its steps and back.

    Attributes:
        has_keys: Whether choices can be made by keys.
        hears_words: Whether they can be spoken: in this language, on this machine.
        quiet_since: From when silence counts, unless the caller speaks: the line runs dry then, or
            the caller has stopped. `None` before either.
        over: Whether the goodbye was said.
    """

    def __init__(
        self, settings: DescentSettings | None = None, *, local: frozenset[str] = frozenset()
    ) -> None:
        """Begin with no stage down.

        Args:
            settings: The pace.
            local: The stages with a usable local rung.
        """
        self._settings = settings or DescentSettings()
        self._keys = KEYS if self._settings.keys is None else self._settings.keys
        self._local = local
        self.has_keys = self._settings.has_keys
        self.hears_words = False
        self.quiet_since: float | None = None
        self.over = False
        self._outage: OutageSteps | None = None
        self._behind: OutageSteps | None = None  # the outage that ended last
        self._asked: Choice | None = None  # the choice to be confirmed
        self._questions = 0  # in this outage
        self._astray_at = -inf  # when a key without a meaning was pressed

    @property
    def step(self) -> Step | None:
        """The step taken last; `None` if no stage is down."""
        return self._outage.step if self._outage else None

    @property
    def takes_keys(self) -> bool:
        """Whether a key may be a choice: the menu was the last thing read."""
        return not self.over and self.has_keys and self.step in MENU

    @property
    def listens(self) -> bool:
        """Whether the caller's words may be a choice: the menu of words was read."""
        return not self.over and self.step is Step.WORDS

    @property
    def wake_at(self) -> float | None:
        """When the silence has lasted too long, or `None`."""
        if self._outage is None or self.over or self.quiet_since is None:
            return None
        if self.step is Step.CHOSEN:  # a message has its own limit on silence
            return None
        return self.quiet_since + self._settings.silence_s

    def down(self, stage: str, now: float, *, told: bool = False) -> tuple[Descending, ...]:
        """Return what to do for a turn that finds no rung in this stage.

        Args:
            stage: The stage without a rung left.
            now: Monotonic, in seconds.
            told: The turn was already told of an outage. Then nothing is said at once, because a
                stage that comes and goes would play one clip after the other. If that outage was
                over, the next step after its last one is taken when a silence is too long.
        """
        if self.over or self.step is Step.CHOSEN:
            return ()
        if told:
            if self._outage is None and self._behind is not None:
                self._outage, self._behind = self._behind, None
                self._outage.stage, self._outage.since = stage, now
                self.quiet_since = now if self.quiet_since is None else self.quiet_since
            return ()
        if self._outage is None:
            local = stage in self._local
            self._outage = OutageSteps(stage, self._settings, local=local, now=now)
            self._questions = 0
        return self._go(now)

    def key(self, digit: str, now: float) -> tuple[Descending, ...]:
        """Handle a key; it counts once the menu was read."""
        if not self.takes_keys:
            return ()
        chosen = self._keys.get(digit)
        if chosen is None:  # the menu again, but only once for a typed number
            typed, self._astray_at = now - self._astray_at < BURST_S, now
            if typed:
                return ()
        return self._go(now, chosen=chosen)

    def heard(self, meaning: Meaning, now: float) -> tuple[Descending, ...]:
        """Handle one of the menu's words: a choice, a digit, yes or no."""
        if not self.listens:
            return ()
        asked, self._asked = self._asked, None
        if isinstance(meaning, Consent):
            if asked is None:
                return ()  # there was no question: treated as an unanswered turn
            return self._go(now, chosen=asked if meaning is Consent.YES else None)
        choice = meaning if isinstance(meaning, Choice) else self._keys.get(meaning)
        if choice is None or self._questions >= QUESTIONS:
            return self._go(now)
        self._asked, self.quiet_since = choice, now
        self._questions += 1
        return (AskBack(choice=choice),)

    def carried(self, choice: Choice | None) -> tuple[Descending, ...]:
        """Say goodbye, once, after the choice was carried out; `None` if it could not be."""
        if self.over:
            return ()
        self.over = True
        return (SayGoodbye(carried=choice),)

    def recovered(self, now: float) -> tuple[Descending, ...]:
        """Resume the conversation: the stage works again."""
        if self._outage is None or self.over or self.step is Step.CHOSEN:
            return ()
        self._behind = outage = self._outage
        self._outage = self._asked = None
        return (GoOn(stage=outage.stage, down_s=now - outage.since),)

    def tick(self, now: float) -> tuple[Descending, ...]:
        """Take the next step after a silence that has lasted too long."""
        if self.wake_at is None or now < self.wake_at:
            return ()
        return self._go(now)

    def _go(self, now: float, *, chosen: Choice | None = None) -> tuple[Descending, ...]:
        """Take the step that the caller chose, or the one that is due."""
        if self._outage is None:
            return ()
        self.quiet_since, self._asked = now, None
        if chosen is None:
            action = self._outage.go(words=self.hears_words)
        else:
            action = Carry(choice=chosen) if self._outage.choose() else None
        return self.carried(None) if action is None else (action,)
