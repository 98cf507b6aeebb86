"""Seats for calls: how many at once, which are in progress, and how they end."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from loguru import logger

from bot.exits import CommandError
from calls.entry import Tell
from calls.events import CallRefused
from transports.leg import Leg

GOODBYE_S: Final = 8.0  # what is being said may end, and then two short sentences are spoken
CUT_S: Final = 5.0  # a cancel is bounded itself; this bounds the bound


class SwitchboardFullError(Exception):
    """Every seat is taken, or we are closing; the text is a sentence for the caller."""


class RunningCall(Protocol):
    """A call in progress."""

    call_id: str

    async def run(self) -> None:
        """Run until the call has ended."""
        ...

    async def end(self, reason: str) -> None:
        """Have the call say goodbye and end."""
        ...

    async def cancel(self, reason: str) -> None:
        """End the call at once."""
        ...


class Switchboard:
    """Answers legs, each in its own call, up to a number of seats.

    Attributes:
        calls: Those in progress, by their ids.
        ended: How many there were before.
    """

    def __init__(self, *, seats: int, make_call: Callable[[Leg], RunningCall], tell: Tell) -> None:
        self._seats = seats
        self._make_call = make_call
        self._taken = 0
        self._closing = self._hurried = False
        self._on_closing: list[Callable[[], None]] = []
        self._waiting: asyncio.Timeout | None = None  # bounds what `close` waits for now
        self._empty = asyncio.Event()
        self._empty.set()
        self.tell = tell
        self.calls: dict[str, RunningCall] = {}
        self.ended = 0

    @property
    def open(self) -> bool:
        """Whether a call could be taken now."""
        return not self._closing and self.free > 0

    @property
    def free(self) -> int:
        """How many seats nobody has."""
        return self._seats - self._taken

    @property
    def why_closed(self) -> str:
        """The name of the reason why no call can be taken, or nothing."""
        if self._closing:
            return "draining"
        return "" if self.open else "full"

    async def answer(self, leg: Leg, call: RunningCall | None = None) -> None:
        """Run a call on `leg` until it ends: `call`, or a new one.

        Args:
            leg: Where the caller is.
            call: On that leg; None: one is made.

        Raises:
            SwitchboardFullError: No seat is free, or we are closing; the leg was not touched.
        """
        if not self.open:
            self.tell(CallRefused(transport=leg.facts.transport, reason=self.why_closed))
            raise SwitchboardFullError(
                "All our lines are busy. Please call again in a few minutes."
            )
        self._taken += 1
        self._empty.clear()
        try:
            call = call or self._make_call(leg)
            self.calls[call.call_id] = call
            try:
                with logger.contextualize(call_id=call.call_id):  # also what libraries log in it
                    await call.run()
            finally:
                if self.calls.get(call.call_id) is call:  # not one that took it up here again
                    del self.calls[call.call_id]
        finally:
            self._taken -= 1
            self.ended += 1
            if not self._taken:
                self._empty.set()

    def on_closing(self, closing: Callable[[], None]) -> None:
        """Have `closing` called when we begin to close: no call is taken from then on."""
        self._on_closing.append(closing)

    async def close(self, *, drain_s: float, goodbye_s: float = GOODBYE_S) -> None:
        """Refuse new calls, let those in progress end, and end those that go on too long.

        Args:
            drain_s: How long a call may go on.
            goodbye_s: How long a call may take to say goodbye after that; then it is cut.

        Raises:
            CommandError: A call did not end although it was cut.
        """
        self._closing = True
        for closing in self._on_closing:
            closing()
        if await self._emptied_within(drain_s):
            return
        if goodbye_s and not self._hurried:
            for call in tuple(self.calls.values()):
                await _surely(call, call.end("shutdown"))
            if await self._emptied_within(goodbye_s):
                return
        for call in tuple(self.calls.values()):
            await _surely(call, call.cancel("shutdown"))
        self._hurried = False  # what follows has its own bound
        if not await self._emptied_within(CUT_S):
            calls = "1 call" if self._taken == 1 else f"{self._taken} calls"
            raise CommandError(f"{calls} did not end although cut off")

    def hurry(self) -> None:
        """Have `close` wait for nobody any more: every call is cut, in mid-word if need be."""
        self._hurried = True
        if self._waiting:
            self._waiting.reschedule(asyncio.get_running_loop().time())

    async def _emptied_within(self, wait_s: float) -> bool:
        if self._hurried:
            return self._empty.is_set()
        try:
            async with asyncio.timeout(wait_s) as self._waiting:
                await self._empty.wait()
        except TimeoutError:
            return False
        finally:
            self._waiting = None
        return True


async def _surely(call: RunningCall, step: Awaitable[None]) -> None:
    """Run a step for one call; its failure must not keep the others from theirs."""
    try:
        await step
    except Exception as broken:  # noqa: BLE001 - one call's mistake ends that call alone
        logger.opt(exception=broken).error("call {} cannot be ended so", call.call_id)
