"""Copies the costs of ended campaign calls into the dial ledger.

`CallCosts` reads our own call records (model and speech costs, abandoned calls). `Billing` asks the
carrier for its price: soon after the call, then at intervals that double, for a day. A carrier may
know the price of a call after seconds or only after hours. The outcome of a dial waits for neither.
"""

import asyncio
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final, Protocol, runtime_checkable

from loguru import logger

from calls.outbound import Dial
from campaigns.pacing import DialEvents
from campaigns.store.dials import DialledCall, DialUse, Ledger
from operations.database.database import StorageError
from transports.dialling import CarrierError

CALLER_HUNG_UP: Final = "caller_hung_up"


def uses_of(calls: Iterable[DialledCall]) -> Sequence[DialUse]:
    """Return costs and abandonment of each dial, from its calls in the order of their start.

    A dial is *abandoned* if the callee hung up before the agent had answered one turn; the opening
    sentence is not an answer. Regulators mean something else by the word: a dialler that does not
    connect the callee to an agent within 2 s (47 CFR 64.1200(a)(7)). Here such calls count as our
    own failures.
    """
    ordered = sorted(calls, key=lambda call: call.dial_id)  # stable: the earlier call stays first
    by_dial = groupby(ordered, lambda call: call.dial_id)
    return [_use_of_dial(dial_id, list(own_calls)) for dial_id, own_calls in by_dial]


def _use_of_dial(dial_id: str, calls: Sequence[DialledCall]) -> DialUse:
    """Return the use of one dial; its cost is `None` as soon as one call's cost is unknown."""
    costs = [call.cost for call in calls if call.cost is not None]
    return DialUse(
        dial_id=dial_id,
        cost=math.fsum(costs) if len(costs) == len(calls) else None,
        abandoned=calls[-1].reason == CALLER_HUNG_UP and not any(call.turns for call in calls),
    )


FULL_REACH_S: Final = 7 * 86_400.0  # how far back a pass looks: a week without a server (chosen)
SHORT_REACH_S: Final = 14_400.0 + 3_600.0  # of a repeated pass: the longest dial and an hour
REPEAT_S: Final = 5.0  # between passes while more records are expected
EXPECTED_S: Final = 900.0  # for this long after a dial, its record and its summary may still come
IDLE_S: Final = 600.0  # between passes while no dial ends
UNWELL_S: Final = 30.0  # before the next attempt after a failure


@dataclass(slots=True, kw_only=True)
class CallCosts:
    """Copies costs and abandonment into the ledger while this process leads its worker pool.

    Any process may have had the call, so they are read from the call records: soon after a dial
    ends and for a while afterwards, because the model's summary of the call comes later and costs
    as well.
    """

    ledger: Ledger
    campaigns: Sequence[str]
    leads: Callable[[], bool]
    now_s: Callable[[], float]
    dial_ended: DialEvents = field(default_factory=DialEvents)

    async def run(self) -> None:
        """Copy until cancelled; a database failure is logged.

        The first pass, and each after a pause or a failure, reaches back for `FULL_REACH_S`.
        """
        wait_s = IDLE_S
        while True:
            reach_s = SHORT_REACH_S if wait_s == REPEAT_S else FULL_REACH_S
            try:
                wait_s = await self.copy_new(reach_s) if self.leads() else IDLE_S
            except StorageError as error:
                logger.warning("cannot copy call costs to the ledger yet: {}", error)
                wait_s = UNWELL_S
            if wait_s == IDLE_S:
                await self.dial_ended.wait(IDLE_S)
            else:
                await asyncio.sleep(wait_s)

    async def copy_new(self, reach_s: float = FULL_REACH_S) -> float:
        """Copy what is new about the dials of the last `reach_s`; return the wait before a repeat.

        That is short while anything was new, or a dial has ended within `EXPECTED_S`.

        Raises:
            StorageError: The database does not answer.
        """
        now = self.now_s()
        found = await self.ledger.ended_calls(self.campaigns, since_s=now - reach_s)
        new = [await self.ledger.note_use(use) for use in uses_of(found)]
        expected = any(new) or await self.ledger.any_ended(self.campaigns, since_s=now - EXPECTED_S)
        return REPEAT_S if expected else IDLE_S


FIRST_S: Final = 3.0  # after the end of a dial, before the first request
DAY_S: Final = 86_400.0
MAX_DIAL_S: Final = 14_400.0  # Twilio's limit for one call
MAX_REQUESTS: Final = 20  # in one pass


@runtime_checkable
class BillingCarrier(Protocol):
    """A carrier that reports the price of a call."""

    async def cost_of(self, provider_call_id: str) -> float | None:
        """Return the price in the account's currency; `None` if it is not known yet.

        Raises:
            CarrierError: There was no usable response from the carrier.
        """
        ...


@dataclass(slots=True, kw_only=True)
class Billing:
    """Asks the carrier for prices while this process leads its worker pool."""

    carrier: BillingCarrier
    ledger: Ledger
    campaigns: Sequence[str]
    leads: Callable[[], bool]
    now_s: Callable[[], float]
    dial_ended: DialEvents = field(default_factory=DialEvents)
    _due_s: dict[str, float] = field(default_factory=dict[str, float])  # by the dial's id

    async def run(self) -> None:
        """Ask while this process leads, until cancelled; after a failure, log it and wait."""
        while True:
            try:
                wait_s = await self.ask_due() if self.leads() else IDLE_S
            except (StorageError, CarrierError) as error:
                logger.warning("cannot read call prices from the carrier yet: {}", error)
                wait_s = UNWELL_S
            if wait_s == IDLE_S:
                await self.dial_ended.wait(IDLE_S)
            else:
                await asyncio.sleep(wait_s)

    async def ask_due(self) -> float:
        """Ask for up to `MAX_REQUESTS` prices that are due; return the wait before a repeat, in s.

        A price is stored, and added to its day's spending.

        Raises:
            CarrierError: No request got a usable response from the carrier.
            StorageError: The database does not answer.
        """
        now = self.now_s()
        since_s = now - DAY_S - MAX_DIAL_S
        dials = await self.ledger.unpriced(self.campaigns, since_s=since_s)
        unpriced = {dial.id: dial for dial in dials}
        self._due_s = {item.id: self._next_request_s(item, now) for item in unpriced.values()}
        due = sorted((due_s, dial_id) for dial_id, due_s in self._due_s.items() if due_s <= now)
        await self._ask_all([unpriced[dial_id] for _, dial_id in due[:MAX_REQUESTS]])
        waiting = [due_s for due_s in self._due_s.values() if due_s < float("inf")]
        return max(REPEAT_S, min(IDLE_S, min(waiting) - now)) if waiting else IDLE_S

    def _next_request_s(self, dial: Dial, now: float) -> float:
        """Return when to ask about a dial next; infinity once it ended more than a day ago."""
        ended_s = dial.ended_s or now
        if now - ended_s > DAY_S:
            return float("inf")
        return self._due_s.get(dial.id, ended_s + FIRST_S)

    async def _ask_all(self, dials: Sequence[Dial]) -> None:
        """Ask for the price of each dial, one after the other.

        Raises:
            CarrierError: All requests failed; if only some did, that is logged.
        """
        failures: list[CarrierError] = []
        for dial in dials:
            try:
                await self._ask_for_price(dial)
            except CarrierError as error:  # perhaps only about this call, so ask about the others
                failures.append(error)
        if not failures:
            return
        if len(failures) == len(dials):
            raise failures[-1]
        logger.warning("cannot read the price of {} calls yet: {}", len(failures), failures[-1])

    async def _ask_for_price(self, dial: Dial) -> None:
        """Ask for one price, and store it if the carrier knows it; raises what either raises."""
        now = self.now_s()
        age_s = max(FIRST_S, now - (dial.ended_s or now))
        # The next request is made when the dial is twice as old, even if this one fails.
        self._due_s[dial.id] = now + age_s
        cost = await self.carrier.cost_of(dial.provider_call_id)
        if cost is not None:
            await self.ledger.charge(dial, cost)
            del self._due_s[dial.id]
