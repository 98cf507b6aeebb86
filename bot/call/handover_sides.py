"""The two sides of a handover: the caller, who waits, and the person, who is called.

What takes time returns what came of it, as an event of the attempt.
"""

from collections.abc import Callable
from typing import Final

from loguru import logger

from bot.call.handover_means import Means, Summary
from bot.call.person_call import PersonCall, PersonNews
from calls.entry import Tell
from calls.handover import Destination, Handover
from calls.leg_events import CallerReturned, HandedOver, PersonBriefed
from processors.holding.menu_word_rules import Consent
from processors.holding.utterance_rules import Situation
from processors.transfer.transfer_rules import (
    Announced,
    Briefed,
    HandedOn,
    HandingEvent,
    JoinFailed,
    PersonAccepted,
    PersonDeclined,
    PersonGone,
    SummaryReady,
    TwoJoined,
)
from processors.wiring import CallWiring

ACCEPT: Final = "1"
DECLINE: Final = "2"
REASON: Final = "transfer"
"""Why a call ended, as in `CallEnded`, that a line has handed on."""


class CallerSide:
    """The caller, from the agent to the person, or back to the agent."""

    def __init__(self, to: Destination, means: Means, wiring: CallWiring) -> None:
        self._to = to
        self._means = means
        self._now = wiring.clock
        self._tell = wiring.tell
        self._turn = wiring.turn
        self._began_at = 0.0
        self._told = False

    def begin(self) -> None:
        """Have no prompt and no held line talk to a caller who waits."""
        self._began_at = self._now()
        self._means.silence.excuse(away=True)
        self._means.hold_line.note_answered()
        self._means.hold_line.excuse(away=True)

    async def announce(self) -> Announced:
        """Tell the caller that we connect them, behind what the agent is saying."""
        waiting = self._means.waiting
        await waiting.words_out()
        await waiting.say(Situation.PERSON)
        await waiting.heard()
        return Announced()

    async def hand_on(self, *, ring_s: float) -> HandedOn:
        """Have the line hand the call on."""
        return HandedOn(outcome=await self._means.leg.transfer(self._to, ring_s=ring_s))

    async def let_go(self) -> None:
        """End our part of the call: the line has handed it on."""
        self._means.waiting.hold(on=False)
        self._tell_outcome("connected")
        await self._means.end(REASON)

    async def join(self, person: PersonCall | None) -> TwoJoined | JoinFailed:
        """Let the caller and the person hear each other, and nobody else."""
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
        """Let the caller and the person hear each other no more; who waits hears tones on."""
        self._means.sound.take = None
        self._means.waiting.together = False

    def _give_back(self) -> None:
        """Give the caller back to the agent."""
        self.part()
        self._means.waiting.hold(on=False)
        self._means.silence.excuse(away=False)
        self._means.hold_line.excuse(away=False)

    async def come_back(self, outcome: Handover, *, offers: bool) -> None:
        """Be the agent again, and say that it did not work.

        Args:
            outcome: What came of it.
            offers: Whether to offer a callback, too.
        """
        self._give_back()
        self._tell_outcome(outcome)
        await self._means.waiting.say(Situation.NOT_REACHED)
        if offers:
            await self._means.waiting.say(Situation.OFFER_CALLBACK)

    def take_back(self, talked_s: float) -> None:
        """Be the agent again: the person is gone, after so long."""
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
    """The person: called, told what it is about, and asked to take the call.

    Attributes:
        leg: The person's, once somebody has picked up.
    """

    def __init__(
        self,
        to: Destination,
        means: Means,
        *,
        tell: Tell,
        report: Callable[[HandingEvent], None],
    ) -> None:
        """Reach this person; what they do is reported, whenever they do it."""
        self.leg: PersonCall | None = None
        self._to = to
        self._means = means
        self._tell = tell
        self._report = report
        self._summary: Summary | None = None

    async def summarise(self, reason: str) -> SummaryReady:
        """Put together what it is about."""
        self._summary = await self._means.summarise(reason, self._to)
        return SummaryReady()

    async def call(self, *, ring_s: float) -> PersonCall | Handover:
        """Return the leg of whoever picked up, to be run; else what came of the call."""
        assert self._means.calls_people  # noqa: S101 - `_how` has asked
        came = await self._means.calls_people.call_person(self._to, ring_s=ring_s)
        if isinstance(came, str):
            return came
        news = PersonNews(
            gone=lambda: self._report(PersonGone()), key=self._pressed, word=self._said
        )
        self.leg = self._means.make_person(came, news)
        return self.leg

    async def brief(self, *, again: bool) -> Briefed:
        """Say what it is about and how to answer; again: the latter alone."""
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
        except Exception as broken:  # noqa: BLE001 - the caller is told all the same
            logger.opt(exception=broken).error("a person's leg could not be ended")

    def _pressed(self, key: str) -> None:
        if key == ACCEPT:
            self._report(PersonAccepted())
        elif key == DECLINE:
            self._report(PersonDeclined())

    def _said(self, word: Consent) -> None:
        self._report(PersonAccepted() if word is Consent.YES else PersonDeclined())
