"""What a call does while a whole stage is down: one step at a time to what needs less.

A clip that fits what the caller wanted; the local rung; a menu of keys, which needs no provider at
all; what the caller chose is done; a goodbye. Every turn that finds the stage down goes on from
where the last one stopped, and so does every silence that grows too long. Nothing is said without
end: so many turns are met with clips, the menu is read twice, then comes the goodbye. When the
stage answers again the conversation goes on where it was.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias

SILENCE_S: Final = 3.5  # of 4 s that are the most; the rest is for getting a clip onto the line
CLIPS: Final = 2  # turns that are met with clips before something else is tried
MENUS: Final = 2  # readings of the menu


class Step(StrEnum):
    """How far down the call is."""

    CLIP = "clip"
    LOCAL = "local"
    KEYPAD = "keypad"
    CHOSEN = "chosen"
    GOODBYE = "goodbye"


class Choice(StrEnum):
    """What the menu offers."""

    CALLBACK = "callback"
    MESSAGE = "message"
    PERSON = "person"


KEYS: Final[Mapping[str, Choice]] = {
    "1": Choice.CALLBACK,
    "2": Choice.MESSAGE,
    "0": Choice.PERSON,
}
STEPS: Final = (Step.CLIP, Step.LOCAL, Step.KEYPAD, Step.CHOSEN, Step.GOODBYE)


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
    """Offer the keys."""


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


Descending: TypeAlias = PlayClip | UseLocal | ReadMenu | Carry | SayGoodbye | GoOn


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
        self._carried: Choice | None = None
        self.over = False

    @property
    def step(self) -> Step | None:
        """How far down the call is; None: no stage is down."""
        if self._stage is None or self._at >= len(self._settings.steps):
            return None
        return self._settings.steps[self._at]

    @property
    def wake_at(self) -> float | None:
        """The moment at which the silence has lasted too long, or None."""
        if self._stage is None or self.over or self._quiet_since is None:
            return None
        return self._quiet_since + self._settings.silence_s

    def down(self, stage: str, now: float) -> tuple[Descending, ...]:
        """A turn found nobody in this stage; return what to do in its place."""
        if self.over or self.step is Step.CHOSEN:
            return ()
        if self._stage is None:
            self._stage, self._since, self._at = stage, now, 0
            self._taken.clear()
        return self._go(now)

    def key(self, digit: str, now: float) -> tuple[Descending, ...]:
        """The caller pressed a key; it counts once the menu was offered."""
        choice = self._keys.get(digit)
        if self.over or self.step is not Step.KEYPAD or not self._taken[Step.KEYPAD]:
            return ()
        if choice is None:
            return self._go(now)  # the menu again, or a goodbye
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
        stage, self._stage, self._quiet_since = self._stage, None, None
        return (GoOn(stage=stage, down_s=now - self._since),)

    def tick(self, now: float) -> tuple[Descending, ...]:
        """Break a silence that has lasted too long."""
        if self.wake_at is None or now < self.wake_at:
            return ()
        return self._go(now)

    def _go(self, now: float) -> tuple[Descending, ...]:
        """Take the step that is due: the same once more, or the next that can be taken."""
        self._quiet_since = now
        while (step := self.step) is not None:
            if self._taken[step] < self._times(step):
                self._taken[step] += 1
                return self._take(step)
            self._at += 1
        return self._goodbye()

    def _times(self, step: Step) -> int:
        match step:
            case Step.CLIP:
                return self._settings.clips
            case Step.LOCAL:
                return int(self._stage in self._local)
            case Step.KEYPAD:
                return self._settings.menus
            case Step.CHOSEN:
                return 0  # only by a key
            case Step.GOODBYE:
                return 1

    def _take(self, step: Step) -> tuple[Descending, ...]:
        stage = self._stage or ""
        match step:
            case Step.CLIP:
                return (PlayClip(stage=stage, number=self._taken[step] - 1),)
            case Step.LOCAL:
                return (UseLocal(stage=stage),)
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
