"""Passes a carrier's verdict on who picked up to the call concerned.

A carrier's callback may reach any worker. A worker that does not have the call passes the verdict
to all others, and the worker that has the call uses it.
"""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Final, TypeAlias

from calls.entry import Entry
from calls.leg_events import AnswererJudged

Answer: TypeAlias = Callable[[Mapping[str, Any]], Awaitable[Any]]
TakeWord: TypeAlias = Callable[[str], Awaitable[None]]
"""Handles a carrier's verdict on who picked up: the value of `AnswererJudged.answerer`."""
QUESTION: Final = "who picked up"
MAX_EARLY: Final = 200  # verdicts that are kept for calls not known here (chosen)


class CarrierWords:
    """Listens to all events, and passes verdicts to the calls that have registered."""

    def __init__(self) -> None:
        self._watching: dict[str, TakeWord] = {}
        self._early: dict[str, str] = {}
        self._ask_all: Callable[..., Awaitable[Any]] | None = None

    def join(
        self, *, answer: Callable[[str, Answer], None], ask_all: Callable[..., Awaitable[Any]]
    ) -> None:
        """Exchange verdicts with the other processes of the worker pool.

        Args:
            answer: Registers the function that answers a question of other processes.
            ask_all: Asks all processes a question, with values as keyword arguments.
        """
        answer(QUESTION, self._answer_whether_known)
        self._ask_all = partial(ask_all, QUESTION)

    async def watch(self, call_ref: str, take: TakeWord) -> None:
        """Pass verdicts on a call to `take` until `forget`, beginning with the last earlier one.

        Do nothing for a call without a carrier's id.
        """
        if not call_ref:
            return
        self._watching[call_ref] = take
        if answerer := self._early.pop(call_ref, ""):
            await take(answerer)

    def forget(self, call_ref: str) -> None:
        """Stop passing verdicts on a call."""
        self._watching.pop(call_ref, None)

    async def hear(self, entry: Entry) -> None:
        """Pass a verdict to its call, in this process or another one; ignore other events."""
        event = entry.event
        if not isinstance(event, AnswererJudged):
            return
        if await self._pass_on(event.call_ref, event.answerer) or self._ask_all is None:
            return
        await self._ask_all(call_ref=event.call_ref, answerer=event.answerer)

    async def _answer_whether_known(self, asked: Mapping[str, Any]) -> bool:
        return await self._pass_on(asked["call_ref"], asked["answerer"])

    async def _pass_on(self, call_ref: str, answerer: str) -> bool:
        """Pass a verdict to its call, and return True; if that is not here, keep it for `watch`.

        Each call has one early verdict, the last; above `MAX_EARLY`, the oldest is dropped.
        """
        take = self._watching.get(call_ref)
        if take is not None:
            await take(answerer)
            return True
        self._early[call_ref] = answerer
        while len(self._early) > MAX_EARLY:
            del self._early[next(iter(self._early))]
        return False
