"""The ledger of the calls that campaigns place; the processes of the pool share it."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from typing import Any, Final

from bot.workers.pool import WorkerPool
from calls.campaign_events import OutboundCallBegan
from calls.entry import Entry
from calls.events import CallEnded, CallMoved, Event
from calls.leg_events import AnswererJudged, LegAnswered, LegCharged, LegEnded, LegRinging
from calls.state import CallState
from campaigns.call_verdict import CallVerdict, judge_call
from transports.dialling import MAX_REMEMBERED, HeardLeg, joined, remember

CARRIER_QUESTION: Final = "what a carrier told"


class CarrierReports:
    """A carrier's reports by dial id, and its late cost reports by the carrier's call id."""

    def __init__(self) -> None:
        self.refs: dict[str, str] = {}
        self._heard: dict[str, HeardLeg] = {}
        self._charged: dict[str, float] = {}
        self._pool: WorkerPool | None = None

    def join(self, pool: WorkerPool) -> None:
        """Answer the questions of other processes."""
        self._pool = pool
        pool.peers.answer(CARRIER_QUESTION, self._answer)

    def note(self, event: Event) -> str:
        """Keep an event if it is a carrier's report; return the dial's id, or empty."""
        match event:
            case (LegRinging() | LegAnswered() | LegEnded() | AnswererJudged()) as leg if leg.ref:
                known = self._heard.get(leg.ref) or HeardLeg(call_ref=leg.call_ref)
                remember(self._heard, leg.ref, known.after(leg))
                remember(self.refs, leg.ref, leg.call_ref)
                return leg.ref
            case LegCharged(call_ref=call_ref, cost=cost):
                remember(self._charged, call_ref, cost)
            case _:
                pass
        return ""

    async def heard(self, dial_id: str) -> HeardLeg | None:
        """Return the carrier's reports of a dial; `None` if there are none."""
        said = await self._ask(dial_id=dial_id, call_ref="")
        return joined(HeardLeg(**item["heard"]) for item in said if item["heard"])

    async def charged(self, call_ref: str) -> float | None:
        """Return the reported cost of a call; `None` if none was reported."""
        said = await self._ask(dial_id="", call_ref=call_ref)
        return next((item["cost"] for item in said if item["cost"] is not None), None)

    def forget(self, dial_id: str) -> None:
        """Forget a dial, except for its cost."""
        self.refs.pop(dial_id, None)
        self._heard.pop(dial_id, None)

    async def _ask(self, **asked: str) -> list[Mapping[str, Any]]:
        if self._pool is None:
            return [await self._answer(asked)]
        return [peer for peer in await self._pool.peers.ask_all(CARRIER_QUESTION, **asked) if peer]

    async def _answer(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        heard = self._heard.get(asked["dial_id"])
        return {
            "heard": asdict(heard) if heard else None,
            "cost": self._charged.get(asked["call_ref"]),
        }


QUESTION: Final = "campaign call"


class CallLedger:
    """A listener that keeps what concerns placed calls.

    The process that runs a call judges it; the dialler asks all processes.
    """

    def __init__(self) -> None:
        self._calls: dict[str, CallState] = {}  # by the dial's id
        self._dial_of: dict[str, str] = {}  # by the call's id
        self._news: dict[str, asyncio.Event] = {}
        self.book = CarrierReports()
        self._pool: WorkerPool | None = None

    def join(self, pool: WorkerPool) -> None:
        """Answer the questions of other processes."""
        self._pool = pool
        self.book.join(pool)
        pool.peers.answer(QUESTION, self._answer)

    async def hear(self, entry: Entry) -> None:
        """Take one entry."""
        if told_of := self.book.note(entry.event):
            self._wake(told_of)
            return
        match entry.event:
            case OutboundCallBegan(dial_id=dial_id):
                self._make_room()
                self._calls[dial_id] = CallState(entry.call_id)
                self._dial_of[entry.call_id] = dial_id
            case event if dial_id := self._dial_of.get(entry.call_id):
                if call := self._calls.get(dial_id):  # none if its dial was settled before
                    call.add(event)
                if isinstance(event, CallEnded | CallMoved):
                    del self._dial_of[entry.call_id]
                    self._wake(dial_id)
            case _:
                pass

    async def verdict(self, dial_id: str) -> CallVerdict | None:
        """Return our verdict on a call in any process; `None` if there was no call."""
        if self._pool is None:
            return self._own(dial_id)
        said = await self._pool.peers.ask_all(QUESTION, dial_id=dial_id)
        found = [CallVerdict(**answer) for answer in said if answer]
        return max(found, key=lambda verdict: verdict.over) if found else None

    async def wait(self, dial_id: str, within_s: float) -> None:
        """Return at the next news of a dial, or after `within_s`."""
        news = self._news.setdefault(dial_id, asyncio.Event())
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await news.wait()
        news.clear()

    def wake_all(self) -> None:
        """Let everything that waits for news of a dial check at once."""
        for news in self._news.values():
            news.set()

    def forget(self, dial_id: str) -> None:
        """Forget a dial."""
        self._calls.pop(dial_id, None)
        self._news.pop(dial_id, None)
        self.book.forget(dial_id)

    def _own(self, dial_id: str) -> CallVerdict | None:
        call = self._calls.get(dial_id)
        return judge_call(call) if call else None

    async def _answer(self, asked: Mapping[str, Any]) -> Mapping[str, Any] | None:
        verdict = self._own(asked["dial_id"])
        return asdict(verdict) if verdict else None

    def _wake(self, dial_id: str) -> None:
        if news := self._news.get(dial_id):
            news.set()

    def _make_room(self) -> None:
        running = set(self._dial_of.values())
        ended = [dial_id for dial_id in self._calls if dial_id not in running]
        for dial_id in ended[: max(0, len(self._calls) - MAX_REMEMBERED)]:
            self.forget(dial_id)
