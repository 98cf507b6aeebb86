"""The interface of every line: input, output, playing times, transfer and hanging up."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol, TypeAlias

from pipecat.transports.base_input import BaseInputTransport

from calls.caller import Attestation, is_dialable
from calls.entry import Emit
from calls.handover import Destination, Handover
from calls.resume import ResumePlace, ResumeState
from transports.leg_output import LegOutput


@dataclass(frozen=True, slots=True, kw_only=True)
class LegFacts:
    """The properties of a leg when it is answered."""

    transport: str  # its name in events, such as webrtc, twilio or local
    sample_rate_hz: int  # of the pipeline on this leg, in both directions
    caller: str = ""  # unmasked: only the call's own record may contain it
    called: str = ""
    keys: bool = True  # whether the far end reports keypad digits
    screen: bool = False  # whether the far end shows the messages of `Leg.show`
    public: bool = False  # an unauthenticated browser: gets only captions, and has a shorter limit
    call_ref: str = ""  # the carrier's id of the call
    direction: Literal["inbound", "outbound"] = "inbound"
    moves: bool = False  # whether the carrier opens another stream, anywhere, after we close one
    transfers: bool = False  # whether this kind of line can transfer a call
    dial_id: str = ""  # our own id of the dial, if a campaign placed the call
    attestation: Attestation = "unknown"  # the carrier's attestation of the caller's number

    @property
    def other_party(self) -> str:
        """The other party's number; empty if it was withheld or there is none."""
        outbound = self.direction == "outbound"
        number = (self.called or self.caller) if outbound else self.caller
        return number if is_dialable(number) else ""


Clock: TypeAlias = Callable[[], float]
"""Seconds on the monotonic clock."""

MOVED: Final = "moved"  # the reason to `hang_up` a call with which another machine goes on

Gone: TypeAlias = Callable[[str], Awaitable[None]]
"""Called once with a reason, as in `CallEnded`, when the far end is gone."""


class Leg(Protocol):
    """One party's audio connection to a call.

    leg = LoopbackLeg(words, sample_rate_hz=8000, linger_s=2.0, clock=clock.monotonic)
    leg.on_gone(hung_up)
    await leg.answered()
    """

    facts: LegFacts
    parked: (
        ResumePlace | None
    )  # where the resume state is stored; `None` if the call cannot be resumed

    @property
    def before(self) -> ResumeState | None:
        """The call's earlier state, from another process or line; `None` for a new call."""
        ...

    @property
    def is_lost(self) -> bool:
        """Whether the line is lost without a report of the call's end, so that it may go on."""
        ...

    def tell_to(self, emit: Emit) -> None:
        """Publish the leg's events as events of the call, once the call exists."""
        ...

    def input(self) -> BaseInputTransport:
        """Return the processor that receives the caller's audio."""
        ...

    def output(self) -> LegOutput:
        """Return the processor that plays to the caller."""
        ...

    def on_gone(self, gone: Gone) -> None:
        """Call `gone` when the far end is gone, however the line ends."""
        ...

    async def answered(self) -> None:
        """Wait until the caller can hear us; raise `TimeoutError` if that takes too long."""
        ...

    def show(self, message: dict[str, Any]) -> None:
        """Show a JSON message on the caller's screen, if there is one."""
        ...

    def played_s(self) -> float | None:
        """Return how much of our audio the far end has played; `None` if it does not report that.

        In seconds, and never more than the caller has heard.
        """
        ...

    async def press(self, keys: str) -> bool:
        """Send keypad digits (0-9, *, #, A-D); return False if not all of them were sent."""
        ...

    async def transfer(self, to: Destination, *, ring_s: float) -> Handover:
        """Transfer the caller and return the result; never raises.

        Args:
            to: The destination, from the configuration and never from a model's words.
            ring_s: How long it may ring there.
        """
        ...

    async def hang_up(self, reason: str = "") -> None:
        """End the connection from our side; does nothing if it has ended.

        Args:
            reason: The reason, for a carrier that accepts one. After `MOVED`, only the stream ends.
        """
        ...


class PlainLeg:
    """Default implementations of the parts of `Leg` that a kind of line may lack."""

    parked: ResumePlace | None = None

    @property
    def before(self) -> ResumeState | None:
        """Return the call's earlier state from the resume store."""
        return self.parked.state if self.parked else None

    @property
    def is_lost(self) -> bool:
        """Return False: the end of the line is the end of the call."""
        return False

    def tell_to(self, emit: Emit) -> None:
        """Do nothing, because this line publishes no events."""

    async def answered(self) -> None:
        """Return at once: the line need not be answered."""

    def show(self, message: dict[str, Any]) -> None:
        """Do nothing, because there is no screen."""

    def played_s(self) -> float | None:
        """Return `None`: the far end does not report what it has played."""
        return None

    async def press(self, keys: str) -> bool:
        """Return False: the line cannot send digits."""
        return False

    async def transfer(self, to: Destination, *, ring_s: float) -> Handover:
        """Return that this line cannot transfer a call."""
        return "not_offered"


async def is_taken(leg: Leg) -> bool:
    """Return whether another process has taken a leg's call up; False while the store is away."""
    return leg.parked is not None and not await leg.parked.is_ours()


async def may_order(leg: Leg) -> bool:
    """Return whether we may send orders about a leg's call, because it is ours.

    The store says so, or, while it does not answer, the line: a call whose line is lost may go on
    at another machine, which would hear our order as the end of its call.
    """
    return leg.parked is None or await leg.parked.is_ours(otherwise=not leg.is_lost)


class CallsPeople(Protocol):
    """A carrier that can call a person for a transfer."""

    async def call_person(self, to: Destination, *, ring_s: float) -> Leg | Handover:
        """Call a person; return their leg when they have answered, or else the result.

        Never raises. Cancelling it stops the ringing. The leg must be hung up in the end.

        Args:
            to: The destination, from the configuration and never from a model's words.
            ring_s: How long it may ring.
        """
        ...


class People:
    """The carriers of a process that can call a person; each registers when its routes open."""

    def __init__(self) -> None:
        self._carriers: dict[str, CallsPeople] = {}

    def add(self, transport: str, carrier: CallsPeople) -> None:
        """Register a carrier for the callers of `transport`, in place of an earlier one."""
        self._carriers[transport] = carrier

    def for_caller(self, transport: str) -> CallsPeople | None:
        """Return a carrier that can call a person, preferably the caller's; `None` without any.

        The two legs are joined in our process, so a caller in a browser can talk to a telephone.
        """
        return self._carriers.get(transport) or next(iter(self._carriers.values()), None)
