"""Facts of an owner's customer register."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerLookedUp:
    """The register was asked who calls, or was not."""

    crm: str
    outcome: str  # found, unknown, failed, not_asked: its breaker is open, or there is no number
    took_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerKnown:
    """What the register knows was given to the model."""

    crm: str
    late: bool  # after the greeting had begun


@dataclass(frozen=True, slots=True, kw_only=True)
class CallReported:
    """The register was told of a call, and took it."""

    crm: str
    call_id: str
    tries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DoNotCallWanted:
    """The other party does not want to be called again, and the number is on the list."""

    turn: int
    by: str  # model, words


@dataclass(frozen=True, slots=True, kw_only=True)
class DoNotCallOwed:
    """They do not want it, the call has ended, and the number is not on the list yet."""

    turn: int
    by: str  # model, words


@dataclass(frozen=True, slots=True, kw_only=True)
class DoNotCallListed:
    """A number that was owed is on the list."""

    call_id: str
    tries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DoNotCallDropped:
    """A process does not try to list a number any more."""

    call_id: str
    reason: str  # too_many, process_ended
    on_disk: bool  # the next start goes on with it; False: a person has to list it
