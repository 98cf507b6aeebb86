"""Tracks the calls that campaigns place, and what the carrier reports about them.

Each process tracks its own calls and callbacks, and asks its peers in the pool about the others.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from typing import Any, Final

from bot.workers.pool import WorkerPool
from calls.campaign_events import OutboundCallBegan
from calls.entry import Entry
from calls.events import CallEnded, CallMoved, CallStarted, Event
from calls.leg_events import AnswererJudged, LegAnswered, LegCharged, LegEnded, LegRinging
from calls.state import CallState
from campaigns.call_verdict import CallVerdict, judge_call
from transports.dialling import MAX_REMEMBERED, HeardLeg, join_heard_legs, remember

REPORTS_QUESTION: Final = "what a carrier told"


class CarrierReports:
    """A carrier's reports by dial id, and its late cost reports by the carrier's call id."""

    def __init__(self) -> None:
        self.refs: dict[str, str] = {}  # the carrier's call ids, by dial id
        self._legs: dict[str, HeardLeg] = {}  # by dial id
        self._charged: dict[str, float] = {}  # by the carrier's call id
        self._pool: WorkerPool | None = None

    def join(self, pool: WorkerPool) -> None:
        """Join the pool: ask its other processes from now on, and answer them."""
        self._pool = pool
        pool.peers.answer(REPORTS_QUESTION, self._answer_report)

    def note(self, event: Event) -> str:
        """Keep an event if it is a carrier's report.

        Returns:
            The id of the dial whose state may have changed. Empty for other events, including
            reports of costs.
        """
        match event:
            case (LegRinging() | LegAnswered() | LegEnded() | AnswererJudged()) as leg if leg.ref:
                earlier = self._legs.get(leg.ref) or HeardLeg(call_ref=leg.call_ref)
                remember(self._legs, leg.ref, earlier.apply(leg))
                remember(self.refs, leg.ref, leg.call_ref)
                return leg.ref
            case LegCharged(call_ref=call_ref, cost=cost):
                remember(self._charged, call_ref, cost)
            case _:
                pass
        return ""

    async def heard(self, dial_id: str) -> HeardLeg | None:
        """Return what the carrier reported about a dial to any process; `None` if nothing."""
        answers = await self._ask_processes(dial_id=dial_id, call_ref="")
        return join_heard_legs(HeardLeg(**item["heard"]) for item in answers if item["heard"])

    async def charged(self, call_ref: str) -> float | None:
        """Return the reported cost of a call; `None` if none was reported."""
        answers = await self._ask_processes(dial_id="", call_ref=call_ref)
        return next((item["cost"] for item in answers if item["cost"] is not None), None)

    def forget(self, dial_id: str) -> None:
        """Forget a settled dial, except for its cost, which may be reported later."""
        self.refs.pop(dial_id, None)
        self._legs.pop(dial_id, None)

    async def _ask_processes(self, **question: str) -> list[Mapping[str, Any]]:
        if self._pool is None:
            return [await self._answer_report(question)]
        return [
            peer for peer in await self._pool.peers.ask_all(REPORTS_QUESTION, **question) if peer
        ]

    async def _answer_report(self, question: Mapping[str, Any]) -> Mapping[str, Any]:
        """Answer another process: what is known of a dial's leg and of the carrier's charge."""
        leg = self._legs.get(question["dial_id"])
        return {
            "heard": asdict(leg) if leg else None,
            "cost": self._charged.get(question["call_ref"]),
        }


VERDICT_QUESTION: Final = "campaign call"


class CallLedger:
    """An event listener that keeps the state of outbound calls until their dials are settled.

    The process that runs a call gives the verdict on it; the dialler asks all processes.
    """

    def __init__(self) -> None:
        self._calls: dict[str, CallState] = {}  # by the dial's id
        self._dial_of: dict[str, str] = {}  # by the call's id
        self._started: dict[str, CallStarted] = {}  # of calls not known to be outbound, by id
        self._changed: dict[str, asyncio.Event] = {}  # by the dial's id
        self.carrier_reports = CarrierReports()
        self._pool: WorkerPool | None = None

    def join(self, pool: WorkerPool) -> None:
        """Join the pool: ask its other processes from now on, and answer them."""
        self._pool = pool
        self.carrier_reports.join(pool)
        pool.peers.answer(VERDICT_QUESTION, self._answer_verdict)

    async def hear(self, entry: Entry) -> None:
        """Record a carrier's report or an event of an outbound call, and end waits for it."""
        if reported := self.carrier_reports.note(entry.event):
            self._wake_waiting(reported)
            return
        match entry.event:
            case OutboundCallBegan(dial_id=dial_id):
                self._begin_tracking(entry.call_id, dial_id)
            case event if dial_id := self._dial_of.get(entry.call_id):
                if call := self._calls.get(dial_id):  # none if the dial is already settled
                    call.add(event)
                if isinstance(event, CallEnded | CallMoved):
                    del self._dial_of[entry.call_id]
                    self._wake_waiting(dial_id)
            case CallStarted() as started:
                remember(self._started, entry.call_id, started)
            case _:
                pass

    async def verdict(self, dial_id: str) -> CallVerdict | None:
        """Return the verdict on a dial's call in any process; `None` if no process has the call."""
        if self._pool is None:
            return self._own_verdict(dial_id)
        answers = await self._pool.peers.ask_all(VERDICT_QUESTION, dial_id=dial_id)
        found = [CallVerdict(**answer) for answer in answers if answer]
        # Two processes may know a resumed call; a verdict on a call that is over wins.
        return max(found, key=lambda verdict: verdict.over) if found else None

    async def wait(self, dial_id: str, within_s: float) -> None:
        """Wait until the state of a dial may have changed, for at most `within_s`.

        A change since the last wait ends this one at once. Each dial has one waiter.
        """
        changed = self._changed.setdefault(dial_id, asyncio.Event())
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await changed.wait()
        changed.clear()

    def wake_all(self) -> None:
        """End all current waits, so that every dial is checked at once."""
        for changed in self._changed.values():
            changed.set()

    def forget(self, dial_id: str) -> None:
        """Forget a dial, its call, and what the carrier reported except for the cost."""
        self._calls.pop(dial_id, None)
        self._changed.pop(dial_id, None)
        self.carrier_reports.forget(dial_id)

    def _begin_tracking(self, call_id: str, dial_id: str) -> None:
        """Begin to track a call; one that is resumed keeps the facts of its earlier parts.

        Those of another process are in its `CallStarted`. May forget the oldest ended calls.
        """
        call = self._calls.get(dial_id)
        if call is None or call.call_id != call_id:
            self._make_room()
            call = self._calls[dial_id] = CallState(call_id)
        if started := self._started.pop(call_id, None):
            call.add(started)
        self._dial_of[call_id] = dial_id

    def _own_verdict(self, dial_id: str) -> CallVerdict | None:
        call = self._calls.get(dial_id)
        return judge_call(call) if call else None

    async def _answer_verdict(self, question: Mapping[str, Any]) -> Mapping[str, Any] | None:
        verdict = self._own_verdict(question["dial_id"])
        return asdict(verdict) if verdict else None

    def _wake_waiting(self, dial_id: str) -> None:
        if changed := self._changed.get(dial_id):
            changed.set()

    def _make_room(self) -> None:
        """Forget the oldest ended calls beyond `MAX_REMEMBERED`; never a call in progress."""
        running = set(self._dial_of.values())
        ended = [dial_id for dial_id in self._calls if dial_id not in running]
        for dial_id in ended[: max(0, len(self._calls) - MAX_REMEMBERED)]:
            self.forget(dial_id)
