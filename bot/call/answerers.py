"""Brings a carrier's word on who picked up to the call that it is about."""

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from calls.entry import Entry
from calls.leg_events import AnswererJudged

TakeWord: TypeAlias = Callable[[str], Awaitable[None]]
"""Takes what a carrier says of who picked up, in the carrier's words."""


class CarrierWords:
    """A listener, told everything; calls that listen themselves leave word here."""

    def __init__(self) -> None:
        self._watching: dict[str, TakeWord] = {}

    def watch(self, call_ref: str, take: TakeWord) -> None:
        """Have a call told what its carrier finds out, until `forget`."""
        if call_ref:
            self._watching[call_ref] = take

    def forget(self, call_ref: str) -> None:
        """Tell the call nothing more."""
        self._watching.pop(call_ref, None)

    async def hear(self, entry: Entry) -> None:
        """Hand a verdict on."""
        event = entry.event
        if isinstance(event, AnswererJudged) and (take := self._watching.get(event.call_ref)):
            await take(event.answerer)
