"""Whether the caller is owed an answer, from their pauses and words, our sound and tools."""

from collections import deque
from dataclasses import dataclass
from math import inf
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

# Whether what the caller just said is ours to answer, as long as nobody has decided that.
#
# An answer is owed from the caller's stop on, so that the decision may be late and the line is held
# all the same. But nothing is said to a caller who thinks: when turn detection took the pause for
# no end, nothing is owed until silence has ended the turn. And a cough is no turn: without a word
# of it nothing is owed, unless nobody is left who could have written one down, or an answer was
# owed before it: that one still is, whether the cough sounded finished or not.


class PendingTurn:
    """Of one call; begins anew when the caller speaks.

    Attributes:
        worded: A word was written down of what the caller says.
        finished: What turn detection said of the pause; None: it has not said anything yet.
        unanswered: What the caller said before it has had no answer.
    """

    def __init__(self) -> None:
        self.worded = False
        self.finished: bool | None = None
        self.unanswered = False

    def begin(self, *, unanswered: bool) -> None:
        """The caller speaks: what was said of an earlier pause is void.

        Args:
            unanswered: An answer is owed to them.
        """
        self.worded, self.finished = False, None
        self.unanswered = self.unanswered or unanswered

    def settle(self) -> None:
        """What the caller said before is answered, or never will be."""
        self.unanswered = False

    def decide(self) -> None:
        """The turn is over: whatever is heard of it from now on changes nothing."""
        self.worded = self.finished = True
        self.unanswered = False

    def owed(self, *, deaf: bool) -> bool:
        """Say whether an answer is owed.

        Args:
            deaf: A recogniser failed: words and the turn's end may both be missing.
        """
        return deaf or (self.finished is not False if self.worded else self.unanswered)


OWED: Final = 8  # failures of a stage that are yet to be spoken of; the oldest is forgotten
BEHIND_S: Final = 0.1  # for what comes behind the news: a voice's last words, a caller's first


@dataclass(frozen=True, slots=True)
class _Exhausted:
    stage: str
    at: float


class StageNews:
    """Keeps the news until it may be spoken of: never over the caller.

    A recogniser's failure is spoken of once the caller has finished, not in a mere pause; a
    voice's a moment later, since its last words may still be on their way; and nothing while what
    the caller just said may be one of the menu's words.

    Attributes:
        caller_speaks: Whether the caller speaks now.
        deaf: A recogniser failed while the caller spoke: the end of it may not be noticed.
    """

    def __init__(self, *, pause_s: float) -> None:
        """Count a silence of up to `pause_s` seconds as a pause of the caller's."""
        self.caller_speaks = False
        self.deaf = False
        self._pause_s = pause_s
        self._exhausted: deque[_Exhausted] = deque(maxlen=OWED)
        self._stopped_at = -inf
        self._owed_until = 0.0

    @property
    def wake_at(self) -> float | None:
        """When to speak of the first of them, or None."""
        if not self._exhausted or self.caller_speaks:
            return None
        first = self._exhausted[0]
        if first.stage == "stt":
            at = max(first.at + BEHIND_S, self._stopped_at + self._pause_s)
        else:
            at = first.at + (BEHIND_S if first.stage == "tts" else 0.0)
        return max(at, self._owed_until)

    def exhausted(self, stage: str, now: float) -> None:
        """Note that nobody is left in this stage."""
        self._exhausted.append(_Exhausted(stage, now))
        self.deaf = self.deaf or stage == "stt"

    def caller_began(self) -> None:
        """Drop the news of the turn that is void now; a recogniser's stays."""
        kept = [exhausted for exhausted in self._exhausted if exhausted.stage == "stt"]
        self._exhausted = deque(kept, maxlen=OWED)
        self.caller_speaks, self.deaf = True, bool(kept)

    def caller_fell_silent(self, stopped_at: float) -> None:
        """Note the caller's last voiced sample."""
        self.caller_speaks, self._stopped_at = False, stopped_at

    def wait_for_word(self, until: float) -> None:
        """Say nothing before this moment: the caller may have said one of the menu's words."""
        self._owed_until = until

    def drop(self, stage: str) -> None:
        """Drop the news of a stage that somebody else stands in for, or that is back."""
        kept = (exhausted for exhausted in self._exhausted if exhausted.stage != stage)
        self._exhausted = deque(kept, maxlen=OWED)

    def due(self, now: float) -> str | None:
        """Return the stage to speak of now, once, or None."""
        if self.wake_at is None or now < self.wake_at:
            return None
        return self._exhausted.popleft().stage


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
