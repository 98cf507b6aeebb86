"""The interface of every line: input, output, playing times, transfer and hanging up."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

from pipecat.transports.base_input import BaseInputTransport

from calls.caller import Attestation, is_dialable
from calls.entry import Emit
from calls.handover import Destination, Handover
from calls.resume import ResumePlace, ResumeState
from transports.leg_output import LegOutput


@dataclass(frozen=True, slots=True, kw_only=True)
class LegFacts:
    """The facts about a leg when it is answered."""

    transport: str  # webrtc, twilio, local, loopback
    sample_rate_hz: int  # of the pipeline on this leg, both ways
    caller: str = ""  # unmasked: goes only into the call's own record
    called: str = ""
    keys: bool = True  # the far end reports key presses
    screen: bool = False  # the far end shows what `Leg.show` takes
    public: bool = False  # a stranger's browser: it sees captions alone, and may call less long
    call_ref: str = ""  # the carrier's own id of the call
    direction: Literal["inbound", "outbound"] = "inbound"
    transfers: bool = False  # this kind of line can transfer a call
    dial_id: str = ""  # our own id of the dial, if a campaign placed the call
    attestation: Attestation = "unknown"  # what the carrier says of the caller's number

    @property
    def other_party(self) -> str:
        """The other party's number; empty if it was withheld or there is none."""
        outbound = self.direction == "outbound"
        number = (self.called or self.caller) if outbound else self.caller
        return number if is_dialable(number) else ""


Clock: TypeAlias = Callable[[], float]
"""Seconds on the monotonic clock."""

Gone: TypeAlias = Callable[[str], Awaitable[None]]
"""Called once with the reason's name when the far end is gone."""


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
        """The call's earlier state, from another process or line; `None` for a new call."""
        ...

    def tell_to(self, emit: Emit) -> None:
        """Report to the call once it exists, in place of the process."""
        ...

    def input(self) -> BaseInputTransport:
        """Return the processor that brings the caller's audio."""
        ...

    def output(self) -> LegOutput:
        """Return the processor that plays to the caller."""
        ...

    def on_gone(self, gone: Gone) -> None:
        """Call `gone` when the far end is gone, however the line ends."""
        ...

    async def answered(self) -> None:
        """Return as soon as the caller can hear us."""
        ...

    def show(self, message: dict[str, Any]) -> None:
        """Show a JSON message on the caller's screen; ignored by a telephone without one."""
        ...

    def played_s(self) -> float | None:
        """Return the seconds of our sound that the far end has played; `None` if it does not say.

        Never more than the caller heard.
        """
        ...

    async def press(self, keys: str) -> bool:
        """Send keys (0-9, *, #, A-D) to the far end; return False if this kind of line cannot."""
        ...

    async def transfer(self, to: Destination, *, ring_s: float) -> Handover:
        """Transfer the caller and return the result; never raises.

        Args:
            to: From the configuration, never from a model's words.
            ring_s: How long it may ring there.
        """
        ...

    async def hang_up(self, reason: str = "") -> None:
        """End the connection from our side; harmless if it has already ended.

        Args:
            reason: The reason's name, for a carrier that accepts one.
        """
        ...


class PlainLeg:
    """Defaults for a line without a carrier."""

    parked: ResumePlace | None = None

    @property
    def before(self) -> ResumeState | None:
        """Return the call's earlier state from the resume store."""
        return self.parked.state if self.parked else None

    def tell_to(self, emit: Emit) -> None:
        """Ignore it: this line reports nothing."""

    async def answered(self) -> None:
        """Return at once: the line needs no answer."""

    def show(self, message: dict[str, Any]) -> None:
        """Show nothing: there is no screen."""

    def played_s(self) -> float | None:
        """Return `None`: the far end does not report playing times."""
        return None

    async def press(self, keys: str) -> bool:
        """Return False: the far end does not accept keys."""
        return False

    async def transfer(self, to: Destination, *, ring_s: float) -> Handover:
        """Return that this line cannot transfer a call."""
        return "not_offered"


class CallsPeople(Protocol):
    """A carrier's webhook handler that can place calls. The caller of this hangs the leg up."""

    async def call_person(self, to: Destination, *, ring_s: float) -> Leg | Handover:
        """Call a person; return the leg once the person has answered, else the result.

        Never raises. Cancelling it stops the ringing.

        Args:
            to: From the configuration, never from a model's words.
            ring_s: How long it may ring.
        """
        ...


class People:
    """The carriers of a process that can call a person; each registers when its routes open."""

    def __init__(self) -> None:
        self._doors: dict[str, CallsPeople] = {}

    def add(self, transport: str, door: CallsPeople) -> None:
        """Register a carrier."""
        self._doors[transport] = door

    def for_caller(self, transport: str) -> CallsPeople | None:
        """Return a carrier to call a person with, preferably the caller's own.

        The two legs are joined in our own process, so that a browser's caller can talk with a
        telephone.
        """
        return self._doors.get(transport) or next(iter(self._doors.values()), None)
