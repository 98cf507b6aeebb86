"""One attempt to hand a caller over: does what `Handing` decides, and tells what came of it.

Nothing here may lose the caller: whatever fails ends the attempt as one that failed, and the agent
comes back and says so.
"""

import asyncio
from collections import deque
from collections.abc import Coroutine
from typing import Any, Final

from loguru import logger

from bot.call.handover_means import Means, Summary
from bot.call.person_call import PersonCall, PersonNews
from calls.handing import At, Handing
from calls.handing_events import (
    Announce,
    Announced,
    Brief,
    Briefed,
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
    PersonAccepted,
    PersonAnswered,
    PersonDeclined,
    PersonGone,
    PersonNotReached,
    Summarise,
    SummaryReady,
    TakeBack,
    TwoJoined,
)
from calls.handover import Destination, Handover
from calls.leg_events import CallerReturned, HandedOver, PersonBriefed
from fallbacks.menu_words import Consent
from fallbacks.utterances import Situation
from processors.stages.alarm import Alarm
from processors.wiring import CallWiring

ACCEPT: Final = "1"
DECLINE: Final = "2"
REASON: Final = "transfer"
"""Why a call ended, as in `CallEnded`, that a line has handed on."""


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
        self.offers = True  # a callback, when nobody could be reached
        self._handing = handing
        self._to = to
        self._means = means
        self._now = wiring.clock
        self._tell = wiring.tell
        self._turn = wiring.turn
        self._reason = reason
        self._alarm = Alarm(wiring.clock)
        self._events: deque[HandingEvent] = deque()
        self._under_way: dict[str, asyncio.Task[Any]] = {}
        self._person: PersonCall | None = None
        self._summary: Summary | None = None
        self._began_at = 0.0
        self._told = False

    def report(self, event: HandingEvent) -> None:
        """Note what happened; never waits."""
        self._events.append(event)
        self._alarm.ring()

    async def run(self, *, ring_s: float) -> Handover | None:
        """Return what came of it, once it is over; None: the caller hung up before."""
        self._ring_s, self._began_at = ring_s, self._now()
        try:
            await self._go_on()
        except Exception as broken:  # noqa: BLE001 - the caller gets the agent back, whatever broke
            logger.opt(exception=broken).error("a handover failed")
            await self._drop("failed")
            await self._come_back("failed")
        finally:
            for task in self._under_way.values():
                task.cancel()
            await asyncio.gather(*self._under_way.values(), return_exceptions=True)
        return self._handing.outcome

    async def _go_on(self) -> None:
        self._means.silence.excuse(away=True)
        self._means.hold_line.note_answered()
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
                    self._means.waiting.hold(on=True)
                case DropPerson():
                    await self._drop(action.reason)
                case ComeBack():
                    await self._come_back(action.outcome)
                case TakeBack():
                    await self._take_back(action.talked_s)
                case LetGo():
                    self._means.waiting.hold(on=False)
                    self._tell_outcome("connected")
                    await self._means.end(REASON)
                case _:
                    self._begin(action)

    def _begin(self, action: HandingAction) -> None:
        """Begin what takes time; it reports by itself."""
        match action:
            case Announce():
                work = self._announce()
            case Summarise():
                work = self._summarise()
            case CallPerson():
                work = self._call_person()
            case HandOn():
                work = self._hand_on()
            case Brief():
                work = self._brief(again=action.again)
            case Join():
                work = self._join()
            case _:
                return
        self._start(type(action).__name__, work)

    def _start(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        self._under_way[name] = begin_owned(self._surely(name, work), f"hand over: {name}")

    async def _surely(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Do it; a mistake of ours is what the failure of that step is."""
        try:
            await work
        except Exception as broken:  # noqa: BLE001 - a step that fails is an event of the attempt
            logger.opt(exception=broken).error("handing over: {} failed", name)
            failed: dict[str, HandingEvent] = {
                "Announce": Announced(),
                "Summarise": SummaryReady(),
                "CallPerson": PersonNotReached(outcome="failed"),
                "HandOn": HandedOn(outcome="failed"),
                "Brief": PersonGone(),
                "Join": JoinFailed(),
            }
            self.report(failed.get(name, PersonGone()))

    async def _announce(self) -> None:
        waiting = self._means.waiting
        await waiting.words_out()
        await waiting.say(Situation.PERSON)
        await waiting.heard()
        self.report(Announced())

    async def _summarise(self) -> None:
        self._summary = await self._means.summarise(self._reason, self._to)
        self.report(SummaryReady())

    async def _call_person(self) -> None:
        assert self._means.calls_people  # noqa: S101 - `_how` has asked
        came = await self._means.calls_people.call_person(self._to, ring_s=self._ring_s)
        if isinstance(came, str):
            self.report(PersonNotReached(outcome=came))
            return
        news = PersonNews(
            gone=lambda: self.report(PersonGone()),
            key=self._person_pressed,
            word=self._person_said,
        )
        self._person = self._means.make_person(came, news)
        self._start("Person", self._person.run())
        self.report(PersonAnswered())

    def _person_pressed(self, key: str) -> None:
        if key == ACCEPT:
            self.report(PersonAccepted())
        elif key == DECLINE:
            self.report(PersonDeclined())

    def _person_said(self, word: Consent) -> None:
        self.report(PersonAccepted() if word is Consent.YES else PersonDeclined())

    async def _hand_on(self) -> None:
        outcome = await self._means.leg.transfer(self._to, ring_s=self._ring_s)
        self.report(HandedOn(outcome=outcome))

    async def _brief(self, *, again: bool) -> None:
        text, said, person = self._means.text, self._summary, self._person
        by_word = person is not None and person.hears_words
        parts = [text(Situation.ACCEPT_EITHER if by_word else Situation.ACCEPT)]
        if not again:
            parts = [text(Situation.FOR_PERSON), *([said.text] if said else []), *parts]
        if person:
            await person.ask(" ".join(parts))
        if said and not again:
            self._tell(PersonBriefed(destination=self._to.name, by=said.by, took_s=said.took_s))
        self.report(Briefed())

    async def _join(self) -> None:
        waiting, rate_hz = self._means.waiting, self._means.leg.facts.sample_rate_hz
        person = self._person
        if person is None:
            self.report(JoinFailed())
            return
        waiting.hold(on=False)
        await waiting.silence_agent()
        waiting.together = True
        await waiting.say(Situation.TOGETHER)
        self._means.sound.take = await person.join(waiting.play, caller_rate_hz=rate_hz)
        self._tell_outcome("connected")
        self.report(TwoJoined())

    async def _drop(self, reason: str) -> None:
        self._part()
        call = self._under_way.get("CallPerson")
        if call and not call.done():
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
        await self._hang_up_person(reason)

    async def _hang_up_person(self, reason: str) -> None:
        try:
            if self._person:
                await self._person.hang_up(reason)
        except Exception as broken:  # noqa: BLE001 - the caller is told all the same
            logger.opt(exception=broken).error("a person's leg could not be ended")

    async def _come_back(self, outcome: Handover) -> None:
        self._part()
        self._tell_outcome(outcome)
        await self._means.waiting.say(Situation.NOT_REACHED)
        if self.offers:
            await self._means.waiting.say(Situation.OFFER_CALLBACK)

    async def _take_back(self, talked_s: float) -> None:
        self._part()
        self._tell(CallerReturned(destination=self._to.name, talked_s=talked_s))
        await self._hang_up_person("person_hung_up")
        await self._means.waiting.say(Situation.BACK)

    def _part(self) -> None:
        """Give the caller back to the agent."""
        self._means.sound.take = None
        self._means.waiting.together = False
        self._means.waiting.hold(on=False)
        self._means.silence.excuse(away=False)

    def _tell_outcome(self, outcome: Handover) -> None:
        if self._told:
            return
        self._told = True
        took_s = self._now() - self._began_at
        self._tell(
            HandedOver(
                turn=self._turn.number, destination=self._to.name, outcome=outcome, took_s=took_s
            )
        )
