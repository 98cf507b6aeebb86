"""Whom a call can be handed on to, and what came of it."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

Handover: TypeAlias = Literal["connected", "busy", "no_answer", "declined", "failed", "not_offered"]
"""What came of handing a call on; `not_offered`: this kind of line cannot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """A person or a desk, from the configuration: a model chooses by name and sees no number."""

    name: str
    number: str  # E.164, or a SIP URI
