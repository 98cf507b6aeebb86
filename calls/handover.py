"""Whom a call can be handed on to, and what came of it."""

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

LONGEST_RING_S: Final = 120.0  # that a configuration may ask for

Handover: TypeAlias = Literal["connected", "busy", "no_answer", "declined", "failed", "not_offered"]
"""What came of handing a call on; `not_offered`: this kind of line cannot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RingTrouble:
    """Why a carrier has not said that it rings somebody.

    Attributes:
        words: What went wrong, with no secret in it.
        may_ring: Whether it may do so all the same: only the answer is missing.
    """

    words: str
    may_ring: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """A person or a desk, from the configuration: a model chooses by name and sees no number."""

    name: str
    number: str  # E.164, or a SIP URI
