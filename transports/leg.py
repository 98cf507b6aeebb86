"""What every telephone offers a call: input, output, what was played, and hanging up."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

from pipecat.transports.base_input import BaseInputTransport

from calls.caller import is_dialable
from calls.entry import Tell
from calls.handover import Destination, Handover
from calls.resume import ResumePlace, ResumeState
from transports.leg_output import LegOutput


@dataclass(frozen=True, slots=True, kw_only=True)
class LegFacts:
    """What is known of a leg when it is answered."""

    transport: str  # webrtc, twilio, local, loopback
    sample_rate_hz: int  # of the pipeline on this leg, in and out
    caller: str = ""  # unmasked: goes into the call's own record only
    called: str = ""
    keys: bool = True  # the far end has a keypad that we are told of
    call_ref: str = ""  # the carrier's own id of the call
    direction: Literal["inbound", "outbound"] = "inbound"
    transfers: bool = False  # this kind of line can hand a call on
    dial_id: str = ""  # our own of the dial, of somebody whom a campaign called

    @property
    def other_party(self) -> str:
        """The number of whom we talk with; empty: it was withheld, or there is none."""
        outbound = self.direction == "outbound"
        number = (self.called or self.caller) if outbound else self.caller
        return number if is_dialable(number) else ""


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
    parked: (
        ResumePlace | None
    )  # where the resume state is kept; `None` if the line never comes back

    @property
    def before(self) -> ResumeState | None:
        """The call's earlier state, from another process or line; `None` if the call begins."""
        ...

    def tell_to(self, tell: Tell) -> None:
        """Tell the call, once there is one, what was told to the process until then."""
        ...

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

    def played_s(self) -> float | None:
        """Return the seconds of our sound that the far end says it has played; None: it says none.

        Never more than was heard.
        """
        ...

    async def press(self, keys: str) -> bool:
        """Send keys (0-9, *, #, A-D) to the far end; False: this kind of line cannot."""
        ...

    async def transfer(self, to: Destination, *, ring_s: float) -> Handover:
        """Hand the caller on and return what came of it; raises nothing.

        Args:
            to: From the configuration, never from a model's words.
            ring_s: How long it may ring there.
        """
        ...

    async def hang_up(self, reason: str = "") -> None:
        """End the connection from our side; harmless when it has ended already.

        Args:
            reason: The name of the reason, for a carrier that can be told one.
        """
        ...


class PlainLeg:
    """What a line without a carrier says to what only carriers can do."""

    parked: ResumePlace | None = None

    @property
    def before(self) -> ResumeState | None:
        """Return what was found where the call's resume state is kept."""
        return self.parked.state if self.parked else None

    def tell_to(self, tell: Tell) -> None:
        """Ignore it: there is nothing to tell."""

    def handed_on(self, outcome: Handover) -> None:
        """Ignore the carrier's result of a transfer."""

    async def answered(self) -> None:
        """Return at once: nobody has to pick up."""

    def show(self, message: dict[str, Any]) -> None:
        """Show nothing: there is no screen."""

    def played_s(self) -> float | None:
        """Return None: the far end says nothing of what it has played."""
        return None

    async def press(self, keys: str) -> bool:
        """Return False: nobody listens for keys."""
        return False

    async def transfer(self, to: Destination, *, ring_s: float) -> Handover:
        """Return that this line cannot hand a call on."""
        return "not_offered"


class CallsPeople(Protocol):
    """A door that can call out. Its user hangs the leg up; a cancelled call rings no more."""

    async def call_person(self, to: Destination, *, ring_s: float) -> Leg | Handover:
        """Call somebody; return their leg once they have picked up, or what came of it instead.

        Raises nothing. When it is cancelled, it ceases to ring there.

        Args:
            to: From the configuration, never from a model's words.
            ring_s: How long it may ring.
        """
        ...


class People:
    """Which doors of a process can call a person; a door says so when it opens."""

    def __init__(self) -> None:
        self._doors: dict[str, CallsPeople] = {}

    def add(self, transport: str, door: CallsPeople) -> None:
        """Note that a door can."""
        self._doors[transport] = door

    def for_caller(self, transport: str) -> CallsPeople | None:
        """Return who calls a person for a caller on such a line: the same door, or else another.

        The two are put together in our own process, so that a browser's caller can talk with a
        telephone.
        """
        return self._doors.get(transport) or next(iter(self._doors.values()), None)
