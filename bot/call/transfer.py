"""One attempt to transfer a caller: carries out `TransferDecision` and emits the result.

No failure here may lose the caller: it ends the attempt as failed, and the agent returns and says
so.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Final

from loguru import logger

from bot.call.person_call import PersonCall, PersonNews
from calls.entry import Tell
from calls.handover import Destination, Handover
from calls.leg_events import CallerReturned, HandedOver, PersonBriefed
from processors.holding.caller_silence import CallerSilence, End
from processors.holding.hold_line import HoldLine
from processors.holding.line_rules import CallerAway, Consent
from processors.holding.utterance_rules import Situation
from processors.ladder.stage import Alarm
from processors.transfer.decision import (
    Announce,
    Announced,
    At,
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
    TransferDecision,
    TwoJoined,
)
from processors.transfer.waiting_line import JoinedSound, WaitingLine
from processors.wiring import CallWiring
from transports.leg import CallsPeople, Leg


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a call is about, in a sentence or two."""

    text: str
    by: str  # `model` or `last_words`
    took_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferServices:
    """Dependencies of a transfer.

    Attributes:
        leg: The caller's leg.
        calls_people: Calls the person; `None` if no carrier can.
        waiting: What the caller hears meanwhile.
        sound: Takes the caller's audio for the person.
        silence: Prompts a silent caller, but not one who talks with a person.
        summarise: Summarises the call, given why the caller needs a person.
        make_person: Puts the agent's voice on the leg of a person who has picked up.
        text: Returns the text of a situation, in the agent's language.
        end: Ends the call.
        hold_line: Speaks when an answer is late, and reads the outage menu.
        call_back: Records a request for a callback.
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


# The two sides of a transfer. A step that takes time returns its result as an event of the attempt.

ACCEPT: Final = "1"
DECLINE: Final = "2"
REASON: Final = "transfer"
"""The reason in `CallEnded` after a blind transfer."""


class CallerSide:
    """The caller: from the agent to the person, or back to the agent."""

    def __init__(self, to: Destination, means: TransferServices, wiring: CallWiring) -> None:
        self._to = to
        self._means = means
        self._now = wiring.clock
        self._tell = wiring.tell
        self._turn = wiring.turn
        self._began_at = 0.0
        self._told = False

    def begin(self) -> None:
        """Silence the prompts and fillers while the caller waits."""
        self._began_at = self._now()
        self._means.silence.excuse(away=True)
        self._means.hold_line.note_answered()
        self._means.hold_line.note(CallerAway(away=True))

    async def announce(self) -> Announced:
        """Tell the caller about the transfer, after what the agent is saying."""
        waiting = self._means.waiting
        await waiting.words_out()
        await waiting.say(Situation.PERSON)
        await waiting.heard()
        return Announced()

    async def hand_on(self, *, ring_s: float) -> HandedOn:
        """Let the carrier transfer the call."""
        return HandedOn(outcome=await self._means.leg.transfer(self._to, ring_s=ring_s))

    async def let_go(self) -> None:
        """End our part of the call after a blind transfer."""
        self._means.waiting.hold(on=False)
        self._tell_outcome("connected")
        await self._means.end(REASON)

    async def join(self, person: PersonCall | None) -> TwoJoined | JoinFailed:
        """Connect the caller and the person; the agent is silent."""
        waiting, rate_hz = self._means.waiting, self._means.leg.facts.sample_rate_hz
        if person is None:
            return JoinFailed()
        waiting.hold(on=False)
        await waiting.silence_agent()
        waiting.together = True
        await waiting.say(Situation.TOGETHER)
        self._means.sound.take = await person.join(waiting.play, caller_rate_hz=rate_hz)
        self._tell_outcome("connected")
        return TwoJoined()

    def part(self) -> None:
        """Disconnect the caller and the person; a waiting caller still hears tones."""
        self._means.sound.take = None
        self._means.waiting.together = False

    def _give_back(self) -> None:
        """Return the caller to the agent."""
        self.part()
        self._means.waiting.hold(on=False)
        self._means.silence.excuse(away=False)
        self._means.hold_line.note(CallerAway(away=False))

    async def come_back(self, outcome: Handover, *, offers: bool) -> None:
        """Return to the agent, which says that the transfer failed.

        Args:
            outcome: The result of the transfer.
            offers: Whether to offer a callback, too.
        """
        self._give_back()
        self._tell_outcome(outcome)
        await self._means.waiting.say(Situation.NOT_REACHED)
        if offers:
            await self._means.waiting.say(Situation.OFFER_CALLBACK)

    def take_back(self, talked_s: float) -> None:
        """Return to the agent: the person has left after `talked_s`."""
        self._give_back()
        self._tell(CallerReturned(destination=self._to.name, talked_s=talked_s))

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


class PersonSide:
    """The person: called, briefed, and asked to take the call.

    Attributes:
        leg: The person's leg, once the person has picked up.
    """

    def __init__(
        self,
        to: Destination,
        means: TransferServices,
        *,
        tell: Tell,
        report: Callable[[HandingEvent], None],
    ) -> None:
        """Prepare to call this person; `report` takes what the person does, at any time."""
        self.leg: PersonCall | None = None
        self._to = to
        self._means = means
        self._tell = tell
        self._report = report
        self._summary: Summary | None = None

    async def summarise(self, reason: str) -> SummaryReady:
        """Summarise the call."""
        self._summary = await self._means.summarise(reason, self._to)
        return SummaryReady()

    async def call(self, *, ring_s: float) -> PersonCall | Handover:
        """Return the leg of the person who picked up, which must be run; else the outcome."""
        assert self._means.calls_people  # noqa: S101 - `_how` has checked
        came = await self._means.calls_people.call_person(self._to, ring_s=ring_s)
        if isinstance(came, str):
            return came
        news = PersonNews(
            gone=lambda: self._report(PersonGone()), key=self._pressed, word=self._said
        )
        self.leg = self._means.make_person(came, news)
        return self.leg

    async def brief(self, *, again: bool) -> Briefed:
        """Say what the call is about and how to answer; if `again`, only how to answer."""
        text, said, leg = self._means.text, self._summary, self.leg
        by_word = leg is not None and leg.hears_words
        parts = [text(Situation.ACCEPT_EITHER if by_word else Situation.ACCEPT)]
        if not again:
            parts = [text(Situation.FOR_PERSON), *([said.text] if said else []), *parts]
        if leg:
            await leg.ask(" ".join(parts))
        if said and not again:
            self._tell(PersonBriefed(destination=self._to.name, by=said.by, took_s=said.took_s))
        return Briefed()

    async def hang_up(self, reason: str) -> None:
        """End the leg, if there is one; raises nothing."""
        try:
            if self.leg:
                await self.leg.hang_up(reason)
        except Exception as broken:  # noqa: BLE001 - the caller must still be told
            logger.opt(exception=broken).error("a person's leg could not be ended")

    def _pressed(self, key: str) -> None:
        if key == ACCEPT:
            self._report(PersonAccepted())
        elif key == DECLINE:
            self._report(PersonDeclined())

    def _said(self, word: Consent) -> None:
        self._report(PersonAccepted() if word is Consent.YES else PersonDeclined())


FAILED: Final[Mapping[str, HandingEvent]] = {
    "Announce": Announced(),
    "Summarise": SummaryReady(),
    "CallPerson": PersonNotReached(outcome="failed"),
    "HandOn": HandedOn(outcome="failed"),
    "Brief": PersonGone(),
    "Join": JoinFailed(),
}
"""The event of a step that fails, by the action that began it."""


def begin_owned(work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
    """Start a task; its owner keeps, cancels and awaits it."""
    return asyncio.get_running_loop().create_task(work, name=name)


class TransferAttempt:
    """One attempt: its decision and the tasks that carry it out."""

    def __init__(
        self,
        handing: TransferDecision,
        to: Destination,
        means: TransferServices,
        wiring: CallWiring,
        *,
        reason: str,
    ) -> None:
        self.from_menu = False  # the menu itself offers a callback or says goodbye
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
        """Queue an event; never waits."""
        self._events.append(event)
        self._alarm.ring()

    async def run(self, *, ring_s: float) -> Handover | None:
        """Return the result once the attempt is over; `None` if the caller hung up before."""
        self._ring_s = ring_s
        try:
            await self._go_on()
        except Exception as broken:  # noqa: BLE001 - the caller must return to the agent
            logger.opt(exception=broken).error("a transfer failed")
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
        """Begin a step that takes time; its result is reported as an event."""
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
        self._under_way[name] = begin_owned(self._surely(name, step), f"transfer: {name}")

    async def _surely(self, name: str, step: Coroutine[Any, Any, HandingEvent | None]) -> None:
        """Run a step and report its event; an exception counts as the failure of the step."""
        try:
            event = await step
        except Exception as broken:  # noqa: BLE001 - a step that fails is an event of the attempt
            logger.opt(exception=broken).error("transfer: {} failed", name)
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
        for name in ("CallPerson", "Join"):  # else the caller is joined to a person who has left
            step = self._under_way.get(name)
            if step and not step.done():
                step.cancel()
                await asyncio.gather(step, return_exceptions=True)
        self._caller.part()
        await self._person.hang_up(reason)

    async def _take_back(self, talked_s: float) -> None:
        self._caller.take_back(talked_s)
        if not self.from_menu:
            await self._waiting.say(Situation.BACK)  # this also asks whether there is anything else
        await self._person.hang_up("person_hung_up")  # a carrier may take seconds for it
