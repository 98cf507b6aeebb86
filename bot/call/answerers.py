"""Brings a carrier's word on who picked up to the call that it is about.

A carrier's callback reaches any worker of a house, so a word on a call that is not here is handed
to all others; the one that has the call takes it.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeAlias

from bot.workers.pool import WorkerPool
from calls.entry import Entry
from calls.leg_events import AnswererJudged

TakeWord: TypeAlias = Callable[[str], Awaitable[None]]
"""Takes what a carrier says of who picked up, in the carrier's words."""
QUESTION: Final = "who picked up"
MOST_EARLY: Final = 200  # words on calls that have not begun, or have ended (chosen)


class CarrierWords:
    """A listener, told everything; calls that listen themselves leave word here."""

    def __init__(self) -> None:
        self._watching: dict[str, TakeWord] = {}
        self._early: dict[str, str] = {}
        self._pool: WorkerPool | None = None

    def join(self, pool: WorkerPool) -> None:
        """Pass on what carriers say at other processes of the house, too."""
        self._pool = pool
        pool.peers.answer(QUESTION, self._answer)

    async def watch(self, call_ref: str, take: TakeWord) -> None:
        """Have a call told what its carrier has found out or finds out, until `forget`."""
        if not call_ref:
            return
        self._watching[call_ref] = take
        if answerer := self._early.pop(call_ref, ""):
            await take(answerer)

    def forget(self, call_ref: str) -> None:
        """Tell the call nothing more."""
        self._watching.pop(call_ref, None)

    async def hear(self, entry: Entry) -> None:
        """Hand a verdict on."""
        event = entry.event
        if not isinstance(event, AnswererJudged):
            return
        if await self._hand_on(event.call_ref, event.answerer) or self._pool is None:
            return
        await self._pool.peers.ask_all(QUESTION, call_ref=event.call_ref, answerer=event.answerer)

    async def _answer(self, said: Mapping[str, Any]) -> bool:
        return await self._hand_on(said["call_ref"], said["answerer"])

    async def _hand_on(self, call_ref: str, answerer: str) -> bool:
        take = self._watching.get(call_ref)
        if take is not None:
            await take(answerer)
            return True
        self._early[call_ref] = answerer
        while len(self._early) > MOST_EARLY:
            del self._early[next(iter(self._early))]
        return False
