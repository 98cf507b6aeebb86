"""Transfer destinations and transfer results."""

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

MAX_RING_S: Final = 120.0  # the longest ringing time that a configuration may set
# The time after ringing in which a line must report the result of a transfer. Twilio rings 5 s
# longer, and after a failure the caller returns on a new stream.
RESULT_S: Final = 15.0

Handover: TypeAlias = Literal["connected", "busy", "no_answer", "declined", "failed", "not_offered"]
"""The result of a transfer; `not_offered` if this kind of line cannot transfer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RingTrouble:
    """Why a carrier did not confirm that it rings a destination.

    Attributes:
        words: What went wrong, without secrets.
        may_ring: Whether the destination may ring anyway, because only the reply is missing.
    """

    words: str
    may_ring: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """A person or a team to transfer to. The model chooses it by name, and sees no number."""

    name: str
    number: str  # E.164, or a SIP URI
