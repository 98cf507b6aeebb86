"""The seats of a process: how many calls it accepts, which are in progress, and how they end."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from loguru import logger

from calls.entry import Emit
from calls.events import CallRefused
from runtime.exits import CommandError
from transports.leg import Leg
from transports.pool import DRAINING, SwitchboardFullError

GOODBYE_S: Final = 8.0  # for the current sentence and two short ones after it
CHECK_QUIET_S: Final = 0.1  # between two checks whether a call is quiet
CUT_S: Final = 5.0  # for cancelled calls to end; a backstop, because a cancel has its own limit


TakeRoom = Callable[[], Awaitable[bool]]
"""Returns whether another machine has room for one call, which then counts as on its way there."""


class LostCall(Protocol):
    """A call whose line may have been lost."""

    call_id: str

    async def settle(self) -> None:
        """Wait until the call has been resumed or can no longer be resumed; emit how it ended."""
        ...


class RunningCall(Protocol):
    """A call in progress."""

    call_id: str

    async def run(self) -> None:
        """Run until the call has ended."""
        ...

    async def end(self, reason: str) -> None:
        """Say goodbye and end the call."""
        ...

    async def move(self, *, at_quiet: bool, take_room: TakeRoom) -> None:
        """Let another machine go on with the call, if possible; see `Call.move`."""
        ...

    async def cancel(self, reason: str) -> None:
        """End the call at once."""
        ...


class Switchboard:
    """Answers legs, each in its own call, up to a number of seats.

    Attributes:
        calls: The calls in progress, by id.
        ended: How many calls have ended.
    """

    def __init__(self, *, seats: int, make_call: Callable[[Leg], RunningCall], emit: Emit) -> None:
        """Begin without calls."""
        self._seats = seats
        self._make_call = make_call
        self._taken = 0
        self._closing = self._hurried = False
        self._on_closing: list[Callable[[], None]] = [self._stop_settling]
        self._waiting: asyncio.Timeout | None = None  # the timeout of the current wait in `close`
        self._empty = asyncio.Event()
        self._empty.set()
        self._lost: set[asyncio.Task[None]] = set()  # one for each call that may be resumed
        self.emit = emit
        self.calls: dict[str, RunningCall] = {}
        self.ended = 0

    @property
    def is_open(self) -> bool:
        """Whether a call could be taken now."""
        return not self._closing and self.free_seats > 0

    @property
    def free_seats(self) -> int:
        """The number of free seats."""
        return self._seats - self._taken

    @property
    def why_closed(self) -> str:
        """Why no call can be taken: `draining`, `full`, or empty."""
        if self._closing:
            return DRAINING
        return "" if self.is_open else "full"

    async def answer(self, leg: Leg, call: RunningCall | None = None) -> None:
        """Run `call`, or a new call, on `leg` until the call ends.

        Args:
            leg: The caller's leg.
            call: A call on that leg; `None` to make one.

        Raises:
            SwitchboardFullError: No seat is free, or the process is closing; `CallRefused` is
                emitted, and the leg is untouched.
        """
        if not self.is_open:
            self.emit(CallRefused(transport=leg.facts.transport, reason=self.why_closed))
            raise SwitchboardFullError(
                "All our lines are busy. Please call again in a few minutes."
            )
        self._taken += 1
        self._empty.clear()
        try:
            call = call or self._make_call(leg)
            self.calls[call.call_id] = call
            try:
                with logger.contextualize(call_id=call.call_id):  # also for log lines of libraries
                    await call.run()
            finally:
                # Otherwise a new call in this process has resumed it, under the same id.
                if self.calls.get(call.call_id) is call:
                    del self.calls[call.call_id]
        finally:
            self._taken -= 1
            self.ended += 1
            if not self._taken:
                self._empty.set()

    def await_return(self, call: LostCall, tasks: asyncio.TaskGroup) -> None:
        """Settle a call whose line was lost, in a task of `tasks`; see `LostCall.settle`.

        Does nothing while this process closes: another process may still resume the call, so the
        call stays open in the record.
        """
        if not self._closing:
            settling = tasks.create_task(call.settle(), name="the return of a call")
            self._lost.add(settling)
            settling.add_done_callback(self._lost.discard)

    def _stop_settling(self) -> None:
        for settling in tuple(self._lost):
            settling.cancel()

    def on_closing(self, closing: Callable[[], None]) -> None:
        """Register a function that `close` calls first, when no call is accepted any more.

        It must not raise.
        """
        self._on_closing.append(closing)

    async def close(self, *, drain_s: float, goodbye_s: float = GOODBYE_S) -> None:
        """Refuse new calls, let those in progress end, and end those that take too long.

        Args:
            drain_s: How long a call may continue.
            goodbye_s: How long the goodbyes may take after that, before the calls are cancelled; 0
                to cancel them without a goodbye.

        Raises:
            CommandError: A call did not end although it was cancelled.
        """
        self._closing = True
        for closing in self._on_closing:
            closing()
        if await self._emptied_within(drain_s):
            return
        if goodbye_s and not self._hurried:
            for call in tuple(self.calls.values()):
                await _log_failure(call, call.end("shutdown"))
            if await self._emptied_within(goodbye_s):
                return
        for call in tuple(self.calls.values()):
            await _log_failure(call, call.cancel("shutdown"))
        self._hurried = False  # otherwise the next wait would return at once
        if not await self._emptied_within(CUT_S):
            calls = "1 call" if self._taken == 1 else f"{self._taken} calls"
            raise CommandError(f"{calls} did not end although cut off")

    async def move_calls(
        self, may_move: Callable[[], bool], take_room: TakeRoom, *, within_s: float
    ) -> None:
        """Move each call to another machine, until cancelled; to be run with `close`.

        Args:
            may_move: Returns whether another machine can take a call now.
            take_room: Called before each move.
            within_s: After this time, calls are moved even if they are not quiet.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + within_s
        while True:
            for call in tuple(self.calls.values()):
                if may_move():
                    moving = call.move(at_quiet=loop.time() < until, take_room=take_room)
                    await _log_failure(call, moving)
            await asyncio.sleep(CHECK_QUIET_S)

    def hurry(self) -> None:
        """Make `close`, even if it is called later, cancel every call at once, in mid-word."""
        self._hurried = True
        if self._waiting:
            self._waiting.reschedule(asyncio.get_running_loop().time())

    async def _emptied_within(self, wait_s: float) -> bool:
        """Return whether all calls have ended within `wait_s`; once hurried, without waiting."""
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


async def _log_failure(call: RunningCall, step: Awaitable[None]) -> None:
    """Run a step for one call; its failure is logged and not raised, because other calls go on."""
    try:
        await step
    except Exception as broken:  # noqa: BLE001 - a bug in one call must end that call only
        logger.opt(exception=broken).error("call {}: ending it failed", call.call_id)
