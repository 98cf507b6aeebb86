"""How a caller gets to a person, step by step; whatever goes wrong, the caller is not lost.

Three ways, `How`: the line itself hands the call on (`HAND_ON`); we call the person and put the two
together when somebody answers (`CALL`); or the person hears first what it is about, and accepts
(`BRIEF`). Until the person is there the caller is ours: the announcement is heard, then tones. What
comes of it is one of two: the caller is connected, or the agent comes back and says that it did not
work. A person who was called and is not talked with is dropped, no matter who hung up and when.

One `Handing` is one attempt. Moments are monotonic, in seconds.
"""

from enum import StrEnum
from typing import Final, TypeAlias

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
from calls.handover import Handover

ANNOUNCED_S: Final = 8.0  # for the announcement to be heard; a sentence takes three
ANSWER_S: Final = 10.0  # past the time of ringing, for a carrier to say that nobody answered
SUMMARY_S: Final = 6.0  # a person who has picked up waits no longer for what it is about
SAID_S: Final = 60.0  # for the summary to be said
ACCEPT_S: Final = 8.0  # for a key, after all was said; then it is asked once more
ASKED: Final = 2  # times; an answer without a key is a machine's
JOIN_S: Final = 5.0  # for the two to be put together


class How(StrEnum):
    """By which way a caller gets to the person."""

    HAND_ON = "hand_on"  # the line does it; the call leaves us
    CALL = "call"  # we call, and put the two together
    BRIEF = "brief"  # the same, but the person hears what it is about, and accepts


class At(StrEnum):
    """How far it is."""

    NEW = "new"
    ANNOUNCING = "announcing"
    LEAVING = "leaving"  # the line hands the call on
    RINGING = "ringing"
    BRIEFING = "briefing"
    ASKING = "asking"  # all was said; a key is waited for
    JOINING = "joining"
    TOGETHER = "together"
    OVER = "over"


Actions: TypeAlias = tuple[HandingAction, ...]


class Handing:
    """Decides for one attempt; events in, actions out.

    Attributes:
        outcome: What came of it; None: not known yet.
    """

    def __init__(self, how: How, *, ring_s: float) -> None:
        self.outcome: Handover | None = None
        self._how = how
        self._ring_s = ring_s
        self._at = At.NEW
        self._by: float | None = None  # what is waited for, until then
        self._announced = self._summed = self._there = self._called = False
        self._asked = 0
        self._joined_at = 0.0

    @property
    def at(self) -> At:
        """How far it is."""
        return self._at

    @property
    def caller_waits(self) -> bool:
        """Whether the caller is to hear tones: the announcement was heard, and nobody is there."""
        return self._announced and self._at not in (At.TOGETHER, At.OVER)

    @property
    def together(self) -> bool:
        """Whether the two talk, and the agent is silent."""
        return self._at is At.TOGETHER

    @property
    def wake_at(self) -> float | None:
        """When `tick` has something to do."""
        return self._by

    def start(self, now: float) -> Actions:
        """Begin; the person is called while the caller hears the announcement."""
        self._at, self._by = At.ANNOUNCING, now + ANNOUNCED_S
        if self._how is How.HAND_ON:
            return (Announce(),)
        self._called = True
        self._at, self._by = At.RINGING, now + self._ring_s + ANSWER_S
        briefs = self._how is How.BRIEF
        return (Announce(), *((Summarise(),) if briefs else ()), CallPerson())

    def handle(self, event: HandingEvent, now: float) -> Actions:
        """Return what is to be done about an event."""
        match event:
            case CallerGone():
                actions = self._caller_gone()
            case Announced():
                actions = self._announced_now(now)
            case SummaryReady():
                actions = self._summary_ready(now)
            case HandedOn():
                actions = self._handed_on(event.outcome)
            case TwoJoined() | JoinFailed():
                actions = self._join_done(event, now)
            case _:
                actions = self._of_person(event, now)
        return actions

    def tick(self, now: float) -> Actions:
        """Return what is due by the passing of time."""
        if self._by is None or now < self._by:
            return ()
        self._by = None
        match self._at:
            case At.ANNOUNCING:
                actions = self._announced_now(now)
            case At.BRIEFING if not self._summed:
                actions = self._summary_ready(now)
            case At.ASKING if self._asked < ASKED:
                self._at, self._by = At.BRIEFING, now + SAID_S
                actions = (Brief(again=True),)
            case At.JOINING | At.LEAVING:
                actions = self._fail("failed", "not_in_time")
            case _:
                why = "not_accepted" if self._there else "no_answer"
                actions = self._fail("no_answer", why)
        return actions

    def _announced_now(self, now: float) -> Actions:
        if self._announced or self._at in (At.TOGETHER, At.OVER):
            return ()
        self._announced = True
        if self._how is not How.HAND_ON:
            return (HoldCaller(),)
        self._at, self._by = At.LEAVING, now + self._ring_s + ANSWER_S
        return (HoldCaller(), HandOn())

    def _of_person(self, event: HandingEvent, now: float) -> Actions:
        actions: Actions = ()
        match event:
            case PersonAnswered():
                actions = self._answered(now)
            case PersonNotReached() if self._at is At.RINGING:
                actions = self._fail(event.outcome, "not_reached")
            case PersonGone():
                actions = self._person_gone(now)
            case _ if self._at in (At.BRIEFING, At.ASKING):
                actions = self._of_briefed(event, now)
            case _:
                pass
        return actions

    def _of_briefed(self, event: HandingEvent, now: float) -> Actions:
        match event:
            case Briefed() if self._at is At.BRIEFING:
                self._at, self._by = At.ASKING, now + ACCEPT_S
                self._asked += 1
            case PersonAccepted():
                return self._join(now)
            case PersonDeclined():
                return self._fail("declined", "declined")
            case _:
                pass
        return ()

    def _answered(self, now: float) -> Actions:
        if self._at is not At.RINGING:
            return (DropPerson(reason="too_late"),) if self._at is At.OVER else ()
        self._there = True
        if self._how is How.CALL:
            return self._join(now)
        self._at, self._by = At.BRIEFING, now + SUMMARY_S
        return self._brief(now) if self._summed else ()

    def _summary_ready(self, now: float) -> Actions:
        first, self._summed = not self._summed, True
        return self._brief(now) if first and self._at is At.BRIEFING else ()

    def _brief(self, now: float) -> Actions:
        self._by = now + SAID_S
        return (Brief(),)

    def _join(self, now: float) -> Actions:
        self._at, self._by = At.JOINING, now + JOIN_S
        return (Join(),)

    def _join_done(self, event: TwoJoined | JoinFailed, now: float) -> Actions:
        if self._at is not At.JOINING:
            return ()
        if isinstance(event, JoinFailed):
            return self._fail("failed", "join_failed")
        self._at, self._by = At.TOGETHER, None
        self.outcome, self._joined_at = "connected", now
        return ()

    def _person_gone(self, now: float) -> Actions:
        if self._at is At.TOGETHER:
            self._end()
            return (TakeBack(talked_s=now - self._joined_at),)
        if self._at in (At.NEW, At.OVER):
            return ()
        return self._fail("declined" if self._there else "no_answer", "person_hung_up")

    def _handed_on(self, outcome: Handover) -> Actions:
        if self._at is not At.LEAVING:
            return ()
        if outcome != "connected":
            return self._fail(outcome, "not_reached")
        self.outcome = outcome
        self._end()
        return (LetGo(),)

    def _caller_gone(self) -> Actions:
        called = self._called and self._at is not At.OVER
        self._end()
        return (DropPerson(reason="caller_hung_up"),) if called else ()

    def _fail(self, outcome: Handover, why: str) -> Actions:
        self.outcome = outcome
        self._end()
        dropped = (DropPerson(reason=why),) if self._called else ()
        return (*dropped, ComeBack(outcome=outcome))

    def _end(self) -> None:
        self._at, self._by = At.OVER, None
