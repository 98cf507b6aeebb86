"""Whether the caller is owed an answer, from their pauses and words, our sound and tools."""

from typing import Final

from fallbacks.facts import PauseJudged
from processors.holding.late_answer_rules import Holding
from processors.holding.line_rules import (
    AgentCutOff,
    AnswerDue,
    AnswerOpen,
    AnswerSounded,
    CallerBegan,
    CallerFellSilent,
    DebtEvent,
    NothingSaid,
    RestTaken,
    ToolBegan,
    ToolEnded,
    WordsCame,
)
from processors.holding.pending_turn_rules import PendingTurn

BREATH_S: Final = 0.2  # of silence before a voice's first word, at most, usually


class AnswerDebt:
    """Of one call; has `Holding` owe an answer, or not.

    debt = AnswerDebt(holding)
    debt.handle(CallerFellSilent(stopped_at=100.0, worded=True), 100.2, deaf=False)
    holding.wake_at  # 101.05
    """

    def __init__(self, holding: Holding) -> None:
        self._holding = holding
        self._pending = PendingTurn()
        self._tools: set[str] = set()  # at work, by their calls' ids
        self._stopped = False  # the caller, in the turn that is open
        self._sounded = False  # the agent, since it was last cut off
        self._open = False  # an answer is being written, or spoken

    @property
    def worded(self) -> bool:
        """Whether a word was written down of what the caller says."""
        return self._pending.worded

    def handle(self, event: DebtEvent, now: float, *, deaf: bool) -> None:
        """Note an event.

        Args:
            event: What happened.
            now: Monotonic, in seconds.
            deaf: A recogniser failed: words and the turn's end may both be missing.
        """
        match event:
            case CallerBegan() | CallerFellSilent():
                self._note_caller(event, deaf=deaf)
            case PauseJudged() | WordsCame():
                self._note_pending(event, now, deaf=deaf)
            case AnswerDue():
                self._note_due(now)
            case NothingSaid():
                self._stopped = False
                self._pending.settle()
                self._pending.begin(unanswered=False)
                self._holding.owe_nothing()
            case AnswerSounded() | AnswerOpen():
                self._note_answer(event, now)
            case RestTaken():
                if event.dry_at is not None:  # the local voice's words are the answer, too
                    self._note_answer(AnswerSounded(dry_at=event.dry_at, audible=True), now)
            case _:
                self._note_tool(event, now)

    def _note_caller(self, event: CallerBegan | CallerFellSilent, *, deaf: bool) -> None:
        if isinstance(event, CallerBegan):
            self._tools.clear()
            self._pending.begin(unanswered=self._holding.owed_since is not None)
            self._holding.owe_nothing()
            return
        self._stopped, self._sounded = True, False
        self._holding.caller_stopped(event.stopped_at)
        self._pending.worded = self._pending.worded or event.worded
        if not self._pending.owed(deaf=deaf):
            self._holding.paused()  # until the turn's end: it may be a cough, or a thought

    def _note_due(self, now: float) -> None:
        """Note that the turn is decided; one may be of words alone, too soft for the detector."""
        self._pending.decide()
        if self._stopped or self._sounded:
            self._holding.decided(now)
        else:
            self._holding.caller_stopped(now)
        self._stopped = False

    def _note_pending(self, event: PauseJudged | WordsCame, now: float, *, deaf: bool) -> None:
        """Note what says whether an answer is owed before the turn is decided."""
        if isinstance(event, PauseJudged):
            self._pending.finished = event.finished
        else:
            self._pending.worded = True
        if self._pending.owed(deaf=deaf):
            self._holding.decided(now)
        else:
            self._holding.paused()

    def _note_answer(self, event: AnswerSounded | AnswerOpen, now: float) -> None:
        if isinstance(event, AnswerOpen):
            self._open = event.more
            self._holding.goes_on = self._holding.goes_on and event.more
            return
        self._holding.expected(now + BREATH_S)
        if event.audible:  # it is the answer, unless a tool works
            self._sounded = True
            self._pending.settle()
            at = event.dry_at
            owed_from, more_from = at if self._tools else None, at if self._open else None
            self._holding.answered(owed_from=owed_from, more_from=more_from)

    def _note_tool(self, event: ToolBegan | ToolEnded | AgentCutOff, now: float) -> None:
        """Note what tools are at work: what the model makes of their results is owed."""
        match event:
            case ToolBegan():
                self._tools.add(event.call)
                if self._holding.owed_since is None:
                    self._holding.answered(owed_from=max(now, event.dry_at))
            case ToolEnded() if event.call in self._tools:
                self._tools.remove(event.call)
                if not self._tools and not event.asks:
                    self._holding.answered()  # whatever is to be said is said already
            case ToolEnded():  # it was cut off before
                pass
            case AgentCutOff():
                self._tools.clear()
                self._sounded = self._open = False
                self._holding.goes_on = False
