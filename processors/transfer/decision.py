"""The rules of one transfer to a person; whatever fails, the caller is not lost.

There are three ways, `How`. The line itself transfers the call (`HAND_ON`); we call the person and
join the two when the call is answered (`CALL`); or the person first hears a summary, and accepts
(`BRIEF`). Until the person is there, the caller stays with us: the announcement is heard, then
tones. The result is one of two: the caller is connected, or the agent comes back and says that it
did not work. A called person without a caller to talk to is dropped, no matter who hung up and
when.

One `TransferDecision` is one attempt. Moments are monotonic, in seconds.
"""

from enum import StrEnum
from typing import Final, TypeAlias

from calls.handover import RESULT_S, Handover

ANNOUNCED_S: Final = 8.0  # for the announcement to be heard; a sentence takes three
ANSWER_S: Final = 10.0  # after the ringing time, for a carrier to report no answer
# The same for a transfer by the line, whose own limit ends first: with Telnyx, up to 2 s later.
LEAVING_S: Final = RESULT_S + 3.0
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


class TransferStep(StrEnum):
    """What to do; in brackets, the method that takes the result."""

    ANNOUNCE = "announce"  # tell the caller that we connect them (`announced`)
    HOLD = "hold"  # play tones, with a phrase now and then, whenever nothing else is heard
    SUMMARISE = "summarise"  # prepare the summary of the call (`summary_ready`)
    CALL = "call"  # call the person (`person_called`)
    HAND_ON = "hand_on"  # transfer the call through the line (`handed_on`)
    BRIEF = "brief"  # tell the person the summary and which key accepts (`briefed`)
    ASK_AGAIN = "ask_again"  # tell the person the key alone (`briefed`)
    JOIN = "join"  # let the two hear only each other (`joined`)
    DROP = "drop"  # end the person's leg, or the attempt to reach it, for `drop_reason`
    COME_BACK = "come_back"  # return to the agent, and tell the caller the `outcome`
    TAKE_BACK = "take_back"  # return to the agent: the person has hung up after `talked_s`
    LET_GO = "let_go"  # end our part of the call: the line has transferred it


Steps: TypeAlias = tuple[TransferStep, ...]


class TransferDecision:
    """Decides one transfer attempt: each method takes what happened and returns what to do.

    Attributes:
        outcome: The result; `None` if it is not known yet.
        at: The state.
        wake_at: When to call `tick`: the time limit of the current state.
        drop_reason: Why the person is dropped.
        talked_s: How long the two have talked.
    """

    def __init__(self, how: How, *, ring_s: float) -> None:
        self.outcome: Handover | None = None
        self.at = At.NEW
        self.wake_at: float | None = None
        self.drop_reason = ""
        self.talked_s = 0.0
        self._how = how
        self._ring_s = ring_s
        self._announced = self._summed = self._there = self._called = False
        self._asked = 0
        self._joined_at = 0.0

    def start(self, now: float) -> Steps:
        """Begin; the person is called while the caller hears the announcement."""
        if self._how is How.HAND_ON:
            return self._move(At.ANNOUNCING, now + ANNOUNCED_S, TransferStep.ANNOUNCE)
        self._called = True
        summarise = (TransferStep.SUMMARISE,) if self._how is How.BRIEF else ()
        until = now + self._ring_s + ANSWER_S
        return self._move(At.RINGING, until, TransferStep.ANNOUNCE, *summarise, TransferStep.CALL)

    def tick(self, now: float) -> Steps:
        """Return what is due by now."""
        if self.wake_at is None or now < self.wake_at:
            return ()
        self.wake_at = None
        match self.at:
            case At.ANNOUNCING:
                steps = self.announced(now)
            case At.BRIEFING if not self._summed:
                steps = self.summary_ready(now)
            case At.ASKING if self._asked < ASKED:
                steps = self._move(At.BRIEFING, now + SAID_S, TransferStep.ASK_AGAIN)
            case At.JOINING | At.LEAVING:
                steps = self._fail("failed", "not_in_time")
            case _:
                why = "not_accepted" if self._there else "no_answer"
                steps = self._fail("no_answer", why)
        return steps

    def caller_gone(self, now: float) -> Steps:
        """The caller's leg has ended, or the call."""
        del now  # every report has it
        drops = self._called and self.at is not At.OVER
        self.drop_reason = "caller_hung_up"
        return self._move(At.OVER, None, *((TransferStep.DROP,) if drops else ()))

    def announced(self, now: float) -> Steps:
        """The caller has heard the announcement."""
        if self._announced or self.at in (At.JOINING, At.TOGETHER, At.OVER):
            return ()  # no tone plays over the person's first words
        self._announced = True
        if self._how is not How.HAND_ON:
            return (TransferStep.HOLD,)
        until = now + self._ring_s + LEAVING_S
        return self._move(At.LEAVING, until, TransferStep.HOLD, TransferStep.HAND_ON)

    def summary_ready(self, now: float) -> Steps:
        """The summary is ready."""
        first, self._summed = not self._summed, True
        awaited = first and self.at is At.BRIEFING
        return self._move(At.BRIEFING, now + SAID_S, TransferStep.BRIEF) if awaited else ()

    def person_called(self, now: float, outcome: Handover) -> Steps:
        """The call to the person was answered, by a person or a machine (`connected`), or not."""
        if outcome != "connected":
            return self._fail(outcome, "not_reached") if self.at is At.RINGING else ()
        if self.at is not At.RINGING:
            self.drop_reason = "too_late"
            return (TransferStep.DROP,) if self.at is At.OVER else ()
        self._there = True
        if self._how is How.CALL:
            return self._move(At.JOINING, now + JOIN_S, TransferStep.JOIN)
        if self._summed:
            return self._move(At.BRIEFING, now + SAID_S, TransferStep.BRIEF)
        return self._move(At.BRIEFING, now + SUMMARY_S)

    def briefed(self, now: float) -> Steps:
        """The person has heard everything."""
        if self.at is not At.BRIEFING:
            return ()
        self._asked += 1
        return self._move(At.ASKING, now + ACCEPT_S)

    def person_decided(self, now: float, *, accepts: bool) -> Steps:
        """The person accepted or declined, by a key or a word."""
        if self.at not in (At.BRIEFING, At.ASKING):
            return ()
        if accepts:
            return self._move(At.JOINING, now + JOIN_S, TransferStep.JOIN)
        return self._fail("declined", "declined")

    def person_gone(self, now: float) -> Steps:
        """The person's leg has ended."""
        if self.at in (At.NEW, At.OVER):
            return ()
        if self.at is At.TOGETHER:
            self.talked_s = now - self._joined_at
            return self._move(At.OVER, None, TransferStep.TAKE_BACK)
        return self._fail("declined" if self._there else "no_answer", "person_hung_up")

    def joined(self, now: float, *, ok: bool) -> Steps:
        """The two hear each other, or could not be joined."""
        if self.at is not At.JOINING:
            return ()
        if not ok:
            return self._fail("failed", "join_failed")
        self.outcome, self._joined_at = "connected", now
        return self._move(At.TOGETHER, None)

    def handed_on(self, now: float, outcome: Handover) -> Steps:
        """The line has transferred the call (`connected`), or not."""
        del now  # every report has it
        if self.at is not At.LEAVING:
            return ()
        if outcome != "connected":
            return self._fail(outcome, "not_reached")
        self.outcome = outcome
        return self._move(At.OVER, None, TransferStep.LET_GO)

    def _fail(self, outcome: Handover, why: str) -> Steps:
        self.outcome, self.drop_reason = outcome, why
        dropped = (TransferStep.DROP,) if self._called else ()
        return self._move(At.OVER, None, *dropped, TransferStep.COME_BACK)

    def _move(self, at: At, until: float | None, *steps: TransferStep) -> Steps:
        """Enter a state with a time limit, and return what to do."""
        self.at, self.wake_at = at, until
        return steps
