"""One attempt to hand a caller over: does what `Handing` decides, and tells what came of it.

Nothing here may lose the caller: whatever fails ends the attempt as one that failed, and the agent
comes back and says so.
"""

import asyncio
from collections import deque
from collections.abc import Coroutine, Mapping
from typing import Any, Final

from loguru import logger

from bot.call.handover_means import Means
from bot.call.handover_sides import CallerSide, PersonSide
from calls.handover import Destination, Handover
from processors.holding.utterance_rules import Situation
from processors.ladder.alarm import Alarm
from processors.transfer.decision import At, Handing
from processors.transfer.transfer_rules import (
    Announce,
    Announced,
    Brief,
    CallPerson,
    ComeBack,
    DropPerson,
    HandedOn,
    HandingAction,
    HandingEvent,
    HandOn,
    HoldCaller,
    Join,
    JoinFailed,
    LetGo,
    PersonAnswered,
    PersonGone,
    PersonNotReached,
    Summarise,
    SummaryReady,
    TakeBack,
)
from processors.wiring import CallWiring

FAILED: Final[Mapping[str, HandingEvent]] = {
    "Announce": Announced(),
    "Summarise": SummaryReady(),
    "CallPerson": PersonNotReached(outcome="failed"),
    "HandOn": HandedOn(outcome="failed"),
    "Brief": PersonGone(),
    "Join": JoinFailed(),
}
"""What the failure of a step is, by the action that began it."""


def begin_owned(work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
    """Begin some work for an object that keeps the task, cancels and awaits it."""
    return asyncio.get_running_loop().create_task(work, name=name)


class HandoverAttempt:
    """One attempt: its decision, and what is under way for it."""

    def __init__(
        self,
        handing: Handing,
        to: Destination,
        means: Means,
        wiring: CallWiring,
        *,
        reason: str,
    ) -> None:
        self.from_menu = False  # which goes on by itself: it offers a callback, or says goodbye
        self._handing = handing
        self._waiting = means.waiting
        self._caller = CallerSide(to, means, wiring)
        self._person = PersonSide(to, means, tell=wiring.tell, report=self.report)
        self._now = wiring.clock
        self._reason = reason
        self._alarm = Alarm(wiring.clock)
        self._events: deque[HandingEvent] = deque()
        self._under_way: dict[str, asyncio.Task[Any]] = {}

    def report(self, event: HandingEvent) -> None:
        """Note what happened; never waits."""
        self._events.append(event)
        self._alarm.ring()

    async def run(self, *, ring_s: float) -> Handover | None:
        """Return what came of it, once it is over; None: the caller hung up before."""
        self._ring_s = ring_s
        try:
            await self._go_on()
        except Exception as broken:  # noqa: BLE001 - the caller gets the agent back, whatever broke
            logger.opt(exception=broken).error("a handover failed")
            await self._drop("failed")
            await self._caller.come_back("failed", offers=not self.from_menu)
        finally:
            for task in self._under_way.values():
                task.cancel()
            await asyncio.gather(*self._under_way.values(), return_exceptions=True)
        return self._handing.outcome

    async def _go_on(self) -> None:
        self._caller.begin()
        await self._do(self._handing.start(self._now()))
        while self._handing.at is not At.OVER:
            wake_at = self._now() if self._events else self._handing.wake_at
            now = await self._alarm.wait(wake_at)
            if self._events:
                await self._do(self._handing.handle(self._events.popleft(), now))
            else:
                await self._do(self._handing.tick(now))

    async def _do(self, actions: tuple[HandingAction, ...]) -> None:
        for action in actions:
            match action:
                case HoldCaller():
                    self._waiting.hold(on=True)
                case DropPerson():
                    await self._drop(action.reason)
                case ComeBack():
                    await self._caller.come_back(action.outcome, offers=not self.from_menu)
                case TakeBack():
                    await self._take_back(action.talked_s)
                case LetGo():
                    await self._caller.let_go()
                case _:
                    self._begin(action)

    def _begin(self, action: HandingAction) -> None:
        """Begin what takes time; what came of it is reported."""
        match action:
            case Announce():
                step = self._caller.announce()
            case Summarise():
                step = self._person.summarise(self._reason)
            case CallPerson():
                step = self._call_person()
            case HandOn():
                step = self._caller.hand_on(ring_s=self._ring_s)
            case Brief():
                step = self._person.brief(again=action.again)
            case Join():
                step = self._caller.join(self._person.leg)
            case _:
                return
        self._start(type(action).__name__, step)

    def _start(self, name: str, step: Coroutine[Any, Any, HandingEvent | None]) -> None:
        self._under_way[name] = begin_owned(self._surely(name, step), f"hand over: {name}")

    async def _surely(self, name: str, step: Coroutine[Any, Any, HandingEvent | None]) -> None:
        """Do it, and report; a mistake of ours is what the failure of that step is."""
        try:
            event = await step
        except Exception as broken:  # noqa: BLE001 - a step that fails is an event of the attempt
            logger.opt(exception=broken).error("handing over: {} failed", name)
            event = FAILED.get(name, PersonGone())
        if event is not None:
            self.report(event)

    async def _call_person(self) -> PersonAnswered | PersonNotReached:
        came = await self._person.call(ring_s=self._ring_s)
        if isinstance(came, str):
            return PersonNotReached(outcome=came)
        self._start("Person", came.run())
        return PersonAnswered()

    async def _drop(self, reason: str) -> None:
        for name in ("CallPerson", "Join"):  # else the caller is joined to who is gone
            step = self._under_way.get(name)
            if step and not step.done():
                step.cancel()
                await asyncio.gather(step, return_exceptions=True)
        self._caller.part()
        await self._person.hang_up(reason)

    async def _take_back(self, talked_s: float) -> None:
        self._caller.take_back(talked_s)
        if not self.from_menu:
            await self._waiting.say(Situation.BACK)  # and asks whether there is anything else
        await self._person.hang_up("person_hung_up")  # a carrier may take seconds for it
