"""The calls that run on browsers, and how a page that lost its line takes its own up again."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from bot.call.call import LINE_LOST, Call, watch_leg
from bot.server.parked import Parked, ParkedCall
from bot.workers.pool import NoSeat, WorkerPool, take_seat
from bot.workers.process import Process
from calls.events import CallRefused
from transports.webrtc.connection import BrowserConnection
from transports.webrtc.leg import WebrtcLeg

# For the call of a page that has come back to end; another process waits 2 s.
TAKE_UP_S: Final = 1.8
BUSY: Final = "All our lines are busy. Please call again in a few minutes."


@dataclass(slots=True)
class _Running:
    call: Call
    parked: ParkedCall
    over: asyncio.Event


class BrowserCalls:
    """Those of this process, by the token with which a page takes one up again.

    Attributes:
        pool: Gives the seats.
    """

    def __init__(
        self, process: Process, tasks: asyncio.TaskGroup, parked: Parked, pool: WorkerPool
    ) -> None:
        """Begin with none."""
        self.pool = pool
        self._process = process
        self._tasks = tasks
        self._parked = parked
        self._tell = process.switchboard.tell
        self._running: dict[str, _Running] = {}

    def runs(self, token: str) -> bool:
        """Say whether the call of a token is believed to run here."""
        return token in self._running

    async def end(self, asked: Mapping[str, Any]) -> bool:
        """End the call here of a page that has come back, wherever it came in; say if it was here.

        A page may come back before we have noticed that its line was lost. A call that takes long
        to end, as one does whose provider has fallen silent, gives its conversation up before.
        """
        token = str(asked["token"])
        running = self._running.get(token)
        if running is None:
            return False
        await running.call.cancel(LINE_LOST)
        with suppress(TimeoutError):
            async with asyncio.timeout(TAKE_UP_S):
                await running.over.wait()
        await self._give_up(token, running)
        return True

    async def run(self, connection: BrowserConnection, resumed: str) -> None:
        """Run the call of a page that has connected; `resumed` is a lost one's token."""
        parked = await self._take_up(resumed)
        admitted = await self.pool.admit()
        if isinstance(admitted, NoSeat):
            self._tell(CallRefused(transport="webrtc", reason=admitted.reason))
            if parked and parked.state:
                await parked.keep(parked.state)
            await connection.part({"type": "refused", "detail": BUSY})
            return
        # The page may be lost once more before it has heard of a new token: it has this one.
        if parked is None:
            resumed = self._parked.token()
        with take_seat(self.pool, admitted.seat):
            await self._converse(connection, parked or self._parked.place(resumed), resumed)

    async def _converse(
        self, connection: BrowserConnection, parked: ParkedCall, token: str
    ) -> None:
        leg = WebrtcLeg(connection)
        leg.parked = parked
        call = self._process.call(leg)
        remembers = parked.state is not None
        about = {"call_id": call.call_id, "resume_token": token, "remembers": remembers}
        leg.greet_with({"type": "call", **about})
        leg.part_with(lambda: {"type": "ended", "reason": call.reason})
        self._running[token] = running = _Running(call, parked, asyncio.Event())
        watch = self._tasks.create_task(watch_leg(leg, call), name="watch the browser")
        try:
            await self._process.switchboard.answer(leg, call)
        finally:
            watch.cancel()
            try:
                await self._give_up(token, running)
            finally:
                running.over.set()

    async def _give_up(self, token: str, running: _Running) -> None:
        """Forget a call, once, and keep its conversation if its line was lost."""
        if self._running.get(token) is not running:
            return  # the page has it, and may have a call by the same token again
        del self._running[token]
        if running.call.reason == LINE_LOST:
            await running.parked.keep(running.call.resume_state().over())

    async def _take_up(self, token: str) -> ParkedCall | None:
        """Return the call that a token stands for, if there is one; where it still runs it ends."""
        if not token:
            return None
        await self.pool.peers.ask_all("take_up", token=token)
        parked = await self._parked.take(token)
        return parked if parked.state else None
