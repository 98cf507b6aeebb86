"""The steps of a transfer to a person; whatever fails, the caller is not lost.

There are three ways, `How`. The line itself transfers the call (`HAND_ON`); we call the person and
join the two when the call is answered (`CALL`); or the person first hears a summary, and accepts
(`BRIEF`). Until the person is there, the caller stays with us: the announcement is heard, then
tones. The result is one of two: the caller is connected, or the agent comes back and says that it
did not work. A called person without a caller to talk to is dropped, no matter who hung up and
when.

One `TransferDecision` is one attempt. Moments are monotonic, in seconds.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias

from calls.handover import Handover


@dataclass(frozen=True, slots=True)
class Announce:
    """Tell the caller that we connect them; report with `Announced`."""


@dataclass(frozen=True, slots=True)
class HoldCaller:
    """Play tones, with a phrase now and then, whenever nothing else is heard."""


@dataclass(frozen=True, slots=True)
class Summarise:
    """Prepare the summary of the call; report with `SummaryReady`."""


@dataclass(frozen=True, slots=True)
class CallPerson:
    """Call the person; report with `PersonAnswered` or `PersonNotReached`."""


@dataclass(frozen=True, slots=True)
class HandOn:
    """Transfer the call through the line; report with `HandedOn`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Brief:
    """Tell the person the summary and which key accepts; report with `Briefed`."""

    again: bool = False  # the key alone


@dataclass(frozen=True, slots=True)
class Join:
    """Let the two hear only each other; report with `TwoJoined` or `JoinFailed`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DropPerson:
    """End the person's leg, or the attempt to reach it; harmless if it has ended."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ComeBack:
    """Return to the agent, and tell the caller the result."""

    outcome: Handover


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeBack:
    """Return to the agent: the person has hung up, and the caller is still there."""

    talked_s: float


@dataclass(frozen=True, slots=True)
class LetGo:
    """End our part of the call: the line has transferred it."""


HandingAction: TypeAlias = (
    Announce | HoldCaller | Summarise | CallPerson | HandOn | Brief | Join
    | DropPerson | ComeBack | TakeBack | LetGo
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Announced:
    """The caller has heard the announcement."""


@dataclass(frozen=True, slots=True)
class SummaryReady:
    """The summary is ready."""


@dataclass(frozen=True, slots=True)
class PersonAnswered:
    """The call to the person was answered, by a person or a machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonNotReached:
    """The call to the person was not answered, and why."""

    outcome: Handover


@dataclass(frozen=True, slots=True)
class Briefed:
    """The person has heard everything."""


@dataclass(frozen=True, slots=True)
class PersonAccepted:
    """The person accepted, by a key or a word."""


@dataclass(frozen=True, slots=True)
class PersonDeclined:
    """The person declined, by a key or a word."""


@dataclass(frozen=True, slots=True)
class PersonGone:
    """The person's leg has ended."""


@dataclass(frozen=True, slots=True)
class CallerGone:
    """The caller's leg has ended, or the call."""


@dataclass(frozen=True, slots=True)
class TwoJoined:
    """The two hear each other."""


@dataclass(frozen=True, slots=True)
class JoinFailed:
    """The two could not be joined."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HandedOn:
    """The result of a transfer by the line."""

    outcome: Handover


HandingEvent: TypeAlias = (
    Announced | SummaryReady | PersonAnswered | PersonNotReached | Briefed | PersonAccepted
    | PersonDeclined | PersonGone | CallerGone | TwoJoined | JoinFailed | HandedOn
)  # fmt: skip


ANNOUNCED_S: Final = 8.0  # for the announcement to be heard; a sentence takes three
ANSWER_S: Final = 10.0  # after the ringing time, for a carrier to report no answer
SUMMARY_S: Final = 6.0  # the longest wait for the summary, after the person has answered
SAID_S: Final = 60.0  # for the summary to be said
ACCEPT_S: Final = 8.0  # for a key, after all was said; then the question is repeated
ASKED: Final = 2  # times; an answer without a key is a machine's
JOIN_S: Final = 5.0  # for the two to be joined


class How(StrEnum):
    """The way to the person."""

    HAND_ON = "hand_on"  # the line does it; the call leaves us
    CALL = "call"  # we call, and join the two
    BRIEF = "brief"  # the same, but the person hears a summary, and accepts


class At(StrEnum):
    """The state of a transfer."""

    NEW = "new"
    ANNOUNCING = "announcing"
    LEAVING = "leaving"  # the line transfers the call
    RINGING = "ringing"
    BRIEFING = "briefing"
    ASKING = "asking"  # all was said; waiting for a key
    JOINING = "joining"
    TOGETHER = "together"
    OVER = "over"


Actions: TypeAlias = tuple[HandingAction, ...]


class TransferDecision:
    """Decides one transfer attempt; events in, actions out.

    Attributes:
        outcome: The result; `None` if it is not known yet.
        at: The state.
        wake_at: When to call `tick`: the time limit of the current state.
    """

    def __init__(self, how: How, *, ring_s: float) -> None:
        self.outcome: Handover | None = None
        self.at = At.NEW
        self.wake_at: float | None = None
        self._how = how
        self._ring_s = ring_s
        self._announced = self._summed = self._there = self._called = False
        self._asked = 0
        self._joined_at = 0.0

    def start(self, now: float) -> Actions:
        """Begin; the person is called while the caller hears the announcement."""
        if self._how is How.HAND_ON:
            return self._move(At.ANNOUNCING, now + ANNOUNCED_S, Announce())
        self._called = True
        summarise = (Summarise(),) if self._how is How.BRIEF else ()
        until = now + self._ring_s + ANSWER_S
        return self._move(At.RINGING, until, Announce(), *summarise, CallPerson())

    def handle(self, event: HandingEvent, now: float) -> Actions:
        """Return the actions for an event."""
        match event:
            case CallerGone():
                drops = self._called and self.at is not At.OVER
                dropped = (DropPerson(reason="caller_hung_up"),) if drops else ()
                actions = self._move(At.OVER, None, *dropped)
            case Announced():
                actions = self._end_announcement(now)
            case SummaryReady():
                actions = self._summary_ready(now)
            case HandedOn() | TwoJoined() | JoinFailed():
                actions = self._of_line(event, now)
            case PersonAnswered():
                actions = self._answered(now)
            case _:
                actions = self._of_person(event, now)
        return actions

    def tick(self, now: float) -> Actions:
        """Return the actions that are due by now."""
        if self.wake_at is None or now < self.wake_at:
            return ()
        self.wake_at = None
        match self.at:
            case At.ANNOUNCING:
                actions = self._end_announcement(now)
            case At.BRIEFING if not self._summed:
                actions = self._summary_ready(now)
            case At.ASKING if self._asked < ASKED:
                actions = self._move(At.BRIEFING, now + SAID_S, Brief(again=True))
            case At.JOINING | At.LEAVING:
                actions = self._fail("failed", "not_in_time")
            case _:
                why = "not_accepted" if self._there else "no_answer"
                actions = self._fail("no_answer", why)
        return actions

    def _end_announcement(self, now: float) -> Actions:
        if self._announced or self.at in (At.JOINING, At.TOGETHER, At.OVER):
            return ()  # no tone plays over the person's first words
        self._announced = True
        if self._how is not How.HAND_ON:
            return (HoldCaller(),)
        return self._move(At.LEAVING, now + self._ring_s + ANSWER_S, HoldCaller(), HandOn())

    def _summary_ready(self, now: float) -> Actions:
        first, self._summed = not self._summed, True
        awaited = first and self.at is At.BRIEFING
        return self._move(At.BRIEFING, now + SAID_S, Brief()) if awaited else ()

    def _answered(self, now: float) -> Actions:
        if self.at is not At.RINGING:
            return (DropPerson(reason="too_late"),) if self.at is At.OVER else ()
        self._there = True
        if self._how is How.CALL:
            return self._move(At.JOINING, now + JOIN_S, Join())
        if self._summed:
            return self._move(At.BRIEFING, now + SAID_S, Brief())
        return self._move(At.BRIEFING, now + SUMMARY_S)

    def _of_person(self, event: HandingEvent, now: float) -> Actions:
        actions: Actions = ()
        match self.at, event:
            case At.RINGING, PersonNotReached(outcome=outcome):
                actions = self._fail(outcome, "not_reached")
            case At.BRIEFING, Briefed():
                self._asked += 1
                actions = self._move(At.ASKING, now + ACCEPT_S)
            case At.BRIEFING | At.ASKING, PersonAccepted():
                actions = self._move(At.JOINING, now + JOIN_S, Join())
            case At.BRIEFING | At.ASKING, PersonDeclined():
                actions = self._fail("declined", "declined")
            case At.TOGETHER, PersonGone():
                actions = self._move(At.OVER, None, TakeBack(talked_s=now - self._joined_at))
            case _, PersonGone() if self.at not in (At.NEW, At.OVER):
                actions = self._fail("declined" if self._there else "no_answer", "person_hung_up")
            case _:
                pass
        return actions

    def _of_line(self, event: HandedOn | TwoJoined | JoinFailed, now: float) -> Actions:
        match self.at, event:
            case At.LEAVING, HandedOn(outcome="connected"):
                self.outcome = "connected"
                return self._move(At.OVER, None, LetGo())
            case At.LEAVING, HandedOn(outcome=outcome):
                return self._fail(outcome, "not_reached")
            case At.JOINING, TwoJoined():
                self.outcome, self._joined_at = "connected", now
                return self._move(At.TOGETHER, None)
            case At.JOINING, JoinFailed():
                return self._fail("failed", "join_failed")
            case _:
                return ()

    def _fail(self, outcome: Handover, why: str) -> Actions:
        self.outcome = outcome
        dropped = (DropPerson(reason=why),) if self._called else ()
        return self._move(At.OVER, None, *dropped, ComeBack(outcome=outcome))

    def _move(self, at: At, until: float | None, *actions: HandingAction) -> Actions:
        """Enter a state with a time limit, and return the actions."""
        self.at, self.wake_at = at, until
        return actions
