"""Calls from browsers; a page that has lost its connection can resume its call."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from bot.call.call import LINE_LOST, Call, watch_leg
from bot.workers.pool import WorkerPool
from bot.workers.process import Process
from calls.events import CallRefused
from runtime import clock
from transports.parked import Parked, ParkedCall
from transports.pool import SEAT_S, HeldSeat, NoSeat, seat_for, take_seat
from transports.webrtc.connection import BrowserConnection
from transports.webrtc.leg import WebrtcLeg

# How long the old call of a returning page may take to end; the process that asks waits 2 s.
END_OLD_CALL_S: Final = 1.8
BUSY: Final = "All our lines are busy. Please call again in a few minutes."
CROWDED: Final = "There are too many calls from your network. Please end one of them first."


@dataclass(slots=True)
class _RunningCall:
    call: Call
    parked: ParkedCall
    ended: asyncio.Event


class BrowserCalls:
    """The browser calls of this process, each with the token that resumes it.

    Attributes:
        pool: Admits the calls.
    """

    def __init__(
        self, process: Process, tasks: asyncio.TaskGroup, parked: Parked, pool: WorkerPool
    ) -> None:
        self.pool = pool
        self._process = process
        self._tasks = tasks
        self._parked = parked
        self._emit = process.switchboard.emit
        self._running: dict[str, _RunningCall] = {}

    def is_running(self, token: str) -> bool:
        """Return whether this process runs the call with this resume token."""
        return token in self._running

    async def is_lost(self, token: str) -> bool:
        """Return whether a page can resume a call with this token, as far as the store answers."""
        return bool(token) and await self._parked.holds(token)

    async def seat(self, token: str, *, public: str) -> HeldSeat | NoSeat:
        """Reserve a seat; a lost call waits up to `SEAT_S`, and gets one before new calls do.

        A lost call that asks again gets the same seat.
        """
        is_lost = await self.is_lost(token)
        call, within_s = (token, SEAT_S) if is_lost else ("", 0.0)
        return await seat_for(call, self.pool, clock.monotonic, within_s=within_s, address=public)

    async def end(self, message: Mapping[str, Any]) -> bool:
        """End the old call of a page that has come back; return whether it ran in this process.

        A page may come back before we notice that its connection was lost. If the old call has not
        ended after `END_OLD_CALL_S`, its conversation is stored for the new call anyway.
        """
        token = str(message["token"])
        running = self._running.get(token)
        if running is None:
            return False
        await running.call.cancel(LINE_LOST)
        with suppress(TimeoutError):
            async with asyncio.timeout(END_OLD_CALL_S):
                await running.ended.wait()
        await self._give_up(token, running)
        return True

    async def run(self, connection: BrowserConnection, resumed: str, *, public: str = "") -> None:
        """Run the call of a connected page, or tell the page that no seat is free.

        Args:
            connection: The page's connection.
            resumed: The resume token of its lost call; empty for a new call.
            public: The network of a caller who has not signed in; empty for an operator.
        """
        if resumed:  # a call that still runs ends first, so that its seat is free
            await self.pool.peers.ask_all("take_up", token=resumed)
        admitted = await self.seat(resumed, public=public)
        if isinstance(admitted, NoSeat):
            self._emit(CallRefused(transport="webrtc", reason=admitted.reason))
            detail = CROWDED if admitted.reason == "address_full" else BUSY
            await connection.send_last({"type": "refused", "detail": detail})
            return
        with take_seat(self.pool, admitted.seat):
            # A resumed call keeps its token: the connection may be lost again before the page has a
            # new one.
            parked = await self._parked.take(resumed) if resumed else None
            if parked is None or parked.state is None:
                resumed = self._parked.token()
                parked = self._parked.place(resumed)
            leg = WebrtcLeg(connection, public=bool(public))
            await self._run_call(leg, parked, resumed)

    async def _run_call(self, leg: WebrtcLeg, parked: ParkedCall, token: str) -> None:
        """Run a call to its end; keep its conversation if its connection was lost."""
        leg.parked = parked
        call = self._process.call(leg)
        remembers = parked.state is not None
        about = {"call_id": call.call_id, "resume_token": token, "remembers": remembers}
        leg.send_on_open({"type": "call", **about})
        leg.send_on_close(lambda: {"type": "ended", "reason": call.reason})
        self._running[token] = running = _RunningCall(call, parked, asyncio.Event())
        watch = self._tasks.create_task(watch_leg(leg, call), name="watch the browser")
        try:
            await self._process.switchboard.answer(leg, call)
        finally:
            watch.cancel()
            try:
                await self._give_up(token, running)
            finally:
                running.ended.set()
                self._process.switchboard.await_return(call, self._tasks)

    async def _give_up(self, token: str, running: _RunningCall) -> None:
        """Remove a call; store its conversation if its connection was lost. Does both only once."""
        if self._running.get(token) is not running:
            return  # already removed; a new call may have the same token
        del self._running[token]
        if running.call.reason == LINE_LOST:
            await running.parked.keep(running.call.resume_state(), last=True)
