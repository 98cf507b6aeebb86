"""Hands a caller over to a person: does what `Handing` decides, and tells what came of it.

One attempt at a time. Nothing here may lose the caller: whatever fails in an attempt ends it as one
that failed, and the agent comes back and says so.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final

from loguru import logger

from bot.call.person_call import PersonCall, PersonNews
from bot.config.agent import CALLBACK, PERSON, AgentSettings, DestinationSettings
from calls.handing import At, Handing, How
from calls.handing_events import (
    Announce,
    Announced,
    Brief,
    Briefed,
    CallerGone,
    CallPerson,
    ComeBack,
    DropPerson,
    HandedOn,
    HandingAction,
    HandingEvent,
    HandOn,
    HoldCaller,
    Join,
    Joined,
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
)
from calls.handover import Destination, Handover
from calls.leg_events import CallerReturned, HandedOver, PersonBriefed
from fallbacks.utterances import Situation
from processors.caller_silence import CallerSilence
from processors.farewell import End
from processors.hold_line import HoldLine
from processors.joined_sound import JoinedSound
from processors.stages.alarm import Alarm
from processors.waiting_line import WaitingLine
from processors.wiring import CallWiring
from transports.leg import Leg
from transports.people import CallsPeople

ACCEPT: Final = "1"
DECLINE: Final = "2"
REASON: Final = "transfer"
"""Why a call ended, as in `CallEnded`, that a line has handed on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a call is about, in a sentence or two."""

    text: str
    by: str  # model, last_words
    took_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What a handover is done with.

    Attributes:
        leg: The caller's.
        calls_people: Calls the person; None: no door of ours can.
        waiting: What the caller hears meanwhile.
        sound: Where the caller's sound is taken for the person.
        silence: Speaks to a silent caller, but not to one who is with a person.
        summarise: Says what the call is about, given why a person is wanted.
        make_person: Puts the agent's voice onto the leg of a person who has picked up.
        text: Returns a text for a situation, in the agent's language.
        end: Ends the call.
        hold_line: Holds the line for an answer that is owed, and reads the menu.
        call_back: Notes that the caller is to be called back.
    """

    leg: Leg
    calls_people: CallsPeople | None
    waiting: WaitingLine
    sound: JoinedSound
    silence: CallerSilence
    summarise: Callable[[str, Destination], Awaitable[Summary]]
    make_person: Callable[[Leg, PersonNews], PersonCall]
    text: Callable[[Situation], str]
    end: End
    hold_line: HoldLine
    call_back: Callable[[str], Awaitable[bool]]


class PersonReach:
    """Reaches a person for one caller. `close` it with the call."""

    def __init__(self, agent: AgentSettings, means: Means, wiring: CallWiring) -> None:
        self._agent = agent
        self._means = means
        self._wiring = wiring
        self._attempt: _Attempt | None = None
        self._running: asyncio.Task[Handover | None] | None = None
        self._noting: asyncio.Task[None] | None = None
        means.waiting.on_key = self._pressed

    @property
    def names(self) -> tuple[str, ...]:
        """Whom the model may choose from."""
        return tuple(name for name, each in self._agent.destinations.items() if self._how(each))

    @property
    def busy(self) -> bool:
        """Whether the caller waits for a person, or is with one."""
        return self._running is not None and not self._running.done()

    def reach(self, name: str, reason: str, *, behind_words: bool = False) -> bool:
        """Begin to hand the caller over; False: that cannot be done, or is being done.

        Args:
            name: Of a destination.
            reason: Why a person is wanted.
            behind_words: The model is still writing words that are to be heard first.
        """
        wanted = self._agent.destinations.get(name)
        how = self._how(wanted) if wanted else None
        if wanted is None or how is None or self.busy:
            return False
        to = Destination(name=name, number=wanted.number)
        handing = Handing(how, ring_s=wanted.ring_s)
        if behind_words:
            self._means.waiting.expect_words()
        self._attempt = _Attempt(handing, to, self._means, self._wiring, reason=reason)
        self._running = _owned(self._attempt.run(ring_s=wanted.ring_s), "hand over")
        return True

    async def connect(self, reason: str = "") -> bool:
        """Reach whoever stands first, and return once the caller is back, or not reached."""
        name = next(iter(self.names), "")
        if not self.reach(name, reason) or self._running is None or self._attempt is None:
            return False
        self._attempt.offers = False  # the menu does so itself
        return await asyncio.shield(self._running) == "connected"

    async def close(self) -> None:
        """End it with the call: a person who was called is not left alone on the line."""
        if self._attempt and self._running:
            self._attempt.report(CallerGone())
            await asyncio.wait({self._running}, timeout=CLOSE_S)
        for task in filter(None, (self._running, self._noting)):
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def _how(self, to: DestinationSettings) -> How | None:
        """Return by which way somebody is reached; None: this line has none."""
        calls, hands_on = self._means.calls_people is not None, self._means.leg.facts.transfers
        if to.warm and calls:
            return How.BRIEF
        if hands_on:
            return How.HAND_ON
        return How.CALL if calls else None

    def _pressed(self, key: str) -> None:
        wanted = self._agent.keys.get(key)
        if wanted is None or self.busy or self._means.hold_line.takes_keys:
            return
        reason = f"pressed {key}"
        if wanted == CALLBACK:
            self._noting = _owned(self._note_callback(reason), "note a callback")
        else:
            self.reach(next(iter(self.names), "") if wanted == PERSON else wanted, reason)

    async def _note_callback(self, reason: str) -> None:
        kept = await self._means.call_back(reason)
        await self._means.waiting.say(Situation.CALLBACK if kept else Situation.NO_CALLBACK)


CLOSE_S: Final = 3.0  # for the person's leg to end with the call


def _owned(work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
    # Owned by the object that keeps it, which cancels and awaits it.
    return asyncio.get_running_loop().create_task(work, name=name)


class _Attempt:
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
        self._under_way[name] = _owned(self._surely(name, work), f"hand over: {name}")

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
            self.report(failed[name])

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
        news = PersonNews(gone=lambda: self.report(PersonGone()), key=self._person_pressed)
        self._person = self._means.make_person(came, news)
        self._start("Person", self._person.run())
        self.report(PersonAnswered())

    def _person_pressed(self, key: str) -> None:
        if key == ACCEPT:
            self.report(PersonAccepted())
        elif key == DECLINE:
            self.report(PersonDeclined())

    async def _hand_on(self) -> None:
        outcome = await self._means.leg.transfer(self._to, ring_s=self._ring_s)
        self.report(HandedOn(outcome=outcome))

    async def _brief(self, *, again: bool) -> None:
        text, said = self._means.text, self._summary
        parts = [text(Situation.ACCEPT)]
        if not again:
            parts = [text(Situation.FOR_PERSON), *([said.text] if said else []), *parts]
        if self._person:
            await self._person.say(" ".join(parts))
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
        self.report(Joined())

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
