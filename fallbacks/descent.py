"""What a call does while a whole stage is down: one step at a time to what needs less.

A clip that fits what the caller wanted; the local rung; a menu, which needs no provider at all: of
words where this machine can hear them itself, and of keys; what the caller chose is done; a
goodbye. Every turn that finds the stage down goes on from where the last one stopped, and so does
every silence that grows too long. Nothing is said without end: so many turns are met with clips,
the menu is read twice, then comes the goodbye. When the stage answers again the conversation goes
on where it was.

A choice ends the call, and a word may be misheard; so a choice that was said is asked back and
counts when the caller says yes. A key is not asked back.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias

from fallbacks.menu_words import Choice, Consent, Meaning

QUESTIONS: Final = 3  # whether the caller said this or that, while a stage is down
SILENCE_S: Final = 3.5  # of 4 s that are the most; the rest is for getting a clip onto the line
CLIPS: Final = 2  # turns that are met with clips before something else is tried
MENUS: Final = 2  # readings of the menu


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
    silence_s: float = SILENCE_S
    keys: Mapping[str, Choice] | None = None  # None: 1 callback, 2 message, 0 person


class Descent:
    """The way down, and up again, of one call."""

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
        self._stage: str | None = None  # what is down
        self._since = 0.0
        self._at = 0  # in the steps
        self._taken: Counter[Step] = Counter()
        self._quiet_since: float | None = None
        self._hears = False  # this machine can hear the menu's words itself
        self._asked: Choice | None = None  # whether the caller said this
        self._questions = 0
        self._carried: Choice | None = None
        self.over = False

    @property
    def step(self) -> Step | None:
        """How far down the call is; None: no stage is down."""
        if self._stage is None or self._at >= len(self._settings.steps):
            return None
        return self._settings.steps[self._at]

    @property
    def has_keys(self) -> bool:
        """Whether the menu's choices can be made by keys."""
        return Step.KEYPAD in self._settings.steps

    @property
    def takes_keys(self) -> bool:
        """Whether a key may be a choice: the menu was read."""
        return not self.over and self.has_keys and self._read

    @property
    def listens(self) -> bool:
        """Whether what the caller says may be a choice: the menu of words was read."""
        return not self.over and self.step is Step.WORDS and self._taken[Step.WORDS] > 0

    @property
    def wake_at(self) -> float | None:
        """The moment at which the silence has lasted too long, or None."""
        if self._stage is None or self.over or self._quiet_since is None:
            return None
        if self.step is Step.CHOSEN:  # a message has a silence of its own that ends it
            return None
        return self._quiet_since + self._settings.silence_s

    def down(self, stage: str, now: float) -> tuple[Descending, ...]:
        """A turn found nobody in this stage; return what to do in its place."""
        if self.over or self.step is Step.CHOSEN:
            return ()
        if self._stage is None:
            self._stage, self._since, self._at = stage, now, 0
            self._taken.clear()
            self._questions = 0
        return self._go(now)

    def hears(self, *, words: bool) -> None:
        """Say whether the menu's words can be heard here: in this language, by this machine."""
        self._hears = words

    def key(self, digit: str, now: float) -> tuple[Descending, ...]:
        """The caller pressed a key; it counts once the menu was offered."""
        if not self.takes_keys:
            return ()
        choice = self._keys.get(digit)
        return self._go(now) if choice is None else self._choose(choice)  # the menu again

    def heard(self, meaning: Meaning, now: float) -> tuple[Descending, ...]:
        """The caller said one of the menu's words: a choice, a digit, yes or no."""
        if not self.listens:
            return ()
        asked, self._asked = self._asked, None
        if isinstance(meaning, Consent):
            if asked is None:
                return ()  # to what? what follows a turn without an answer follows
            return self._choose(asked) if meaning is Consent.YES else self._go(now)
        choice = meaning if isinstance(meaning, Choice) else self._keys.get(meaning)
        if choice is None or self._questions >= QUESTIONS:
            return self._go(now)
        self._asked, self._quiet_since = choice, now
        self._questions += 1
        return (AskBack(choice=choice),)

    def _choose(self, choice: Choice) -> tuple[Descending, ...]:
        self._at += 1
        self._quiet_since = None  # while it is carried out, the caller may be the one who speaks
        if Step.CHOSEN not in self._settings.steps[self._at :]:
            return self._goodbye()
        self._at = list(self._settings.steps).index(Step.CHOSEN)
        return (Carry(choice=choice),)

    def carried(self, choice: Choice, *, done: bool) -> tuple[Descending, ...]:
        """What the caller chose was carried out, or could not be."""
        self._carried = choice if done else None
        return self._goodbye()

    def spoken(self, dry_at: float) -> None:
        """Something is on the line until `dry_at`; silence counts from then."""
        self._quiet_since = dry_at

    def caller_started(self) -> None:
        """The caller speaks: there is no silence."""
        self._quiet_since = None

    def recovered(self, now: float) -> tuple[Descending, ...]:
        """The stage answers again."""
        if self._stage is None or self.over or self.step is Step.CHOSEN:
            return ()
        stage, self._stage, self._quiet_since, self._asked = self._stage, None, None, None
        return (GoOn(stage=stage, down_s=now - self._since),)

    def tick(self, now: float) -> tuple[Descending, ...]:
        """Break a silence that has lasted too long."""
        if self.wake_at is None or now < self.wake_at:
            return ()
        return self._go(now)

    @property
    def _read(self) -> bool:
        """Whether the menu was read, and nothing else since."""
        return self.step in MENU and any(self._taken[each] for each in MENU)

    def _go(self, now: float) -> tuple[Descending, ...]:
        """Choose the step that is due: the same once more, or the next that is possible."""
        self._quiet_since, self._asked = now, None
        while (step := self.step) is not None:
            if self._taken[step] < self._times(step):
                self._taken[step] += 1
                return self._take(step)
            self._at += 1
        return self._goodbye()

    def _times(self, step: Step) -> int:
        times = {
            Step.CLIP: self._settings.clips,
            Step.LOCAL: int(self._stage in self._local),
            Step.WORDS: self._settings.menus - self._taken[Step.KEYPAD] if self._hears else 0,
            Step.KEYPAD: self._settings.menus - self._taken[Step.WORDS],
            Step.CHOSEN: 0,  # only by the caller
            Step.GOODBYE: 1,
        }
        return times[step]

    def _take(self, step: Step) -> tuple[Descending, ...]:
        stage = self._stage or ""
        match step:
            case Step.CLIP:
                return (PlayClip(stage=stage, number=self._taken[step] - 1),)
            case Step.LOCAL:
                return (UseLocal(stage=stage),)
            case Step.WORDS:
                return (ReadMenu(words=True, keys=self.has_keys),)
            case Step.KEYPAD:
                return (ReadMenu(),)
            case _:
                return self._goodbye()

    def _goodbye(self) -> tuple[Descending, ...]:
        if self.over:
            return ()
        self.over = True
        self._quiet_since = None
        return (SayGoodbye(carried=self._carried),)
