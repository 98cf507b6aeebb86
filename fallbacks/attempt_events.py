"""The events that an attempt reports to `Attempting`, and the actions that follow."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from fallbacks.deadline import Deadline
from fallbacks.events import FallbackEvent
from fallbacks.failure import Failure

CancelReason: TypeAlias = Literal["outrun", "caller", "text"]
"""Why an attempt that had not failed was ended: a faster one, the caller, or the text itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progressed:
    """An attempt produced useful content: a word, audible audio, a transcript. Not a keep-alive."""

    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SignOfLife:
    """An attempt sent something without content, such as an empty result: it is not silent."""

    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Paused:
    """An attempt waits for us, for text or for a place: its silence does not count."""

    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed:
    """An attempt has work again: from now on its silence counts.

    Attributes:
        attempt: Its number.
        began: It begins only now, so its time is measured from now.
        waited: It had to wait for a free place at the rung.
        still_silent: It should have gone on meanwhile, so its silence counts from its last output.
    """

    attempt: int
    began: bool = False
    waited: bool = False
    still_silent: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """An attempt is complete, as the provider's protocol defines it."""

    attempt: int
    more: bool = False  # only its next text is; `Attempting` must not get this


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """An attempt has definitely failed.

    Attributes:
        attempt: Its number.
        failure: What went wrong.
        heard_words: How many words of its answer were passed on before; the caller hears them.
        without_lag: It is a time-out measured without our own stalls.
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
"""The events that `Attempting` handles."""


@dataclass(frozen=True, slots=True)
class EmitEvent:
    """Publish an event."""

    fact: FallbackEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """Ask a rung for the part that is still missing."""

    attempt: int
    provider: str
    mended: bool = False  # with a trimmed or split payload
    wait_until: Deadline | None = None  # for a place at the rung's gate; `None` without a gate


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """Use only this attempt's output from now on."""

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
    """The request is complete."""

    attempt: int
    provider: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Exhausted:
    """No provider is available: hold the line."""

    attempts: int


AttemptAction: TypeAlias = EmitEvent | Ask | Use | Stop | Done | Exhausted
"""The actions of `Attempting`; events first, to be published even if the rest is dropped."""
