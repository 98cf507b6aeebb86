"""The verdict on each turn and call: how well the caller was served.

- *served*: an answer in time, in the agent's own voice.
- *degraded*: an answer, but late, after a filler, or in another voice.
- *hurt*: a clip, the outage menu or silence in place of an answer.
- *lost*: the call was cut by us.

The verdict is decided once, in the process of the call, and published with `TurnJudged` and
`CallEnded`; all other code reads it there. Only what the caller hears counts. A failure that no
caller hears does no harm. A standby voice counts even if no request of the call has failed.

A turn is judged when the next one is decided or the call ends; if the outage menu was read, at
once. If the caller resumes or hangs up before an answer was due, the turn is served. Turn 0 is the
greeting. The verdict on a call is that on its worst turn.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

from calls.events import (
    AgentSaid,
    BudgetMissed,
    CallbackWanted,
    CallEnded,
    CallerStarted,
    CallerStopped,
    CallStarted,
    Event,
    FirstSpeech,
    PersonWanted,
    PhaseMoved,
    TurnDecided,
    TurnJudged,
)
from calls.leg_events import HandedOver, LineRestored
from calls.timeline import Phase
from fallbacks.events import (
    AnswerEmpty,
    AttemptWon,
    HeldTheLine,
    StepTaken,
)


class CallerVerdict(StrEnum):
    """How well a caller was served, the best first."""

    SERVED = "served"
    DEGRADED = "degraded"
    HURT = "hurt"
    LOST = "lost"


NOT_SERVED: Final = frozenset({CallerVerdict.HURT, CallerVerdict.LOST})
"""The verdicts on callers who got no answer."""
CUT: Final = frozenset({"failed", "line_lost", "shutdown"})
"""The reasons in `CallEnded` that mean that we cut a caller off."""
WAIT_S: Final = 4.0  # the longest silence before an answer; after it, the turn has no answer
# A caller who heard nothing in a call of this length was hurt (chosen). Even a slow greeting begins
# within 2 s.
UNHEARD_S: Final = 6.0
ORDER: Final = {verdict.value: rank for rank, verdict in enumerate(CallerVerdict)}


def severity_of(verdict: str) -> int:
    """Return the rank of a verdict, from 0 for the best; -1 if it is empty or unknown."""
    return ORDER.get(verdict, -1)


@dataclass(slots=True)
class HeardTurn:
    """What the caller has heard in a turn.

    Attributes:
        number: The turn's number.
        decided: Whether the turn is over, so that the caller waits for an answer.
        answered: Whether audio of the answer went to the line.
        apology: The stage whose outage a clip announced in place of an answer; empty without one.
        asked_again: Whether a clip asked the caller to repeat.
        menu: Whether the outage menu was read, or its goodbye.
        held: Whether a filler was said.
        late: Whether the answer came after the budget.
        other_voice: Whether a voice other than the agent's was heard.
        published: Whether the verdict was published.
    """

    number: int
    decided: bool = False
    answered: bool = False
    apology: str = ""
    asked_again: bool = False
    menu: bool = False
    held: bool = False
    late: bool = False
    other_voice: bool = False
    published: bool = False

    @property
    def disturbed(self) -> bool:
        """Whether something was heard in place of an answer."""
        return self.menu or self.asked_again or bool(self.apology)

    def judge(self, *, waited_s: float) -> tuple[CallerVerdict, str]:
        """Return the verdict and its reason.

        Args:
            waited_s: How long the caller has waited, or had waited before resuming.
        """
        hurt = {
            "menu": self.menu,
            "clip": bool(self.apology) or self.asked_again,
            "no_answer": self.decided and not self.answered and waited_s >= WAIT_S,
        }
        degraded = {"filler": self.held, "other_voice": self.other_voice, "late": self.late}
        for verdict, reasons in ((CallerVerdict.HURT, hurt), (CallerVerdict.DEGRADED, degraded)):
            if why := next((name for name, holds in reasons.items() if holds), ""):
                return verdict, why
        return CallerVerdict.SERVED, ""


class VerdictMeter:
    """Judges one call: takes events, and returns the events to publish in their place.

        verdict = VerdictMeter(other_voices={"elevenlabs", "local"})
        verdict.handle(AttemptWon(stage="tts", provider="elevenlabs", ...), 100.0)
        verdict.handle(TurnDecided(turn=1, at_s=103.0), 103.0)
        # (TurnJudged(turn=0, verdict="degraded", why="other_voice"), TurnDecided(...))

    Attributes:
        worst: The worst verdict on the turns so far.
        why: The reason of that verdict.
        other_voices: The TTS rungs that do not sound like the first one.
        turn: The latest decided turn.
        next_turn: The turn that the caller has begun and that is not decided; else `None`.
        spoke: Whether the agent was heard in this call.
        model_back: Whether a model has answered since the last clip.
        inbound: Whether the caller called us.
        began_at: When the call began; monotonic, in seconds.
        over_at: When the pipeline ended; if the line was lost, `CallEnded` comes later.
        stopped_at: When the caller last stopped; `None` before that.
        waited_s: How long the caller had waited before resuming.
    """

    def __init__(self, *, other_voices: Collection[str] = (), worst: str = "") -> None:
        """Create the meter of one call.

        Args:
            other_voices: The TTS rungs that do not sound like the first one.
            worst: The verdict on a resumed call so far; empty for a new call.
        """
        self.worst = worst or CallerVerdict.SERVED.value
        self.why = "resumed" if worst else ""
        self.other_voices = frozenset(other_voices)
        self.turn = HeardTurn(0)
        self.next_turn: HeardTurn | None = None
        self.spoke = False
        self.model_back = False
        self.inbound = False
        self.began_at = 0.0
        self.over_at: float | None = None
        self.stopped_at: float | None = None
        self.waited_s = 0.0

    def handle(self, event: Event, now: float) -> tuple[Event, ...]:
        """Return the events to publish in place of `event`, which is one of them, in order.

        `CallEnded` gets the call's verdict. The others stay as they are. `now` is monotonic, in
        seconds.
        """
        if isinstance(event, TurnDecided):
            return (*self._begin_turn(event, now), event)
        if isinstance(event, CallEnded):
            return self._end_call(event, now)
        if update := UPDATES.get(type(event)):
            update(self, event, now)
        turn = self.heard_turn
        return (
            (self._judge_turn(turn, now), event) if turn.menu and not turn.published else (event,)
        )

    @property
    def heard_turn(self) -> HeardTurn:
        """The turn that audio on the line belongs to now."""
        return self.next_turn or self.turn

    def _begin_turn(self, event: TurnDecided, now: float) -> tuple[TurnJudged, ...]:
        """Begin a turn, and judge the previous one; do nothing for a turn that has begun."""
        if event.turn <= self.turn.number:
            return ()
        verdicts = self._judge_unpublished(now)
        self.turn = self.next_turn or HeardTurn(event.turn)
        self.turn.number, self.turn.decided = event.turn, True
        self.next_turn = None
        if self.stopped_at is None:  # the turn has only digits, or words too soft for the VAD
            self.stopped_at = event.at_s
        return verdicts

    def _end_call(self, event: CallEnded, now: float) -> tuple[Event, ...]:
        """Judge the last turns; return their verdicts, and the event with the call's verdict.

        An undecided turn is judged only if something was heard in place of its answer. A call that
        we cut is lost; an inbound caller who heard nothing for `UNHEARD_S` is hurt.
        """
        now = self.over_at or now
        verdicts = [*self._judge_unpublished(now, ended=True)]
        if self.next_turn and self.next_turn.disturbed and not self.next_turn.published:
            verdicts.append(self._judge_turn(self.next_turn, now))
        if self.inbound and not self.spoke and now - self.began_at >= UNHEARD_S:
            self.note(CallerVerdict.HURT, "no_answer")
        if event.reason in CUT:
            self.note(CallerVerdict.LOST, event.reason)
        return (*verdicts, replace(event, verdict=self.worst, why=self.why))

    def _judge_unpublished(self, now: float, *, ended: bool = False) -> tuple[TurnJudged, ...]:
        """Judge the latest decided turn, unless its verdict was published."""
        return () if self.turn.published else (self._judge_turn(self.turn, now, ended=ended),)

    def _judge_turn(self, turn: HeardTurn, now: float, *, ended: bool = False) -> TurnJudged:
        """Judge a turn, and note its verdict for the call; return the event, and mark it published.

        If the caller has resumed, the wait for an answer ended then, else at `now`.
        """
        turn.published = True
        resumed = self.next_turn is not None and not ended
        waited_s = self.waited_s if resumed else now - (self.stopped_at or now)
        verdict, why = turn.judge(waited_s=waited_s)
        self.note(verdict, why)
        return TurnJudged(turn=turn.number, verdict=verdict.value, why=why)

    def note(self, verdict: CallerVerdict, why: str) -> None:
        """Record a verdict on the call, if it is worse than the one so far."""
        if ORDER[verdict] > ORDER[self.worst]:
            self.worst, self.why = verdict.value, why


def _on_call_started(meter: VerdictMeter, event: CallStarted, now: float) -> None:
    """Begin the call; one that was resumed after a gap is degraded at best."""
    meter.began_at, meter.inbound = now, event.direction == "inbound"
    meter.turn.number = event.turn
    if event.gap_s:
        meter.note(CallerVerdict.DEGRADED, "resumed")


def _caller_starts(meter: VerdictMeter, event: CallerStarted, now: float) -> None:
    """Begin the next turn. If it has begun, and got a clip, the caller now repeats the words."""
    if meter.next_turn:
        meter.next_turn.asked_again = meter.next_turn.asked_again or bool(meter.next_turn.apology)
        return
    meter.waited_s = 0.0 if meter.stopped_at is None else event.at_s - meter.stopped_at
    meter.next_turn = HeardTurn(meter.turn.number + 1)


def _caller_stops(meter: VerdictMeter, event: CallerStopped, now: float) -> None:
    meter.stopped_at = event.at_s


def _on_phase_moved(meter: VerdictMeter, event: PhaseMoved, now: float) -> None:
    """Record that the agent was heard, and when the pipeline ended."""
    meter.spoke = meter.spoke or event.after == Phase.SPEAKING
    meter.over_at = now if event.after == Phase.ENDED else None


def _first_speech(meter: VerdictMeter, event: FirstSpeech, now: float) -> None:
    """Record that the decided turn has an answer, even if the next one has begun."""
    meter.turn.answered = True
    meter.turn.other_voice |= event.provider in meter.other_voices


def _on_agent_said(meter: VerdictMeter, event: AgentSaid, now: float) -> None:
    """Record the voice of the call's own speech, which may be heard after the turn was judged."""
    if event.by not in meter.other_voices:
        return
    next_has_filler = meter.next_turn is not None and meter.next_turn.held
    if event.turn == meter.turn.number and not (meter.turn.published or next_has_filler):
        meter.turn.other_voice = True
    else:
        meter.note(CallerVerdict.DEGRADED, "other_voice")


def _on_attempt_won(meter: VerdictMeter, event: AttemptWon, now: float) -> None:
    """Record the voice that is used; an answer after a clip makes the turn late, not hurt.

    `apology` is the stage whose clip the caller has heard, and `model_back` whether a model has
    answered since.
    """
    turn = meter.turn
    if event.stage == "llm":
        meter.model_back = True
    if event.stage != "tts":
        return
    turn.other_voice |= event.provider in meter.other_voices
    if turn.apology == "tts" or (turn.apology and meter.model_back):
        turn.apology, turn.late = "", True


def _on_budget_missed(meter: VerdictMeter, event: BudgetMissed, now: float) -> None:
    meter.turn.late = True


def _on_held_the_line(meter: VerdictMeter, event: HeldTheLine, now: float) -> None:
    """Record a filler for the turn in progress, and for a decided turn without an answer."""
    meter.heard_turn.held = True
    meter.turn.held |= meter.turn.decided and not meter.turn.answered


def _on_step_taken(meter: VerdictMeter, event: StepTaken, now: float) -> None:
    """Record an answer by the local voice, a clip, or a step of the menu."""
    turn = meter.heard_turn
    if event.step == "local":
        meter.turn.other_voice = meter.turn.answered = True
        meter.turn.apology = "" if meter.turn.apology == "tts" else meter.turn.apology
    elif event.step == "clip":
        turn.apology, meter.model_back = event.stage, False
    else:
        turn.menu = True


def _on_answer_empty(meter: VerdictMeter, event: AnswerEmpty, now: float) -> None:
    """Count an empty answer as an answer; if a clip asks the caller to repeat, the turn is hurt."""
    meter.turn.asked_again |= event.asks_again
    meter.turn.answered = True


def _served_otherwise(meter: VerdictMeter, event: Event, now: float) -> None:
    """Count a transfer or a callback as the answer of the turn."""
    meter.turn.answered = True


def _on_line_restored(meter: VerdictMeter, event: LineRestored, now: float) -> None:
    meter.note(CallerVerdict.DEGRADED, "resumed")


UPDATES: Final[Mapping[type[Event], Callable[[VerdictMeter, Any, float], None]]] = {
    CallStarted: _on_call_started,
    CallerStarted: _caller_starts,
    CallerStopped: _caller_stops,
    PhaseMoved: _on_phase_moved,
    FirstSpeech: _first_speech,
    AgentSaid: _on_agent_said,
    AttemptWon: _on_attempt_won,
    BudgetMissed: _on_budget_missed,
    HeldTheLine: _on_held_the_line,
    StepTaken: _on_step_taken,
    AnswerEmpty: _on_answer_empty,
    **dict.fromkeys((PersonWanted, CallbackWanted, HandedOver), _served_otherwise),
    LineRestored: _on_line_restored,
}
"""The function that handles each event; other events change no verdict."""
