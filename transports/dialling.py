"""The interface of campaigns to carriers: place a dial under our id, report its result."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final, Protocol, TypeVar, runtime_checkable

from calls.dialled import DialVerdict, judge_dial
from calls.leg_events import AnswererJudged, LegAnswered, LegEnded, LegOutcome
from calls.leg_progress import LegEvent
from calls.outbound import DialOutcome
from fallbacks.failure import Failure, Kind, Scope, ServiceError

LEG_OUTCOMES: Final[Mapping[LegOutcome, DialOutcome]] = {
    "completed": DialOutcome.COMPLETED,
    "busy": DialOutcome.BUSY,
    "no-answer": DialOutcome.NO_ANSWER,
    "failed": DialOutcome.FAILED,
    "cancelled": DialOutcome.CANCELLED,
    "voicemail": DialOutcome.VOICEMAIL,
}
"""The outcome of a dial by the outcome of its leg."""

UNANSWERED: Final = frozenset({DialOutcome.BUSY, DialOutcome.NO_ANSWER, DialOutcome.FAILED})
"""Outcomes for which the callee's side, or a carrier on the way, gives a SIP status."""


MAX_REMEMBERED: Final = 1000  # dials; callbacks reach any process, also after a dial's end
Kept = TypeVar("Kept")


def remember(kept: MutableMapping[str, Kept], key: str, value: Kept) -> None:
    """Keep a value; the oldest is dropped if there are too many."""
    kept[key] = value
    while len(kept) > MAX_REMEMBERED:
        del kept[next(iter(kept))]


REFUSED: Final = "carrier_refused"  # reason of a dial that the carrier did not place


@dataclass(frozen=True, slots=True, kw_only=True)
class DialRequest:
    """A call that the carrier should place.

    Attributes:
        dial_id: Our id. It goes where the carrier returns it: the status callback's URL, the room's
            name, or a header.
        patience_s: How long it may ring.
        confirm: Awaited right before each request to the carrier, after all waiting. Raises
            `DialWithdrawnError` if the dial must not be placed any more.
        wait: Waits this many seconds, or until the server shuts down.
    """

    dial_id: str
    to: str
    campaign: str
    patience_s: float = 30.0
    confirm: Callable[[], Awaitable[None]]
    wait: Callable[[float], Awaitable[None]] = asyncio.sleep


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundCall:
    """One of our calls, as the carrier reports it.

    Attributes:
        outcome: `None` while the call goes on.
        verdict: Meaning of the SIP status of an unanswered call; `None` without a status.
    """

    provider_call_id: str
    outcome: DialOutcome | None = None
    answered: bool = False
    verdict: DialVerdict | None = None
    length_s: float | None = None
    cost: float | None = None


class CampaignCarrier(Protocol):
    """A carrier that places calls; each method raises `CarrierError` if it does not answer."""

    async def dial(self, request: DialRequest) -> str:
        """Place a call; return the carrier's id of it.

        After an error the call may still be placed: only the answer may be lost. Two errors exclude
        that: `DialRefusedError`, and `DialWithdrawnError`, which `request.confirm` raises.
        """
        ...

    async def find(self, dial_id: str, to: str, since_s: float) -> FoundCall | None:
        """Return the state of one of our dials; `None` if the carrier never had it.

        Args:
            dial_id: Our id.
            to: The number, for carriers that find calls only by number and time.
            since_s: Ignore older calls; seconds since 1970.
        """
        ...


@runtime_checkable
class RecallingCarrier(Protocol):
    """A carrier that finds calls by its own ids only, also calls of other processes."""

    def recall(self, dial_id: str, provider_call_id: str) -> None:
        """Remember the carrier's id of a dial that another process placed."""
        ...


@runtime_checkable
class CancellingCarrier(Protocol):
    """A carrier that can stop a call that still rings."""

    async def cancel(self, dial_id: str, ordered: str) -> None:
        """Cancel a dial that is not answered yet; raises `CarrierError` if it may ring on.

        Args:
            dial_id: Our id.
            ordered: The carrier's id, as `dial` returned it.
        """
        ...


class CarrierError(Exception):
    """The carrier's answer is missing or not understood; the call may or may not exist."""


@contextmanager
def carrier_errors() -> Iterator[None]:
    """Translate errors of a carrier's API to `CarrierError`."""
    try:
        yield
    except ServiceError as error:
        raise CarrierError(error.failure.reason) from error


class DialRefusedError(CarrierError):
    """The carrier refuses to call this number; one line with its reason."""


def outcome_of(ended: LegOutcome | None, *, machine: bool) -> DialOutcome | None:
    """Return the outcome of a dial.

    Args:
        ended: Outcome of its leg; `None` while it goes on.
        machine: Whether the carrier judged that a machine answered.
    """
    if ended == "completed" and machine:
        return DialOutcome.VOICEMAIL
    return LEG_OUTCOMES[ended] if ended else None


def verdict_of(outcome: DialOutcome | None, sip_code: int | None) -> DialVerdict | None:
    """Return what the SIP status of an unanswered call means; `None` without a status."""
    return None if sip_code is None or outcome not in UNANSWERED else judge_dial(sip_code)


class DialWithdrawnError(Exception):
    """The carrier was not asked: the dial must not be placed any more; the reason is a code."""


# The state of a leg from status callbacks, for carriers whose callbacks say more than their API.
#
# Two processes of a worker pool may each have received a part of the callbacks; `joined` merges
# them.


@dataclass(frozen=True, slots=True, kw_only=True)
class HeardLeg:
    """The progress of a leg.

    Attributes:
        ended: How it ended; `None` if no callback has said so.
        sip_code: SIP status of its end, if the carrier reports one.
        machine: Whether the carrier judged that a machine answered.
    """

    call_ref: str
    answered: bool = False
    ended: LegOutcome | None = None
    machine: bool = False
    sip_code: int | None = None

    def after(self, fact: LegEvent) -> "HeardLeg":
        """Return this leg after one more event."""
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
        """Return how it ended, even if the answerer was judged after the end."""
        return "voicemail" if self.machine and self.ended == "completed" else self.ended

    @property
    def found(self) -> FoundCall:
        """Return the call as far as the callbacks describe it."""
        outcome = outcome_of(self.ended, machine=self.machine)
        return FoundCall(
            provider_call_id=self.call_ref,
            outcome=outcome,
            answered=self.answered,
            verdict=verdict_of(outcome, self.sip_code),
        )


def joined(parts: Iterable[HeardLeg]) -> HeardLeg | None:
    """Return the combined knowledge of several processes; `None` if there is none."""
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


# Call results from callbacks, for carriers whose API does not report them.
#
# Twilio reports outcome and price of any call whenever it is asked. Others report them only in
# callbacks, or earlier there, and a callback reaches any process of the worker pool.


class CarrierNews(Protocol):
    """What callbacks to any process of the worker pool have reported."""

    @property
    def refs(self) -> MutableMapping[str, str]:
        """The carrier's call ids by our dial ids, as far as this process knows them."""
        ...

    async def heard(self, dial_id: str) -> HeardLeg | None:
        """Return the reported state of a dial; `None` if there was no callback."""
        ...

    async def charged(self, call_ref: str) -> float | None:
        """Return the reported price of a call; `None` if there was none."""
        ...


LIMITED_TRIES: Final = 5
LIMITED_S: Final = 1.1  # accounts have one call per second by default
Placed = TypeVar("Placed")


@dataclass(slots=True, kw_only=True)
class DialPace:
    """The pace of one carrier account.

    Attributes:
        calls_per_s: How many calls it may place.
        refuses: Scopes of a bad request that mean that this number is refused. Other failures may
            not affect the next number.
        again_s: Wait before a rate-limited order is repeated.
    """

    calls_per_s: float
    refuses: frozenset[Scope] = frozenset(Scope)
    again_s: float = LIMITED_S
    _free_at: float = 0.0  # when the next call may be placed, on the loop's clock

    async def place(self, ask: Callable[[], Awaitable[Placed]], request: DialRequest) -> Placed:
        """Call `ask` in its turn and return its result; repeat it after a rate limit.

        Raises:
            CarrierError: It failed; a `DialRefusedError` if the number is refused.
            DialWithdrawnError: Raised by the request's `confirm`.
        """
        for tries in range(LIMITED_TRIES):
            if tries:
                await request.wait(self.again_s)
            await request.wait(self._take_turn())
            await request.confirm()
            try:
                return await ask()
            except ServiceError as error:
                if error.failure.kind is not Kind.RATE_LIMITED:
                    raise self._carrier_error(error.failure) from error
        raise CarrierError("too many calls for this account")

    def _take_turn(self) -> float:
        """Take the next evenly spaced turn; return the seconds until then."""
        now = asyncio.get_running_loop().time()
        turn_at = max(now, self._free_at)
        self._free_at = turn_at + 1 / self.calls_per_s
        return turn_at - now

    def _carrier_error(self, failure: Failure) -> CarrierError:
        refused = failure.kind is Kind.BAD_REQUEST and failure.scope in self.refuses
        return DialRefusedError(failure.reason) if refused else CarrierError(failure.reason)
