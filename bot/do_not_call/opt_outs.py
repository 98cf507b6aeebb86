"""Puts numbers on the do-not-call list, and retries until that succeeds."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol

from loguru import logger

from bot.do_not_call.owed_numbers import OwedNumber, OwedNumbers
from bot.do_not_call.question import OptOutQuestion
from calls.entry import Emit
from calls.operations_events import (
    DoNotCallDropped,
    DoNotCallListed,
)
from operations.database.database import StorageError
from operations.keep_running import at_work, keep_running

LIST_ANSWER_S: Final = 10.0  # a database that takes longer counts as unreachable (chosen)
FIRST_WAIT_S: Final = 1.0  # before the second attempt; doubles with each attempt
MAX_WAIT_S: Final = 15.0  # chosen: a dialler may recover before the next attempt, and call
DISK_S: Final = 2.0  # a disk that takes longer counts as hanging (chosen)
LEFT_NUMBERS_CHECK_S: Final = 60.0  # for numbers that other processes have left (chosen)
LIST_AT_END_S: Final = 3.0  # how long a process that ends waits for pending numbers (chosen)
MAX_OWED: Final = 1000  # pending numbers (chosen); one more drops the oldest, with an event


class DoNotCallList(Protocol):
    """The list of numbers that must not be called."""

    async def add_do_not_call(
        self,
        number: str,
        *,
        source: str,
        now: float,
        dial_id: str = "",
        also: str = "",
        words: str = "",
    ) -> bool:
        """Add a number, its other reading and a dial's number, if given; committed on return.

        Returns False if all of them were listed before.

        Raises:
            StorageError: They could not be added.
        """
        ...

    async def remove_do_not_call(
        self, number: str, *, dial_id: str = "", also: str = "", added_s: float | None = None
    ) -> int:
        """Remove the entries of these numbers, and return how many there were.

        `added_s` limits this to the entries of one `add_do_not_call`, by its `now`.

        Raises:
            StorageError: They could not be removed.
        """
        ...


@dataclass(slots=True)
class _PendingNumber:
    owed: OwedNumber
    on_disk: bool = False
    tries: int = 0


class OptOuts:
    """Puts numbers on the list, and retries until that succeeds. `close` it after the calls.

    The process does this, not the call, because a database outage may outlast the call. A number
    that cannot be listed at once is also written to disk, so that other processes can list it if
    this one ends.
    """

    def __init__(
        self,
        numbers: DoNotCallList,
        kept: OwedNumbers,
        *,
        emit: Emit,
        question: OptOutQuestion | None = None,
    ) -> None:
        """Use the list `numbers`, and keep pending numbers on disk in `kept`.

        `question` asks a model about the words of a person, in each call.
        """
        self.question = question
        self._numbers = numbers
        self._kept = kept
        self._emit = emit
        self._pending: dict[asyncio.Task[None], _PendingNumber] = {}  # the oldest first

    def start_listing(
        self,
        owed: OwedNumber,
        *,
        on_disk: bool = False,
        after: "asyncio.Task[Any] | None" = None,
    ) -> "asyncio.Task[None]":
        """Begin to list a number; the returned task is done once that is committed.

        The task belongs to this object: do not cancel it. Beyond `MAX_OWED` pending numbers, the
        oldest is dropped, with an event, and its task is cancelled.

        Args:
            owed: The number.
            on_disk: Whether it was read from disk.
            after: A `take_back` of the same number, which must end first.
        """
        pending = _PendingNumber(owed, on_disk=on_disk)
        listing = self._list_until_stored(pending, after=after)
        # Owned by this object, which cancels and awaits it: see `close`.
        task = asyncio.get_running_loop().create_task(listing, name="do not call")
        self._pending[task] = pending
        task.add_done_callback(lambda done: self._pending.pop(done, None))
        if len(self._pending) > MAX_OWED:
            oldest = next(iter(self._pending))
            self._give_up(oldest, self._pending.pop(oldest), reason="too_many")
        return task

    async def take_back(self, owed: OwedNumber, listing: "asyncio.Task[None]") -> bool:
        """Cancel a listing and remove what it has listed; return False if the database fails.

        The number is also deleted from disk, so that no other process lists it.
        A listing that was pending stays cancelled even then. So does that of an earlier part of a
        resumed call.
        """
        same = {task for task, pending in self._pending.items() if pending.owed == owed}
        for task in same | {listing}:
            task.cancel()
        await asyncio.wait(same | {listing})
        await self._delete_from_disk(owed)
        try:
            async with asyncio.timeout(LIST_ANSWER_S):
                await self._numbers.remove_do_not_call(
                    owed.number, dial_id=owed.dial_id, also=owed.also, added_s=owed.asked_s
                )
        except (StorageError, TimeoutError) as error:
            logger.error("a number could not be taken off the do-not-call list: {!r}", error)
            return False
        return True

    async def take_over_left_numbers(self) -> None:
        """Take over the numbers that other processes have left, until cancelled."""
        while True:
            await self._begin_left_numbers()
            await asyncio.sleep(LEFT_NUMBERS_CHECK_S)

    async def close(self) -> None:
        """Wait briefly for pending numbers; leave the rest on disk, and emit an event for each."""
        if self._pending:
            await asyncio.wait(self._pending, timeout=LIST_AT_END_S)
        left = dict(self._pending)
        await asyncio.gather(*(self._write_to_disk(pending) for pending in left.values()))
        for task, pending in left.items():
            self._give_up(task, pending, reason="process_ended")
        await asyncio.gather(*left, return_exceptions=True)

    async def _begin_left_numbers(self) -> None:
        """Begin to list the numbers that other processes have left, as far as there is room.

        Another process may still try to list or take back one of them: see `_list_until_stored`.
        """
        own = {pending.owed.call_id for pending in self._pending.values()}
        left = await asyncio.to_thread(self._kept.left, besides=own, most=MAX_OWED - len(own))
        for item in left:
            self.start_listing(item, on_disk=True)

    async def _list_until_stored(
        self, pending: _PendingNumber, *, after: "asyncio.Task[Any] | None" = None
    ) -> None:
        """Retry until the number is listed, and keep it on disk meanwhile.

        A number that was read from disk is listed only while it is there: the process that wrote it
        may have listed it, or taken it back.
        """
        if after:
            await asyncio.wait({after})
        was_on_disk, wait_s = pending.on_disk, FIRST_WAIT_S
        while True:
            if was_on_disk and not await self._is_on_disk(pending.owed):
                return
            if await self._add_to_list(pending):
                break
            await self._write_to_disk(pending)
            await asyncio.sleep(wait_s)
            wait_s = min(MAX_WAIT_S, 2 * wait_s)
        if pending.on_disk:
            await self._delete_from_disk(pending.owed)
        if pending.on_disk or pending.tries > 1:
            self._emit(DoNotCallListed(call_id=pending.owed.call_id, tries=pending.tries))

    async def _add_to_list(self, pending: _PendingNumber) -> bool:
        """Try once to list a number; return False if that fails, and log the first failure."""
        owed = pending.owed
        pending.tries += 1
        try:
            async with asyncio.timeout(LIST_ANSWER_S):
                await self._numbers.add_do_not_call(
                    owed.number,
                    source=owed.source,
                    now=owed.asked_s,
                    dial_id=owed.dial_id,
                    also=owed.also,
                    words=owed.words,
                )
        except Exception as error:  # noqa: BLE001 - a bug here must not lose an opt-out
            if pending.tries == 1:
                logger.error("a number is not on the do-not-call list yet: {!r}", error)
            return False
        return True

    async def _write_to_disk(self, pending: _PendingNumber) -> None:
        """Write a pending number to disk; a failed write is repeated after the next attempt."""
        if pending.on_disk:
            return
        try:
            async with asyncio.timeout(DISK_S):
                await asyncio.to_thread(self._kept.keep, pending.owed)
            pending.on_disk = True
        except (OSError, TimeoutError) as error:
            logger.error("the pending do-not-call number could not be written to disk: {!r}", error)

    async def _is_on_disk(self, owed: OwedNumber) -> bool:
        """Return whether a number is on disk, also if that cannot be found out."""
        try:
            async with asyncio.timeout(DISK_S):
                return await asyncio.to_thread(self._kept.has, owed)
        except (OSError, TimeoutError) as error:
            logger.error("cannot read whether a number is still pending: {!r}", error)
            return True

    async def _delete_from_disk(self, owed: OwedNumber) -> None:
        try:
            async with asyncio.timeout(DISK_S):
                await asyncio.to_thread(self._kept.drop, owed)
        except (OSError, TimeoutError) as error:  # the next check lists it again, which is harmless
            logger.error("a listed number could not be deleted from disk: {!r}", error)

    def _give_up(self, task: "asyncio.Task[None]", pending: _PendingNumber, *, reason: str) -> None:
        """Cancel a listing and emit `DoNotCallDropped`; from disk, another process may list it."""
        task.cancel()
        call_id, on_disk = pending.owed.call_id, pending.on_disk
        self._emit(DoNotCallDropped(call_id=call_id, reason=reason, on_disk=on_disk))


@asynccontextmanager
async def open_opt_outs(opt_outs: OptOuts) -> AsyncIterator[OptOuts]:
    """List numbers while the block runs, including those that other processes have left."""
    try:
        taking_over = keep_running("listing do-not-call numbers", opt_outs.take_over_left_numbers)
        async with at_work(looking=taking_over):
            yield opt_outs
    finally:
        await opt_outs.close()
