"""What can happen to an attempt, and what may have to be done about it."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from fallbacks.deadline import Deadline
from fallbacks.facts import Fact
from fallbacks.failure import Failure, Kind

CancelReason: TypeAlias = Literal["outrun", "caller", "text"]
"""Why an attempt was ended that did nothing wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progressed:
    """An attempt gave useful content: a word, audible audio, a transcript. Not a sign of life."""

    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """An attempt failed for certain.

    Attributes:
        attempt: Which.
        failure: What went wrong.
        heard_words: How many of its words the caller will hear.
        patient: A time-out in which the moments of our own stalls were not counted.
    """

    attempt: int
    failure: Failure
    heard_words: int = 0
    patient: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """An attempt says that it is done, and the protocol agrees."""

    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Idled:
    """Nothing is asked of an attempt at the moment, or it cannot begin: its silence is no gap."""

    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Owed:
    """Work is asked of an attempt again: from now on its silence counts."""

    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """An attempt that could not begin has begun: from now on its silence counts."""

    attempt: int
    waited: bool = False  # for a place, which there was not at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """No place was free in time for an attempt: the next rung is asked, and nobody blamed."""

    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Lapsed:
    """An attempt ended too soon through no fault of its rung, which is asked again.

    Our own stall had used up a library's time-out, or the model its tokens.
    """

    attempt: int


AttemptEvent: TypeAlias = Progressed | Failed | Finished | Idled | Owed | Lapsed
"""What a `Failover` reads."""

WorkEvent: TypeAlias = AttemptEvent | Admitted | Refused
"""What a `Work` reads."""


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
    because: CancelReason


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


@dataclass(frozen=True, slots=True)
class TellFact:
    """Tell what happened."""

    fact: Fact


Action: TypeAlias = Start | Suspect | Win | Cancel | Abandon | Done | Exhausted
"""What a `Failover` wants done."""

Step: TypeAlias = TellFact | Start | Win | Cancel | Abandon | Done | Exhausted
"""What a `Work` wants done. Facts come first: they are told even if the rest is interrupted."""
