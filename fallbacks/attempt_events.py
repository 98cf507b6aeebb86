"""Events of an attempt, and the actions that follow from them."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from fallbacks.deadline import Deadline
from fallbacks.events import FallbackEvent
from fallbacks.failure import Failure

CancelReason: TypeAlias = Literal["outrun", "caller", "text"]
"""Why an attempt was ended that had not failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progressed:
    """An attempt produced useful content: a word, audible audio, a transcript. Not a keep-alive."""

    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SignOfLife:
    """An attempt showed a sign of life without content: its silence counts from now."""

    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Paused:
    """An attempt has nothing to do for now, or cannot begin: its silence is not a stall."""

    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed:
    """An attempt has work: from now on its silence counts.

    Attributes:
        attempt: Its number.
        began: It could not begin before: its time counts from now.
        waited: It waited for a place at the rung, because none was free.
    """

    attempt: int
    began: bool = False
    waited: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """An attempt reports that it is done, and the protocol agrees."""

    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """An attempt has definitely failed.

    Attributes:
        attempt: Its number.
        failure: What went wrong.
        heard_words: The number of its words that the caller will hear.
        without_lag: A time-out that did not count our own stalls.
    """

    attempt: int
    failure: Failure
    heard_words: int = 0
    without_lag: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """An attempt ended through no fault of its rung.

    `limit`: no place was free in time, and the next rung is asked. `length`: the model ran out of
    tokens, and is asked again.
    """

    attempt: int
    because: Literal["limit", "length"]


AttemptEvent: TypeAlias = Progressed | SignOfLife | Paused | Resumed | Finished | Failed | Dropped
"""The events that `Attempting` takes."""


@dataclass(frozen=True, slots=True)
class EmitEvent:
    """Publish an event."""

    fact: FallbackEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """Ask a rung for what is still missing."""

    attempt: int
    provider: str
    mended: bool = False  # with a trimmed or split payload
    wait_until: Deadline | None = None  # for a place at the rung's gate; `None` if it has none


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """Use this attempt's output from here on, and no other's."""

    attempt: int
    provider: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """End an attempt; one that is `late` counts as failed."""

    attempt: int
    provider: str
    because: CancelReason | Literal["late"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """The request is done."""

    attempt: int
    provider: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Exhausted:
    """No provider is available: hold the line."""

    attempts: int


AttemptAction: TypeAlias = EmitEvent | Ask | Use | Stop | Done | Exhausted
"""The actions of `Attempting`; events first, which are published even if the rest is dropped."""
