"""What happens while a caller is handed over, and what is to be done about it, as values."""

from dataclasses import dataclass
from typing import TypeAlias

from calls.handover import Handover


@dataclass(frozen=True, slots=True)
class Announce:
    """Tell the caller that we connect them; report it by `Announced`."""


@dataclass(frozen=True, slots=True)
class HoldCaller:
    """Play tones, with a word now and then, whenever nothing else is heard."""


@dataclass(frozen=True, slots=True)
class Summarise:
    """Put together what it is about; report it by `SummaryReady`."""


@dataclass(frozen=True, slots=True)
class CallPerson:
    """Call the person; report it by `PersonAnswered` or `PersonNotReached`."""


@dataclass(frozen=True, slots=True)
class HandOn:
    """Have the line hand the call on; report it by `HandedOn`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Brief:
    """Tell the person what it is about and which key accepts; report it by `Briefed`."""

    again: bool = False  # the key alone


@dataclass(frozen=True, slots=True)
class Join:
    """Let the two hear each other, and nobody else; report it by `TwoJoined` or `JoinFailed`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DropPerson:
    """End the person's leg, or the attempt to reach it; harmless when it has ended."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ComeBack:
    """Be the agent again, and tell the caller what came of it."""

    outcome: Handover


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeBack:
    """Be the agent again: the person has hung up, and the caller is still there."""

    talked_s: float


@dataclass(frozen=True, slots=True)
class LetGo:
    """End our part of the call: the line has handed it on."""


HandingAction: TypeAlias = (
    Announce | HoldCaller | Summarise | CallPerson | HandOn | Brief | Join
    | DropPerson | ComeBack | TakeBack | LetGo
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Announced:
    """The caller has heard that we connect them."""


@dataclass(frozen=True, slots=True)
class SummaryReady:
    """What it is about is put together."""


@dataclass(frozen=True, slots=True)
class PersonAnswered:
    """Somebody, or something, picked up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonNotReached:
    """Nobody picked up, and why."""

    outcome: Handover


@dataclass(frozen=True, slots=True)
class Briefed:
    """The person has heard all that was to be said."""


@dataclass(frozen=True, slots=True)
class PersonAccepted:
    """By a key or a word."""


@dataclass(frozen=True, slots=True)
class PersonDeclined:
    """By a key or a word."""


@dataclass(frozen=True, slots=True)
class PersonGone:
    """The person's leg has ended."""


@dataclass(frozen=True, slots=True)
class CallerGone:
    """The caller's leg has ended, or the call."""


@dataclass(frozen=True, slots=True)
class TwoJoined:
    """The two hear each other."""


@dataclass(frozen=True, slots=True)
class JoinFailed:
    """The two could not be put together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HandedOn:
    """What came of the line's handing the call on."""

    outcome: Handover


HandingEvent: TypeAlias = (
    Announced | SummaryReady | PersonAnswered | PersonNotReached | Briefed | PersonAccepted
    | PersonDeclined | PersonGone | CallerGone | TwoJoined | JoinFailed | HandedOn
)  # fmt: skip
