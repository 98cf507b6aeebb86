"""The rules of one transfer to a person; whatever fails, the caller is not lost.

There are three kinds of transfer, `How`: the line transfers the call (`HAND_ON`, a blind transfer);
we call the person and join both when the person answers (`CALL`); or the person first hears a
summary and accepts the call (`BRIEF`, a warm transfer). Until then the caller stays with us and
hears the announcement, then tones. Either the caller is connected, or the agent returns and says
that the transfer failed. If a called person has no caller to talk to, their leg is ended, whoever
hung up and when.

A `TransferDecision` decides on one attempt. Moments are monotonic, in seconds.
"""

from enum import StrEnum
from typing import Final, TypeAlias

from calls.handover import RESULT_S, Handover

ANNOUNCED_S: Final = 8.0  # for the announcement to be heard; a sentence takes about 3 s
UNANSWERED_S: Final = 10.0  # after the ringing time, for the carrier to report that no one answered
# The same for a transfer by the line. The line's own limit comes first: RESULT_S after the ringing
# time, and with Telnyx up to 2 s later.
LEAVING_S: Final = RESULT_S + 3.0
SUMMARY_S: Final = 6.0  # the longest wait for the summary, after the person has answered
SAID_S: Final = 60.0  # for the summary to be spoken
ACCEPT_S: Final = 8.0  # for a key, after everything was spoken; then the question is repeated
TIMES_ASKED: Final = 2  # times that the person is asked; without a key, it is probably a machine
JOIN_S: Final = 5.0  # for the two legs to be joined


class How(StrEnum):
    """The kind of transfer."""

    HAND_ON = "hand_on"  # the line transfers the call, which leaves us
    CALL = "call"  # we call the person, and join both legs
    BRIEF = "brief"  # the same, but the person first hears a summary and accepts


class At(StrEnum):
    """The state of a transfer."""

    NEW = "new"
    ANNOUNCING = "announcing"
    LEAVING = "leaving"  # the line transfers the call
    RINGING = "ringing"
    BRIEFING = "briefing"
    ASKING = "asking"  # the person has heard everything; waiting for a key
    JOINING = "joining"
    TOGETHER = "together"
    OVER = "over"


class TransferStep(StrEnum):
    """What to do; in brackets, the method to call with the result."""

    ANNOUNCE = "announce"  # tell the caller that they are being connected (`announced`)
    HOLD = "hold"  # play tones, and a phrase now and then, whenever the line is silent
    SUMMARISE = "summarise"  # prepare the summary of the call (`summary_ready`)
    CALL = "call"  # call the person (`person_called`)
    HAND_ON = "hand_on"  # transfer the call through the line (`handed_on`)
    BRIEF = "brief"  # tell the person the summary and which key accepts (`briefed`)
    ASK_AGAIN = "ask_again"  # tell the person only the key (`briefed`)
    JOIN = "join"  # let the caller and the person hear only each other (`joined`)
    DROP = "drop"  # end the person's leg, or the attempt to call them, for `drop_reason`
    COME_BACK = "come_back"  # return to the agent, and tell the caller the `outcome`
    TAKE_BACK = "take_back"  # return to the agent: the person has hung up after `talked_s`
    LET_GO = "let_go"  # end our part of the call, because the line has transferred it


Steps: TypeAlias = tuple[TransferStep, ...]


class TransferDecision:
    """Decides on one transfer: each method records an event and returns what to do.

    Attributes:
        outcome: The result; `None` if it is not known yet.
        at: The state.
        wake_at: When to call `tick`: the time limit of the current state, or `None`.
        drop_reason: Why the person's leg is ended.
        talked_s: How long the caller and the person have talked.
    """

    def __init__(self, how: How, *, ring_s: float) -> None:
        self.outcome: Handover | None = None
        self.at = At.NEW
        self.wake_at: float | None = None
        self.drop_reason = ""
        self.talked_s = 0.0
        self._how = how
        self._ring_s = ring_s
        self._announced = False  # the caller has heard the announcement
        self._has_summary = False
        self._called = self._answered = False  # we have called the person; the person has answered
        self._asked = 0  # how many times the person was asked to accept
        self._joined_at = 0.0

    def start(self, now: float) -> Steps:
        """Begin. We call the person while the caller hears the announcement.

        The line transfers the call only after the announcement.
        """
        if self._how is How.HAND_ON:
            return self._enter_state(At.ANNOUNCING, now + ANNOUNCED_S, TransferStep.ANNOUNCE)
        self._called = True
        summarise = (TransferStep.SUMMARISE,) if self._how is How.BRIEF else ()
        until = now + self._ring_s + UNANSWERED_S
        return self._enter_state(
            At.RINGING, until, TransferStep.ANNOUNCE, *summarise, TransferStep.CALL
        )

    def tick(self, now: float) -> Steps:
        """Return what to do if the time limit of the current state has passed."""
        if self.wake_at is None or now < self.wake_at:
            return ()
        self.wake_at = None
        match self.at:
            case At.ANNOUNCING:
                steps = self.announced(now)
            case At.BRIEFING if not self._has_summary:
                steps = self.summary_ready(now)
            case At.ASKING if self._asked < TIMES_ASKED:
                steps = self._enter_state(At.BRIEFING, now + SAID_S, TransferStep.ASK_AGAIN)
            case At.JOINING | At.LEAVING:
                steps = self._end_as_failed("failed", "not_in_time")
            case _:
                why = "not_accepted" if self._answered else "no_answer"
                steps = self._end_as_failed("no_answer", why)
        return steps

    def caller_gone(self, now: float) -> Steps:
        """Record that the caller's leg or the call has ended; the outcome stays as it is."""
        del now  # a parameter of all these methods
        drops = self._called and self.at is not At.OVER
        self.drop_reason = "caller_hung_up"
        return self._enter_state(At.OVER, None, *((TransferStep.DROP,) if drops else ()))

    def announced(self, now: float) -> Steps:
        """Record that the caller has heard the announcement, or that its time is up."""
        if self._announced or self.at in (At.JOINING, At.TOGETHER, At.OVER):
            return ()  # no tone may be played over the person's first words
        self._announced = True
        if self._how is not How.HAND_ON:
            return (TransferStep.HOLD,)
        until = now + self._ring_s + LEAVING_S
        return self._enter_state(At.LEAVING, until, TransferStep.HOLD, TransferStep.HAND_ON)

    def summary_ready(self, now: float) -> Steps:
        """Record that the summary is ready, or that the person waits no longer for it."""
        first, self._has_summary = not self._has_summary, True
        awaited = first and self.at is At.BRIEFING
        return self._enter_state(At.BRIEFING, now + SAID_S, TransferStep.BRIEF) if awaited else ()

    def person_called(self, now: float, outcome: Handover) -> Steps:
        """Record whether the call to the person was answered (`connected`), maybe by a machine.

        An answer after the end of the attempt is dropped.
        """
        if outcome != "connected":
            return self._end_as_failed(outcome, "not_reached") if self.at is At.RINGING else ()
        if self.at is not At.RINGING:
            self.drop_reason = "too_late"
            return (TransferStep.DROP,) if self.at is At.OVER else ()
        self._answered = True
        if self._how is How.CALL:
            return self._enter_state(At.JOINING, now + JOIN_S, TransferStep.JOIN)
        if self._has_summary:
            return self._enter_state(At.BRIEFING, now + SAID_S, TransferStep.BRIEF)
        return self._enter_state(At.BRIEFING, now + SUMMARY_S)

    def briefed(self, now: float) -> Steps:
        """Record that the person has heard everything."""
        if self.at is not At.BRIEFING:
            return ()
        self._asked += 1
        return self._enter_state(At.ASKING, now + ACCEPT_S)

    def person_decided(self, now: float, *, accepts: bool) -> Steps:
        """Record that the person has accepted or declined, by a key or a word."""
        if self.at not in (At.BRIEFING, At.ASKING):
            return ()
        if accepts:
            return self._enter_state(At.JOINING, now + JOIN_S, TransferStep.JOIN)
        return self._end_as_failed("declined", "declined")

    def person_gone(self, now: float) -> Steps:
        """Record that the person's leg has ended."""
        if self.at in (At.NEW, At.OVER):
            return ()
        if self.at is At.TOGETHER:
            self.talked_s = now - self._joined_at
            return self._enter_state(At.OVER, None, TransferStep.TAKE_BACK)
        return self._end_as_failed("declined" if self._answered else "no_answer", "person_hung_up")

    def joined(self, now: float, *, ok: bool) -> Steps:
        """Record whether the two legs were joined."""
        if self.at is not At.JOINING:
            return ()
        if not ok:
            return self._end_as_failed("failed", "join_failed")
        self.outcome, self._joined_at = "connected", now
        return self._enter_state(At.TOGETHER, None)

    def handed_on(self, now: float, outcome: Handover) -> Steps:
        """Record the result of the line's own transfer; ignored unless one is in progress.

        `connected` ends our part; after any other the caller is told, and comes back to the agent.
        """
        del now  # a parameter of all these methods
        if self.at is not At.LEAVING:
            return ()
        if outcome != "connected":
            return self._end_as_failed(outcome, "not_reached")
        self.outcome = outcome
        return self._enter_state(At.OVER, None, TransferStep.LET_GO)

    def _end_as_failed(self, outcome: Handover, why: str) -> Steps:
        """End the transfer: hang up on a called person, and return the caller to the agent."""
        self.outcome, self.drop_reason = outcome, why
        dropped = (TransferStep.DROP,) if self._called else ()
        return self._enter_state(At.OVER, None, *dropped, TransferStep.COME_BACK)

    def _enter_state(self, at: At, until: float | None, *steps: TransferStep) -> Steps:
        """Enter a state with a time limit, and return what to do."""
        self.at, self.wake_at = at, until
        return steps
