"""What a call does while a whole stage is down: one step at a time to what needs less.

A clip that fits what the caller wanted; the local rung; a menu, which needs no provider at all: of
words where this machine can hear them itself, and of keys; what the caller chose is done; a
goodbye. Every turn that finds the stage down goes on from where the last one stopped, and so does
every silence that grows too long. Nothing is said without end: so many turns are met with clips,
the menu is read twice, then comes the goodbye. When the stage answers again the conversation goes
on where it was; when one fails again before the caller has spoken, so does the way down.

A choice ends the call, and a word may be misheard; so a choice that was said is asked back and
counts when the caller says yes. A key is not asked back.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import inf
from typing import Final, TypeAlias


class Choice(StrEnum):
    """What the menu offers."""

    CALLBACK = "callback"
    MESSAGE = "message"
    PERSON = "person"


class Consent(StrEnum):
    """An answer to a question of ours."""

    YES = "yes"
    NO = "no"


Meaning: TypeAlias = Choice | Consent | str
"""What the caller meant: a choice by its name, a reply, or the key with that digit."""

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
LANGUAGE: Final = "en"  # of the phrases, and of the one model that comes with us


def heard_here(language: str) -> bool:
    """Say whether the phrases are in this language, a tag such as `en-GB`."""
    return language.partition("-")[0].lower() == LANGUAGE


QUESTIONS: Final = 3  # whether the caller said this or that, while a stage is down
REPLY_S: Final = 3.5  # of silence, for a caller to reply: a clip may ask, a menu always does
CLIPS: Final = 2  # turns that are met with clips before something else is tried
MENUS: Final = 2  # readings of the menu
BURST_S: Final = 0.8  # from key to key of a number that somebody types (chosen)


class Step(StrEnum):
    """How far down the call is."""

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
    """Say something that fits the situation."""

    stage: str
    number: int  # of the clips in this outage, from 0; another number, another clip


@dataclass(frozen=True, slots=True, kw_only=True)
class UseLocal:
    """Let the local rung of this stage do it."""

    stage: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadMenu:
    """Offer the choices."""

    words: bool = False  # they can be said
    keys: bool = True  # they can be pressed


@dataclass(frozen=True, slots=True, kw_only=True)
class AskBack:
    """Ask whether the caller said this."""

    choice: Choice


@dataclass(frozen=True, slots=True, kw_only=True)
class Carry:
    """Do what the caller chose, and report by `carried`."""

    choice: Choice


@dataclass(frozen=True, slots=True, kw_only=True)
class SayGoodbye:
    """Say goodbye and hang up. The call ends with words."""

    carried: Choice | None  # what was done for the caller, if anything


@dataclass(frozen=True, slots=True, kw_only=True)
class GoOn:
    """The stage answers again: take the conversation up where it was."""

    stage: str
    down_s: float


Descending: TypeAlias = PlayClip | UseLocal | ReadMenu | AskBack | Carry | SayGoodbye | GoOn


@dataclass(frozen=True, slots=True, kw_only=True)
class DescentSettings:
    """How fast a call goes down."""

    steps: Sequence[Step] = STEPS
    clips: int = CLIPS
    menus: int = MENUS
    silence_s: float = REPLY_S
    keys: Mapping[str, Choice] | None = None  # None: 1 callback, 2 message, 0 person

    @property
    def has_keys(self) -> bool:
        """Whether the menu's choices can be made by keys."""
        return Step.KEYPAD in self.steps


class OutageSteps:
    """The steps of one outage: how often each was taken, and which is due.

    Attributes:
        stage: What is down.
        since: Since when; monotonic, in seconds.
    """

    def __init__(self, stage: str, settings: DescentSettings, *, local: bool, now: float) -> None:
        """Stand at the top; `local` says whether the stage has a local rung."""
        self.stage = stage
        self.since = now
        self._settings = settings
        self._local = local
        self._at = 0  # in the steps
        self._taken: Counter[Step] = Counter()

    @property
    def step(self) -> Step | None:
        """The step that was taken last; None: the last of all is behind us."""
        steps = self._settings.steps
        return steps[self._at] if self._at < len(steps) else None

    def go(self, *, words: bool) -> Descending | None:
        """Take the step that is due: the same once more, or the next that is possible.

        Args:
            words: The menu's words can be heard here.

        Returns:
            None: a goodbye is due.
        """
        while (step := self.step) is not None:
            if self._taken[step] < self._times(step, words=words):
                self._taken[step] += 1
                return self._take(step)
            self._at += 1
        return None

    def choose(self) -> bool:
        """Go on to what the caller chose; False: there is no such step below the menu."""
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
            Step.CHOSEN: 0,  # only by the caller
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
    """The way down, and up again, of one call.

    Attributes:
        has_keys: Whether the menu's choices can be made by keys.
        hears_words: Whether they can be said: in this language, to this machine.
        quiet_since: From when on silence counts: what is on the line ends then, or the caller has
            stopped; None: the caller speaks.
        over: Whether the goodbye was said.
    """

    def __init__(
        self, settings: DescentSettings | None = None, *, local: frozenset[str] = frozenset()
    ) -> None:
        """Stand at the top.

        Args:
            settings: How fast to go down.
            local: The stages that have a local rung which can be used now.
        """
        self._settings = settings or DescentSettings()
        self._keys = KEYS if self._settings.keys is None else self._settings.keys
        self._local = local
        self.has_keys = self._settings.has_keys
        self.hears_words = False
        self.quiet_since: float | None = None
        self.over = False
        self._outage: OutageSteps | None = None
        self._behind: OutageSteps | None = None  # the one that was over last
        self._asked: Choice | None = None  # whether the caller said this
        self._questions = 0  # in this outage
        self._astray_at = -inf  # when a key was pressed that means nothing

    @property
    def step(self) -> Step | None:
        """How far down the call is; None: no stage is down."""
        return self._outage.step if self._outage else None

    @property
    def takes_keys(self) -> bool:
        """Whether a key may be a choice: the menu was read, and nothing else since."""
        return not self.over and self.has_keys and self.step in MENU

    @property
    def listens(self) -> bool:
        """Whether what the caller says may be a choice: the menu of words was read."""
        return not self.over and self.step is Step.WORDS

    @property
    def wake_at(self) -> float | None:
        """The moment at which the silence has lasted too long, or None."""
        if self._outage is None or self.over or self.quiet_since is None:
            return None
        if self.step is Step.CHOSEN:  # a message has a silence of its own that ends it
            return None
        return self.quiet_since + self._settings.silence_s

    def down(self, stage: str, now: float, *, told: bool = False) -> tuple[Descending, ...]:
        """A turn found nobody in this stage; return what to do in its place.

        Args:
            stage: In which nobody is left.
            now: Monotonic, in seconds.
            told: The turn was told of an outage before. Nothing is said at once then: a stage that
                comes and goes would say one clip behind the other. If that one was over, the next
                step, from where it ended, is taken when a silence grows too long.
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
        """The caller pressed a key; it counts once the menu was offered."""
        if not self.takes_keys:
            return ()
        chosen = self._keys.get(digit)
        if chosen is None:  # the menu again, but once for a number that somebody types
            typed, self._astray_at = now - self._astray_at < BURST_S, now
            if typed:
                return ()
        return self._go(now, chosen=chosen)

    def heard(self, meaning: Meaning, now: float) -> tuple[Descending, ...]:
        """The caller said one of the menu's words: a choice, a digit, yes or no."""
        if not self.listens:
            return ()
        asked, self._asked = self._asked, None
        if isinstance(meaning, Consent):
            if asked is None:
                return ()  # to what? what follows a turn without an answer follows
            return self._go(now, chosen=asked if meaning is Consent.YES else None)
        choice = meaning if isinstance(meaning, Choice) else self._keys.get(meaning)
        if choice is None or self._questions >= QUESTIONS:
            return self._go(now)
        self._asked, self.quiet_since = choice, now
        self._questions += 1
        return (AskBack(choice=choice),)

    def carried(self, choice: Choice | None) -> tuple[Descending, ...]:
        """What the caller chose was carried out; None: nothing could be. Say goodbye, once."""
        if self.over:
            return ()
        self.over = True
        return (SayGoodbye(carried=choice),)

    def recovered(self, now: float) -> tuple[Descending, ...]:
        """The stage answers again."""
        if self._outage is None or self.over or self.step is Step.CHOSEN:
            return ()
        self._behind = outage = self._outage
        self._outage = self._asked = None
        return (GoOn(stage=outage.stage, down_s=now - outage.since),)

    def tick(self, now: float) -> tuple[Descending, ...]:
        """Break a silence that has lasted too long."""
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
