"""The interface between campaigns and carriers: placing dials under our ids, and their results."""

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
"""The outcome of a dial, by the outcome of its leg."""

UNANSWERED: Final = frozenset({DialOutcome.BUSY, DialOutcome.NO_ANSWER, DialOutcome.FAILED})
"""Outcomes with a SIP status, from the callee's side or a carrier on the way."""


MAX_REMEMBERED: Final = 1000  # dials; callbacks may reach any process, even after a dial's end
Kept = TypeVar("Kept")


def remember(kept: MutableMapping[str, Kept], key: str, value: Kept) -> None:
    """Keep a value; the oldest is dropped above `MAX_REMEMBERED`. A known key keeps its age."""
    kept[key] = value
    while len(kept) > MAX_REMEMBERED:
        del kept[next(iter(kept))]


REFUSED: Final = "carrier_refused"  # the reason of a dial that the carrier did not place


async def _take_any_turn(_: float) -> float:
    return 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DialRequest:
    """A call that the carrier should place.

    Attributes:
        dial_id: Our id. It is put where the carrier returns it: in the status callback's URL, the
            call's state, or the room's name.
        to: The number to call.
        campaign: The campaign's name.
        patience_s: How long it may ring.
        confirm: Called directly before each request to the carrier, after all waits. Raises
            `DialWithdrawnError` if the dial must no longer be placed.
        wait: Waits for a number of seconds, or until the server shuts down.
        take_turn: Counts a call of all processes that place so many a second, and returns 0; else
            returns how long it has to wait.
    """

    dial_id: str
    to: str
    campaign: str
    patience_s: float = 30.0
    confirm: Callable[[], Awaitable[None]]
    wait: Callable[[float], Awaitable[None]] = asyncio.sleep
    take_turn: Callable[[float], Awaitable[float]] = _take_any_turn


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundCall:
    """One of our calls, as the carrier reports it.

    Attributes:
        provider_call_id: The carrier's id of the call.
        outcome: The outcome; `None` while the call is in progress.
        answered: Whether it was answered.
        verdict: The meaning of the SIP status of an unanswered call; `None` without a status.
        length_s: The length of the call; `None` if unknown.
        cost: The carrier's price; `None` if it is not known yet.
    """

    provider_call_id: str
    outcome: DialOutcome | None = None
    answered: bool = False
    verdict: DialVerdict | None = None
    length_s: float | None = None
    cost: float | None = None


class CampaignCarrier(Protocol):
    """A carrier that places calls.

    Each method raises `CarrierError` if the response is missing or was not understood.
    """

    async def dial(self, request: DialRequest) -> str:
        """Place a call; return the carrier's id of it.

        After an error, the call may have been placed, because perhaps only the response was lost.
        It was not placed after `DialRefusedError`, or `DialWithdrawnError` from `request.confirm`.
        """
        ...

    async def find(self, dial_id: str, to: str, since_s: float) -> FoundCall | None:
        """Return the state of one of our dials; `None` if the carrier does not know it.

        Args:
            dial_id: Our id.
            to: The number, for carriers that find calls by number and time.
            since_s: Calls before this time are ignored; in seconds since 1970.
        """
        ...


@runtime_checkable
class RecallingCarrier(Protocol):
    """A carrier that finds calls by its own ids, and must be told those of other processes."""

    def recall(self, dial_id: str, provider_call_id: str) -> None:
        """Remember the carrier's id of a dial that another process placed."""
        ...


@runtime_checkable
class CancellingCarrier(Protocol):
    """A carrier that can cancel a call that is still ringing."""

    async def cancel(self, dial_id: str, ordered: str) -> None:
        """Cancel a dial that is not answered yet; raise `CarrierError` if it may still ring.

        Args:
            dial_id: Our id.
            ordered: The carrier's id, as `dial` returned it.
        """
        ...


class CarrierError(Exception):
    """The carrier's response is missing or was not understood; the call may or may not exist."""


@contextmanager
def carrier_errors() -> Iterator[None]:
    """Raise `CarrierError` in place of the `ServiceError` of a carrier's API in the block."""
    try:
        yield
    except ServiceError as error:
        raise CarrierError(error.failure.reason) from error


class DialRefusedError(CarrierError):
    """The carrier refuses to call this number; the message is one line with the reason."""

    def __init__(self, reason: str, *, no_such_number: bool = False) -> None:
        """Refuse a number; `no_such_number` says that it cannot exist."""
        super().__init__(reason)
        self.no_such_number = no_such_number


def dial_outcome_of(ended: LegOutcome | None, *, machine: bool) -> DialOutcome | None:
    """Return the outcome of a dial.

    Args:
        ended: The outcome of its leg; `None` while the call is in progress.
        machine: Whether a machine answered, as the carrier judged.
    """
    if ended == "completed" and machine:
        return DialOutcome.VOICEMAIL
    return LEG_OUTCOMES[ended] if ended else None


def verdict_of(outcome: DialOutcome | None, sip_code: int | None) -> DialVerdict | None:
    """Return the meaning of the SIP status of an unanswered call; `None` without a status."""
    return None if sip_code is None or outcome not in UNANSWERED else judge_dial(sip_code)


class DialWithdrawnError(Exception):
    """The dial must no longer be placed, so the carrier was not asked; the message is a code."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeardLeg:
    """The state of a leg by its callbacks, for carriers whose API reports less.

    Each process of a worker pool may have received a part of the callbacks; `join_heard_legs`
    merges them.

    Attributes:
        call_ref: The carrier's id of the call.
        answered: Whether it was answered.
        ended: Its outcome; `None` if no end was reported.
        machine: Whether a machine answered, as the carrier judged.
        sip_code: The SIP status at its end, if the carrier reports one.
        reason: The carrier's own code at its end; empty if it has none.
    """

    call_ref: str
    answered: bool = False
    ended: LegOutcome | None = None
    machine: bool = False
    sip_code: int | None = None
    reason: str = ""

    def apply(self, event: LegEvent) -> "HeardLeg":
        """Return this leg after another event; a kind that does not concern it changes nothing."""
        match event:
            case LegAnswered():
                return replace(self, answered=True)
            case LegEnded(outcome=outcome, sip_code=sip_code, reason=reason):
                return replace(self, ended=outcome, sip_code=sip_code, reason=reason)
            case AnswererJudged(machine=machine):
                return replace(self, machine=self.machine or machine)
            case _:
                return self

    @property
    def outcome(self) -> LegOutcome | None:
        """The outcome, or `None`; correct even if the answerer was judged after the end."""
        return "voicemail" if self.machine and self.ended == "completed" else self.ended

    @property
    def found(self) -> FoundCall:
        """The call, as far as the callbacks describe it."""
        outcome = dial_outcome_of(self.ended, machine=self.machine)
        return FoundCall(
            provider_call_id=self.call_ref,
            outcome=outcome,
            answered=self.answered,
            verdict=verdict_of(outcome, self.sip_code),
        )


def join_heard_legs(parts: Iterable[HeardLeg]) -> HeardLeg | None:
    """Return a leg's state from the callbacks of several processes; `None` without any.

    What any of them has heard is true; of several ends, the first one counts.
    """
    reported = list(parts)
    if not reported:
        return None
    end = next((heard_leg for heard_leg in reported if heard_leg.ended), reported[0])
    return HeardLeg(
        call_ref=reported[0].call_ref,
        answered=any(heard_leg.answered for heard_leg in reported),
        ended=end.ended,
        sip_code=end.sip_code,
        reason=end.reason,
        machine=any(heard_leg.machine for heard_leg in reported),
    )


class CarrierNews(Protocol):
    """The callbacks that any process of the worker pool has received.

    Twilio's API returns the outcome and price of a call at any time. Other carriers report them
    only in callbacks, or there first.
    """

    @property
    def refs(self) -> MutableMapping[str, str]:
        """The carrier's call ids by our dial ids, as far as this process knows them."""
        ...

    async def heard(self, dial_id: str) -> HeardLeg | None:
        """Return the reported state of a dial; `None` without a callback."""
        ...

    async def charged(self, call_ref: str) -> float | None:
        """Return the reported price of a call; `None` if none was reported."""
        ...


LIMITED_TRIES: Final = 5  # of one request, after rate limits
LIMITED_S: Final = 1.1  # before the next try: by default, an account may place one call per second
Placed = TypeVar("Placed")


@dataclass(slots=True, kw_only=True)
class DialPace:
    """Limits the pace of one carrier account.

    Attributes:
        calls_per_s: The number of calls per second that it may place.
        refused_scopes: A `BAD_REQUEST` failure with one of these scopes refuses this number.
        rate_limit_s: The wait before a rate-limited request is repeated.
        invalid_codes: The carrier's error codes for a number that cannot exist.
    """

    calls_per_s: float
    refused_scopes: frozenset[Scope] = frozenset(Scope)
    rate_limit_s: float = LIMITED_S
    invalid_codes: frozenset[str] = frozenset()
    _free_at: float = 0.0  # when the next call may be placed, on the loop's clock

    async def place(self, ask: Callable[[], Awaitable[Placed]], request: DialRequest) -> Placed:
        """Call `ask` at the account's pace, again after a rate limit; return its result.

        `request.confirm` runs right before each call of `ask`, and between waits.

        Raises:
            CarrierError: The request failed; `DialRefusedError` if the number is refused.
            DialWithdrawnError: The request's `confirm` raised it.
        """
        for failed_tries in range(LIMITED_TRIES):
            if failed_tries:
                await request.wait(self.rate_limit_s)
            await request.wait(self._take_turn())
            while wait_s := await request.take_turn(self.calls_per_s):
                await request.confirm()  # the wait ends early if the server shuts down
                await request.wait(wait_s)
            await request.confirm()  # after both waits, during which the dial may be withdrawn
            try:
                return await ask()
            except ServiceError as error:
                if error.failure.kind is not Kind.RATE_LIMITED:
                    raise self._carrier_error(error.failure) from error
        raise CarrierError("too many calls for this account")

    def _take_turn(self) -> float:
        """Reserve the next moment for a call; return the seconds until then."""
        now = asyncio.get_running_loop().time()
        turn_at = max(now, self._free_at)
        self._free_at = turn_at + 1 / self.calls_per_s
        return turn_at - now

    def _carrier_error(self, failure: Failure) -> CarrierError:
        """Return the error of a failed request: a refusal if it surely concerns this number.

        The carrier's code is the last word of the failure's reason.
        """
        refused = failure.kind is Kind.BAD_REQUEST and failure.scope in self.refused_scopes
        if not refused:
            return CarrierError(failure.reason)
        code = failure.reason.rpartition(" ")[2]
        return DialRefusedError(failure.reason, no_such_number=code in self.invalid_codes)
