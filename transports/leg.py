"""What every telephone offers a call: input, output, what was played, and hanging up."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from pipecat.transports.base_input import BaseInputTransport
from pipecat.transports.base_output import BaseOutputTransport


@dataclass(frozen=True, slots=True, kw_only=True)
class LegFacts:
    """What is known of a leg when it is answered."""

    transport: str  # webrtc, twilio, local, loopback
    sample_rate_hz: int  # of the pipeline on this leg, in and out
    caller: str = ""  # unmasked: goes into the call's own record only
    called: str = ""


Gone: TypeAlias = Callable[[str], Awaitable[None]]
"""Called once with the reason's name when the far end has gone."""


class Leg(Protocol):
    """One party's audio connection to a call."""

    facts: LegFacts

    def input(self) -> BaseInputTransport:
        """Return the processor that brings the caller's audio."""
        ...

    def output(self) -> BaseOutputTransport:
        """Return the processor that plays to the caller."""
        ...

    def on_gone(self, gone: Gone) -> None:
        """Have `gone` called when the far end has gone, whatever the way."""
        ...

    async def hang_up(self) -> None:
        """End the connection from our side; harmless when it has ended already."""
        ...
