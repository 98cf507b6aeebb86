"""Brings a carrier's verdict on who picked up to the call in question.

A carrier's callback reaches any worker. A worker without that call passes the verdict to all
others; the worker that has the call uses it.
"""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Final, TypeAlias

from calls.entry import Entry
from calls.leg_events import AnswererJudged

Answer: TypeAlias = Callable[[Mapping[str, Any]], Awaitable[Any]]
TakeWord: TypeAlias = Callable[[str], Awaitable[None]]
"""Takes a carrier's verdict on who picked up, in the carrier's words."""
QUESTION: Final = "who picked up"
MAX_EARLY: Final = 200  # verdicts on calls not begun or already ended (chosen)


class CarrierWords:
    """A listener of all events; calls that wait for a verdict register here."""

    def __init__(self) -> None:
        self._watching: dict[str, TakeWord] = {}
        self._early: dict[str, str] = {}
        self._ask_all: Callable[..., Awaitable[Any]] | None = None

    def join(
        self, *, answer: Callable[[str, Answer], None], ask_all: Callable[..., Awaitable[Any]]
    ) -> None:
        """Exchange verdicts with the other processes of the worker pool.

        Args:
            answer: Registers the answer to a question that other processes ask this one.
            ask_all: Asks all processes a question, with its values as keywords.
        """
        answer(QUESTION, self._answer)
        self._ask_all = partial(ask_all, QUESTION)

    async def watch(self, call_ref: str, take: TakeWord) -> None:
        """Give a call its carrier's verdicts, past and future, until `forget`."""
        if not call_ref:
            return
        self._watching[call_ref] = take
        if answerer := self._early.pop(call_ref, ""):
            await take(answerer)

    def forget(self, call_ref: str) -> None:
        """Stop giving the call verdicts."""
        self._watching.pop(call_ref, None)

    async def hear(self, entry: Entry) -> None:
        """Pass a verdict to the call in question, here or in another process."""
        event = entry.event
        if not isinstance(event, AnswererJudged):
            return
        if await self._hand_on(event.call_ref, event.answerer) or self._ask_all is None:
            return
        await self._ask_all(call_ref=event.call_ref, answerer=event.answerer)

    async def _answer(self, said: Mapping[str, Any]) -> bool:
        return await self._hand_on(said["call_ref"], said["answerer"])

    async def _hand_on(self, call_ref: str, answerer: str) -> bool:
        take = self._watching.get(call_ref)
        if take is not None:
            await take(answerer)
            return True
        self._early[call_ref] = answerer
        while len(self._early) > MAX_EARLY:
            del self._early[next(iter(self._early))]
        return False
