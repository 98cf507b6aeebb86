"""Tracks whether an answer to the caller is pending, and which outages are still to be announced.

An answer is pending from the caller's stop on. So the line is held even if the decision comes late.
But the agent does not speak while the caller thinks: if turn detection took the pause for
unfinished, nothing is pending until silence has ended the turn. A cough is not a turn: without a
word, nothing is pending. There are two exceptions. No recogniser was left to transcribe a word; or
an answer was pending before the cough, and then it still is, whether the cough sounded finished or
not.
"""

from collections import deque
from collections.abc import Callable
from math import inf
from typing import Final

from processors.holding.late_answer_rules import Holding
from processors.turn.floor import Floor

MAX_NEWS: Final = 8  # failures that are not announced yet; beyond that the oldest is dropped
BEHIND_S: Final = 0.1  # for what follows the report: a voice's last words, a caller's first


class StageEvents:
    """Holds reports of exhausted stages until they may be announced, never over the caller.

    An STT failure is announced once the caller has finished, not in a mere pause. A TTS failure is
    announced a moment later, since the voice's last words may still arrive. Nothing is announced
    while the caller's last words may be a choice from the menu.

    Attributes:
        deaf: A recogniser failed while the caller spoke: the end of it may go unnoticed.
    """

    def __init__(
        self, floor: Floor, *, pause_s: float, word_until: Callable[[], float] = lambda: 0.0
    ) -> None:
        """Prepare.

        Args:
            floor: Of the call.
            pause_s: A shorter silence is a pause.
            word_until: Returns until when the caller's last words may be a choice from the menu.
        """
        self.deaf = False
        self._floor = floor
        self._pause_s = pause_s
        self._word_until = word_until
        self._exhausted: deque[tuple[str, float]] = deque(maxlen=MAX_NEWS)  # stages, and since when

    @property
    def wake_at(self) -> float | None:
        """When to announce the first of them, or `None`."""
        if not self._exhausted or self._floor.caller_speaking:
            return None
        (stage, at), stopped_at = self._exhausted[0], self._floor.stopped_at
        at += BEHIND_S if stage in ("stt", "tts") else 0.0
        if stage == "stt" and stopped_at is not None:
            at = max(at, stopped_at + self._pause_s)
        return max(at, self._word_until())

    def exhausted(self, stage: str, now: float) -> None:
        """Add a stage without a rung left."""
        self._exhausted.append((stage, now))
        self.deaf = self.deaf or stage == "stt"

    def caller_started(self) -> None:
        """Drop the reports of the turn that is now void, except for STT."""
        self.drop("llm")
        self.drop("tts")
        self.deaf = bool(self._exhausted)

    def drop(self, stage: str) -> None:
        """Drop the reports of a stage that has a substitute, or works again."""
        kept = (exhausted for exhausted in self._exhausted if exhausted[0] != stage)
        self._exhausted = deque(kept, maxlen=MAX_NEWS)

    def due(self, now: float) -> str | None:
        """Return the stage to announce now, once, or `None`."""
        if self.wake_at is None or now < self.wake_at:
            return None
        return self._exhausted.popleft()[0]


BREATH_S: Final = 0.2  # the usual maximum of silence before a voice's first word


class PendingAnswer:
    """Tells `Holding` of one call whether an answer is pending.

    pending = PendingAnswer(holding, floor, news)
    floor.words("Hello", final=False)
    pending.caller_stopped(100.0)
    holding.wake_at  # 101.05

    Attributes:
        finished: The turn detector's decision on the caller's pause; `None` before one.
    """

    def __init__(self, holding: Holding, floor: Floor, news: StageEvents) -> None:
        self._holding = holding
        self._floor = floor
        self._news = news
        self._over = False  # the turn is over: later reports on it change nothing
        self.finished: bool | None = None
        self._unanswered = False  # earlier words of the caller have no answer yet
        self._tools: set[str] = set()  # ids of running calls
        self._decided_at = -inf  # the end of the last turn
        self._sounded = False  # the agent was heard since it was last interrupted
        self._open = False  # an answer is being written or spoken

    def caller_started(self) -> None:
        """Record that the caller speaks: the decision on an earlier pause is void."""
        self._tools.clear()
        self._over, self.finished = False, None
        self._unanswered = self._unanswered or self._holding.pending_since is not None
        self._holding.expect_nothing()

    def caller_stopped(self, at: float) -> None:
        """Record that the caller is silent, since `at`."""
        self._sounded = False
        self._holding.caller_stopped(at)
        if not self._is_pending:
            self._holding.paused()  # until the turn ends: it may be a cough, or a pause to think

    def judge_again(self, now: float) -> None:
        """Decide again whether an answer is pending: the turn is not over, and something came."""
        if self._is_pending:
            self._holding.decided(now)
        else:
            self._holding.paused()

    def turn_decided(self, now: float) -> None:
        """Record the end of a turn, which may have words alone, too soft for the VAD."""
        self._over, self._unanswered = True, False
        if self._floor.quiet_at > self._decided_at or self._sounded:
            self._holding.decided(now)
        else:
            self._holding.caller_stopped(now)
        self._decided_at = now

    def nothing_said(self, now: float) -> None:
        """Record that the turn is over without a transcript, and no model is asked."""
        self._decided_at = now
        self._over, self.finished, self._unanswered = False, None, False
        self._holding.expect_nothing()

    def sounded(self, dry_at: float, now: float, *, audible: bool = True) -> None:
        """Record audio of the answer on the line.

        Args:
            dry_at: When its last audible sample is played.
            now: Monotonic, in seconds.
            audible: It is not silence.
        """
        self._holding.expected(now + BREATH_S)
        if audible:  # it is the answer, unless a tool runs
            self._sounded, self._unanswered = True, False
            self._holding.answered(
                pending_from=dry_at if self._tools else None,
                more_from=dry_at if self._open else None,
            )

    def written(self, *, more: bool) -> None:
        """Record that a model begins an answer, or that all of its audio has gone to the line."""
        self._open = more
        self._holding.goes_on = self._holding.goes_on and more

    def tool_began(self, call: str, dry_at: float, now: float) -> None:
        """Record that the model waits for a tool: its answer to the result is pending.

        Args:
            call: The tool call's id.
            dry_at: When what was said before it ends.
            now: Monotonic, in seconds.
        """
        self._tools.add(call)
        if self._holding.pending_since is None:
            self._holding.answered(pending_from=max(now, dry_at))

    def tool_ended(self, call: str, *, asks: bool) -> None:
        """Record a tool's result, and whether the model is asked about it."""
        if call not in self._tools:  # it was cancelled before
            return
        self._tools.remove(call)
        if not self._tools and not asks:
            self._holding.answered()  # the model has nothing more to say

    def cut_off(self) -> None:
        """Record that the agent's speech or work was cut off."""
        self._tools.clear()
        self._sounded = self._open = False
        self._holding.goes_on = False

    @property
    def _is_pending(self) -> bool:
        if self._over or self._news.deaf:  # words and the turn's end may both be missing
            return True
        return self.finished is not False if self._floor.worded else self._unanswered
