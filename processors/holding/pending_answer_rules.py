"""Tracks whether an answer to the caller is pending, and which outages are still to be announced.

An answer is pending from the caller's stop on. So the line is held even if the decision comes late.
But the agent does not speak while the caller thinks: if turn detection took the pause for
unfinished, nothing is pending until silence has ended the turn. A cough is not a turn: without a
word, nothing is pending. There are two exceptions. No recogniser was left to transcribe a word; or
an answer was pending before the cough, and then it still is, whether the cough sounded finished or
not.
"""

from collections import deque
from dataclasses import dataclass
from math import inf
from typing import Final

from calls.events import CallerStarted, CallerStopped, TurnDecided
from fallbacks.facts import PauseJudged
from processors.holding.late_answer_rules import Holding
from processors.holding.line_rules import (
    AgentCutOff,
    AnswerEvent,
    AnswerOpen,
    AnswerSounded,
    NothingSaid,
    RestTaken,
    ToolBegan,
    ToolEnded,
)
from processors.turn.floor import Floor, WordsCame


class PendingTurn:
    """The caller's turn before it is decided; reset when the caller speaks.

    Attributes:
        decided: It is over: later reports on it change nothing.
        finished: Turn detection's decision on the pause; `None` before a decision.
        unanswered: Earlier words of the caller have no answer yet.
    """

    def __init__(self) -> None:
        self.decided = False
        self.finished: bool | None = None
        self.unanswered = False

    def begin(self, *, unanswered: bool) -> None:
        """Start over because the caller speaks: the decision on an earlier pause is void.

        Args:
            unanswered: An answer is pending.
        """
        self.decided, self.finished = False, None
        self.unanswered = self.unanswered or unanswered

    def settle(self) -> None:
        """Record that the caller's earlier words are answered, or never will be."""
        self.unanswered = False

    def decide(self) -> None:
        """Record that the turn is over."""
        self.decided, self.unanswered = True, False

    def is_pending(self, *, worded: bool, deaf: bool) -> bool:
        """Return whether an answer is pending.

        Args:
            worded: The turn has produced a word.
            deaf: A recogniser failed: words and the turn's end may both be missing.
        """
        if self.decided or deaf:
            return True
        return self.finished is not False if worded else self.unanswered


MOST_NEWS: Final = 8  # failures that are not announced yet; beyond that the oldest is dropped
BEHIND_S: Final = 0.1  # for what follows the report: a voice's last words, a caller's first


@dataclass(frozen=True, slots=True)
class _Exhausted:
    stage: str
    at: float


class StageNews:
    """Holds reports of exhausted stages until they may be announced, never over the caller.

    An STT failure is announced once the caller has finished, not in a mere pause. A TTS failure is
    announced a moment later, since the voice's last words may still arrive. Nothing is announced
    while the caller's last words may be a choice from the menu.

    Attributes:
        deaf: A recogniser failed while the caller spoke: the end of it may go unnoticed.
    """

    def __init__(self, floor: Floor, *, pause_s: float) -> None:
        """Treat a silence of up to `pause_s` seconds as a pause."""
        self.deaf = False
        self._floor = floor
        self._pause_s = pause_s
        self._exhausted: deque[_Exhausted] = deque(maxlen=MOST_NEWS)
        self._pending_until = 0.0

    @property
    def wake_at(self) -> float | None:
        """When to announce the first of them, or `None`."""
        if not self._exhausted or self._floor.caller_speaking:
            return None
        first, stopped_at = self._exhausted[0], self._floor.stopped_at
        if first.stage == "stt":
            paused_at = -inf if stopped_at is None else stopped_at + self._pause_s
            at = max(first.at + BEHIND_S, paused_at)
        else:
            at = first.at + (BEHIND_S if first.stage == "tts" else 0.0)
        return max(at, self._pending_until)

    def exhausted(self, stage: str, now: float) -> None:
        """Add a stage without a rung left."""
        self._exhausted.append(_Exhausted(stage, now))
        self.deaf = self.deaf or stage == "stt"

    def caller_started(self) -> None:
        """Drop the reports of the turn that is now void, except for STT."""
        kept = [exhausted for exhausted in self._exhausted if exhausted.stage == "stt"]
        self._exhausted = deque(kept, maxlen=MOST_NEWS)
        self.deaf = bool(kept)

    def wait_for_word(self, until: float) -> None:
        """Announce nothing before `until`: the caller may have said one of the menu's words."""
        self._pending_until = until

    def drop(self, stage: str) -> None:
        """Drop the reports of a stage that has a substitute, or works again."""
        kept = (exhausted for exhausted in self._exhausted if exhausted.stage != stage)
        self._exhausted = deque(kept, maxlen=MOST_NEWS)

    def due(self, now: float) -> str | None:
        """Return the stage to announce now, once, or `None`."""
        if self.wake_at is None or now < self.wake_at:
            return None
        return self._exhausted.popleft().stage


BREATH_S: Final = 0.2  # the usual maximum of silence before a voice's first word


class PendingAnswer:
    """Tells `Holding` of one call whether an answer is pending.

    pending = PendingAnswer(holding, floor)
    floor.words("Hello", final=False)
    pending.handle(CallerStopped(at_s=100.0, noticed_at_s=100.2), 100.2, deaf=False)
    holding.wake_at  # 101.05
    """

    def __init__(self, holding: Holding, floor: Floor) -> None:
        self._holding = holding
        self._floor = floor
        self._pending = PendingTurn()
        self._tools: set[str] = set()  # ids of running calls
        self._decided_at = -inf  # the end of the last turn
        self._sounded = False  # the agent was heard since it was last interrupted
        self._open = False  # an answer is being written or spoken

    def handle(self, event: AnswerEvent, now: float, *, deaf: bool) -> None:
        """Process an event.

        Args:
            event: What happened.
            now: Monotonic, in seconds.
            deaf: A recogniser failed: words and the turn's end may both be missing.
        """
        match event:
            case CallerStarted() | CallerStopped():
                self._note_caller(event, deaf=deaf)
            case PauseJudged() | WordsCame():
                self._note_pending(event, now, deaf=deaf)
            case TurnDecided():
                self._note_decided(now)
            case NothingSaid():
                self._decided_at = now
                self._pending.settle()
                self._pending.begin(unanswered=False)
                self._holding.expect_nothing()
            case AnswerSounded() | AnswerOpen():
                self._note_answer(event, now)
            case RestTaken():
                if event.dry_at is not None:  # the local voice's words count as the answer
                    self._note_answer(AnswerSounded(dry_at=event.dry_at, audible=True), now)
            case _:
                self._note_tool(event, now)

    def _note_caller(self, event: CallerStarted | CallerStopped, *, deaf: bool) -> None:
        if isinstance(event, CallerStarted):
            self._tools.clear()
            self._pending.begin(unanswered=self._holding.pending_since is not None)
            self._holding.expect_nothing()
            return
        self._sounded = False
        self._holding.caller_stopped(event.at_s)
        if not self._is_pending(deaf=deaf):
            self._holding.paused()  # until the turn ends: it may be a cough, or a pause to think

    def _is_pending(self, *, deaf: bool) -> bool:
        return self._pending.is_pending(worded=self._floor.worded, deaf=deaf)

    def _note_decided(self, now: float) -> None:
        """Process the end of a turn, which may have words alone, too soft for the VAD."""
        self._pending.decide()
        if self._floor.quiet_at > self._decided_at or self._sounded:
            self._holding.decided(now)
        else:
            self._holding.caller_stopped(now)
        self._decided_at = now

    def _note_pending(self, event: PauseJudged | WordsCame, now: float, *, deaf: bool) -> None:
        """Update whether an answer is pending before the turn is decided."""
        if isinstance(event, PauseJudged):
            self._pending.finished = event.finished
        if self._is_pending(deaf=deaf):
            self._holding.decided(now)
        else:
            self._holding.paused()

    def _note_answer(self, event: AnswerSounded | AnswerOpen, now: float) -> None:
        if isinstance(event, AnswerOpen):
            self._open = event.more
            self._holding.goes_on = self._holding.goes_on and event.more
            return
        self._holding.expected(now + BREATH_S)
        if event.audible:  # it is the answer, unless a tool runs
            self._sounded = True
            self._pending.settle()
            at = event.dry_at
            pending_from, more_from = at if self._tools else None, at if self._open else None
            self._holding.answered(pending_from=pending_from, more_from=more_from)

    def _note_tool(self, event: ToolBegan | ToolEnded | AgentCutOff, now: float) -> None:
        """Track running tools: the model's answer to their results is pending."""
        match event:
            case ToolBegan():
                self._tools.add(event.call)
                if self._holding.pending_since is None:
                    self._holding.answered(pending_from=max(now, event.dry_at))
            case ToolEnded() if event.call in self._tools:
                self._tools.remove(event.call)
                if not self._tools and not event.asks:
                    self._holding.answered()  # the model has nothing more to say
            case ToolEnded():  # it was cancelled before
                pass
            case AgentCutOff():
                self._tools.clear()
                self._sounded = self._open = False
                self._holding.goes_on = False
