"""Puts a person's number on the do-not-call list: by a tool of the model, or by the person's words.

Rules: the model decides first, with its tool. If it has answered a turn without using the tool, or
no model can answer, the person's words count if they are unmistakable. A request is confirmed only
once the number is listed, and can be taken back in the same call. A number that was listed before
the call stays listed.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol

from loguru import logger

from bot.tools.opt_out_rules import wants_calls_after_all, wants_no_calls
from bot.tools.toolbox import Tool, ToolFailed
from calls.caller import is_dialable
from calls.entry import Emit
from calls.events import Event, TranscriptFinal, TurnDecided, TurnEnded
from calls.operations_events import (
    DoNotCallDropped,
    DoNotCallListed,
    DoNotCallOwed,
    DoNotCallTakenBack,
    DoNotCallWanted,
)
from campaigns.store.owed_numbers import OwedNumber, OwedNumbers
from fallbacks.events import StageExhausted
from operations.database.database import StorageError
from operations.database.tables import CONTACT_NUMBER_LENGTH
from operations.keep_running import at_work, keep_running
from processors.holding.utterance_rules import Situation

ANSWER_S: Final = 10.0  # a database that takes longer counts as unreachable (chosen)
FIRST_WAIT_S: Final = 1.0  # before the second attempt; doubles with each attempt
MAX_WAIT_S: Final = 15.0  # chosen: a dialler may recover before the next attempt, and call
DISK_S: Final = 2.0  # a disk that takes longer counts as hanging (chosen)
CHECK_EVERY_S: Final = 60.0  # for numbers that other processes have left (chosen)
CLOSE_S: Final = 3.0  # how long a process that ends waits for pending numbers (chosen)
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

    def __init__(self, numbers: DoNotCallList, kept: OwedNumbers, *, emit: Emit) -> None:
        """Use the list `numbers`, and keep pending numbers on disk in `kept`."""
        self._numbers = numbers
        self._kept = kept
        self._emit = emit
        self._pending: dict[asyncio.Task[None], _PendingNumber] = {}  # the oldest first

    def begin(self, owed: OwedNumber, *, on_disk: bool = False) -> "asyncio.Task[None]":
        """Begin to list a number; the returned task is done once that is committed.

        The task belongs to this object: do not cancel it.
        """
        pending = _PendingNumber(owed, on_disk=on_disk)
        # Owned by this object, which cancels and awaits it: see `close`.
        task = asyncio.get_running_loop().create_task(self._list(pending), name="do not call")
        self._pending[task] = pending
        task.add_done_callback(lambda done: self._pending.pop(done, None))
        if len(self._pending) > MAX_OWED:
            oldest = next(iter(self._pending))
            self._give_up(oldest, self._pending.pop(oldest), reason="too_many")
        return task

    async def take_back(self, owed: OwedNumber, listing: "asyncio.Task[None]") -> bool:
        """Cancel a listing and remove what it has listed; return False if the database fails."""
        pending = self._pending.get(listing)
        listing.cancel()
        await asyncio.wait({listing})
        if pending is not None:
            await self._delete_from_disk(pending)
        try:
            async with asyncio.timeout(ANSWER_S):
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
            await asyncio.sleep(CHECK_EVERY_S)

    async def close(self) -> None:
        """Wait briefly for pending numbers; leave the rest on disk, and emit an event for each."""
        if self._pending:
            await asyncio.wait(self._pending, timeout=CLOSE_S)
        left = dict(self._pending)
        await asyncio.gather(*(self._write_to_disk(pending) for pending in left.values()))
        for task, pending in left.items():
            self._give_up(task, pending, reason="process_ended")
        await asyncio.gather(*left, return_exceptions=True)

    async def _begin_left_numbers(self) -> None:
        """Begin to list the numbers that other processes have left, as far as there is room."""
        own = {pending.owed.call_id for pending in self._pending.values()}
        left = await asyncio.to_thread(self._kept.left, besides=own, most=MAX_OWED - len(own))
        for item in left:
            self.begin(item, on_disk=True)

    async def _list(self, pending: _PendingNumber) -> None:
        """Retry until the number is listed, and keep it on disk meanwhile."""
        wait_s = FIRST_WAIT_S
        while not await self._add_to_list(pending):
            await self._write_to_disk(pending)
            await asyncio.sleep(wait_s)
            wait_s = min(MAX_WAIT_S, 2 * wait_s)
        if pending.on_disk:
            await self._delete_from_disk(pending)
        if pending.on_disk or pending.tries > 1:
            self._emit(DoNotCallListed(call_id=pending.owed.call_id, tries=pending.tries))

    async def _add_to_list(self, pending: _PendingNumber) -> bool:
        owed = pending.owed
        pending.tries += 1
        try:
            async with asyncio.timeout(ANSWER_S):
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

    async def _delete_from_disk(self, pending: _PendingNumber) -> None:
        try:
            async with asyncio.timeout(DISK_S):
                await asyncio.to_thread(self._kept.drop, pending.owed)
        except (OSError, TimeoutError) as error:  # the next check lists it again, which is harmless
            logger.error("a listed number could not be deleted from disk: {!r}", error)

    def _give_up(self, task: "asyncio.Task[None]", pending: _PendingNumber, *, reason: str) -> None:
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


KEPT_S: Final = 3.0  # how long the person waits for the confirmation, and the call at its end
MAX_FINALS: Final = 50  # transcripts of a turn; a longer turn is not a plain request (chosen)
MAX_WORDS: Final = 300  # characters of an entry's words (chosen)
LISTED: Final = (
    "The number is on the do-not-call list. Tell the caller that they will not be called again, "
    "and that they can take this back now. If they do not, say goodbye."
)
TAKEN_BACK: Final = "The number is off the list again. Tell the caller that they may be called."
NOT_LISTED_HERE: Final = (
    "Nothing was listed in this call. If the number is on the list from before, only the staff can "
    "take it off. Tell the caller so."
)
NOT_TAKEN_BACK: Final = (
    "The number could not be taken off the list now. Tell the caller that the staff must do it."
)
NOT_LISTED: Final = (
    "The number could not be put on the list yet; it is being tried again. Tell the caller that "
    "you have not been able to note it yet, and that you go on trying."
)
NO_NUMBER: Final = "This caller's number is not known. Ask them for the number, for the staff."


class DoNotCallRequests:
    """The opt-out of one call. `close` it with the call; `OptOuts` continues what is pending."""

    def __init__(
        self,
        opt_outs: OptOuts,
        number: str,
        *,
        call_id: str,
        turn: Callable[[], int],
        emit: Emit,
        utc_s: Callable[[], float],
        say: Callable[[Situation], Awaitable[None]],
        dial_id: str = "",
        also: str = "",
        stored: Callable[[str], str] = str,
    ) -> None:
        """Create the opt-out, which lists `number`, `also` and the dial's number on request.

        `say` speaks a prepared sentence, for requests that no model has confirmed. `stored` returns
        words of the call as they may be stored.
        """
        self._opt_outs = opt_outs
        self._call_id = call_id
        listable = is_dialable(number) and len(number) <= CONTACT_NUMBER_LENGTH
        self._number = number if listable else ""
        self._turn = turn
        self._emit = emit
        self._utc_s = utc_s
        self._say = say
        self._stored = stored
        self._dial_id = dial_id
        self._also = also
        self._owed: OwedNumber | None = None  # what `_listing` lists
        self._listing: asyncio.Task[None] | None = None  # owned by `OptOuts`, which continues it
        self._request = (0, "")  # its turn, and how it was recognised: by `words` or by the `model`
        self._saying: asyncio.Task[None] | None = None
        self._finals: list[str] = []  # of the turn in progress
        self._words = ""  # of the latest decided turn, as they may be stored
        self._unjudged: int | None = None  # the turn whose words count unless the model decides
        self._over = False

    def notice(self, event: Event) -> None:
        """Follow what the person says, and judge the words of each turn.

        They are judged after the model could use its tools: when the turn has ended, when the next
        one has been decided, or when no model can answer.
        """
        match event:
            case TranscriptFinal():
                self._finals = [*self._finals, event.text][-MAX_FINALS:]
            case TurnDecided():
                self._judge_words()  # of the previous turn, if that got no answer
                words, self._finals = " ".join(self._finals), []
                self._words = self._stored(words)
                asks = wants_calls_after_all if self._listing else wants_no_calls
                self._unjudged = event.turn if self._number and asks(words) else None
            case StageExhausted(stage="llm"):
                self._judge_words()
            case TurnEnded() if self._unjudged is not None and event.turn >= self._unjudged:
                self._judge_words()
            case _:
                pass

    def tool(self) -> Tool:
        """Return the model's tool to put the number on the list."""

        async def run(arguments: Mapping[str, Any]) -> str:
            del arguments
            if not self._number:
                raise ToolFailed(NO_NUMBER)
            self._unjudged = None
            done, _ = await asyncio.wait({self._begin("model")}, timeout=KEPT_S)
            if not done:
                raise ToolFailed(NOT_LISTED)
            return LISTED

        return Tool(
            name="never_call_again",
            description=(
                "Put the person you talk with on the do-not-call list. Use it at once when they "
                "ask, in any words, not to be called again or to be taken off your list. Not for a "
                "time when they cannot talk, and not for other people."
            ),
            parameters={"type": "object", "properties": {}, "required": []},
            run=run,
        )

    def undo_tool(self) -> Tool:
        """Return the model's tool to take the number off the list again.

        It is a separate tool: an argument of the other one might be set by mistake.
        """

        async def run(arguments: Mapping[str, Any]) -> str:
            del arguments
            self._unjudged = None
            return await self._take_back("model")

        return Tool(
            name="allow_calls",
            description=(
                "Take the person off the do-not-call list again. Only if they were put on it in "
                "this call, and say that they did not mean that."
            ),
            parameters={"type": "object", "properties": {}, "required": []},
            run=run,
        )

    async def close(self) -> None:
        """Wait briefly for a pending number; emit an event if it is not listed by then.

        Words that no turn contains count as well: the person may have hung up after them.
        """
        words, self._finals = " ".join(self._finals), []
        if self._listing is None and self._number and wants_no_calls(words):
            self._words, self._unjudged = self._stored(words), self._turn()
        self._judge_words()
        pending = {task for task in (self._listing, self._saying) if task}
        try:
            if pending:
                await asyncio.wait(pending, timeout=KEPT_S)
        finally:
            self._over = True
            if self._saying:
                self._saying.cancel()
            if self._listing and not self._listing.done():
                turn, by = self._request
                self._emit(DoNotCallOwed(turn=turn, by=by))

    def _judge_words(self) -> None:
        """Act on an unmistakable turn in which the model has not used its tool, if there is one."""
        if self._unjudged is None:
            return
        self._unjudged = None
        takes_back = self._listing is not None
        if not takes_back:
            self._begin("words")
        if self._saying:
            self._saying.cancel()
        # Owned by this object, which cancels it: see `close`.
        self._saying = asyncio.get_running_loop().create_task(
            self._confirm(takes_back=takes_back), name="confirm an opt-out"
        )

    async def _confirm(self, *, takes_back: bool) -> None:
        """Take the number off if `takes_back`; say what was done once it is committed."""
        if takes_back:
            with suppress(ToolFailed):
                await self._take_back("words")
                await self._say(Situation.CALLED_AGAIN)
        elif self._listing is not None:
            await asyncio.wait({self._listing})
            await self._say(Situation.NOT_CALLED)

    async def _take_back(self, by: str) -> str:
        """Take the number off the list and return the result for the model.

        Raises:
            ToolFailed: Nothing was listed in this call, or the database fails.
        """
        listing, owed = self._listing, self._owed
        if listing is None or owed is None:
            raise ToolFailed(NOT_LISTED_HERE)
        if not await self._opt_outs.take_back(owed, listing):
            raise ToolFailed(NOT_TAKEN_BACK)
        self._listing = self._owed = None
        self._emit(DoNotCallTakenBack(turn=self._turn(), by=by))
        return TAKEN_BACK

    def _begin(self, by: str) -> "asyncio.Task[None]":
        """Return the task that lists the number; begin it unless there is one."""
        if self._listing is None:
            self._request = (self._turn(), by)
            words = self._words or self._stored(" ".join(self._finals))
            self._owed = OwedNumber(
                call_id=self._call_id,
                number=self._number,
                source=f"voice: {by}",
                asked_s=self._utc_s(),
                dial_id=self._dial_id,
                also=self._also,
                words=words[-MAX_WORDS:],
            )
            self._listing = self._opt_outs.begin(self._owed)
            self._listing.add_done_callback(self._emit_listed)
        return self._listing

    def _emit_listed(self, listing: "asyncio.Task[None]") -> None:
        if not self._over and not listing.cancelled():
            turn, by = self._request
            self._emit(DoNotCallWanted(turn=turn, by=by))
