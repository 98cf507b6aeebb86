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
