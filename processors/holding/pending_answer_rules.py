"""Tracks whether an answer to the caller is pending, and which outages must still be announced.

An answer is pending from the moment the caller stops. So the line is held even if the end of the
turn is decided late. But the agent does not speak while the caller thinks: if turn detection
decides that the caller has not finished, no answer is pending until silence ends the turn.

A sound without words, such as a cough, is not a turn, and no answer to it is pending. There are two
exceptions: a recogniser has failed, so words may be missing; or an earlier answer was pending
before the sound, and then it still is, whatever turn detection decides about the sound.
"""

from collections import deque
from collections.abc import Callable
from math import inf
from typing import Final

from fallbacks.tts_times import LEADING_SILENCE_S
from processors.holding.late_answer_rules import Holding
from processors.turn.floor import Floor, ReplyState

MAX_WAITING: Final = 8  # outages that are not announced yet; beyond that the oldest is dropped
SETTLE_S: Final = 0.1  # wait before an announcement: a voice's last words may still arrive


class Announcements:
    """Holds reports of exhausted stages until they may be announced, never over the caller.

    An STT outage is announced once the caller has finished, not in a short pause. STT and TTS
    outages wait for `SETTLE_S`, because the caller may just have begun to speak, and the voice's
    last words may still arrive. Nothing is announced while the caller's last words may turn out to
    be a choice from the menu.

    Attributes:
        deaf: A recogniser failed while the caller spoke, so the end of the turn may go unnoticed.
    """

    def __init__(
        self, floor: Floor, *, pause_s: float, word_until: Callable[[], float] = lambda: 0.0
    ) -> None:
        """Create it for one call, without reports.

        Args:
            floor: The call's floor.
            pause_s: The silence after which the caller has finished, for an STT outage.
            word_until: Returns until when the caller's last words may turn out to be a choice from
                the menu.
        """
        self.deaf = False
        self._floor = floor
        self._pause_s = pause_s
        self._word_until = word_until
        # Stages without a rung left, and since when.
        self._exhausted: deque[tuple[str, float]] = deque(maxlen=MAX_WAITING)

    @property
    def wake_at(self) -> float | None:
        """When to announce the first outage, or `None`."""
        if not self._exhausted or self._floor.caller_speaking:
            return None
        (stage, at), stopped_at = self._exhausted[0], self._floor.stopped_at
        at += SETTLE_S if stage in ("stt", "tts") else 0.0
        if stage == "stt" and stopped_at is not None:
            at = max(at, stopped_at + self._pause_s)
        return max(at, self._word_until())

    def exhausted(self, stage: str, now: float) -> None:
        """Add a stage that has no rung left.

        For STT, `deaf` is set as well. At most `MAX_WAITING` reports are kept.
        """
        self._exhausted.append((stage, now))
        self.deaf = self.deaf or stage == "stt"

    def caller_started(self) -> None:
        """Drop the LLM and TTS reports of the turn that the caller interrupts, not those of STT.

        `deaf` is cleared unless one of STT is left.
        """
        self.drop("llm")
        self.drop("tts")
        self.deaf = bool(self._exhausted)

    def drop(self, stage: str) -> None:
        """Drop the reports of a stage that works again or was replaced."""
        kept = (exhausted for exhausted in self._exhausted if exhausted[0] != stage)
        self._exhausted = deque(kept, maxlen=MAX_WAITING)

    def due(self, now: float) -> str | None:
        """Return the stage to announce now, or `None`; each report is returned once."""
        if self.wake_at is None or now < self.wake_at:
            return None
        return self._exhausted.popleft()[0]


class PendingAnswer:
    """Tells `Holding` of one call whether an answer is pending.

    pending = PendingAnswer(holding, floor, announcements)
    floor.words("Hello", final=False)
    pending.caller_stopped(100.0)
    holding.wake_at  # 101.05

    Attributes:
        finished: The turn detector's decision on the caller's pause; `None` before the decision.
    """

    def __init__(self, holding: Holding, floor: Floor, announcements: Announcements) -> None:
        self._holding = holding
        self._floor = floor
        self._announcements = announcements
        self._over = False  # the turn is over: later reports about it change nothing
        self.finished: bool | None = None
        self._unanswered = False  # an answer to earlier words of the caller is pending
        self._decided_at = -inf  # the end of the last turn

    def caller_started(self) -> None:
        """Record that the caller speaks: the decision about an earlier pause no longer applies.

        Whether an answer was pending is remembered, in case this is a sound without words.
        """
        self._over, self.finished = False, None
        self._unanswered = self._unanswered or self._holding.pending_since is not None
        self._holding.expect_nothing()

    def caller_stopped(self, at: float) -> None:
        """Record that the caller is silent, since `at`."""
        self._holding.caller_stopped(at)
        if not self._is_pending:
            self._holding.paused()  # until the turn ends: it may be a cough, or a pause to think

    def judge_again(self, now: float) -> None:
        """Decide again whether an answer is pending, after new words or a pause decision."""
        if self._is_pending:
            self._holding.decided(now)
        else:
            self._holding.paused()

    def turn_decided(self, now: float) -> None:
        """Record the end of a turn, even of one whose words were too soft for the VAD."""
        self._over, self._unanswered = True, False
        if self._floor.quiet_at > self._decided_at or self._floor.reply_audible:
            self._holding.decided(now)
        else:  # the VAD has heard nothing in this turn, so the wait begins now
            self._holding.caller_stopped(now)
        self._decided_at = now

    def nothing_said(self, now: float) -> None:
        """Record that the turn is over without a transcript, and no model is asked."""
        self._decided_at = now
        self._over, self.finished, self._unanswered = False, None, False
        self._holding.expect_nothing()

    def sounded(self, dry_at: float, now: float, *, audible: bool = True) -> None:
        """Record audio of the answer on the line; if audible, the answer counts as heard.

        Args:
            dry_at: When its last audible sample is played.
            now: Monotonic, in seconds.
            audible: Whether it contains more than silence.
        """
        self._holding.expected(now + LEADING_SILENCE_S)
        if audible:  # it is the answer, unless a tool runs
            self._floor.reply_audible, self._unanswered = True, False
            self._holding.answered(
                pending_from=dry_at if self._floor.tools else None,
                more_from=dry_at if ReplyState.ON_LINE in self._floor.reply else None,
            )

    def written(self, *, more: bool, shown: bool = False) -> None:
        """Record that a reply begins on the line (`more`), or that its last audio is there.

        One that is only `shown` to the caller, as text, is never heard: none is pending then.
        """
        if shown:
            self._holding.expect_nothing()
        self._floor.set_reply(ReplyState.ON_LINE, more=more)
        self._holding.goes_on = self._holding.goes_on and more

    def tool_began(self, call: str, now: float) -> None:
        """Record that the model waits for a tool: its answer to the result is pending."""
        self._floor.tool_runs(call, now, runs=True)
        if self._holding.pending_since is None:
            self._holding.answered(pending_from=max(now, self._floor.agent_sounds_until))

    def tool_ended(self, call: str, now: float, *, asks: bool) -> None:
        """Record a tool's result, and whether the model is asked about it.

        If it is not asked and no tool is left, no answer is pending any more.
        """
        was_awaited = call in self._floor.tools  # else it was cancelled
        self._floor.tool_runs(call, now, runs=False)
        if was_awaited and not self._floor.tools and not asks:
            self._holding.answered()  # the model has nothing more to say

    def cut_off(self, *, withdrawn_at: float | None = None) -> None:
        """Record that the agent's speech or work was cut off; no tool and no reply is left.

        Args:
            withdrawn_at: When the words so far were withdrawn, because they were no answer, so that
                one is still pending; `None` if they were not.
        """
        self._floor.tools.clear()
        self._floor.reply_audible = False
        self._floor.set_reply(ReplyState.ON_LINE, more=False)
        self._holding.goes_on = False
        if withdrawn_at is not None and self._holding.pending_since is None:
            self._holding.answered(pending_from=withdrawn_at)

    @property
    def _is_pending(self) -> bool:
        """Whether an answer to the caller's turn is expected."""
        if self._over or self._announcements.deaf:  # words and the turn's end may both be missing
            return True
        if not self._floor.worded:  # perhaps a cough, which gets no answer
            return self._unanswered
        return self.finished is not False
