"""What a campaign wants of a carrier: to dial under our own id, and to say what came of it."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final, Protocol, runtime_checkable

from calls.dialled import DialVerdict, judge_dial
from calls.leg_events import AnswererJudged, LegAnswered, LegEnded, LegOutcome
from calls.leg_progress import LegFact
from calls.outbound import DialOutcome
from fallbacks.failure import ServiceError
from transports.http_requests import DialOrder

LEG_OUTCOMES: Final[Mapping[LegOutcome, DialOutcome]] = {
    "completed": DialOutcome.COMPLETED,
    "busy": DialOutcome.BUSY,
    "no-answer": DialOutcome.NO_ANSWER,
    "failed": DialOutcome.FAILED,
    "cancelled": DialOutcome.CANCELLED,
    "voicemail": DialOutcome.VOICEMAIL,
}
"""What a dial came to, by how its leg ended."""

UNANSWERED: Final = frozenset({DialOutcome.BUSY, DialOutcome.NO_ANSWER, DialOutcome.FAILED})
"""Where the callee's side, or a carrier on the way, has said why nobody picked up."""

REFUSED: Final = "carrier_refused"  # why a dial failed that the carrier did not make


async def _confirm_all() -> None:
    """Have nothing asked once more: a call of no campaign."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DialRequest:
    """What a carrier is asked to dial.

    Attributes:
        dial_id: Ours. It goes where the carrier gives it back: into the status callback's URL, the
            room's name, a header.
        patience_s: How long it may ring.
        confirm: Awaited right before each time that the carrier is asked, behind all waiting;
            raises `DialWithdrawnError` if it may not be asked any more.
        wait: Waits for so many seconds, or until the server is to end.
    """

    dial_id: str
    to: str
    campaign: str
    patience_s: float = 30.0
    confirm: Callable[[], Awaitable[None]] = _confirm_all
    wait: Callable[[float], Awaitable[None]] = asyncio.sleep

    def order(self, caller: str, *, machine: str = "") -> DialOrder:
        """Return the carrier's order, with the number that is shown and how machines are found."""
        return DialOrder(
            to=self.to, caller=caller, ref=self.dial_id, ring_s=self.patience_s, machine=machine
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundCall:
    """A call of ours that the carrier knows.

    Attributes:
        outcome: None: it goes on.
        verdict: What the SIP status means with which nobody picked up; None: none was said.
    """

    provider_call_id: str
    outcome: DialOutcome | None = None
    answered: bool = False
    verdict: DialVerdict | None = None
    length_s: float | None = None
    cost: float | None = None


class CampaignCarrier(Protocol):
    """One of them; every method raises `CarrierError` when it does not answer."""

    async def dial(self, request: DialRequest) -> str:
        """Have somebody called; return the carrier's own id of the call.

        An error does not mean that nobody is called: the answer may be what was lost. Only
        `DialRefusedError` says so, and `DialWithdrawnError`, which is raised as the request's
        `confirm` raises it.
        """
        ...

    async def find(self, dial_id: str, to: str, since_s: float) -> FoundCall | None:
        """Return what became of a dial of ours; None: the carrier never had it.

        Args:
            dial_id: Ours.
            to: The number, for carriers that find calls by number and time alone.
            since_s: Not older than this, in seconds since 1970.
        """
        ...


@runtime_checkable
class RecallingCarrier(Protocol):
    """A carrier that cannot be asked by our own id, and so wants its own, of whichever process."""

    def recall(self, dial_id: str, provider_call_id: str) -> None:
        """Know the call of a dial that another process has made."""
        ...


@runtime_checkable
class CancellingCarrier(Protocol):
    """A carrier that can have a telephone ring no longer."""

    async def cancel(self, dial_id: str, ordered: str) -> None:
        """End a dial that nobody has answered; raises `CarrierError` when it may ring on.

        Args:
            dial_id: Ours.
            ordered: The carrier's own id, as `dial` returned it.
        """
        ...


class CarrierError(Exception):
    """The carrier did not answer, or not so that we understand it; nobody knows what it did."""


@contextmanager
def carrier_errors() -> Iterator[None]:
    """Raise what a carrier's interface raises as `CarrierError`."""
    try:
        yield
    except ServiceError as error:
        raise CarrierError(error.failure.reason) from error


class DialRefusedError(CarrierError):
    """The carrier says that it does not call this number, and why: one line."""


def outcome_of(ended: LegOutcome | None, *, machine: bool) -> DialOutcome | None:
    """Return what a dial came to.

    Args:
        ended: How its leg did; None: it goes on.
        machine: Whether the carrier took who picked up for a machine.
    """
    if ended == "completed" and machine:
        return DialOutcome.VOICEMAIL
    return LEG_OUTCOMES[ended] if ended else None


def verdict_of(outcome: DialOutcome | None, sip_code: int | None) -> DialVerdict | None:
    """Return what a SIP status means with which nobody picked up; None: there is none."""
    return None if sip_code is None or outcome not in UNANSWERED else judge_dial(sip_code)


class DialWithdrawnError(Exception):
    """The carrier was not asked: the dial is not to be made any more; why, as a code."""


# What callbacks have said of a dial so far, for carriers that tell more than they can be asked.
#
# Two processes of a house may each have been told a part: what says more goes first.


@dataclass(frozen=True, slots=True, kw_only=True)
class HeardLeg:
    """How far a leg has come.

    Attributes:
        ended: How it ended; None: nobody has said that it has.
        sip_code: With which it ended, where the carrier says one.
        machine: Whether the carrier took who picked up for a machine.
    """

    call_ref: str
    answered: bool = False
    ended: LegOutcome | None = None
    machine: bool = False
    sip_code: int | None = None

    def after(self, fact: LegFact) -> "HeardLeg":
        """Return it with one more fact."""
        match fact:
            case LegAnswered():
                return replace(self, answered=True)
            case LegEnded(outcome=outcome, sip_code=sip_code):
                return replace(self, ended=outcome, sip_code=sip_code)
            case AnswererJudged(machine=machine):
                return replace(self, machine=self.machine or machine)
            case _:
                return self

    @property
    def outcome(self) -> LegOutcome | None:
        """Return how it ended, also if who picked up was judged behind the end."""
        return "voicemail" if self.machine and self.ended == "completed" else self.ended

    @property
    def found(self) -> FoundCall:
        """Return the call as far as it was told."""
        outcome = outcome_of(self.ended, machine=self.machine)
        return FoundCall(
            provider_call_id=self.call_ref,
            outcome=outcome,
            answered=self.answered,
            verdict=verdict_of(outcome, self.sip_code),
        )


def joined(parts: Iterable[HeardLeg]) -> HeardLeg | None:
    """Return what several processes know together; None: nobody knows anything."""
    known = list(parts)
    if not known:
        return None
    end = next((heard_leg for heard_leg in known if heard_leg.ended), known[0])
    return HeardLeg(
        call_ref=known[0].call_ref,
        answered=any(heard_leg.answered for heard_leg in known),
        ended=end.ended,
        sip_code=end.sip_code,
        machine=any(heard_leg.machine for heard_leg in known),
    )


# What a carrier has told of calls without being asked: for those that do not say it when they are.
#
# Twilio says of any call how it ended and what it cost, as often as it is asked. Others say that in
# their callbacks alone, or sooner there, and a callback reaches any process of the house.


class CarrierNews(Protocol):
    """All of the house's."""

    @property
    def refs(self) -> MutableMapping[str, str]:
        """The carrier's ids of calls by our own of their dials, as far as this process knows."""
        ...

    async def heard(self, dial_id: str) -> HeardLeg | None:
        """Return what was told of a dial; None: nothing."""
        ...

    async def charged(self, call_ref: str) -> float | None:
        """Return what a call is said to have cost; None: nothing was said of it."""
        ...
