"""What can happen to an attempt, and what a failover may want done about it."""

from dataclasses import dataclass
from typing import TypeAlias

from fallbacks.deadline import Deadline
from fallbacks.failure import Failure, Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Progressed:
    """An attempt gave useful content: a word, audible audio, a transcript. Not a sign of life."""

    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """An attempt failed for certain. Tell the roster first: the ladder reads it."""

    attempt: int
    failure: Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """An attempt says that it is done, and the protocol agrees."""

    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Idled:
    """Nothing is asked of an attempt at the moment: its silence is no gap."""

    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Owed:
    """Work is asked of an attempt again: from now on its silence counts."""

    attempt: int


AttemptEvent: TypeAlias = Progressed | Failed | Finished | Idled | Owed


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Ask a rung for what is not yet there."""

    attempt: int
    provider: str
    until: Deadline
    extra: bool = False  # a race or a second try of the same rung
    mended: bool = False  # with a payload that was trimmed or split
    hedge: bool = False  # asked as well, although nobody is late yet


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    """An attempt is late: tell the roster, so that other calls need not find out."""

    attempt: int
    provider: str
    kind: Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Win:
    """This attempt is the one to be heard from here on; nobody else's output is."""

    attempt: int
    provider: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    """End an attempt; it did nothing wrong, and it counts as nothing."""

    attempt: int
    provider: str
    because: str  # outrun, caller, call_over


@dataclass(frozen=True, slots=True, kw_only=True)
class Abandon:
    """End an attempt and count it as a failure of this kind: it let the caller wait too long."""

    attempt: int
    provider: str
    kind: Kind
    after_s: float  # from the start of the attempt


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """The work is done."""

    attempt: int
    provider: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Exhausted:
    """Nobody is left who may be asked: hold the line."""

    attempts: int


Action: TypeAlias = Start | Suspect | Win | Cancel | Abandon | Done | Exhausted
