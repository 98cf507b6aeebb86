"""Events of an attempt, and the actions that follow from them."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from fallbacks.deadline import Deadline
from fallbacks.facts import Fact
from fallbacks.failure import Failure, Kind

CancelReason: TypeAlias = Literal["outrun", "caller", "text"]
"""Why an attempt was ended that had not failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progressed:
    """An attempt produced useful content: a word, audible audio, a transcript. Not a keep-alive."""

    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """An attempt has definitely failed.

    Attributes:
        attempt: Its number.
        failure: What went wrong.
        heard_words: The number of its words that the caller will hear.
        patient: A time-out that did not count our own stalls.
    """

    attempt: int
    failure: Failure
    heard_words: int = 0
    patient: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """An attempt reports that it is done, and the protocol agrees."""

    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Idled:
    """An attempt has nothing to do for now, or cannot begin: its silence is not a stall."""

    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Owed:
    """An attempt has work again: from now on its silence counts."""

    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """An attempt that was waiting has begun: from now on its silence counts."""

    attempt: int
    waited: bool = False  # for a place, because none was free


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """No place was free in time for an attempt: the next rung is asked, and none is blamed."""

    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Lapsed:
    """An attempt ended too soon through no fault of its rung, which is asked again.

    Either our own stall used up a library's time-out, or the model ran out of tokens.
    """

    attempt: int


AttemptEvent: TypeAlias = Progressed | Failed | Finished | Idled | Owed | Lapsed
"""The events that `Failover` takes."""

WorkEvent: TypeAlias = AttemptEvent | Admitted | Refused
"""The events that `Work` takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Ask a rung for what is still missing."""

    attempt: int
    provider: str
    until: Deadline
    extra: bool = False  # a race or a second try of the same rung
    mended: bool = False  # with a trimmed or split payload
    hedge: bool = False  # asked in addition, before the first rung is late


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    """Mark a late rung as suspect, so that other calls need not find out."""

    attempt: int
    provider: str
    kind: Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Win:
    """Use this attempt's output from here on, and no other's."""

    attempt: int
    provider: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    """End an attempt without counting it as a failure."""

    attempt: int
    provider: str
    because: CancelReason


@dataclass(frozen=True, slots=True, kw_only=True)
class Abandon:
    """End an attempt and count it as a failure of this kind: it took too long."""

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
    """No provider is available: hold the line."""

    attempts: int


@dataclass(frozen=True, slots=True)
class TellFact:
    """Publish an event."""

    fact: Fact


Action: TypeAlias = Start | Suspect | Win | Cancel | Abandon | Done | Exhausted
"""The actions of `Failover`."""

Step: TypeAlias = TellFact | Start | Win | Cancel | Abandon | Done | Exhausted
"""The actions of `Work`. Events come first: they are published even if the rest is interrupted."""
