"""What every telephone offers a call: input, output, what was played, and hanging up."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from pipecat.transports.base_input import BaseInputTransport

from transports.leg_output import LegOutput


@dataclass(frozen=True, slots=True, kw_only=True)
class LegFacts:
    """What is known of a leg when it is answered."""

    transport: str  # webrtc, twilio, local, loopback
    sample_rate_hz: int  # of the pipeline on this leg, in and out
    caller: str = ""  # unmasked: goes into the call's own record only
    called: str = ""
    keys: bool = True  # the far end has a keypad that we are told of


Clock: TypeAlias = Callable[[], float]
"""Seconds on the monotonic clock."""

Gone: TypeAlias = Callable[[str], Awaitable[None]]
"""Called once with the reason's name when the far end has gone."""


class Leg(Protocol):
    """One party's audio connection to a call.

    leg = LoopbackLeg(words, sample_rate_hz=8000, linger_s=2.0, clock=clock.monotonic)
    leg.on_gone(hung_up)
    await leg.answered()
    """

    facts: LegFacts

    def input(self) -> BaseInputTransport:
        """Return the processor that brings the caller's audio."""
        ...

    def output(self) -> LegOutput:
        """Return the processor that plays to the caller."""
        ...

    def on_gone(self, gone: Gone) -> None:
        """Have `gone` called when the far end has gone, whatever the way."""
        ...

    async def answered(self) -> None:
        """Return once the caller can hear us."""
        ...

    def show(self, message: dict[str, Any]) -> None:
        """Show a JSON message on the caller's own screen; a telephone without one shows nothing."""
        ...

    async def hang_up(self) -> None:
        """End the connection from our side; harmless when it has ended already."""
        ...
