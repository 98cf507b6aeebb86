"""Puts a caller on the do-not-call list before they are told so: a tool, and its fallback.

The tool is the model's. What the caller says is listened to as well, for a model that is down or
does not understand: the list is what counts, and being on it twice is being on it once.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

from bot.tools.opt_out_rules import wants_no_calls
from bot.tools.opt_outs import OptOuts
from bot.tools.toolbox import Tool, ToolFailed
from calls.caller_number import is_dialable
from calls.crm_events import DoNotCallOwed, DoNotCallWanted
from calls.entry import Tell
from calls.events import Event, TranscriptFinal
from campaigns.store.owed_numbers import OwedNumber
from operations.database.campaign_tables import NUMBER_LENGTH

KEPT_S: Final = 3.0  # how long a caller waits to hear that it is done, and an ending call for it
LISTED: Final = (
    "The number is on the do-not-call list. Tell the caller that they will not be called again, "
    "and say goodbye."
)
NOT_LISTED: Final = (
    "The number could not be put on the list yet; it is being tried again. Tell the caller that "
    "you have not been able to note it yet, and that you go on trying."
)
NO_NUMBER: Final = "This caller's number is not known. Ask them for the number, for the staff."


class DoNotCallDesk:
    """One for each call. `close` it with the call: whatever is not done then goes on without it."""

    def __init__(  # noqa: PLR0913 - whose number it is and who is told, each by its name
        self,
        opt_outs: OptOuts,
        number: str,
        *,
        call_id: str,
        turn: Callable[[], int],
        tell: Tell,
        utc_s: Callable[[], float],
        dial_id: str = "",
    ) -> None:
        """Put `number` on the list, and whom the dial called, once its owner asks for it."""
        self._opt_outs = opt_outs
        self._call_id = call_id
        listable = is_dialable(number) and len(number) <= NUMBER_LENGTH
        self._number = number if listable else ""
        self._turn = turn
        self._tell = tell
        self._utc_s = utc_s
        self._dial_id = dial_id
        self._listing: asyncio.Task[None] | None = None  # of the process, which goes on with it
        self._asked = (0, "")  # in which turn, and by whom
        self._over = False

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
        """Wait a little for a number that is being listed; tell of one that is not yet."""
        if self._listing is None:
            return
        try:
            await asyncio.wait({self._listing}, timeout=KEPT_S)
        finally:
            self._over = True
            if not self._listing.done():
                turn, by = self._asked
                self._tell(DoNotCallOwed(turn=turn, by=by))

    def _begin(self, by: str) -> "asyncio.Task[None]":
        if self._listing is None:
            self._asked = (self._turn(), by)
            owed = OwedNumber(
                call_id=self._call_id,
                number=self._number,
                source=f"voice: {by}",
                asked_s=self._utc_s(),
                dial_id=self._dial_id,
            )
            self._listing = self._opt_outs.begin(owed)
            self._listing.add_done_callback(self._tell_listed)
        return self._listing

    def _tell_listed(self, listing: "asyncio.Task[None]") -> None:
        if not self._over and not listing.cancelled():
            turn, by = self._asked
            self._tell(DoNotCallWanted(turn=turn, by=by))
