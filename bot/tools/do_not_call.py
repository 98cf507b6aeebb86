"""Puts a caller on the do-not-call list before they are told so: a tool, and its fallback.

The tool is the model's. What the caller says is listened to as well, for a model that is down or
does not understand: the list is what counts, and being on it twice is being on it once.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from loguru import logger

from bot.tools.toolbox import Tool, ToolFailed
from calls.crm_events import DoNotCallWanted
from calls.entry import Tell
from calls.events import Event, TranscriptFinal
from calls.opt_out import wants_no_calls
from storage.database import StorageError

KEPT_S: Final = 3.0  # how long a caller waits to hear that it is done
AGAIN_S: Final = 1.0  # before a database that failed is asked again
DIGITS: Final = 5  # a number with fewer is none that could be called
LISTED: Final = (
    "The number is on the do-not-call list. Tell the caller that they will not be called again, "
    "and say goodbye."
)
NOT_LISTED: Final = (
    "The number could not be put on the list yet; it is being tried again. Tell the caller that "
    "you have not been able to note it yet, and that you go on trying."
)
NO_NUMBER: Final = "This caller's number is not known. Ask them for the number, for the staff."


class DoNotCallList(Protocol):
    """Where numbers stand that are not to be called."""

    async def add_do_not_call(
        self, number: str, *, source: str, now: float, dial_id: str = ""
    ) -> bool:
        """Put a number on it, and that of a campaign's dial; when it returns, that is committed.

        Raises:
            StorageError: It could not be.
        """
        ...


class DoNotCallDesk:
    """One for each call. `close` it with the call, which waits until the number is listed."""

    def __init__(
        self,
        numbers: DoNotCallList,
        number: str,
        *,
        turn: Callable[[], int],
        tell: Tell,
        utc_s: Callable[[], float],
        dial_id: str = "",
    ) -> None:
        """Put `number` on the list, and whom the dial called, once its owner asks for it."""
        self._numbers = numbers
        self._number = number if sum(map(str.isdigit, number)) >= DIGITS else ""
        self._turn = turn
        self._tell = tell
        self._utc_s = utc_s
        self._dial_id = dial_id
        self._listing: asyncio.Task[None] | None = None

    def hear(self, event: Event) -> None:
        """Listen to what the caller says."""
        if isinstance(event, TranscriptFinal) and self._number and wants_no_calls(event.text):
            self._begin("words")

    def tool(self) -> Tool:
        """Return the model's tool."""

        async def run(arguments: Mapping[str, Any]) -> str:
            del arguments
            if not self._number:
                raise ToolFailed(NO_NUMBER)
            done, _ = await asyncio.wait({self._begin("model")}, timeout=KEPT_S)
            if not done:
                raise ToolFailed(NOT_LISTED)
            return LISTED

        return Tool(
            name="never_call_again",
            description=(
                "Put the person you talk with on the do-not-call list. Use it at once when they "
                "ask not to be called again, or to be taken off a list."
            ),
            parameters={"type": "object", "properties": {}, "required": []},
            run=run,
        )

    async def close(self) -> None:
        """Wait until the number is listed, if it is to be; the call bounds the wait."""
        if self._listing is not None:
            try:
                await self._listing
            finally:
                self._listing.cancel()

    def _begin(self, by: str) -> "asyncio.Task[None]":
        if self._listing is None:
            work = self._list(by, turn=self._turn())
            # Owned by this object, which awaits it: see `close`.
            self._listing = asyncio.get_running_loop().create_task(work, name="do not call")
        return self._listing

    async def _list(self, by: str, *, turn: int) -> None:
        while True:
            try:
                await self._numbers.add_do_not_call(
                    self._number,
                    source=f"voice: {by}",
                    now=self._utc_s(),
                    dial_id=self._dial_id,
                )
            except StorageError as error:
                logger.error("a number is not on the do-not-call list yet: {}", error)
                await asyncio.sleep(AGAIN_S)
            else:
                self._tell(DoNotCallWanted(turn=turn, by=by))
                return
