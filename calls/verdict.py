"""The verdict on each turn and call: what the caller's ear got.

- *served*: an answer in time, in the agent's own voice.
- *degraded*: an answer, but late, after a filler, or in another voice.
- *hurt*: a clip, the outage menu or silence in place of an answer.
- *lost*: the call was cut by us.

It is decided once, in the process of the call, and published with `TurnJudged` and `CallEnded`.
Everything else reads it there. Providers and failures do not matter: a failure that no caller hears
is no harm, and a caller who is answered by a standby voice throughout an outage hears it, although
no request of that call has failed.

A turn is judged when the next one is decided or the call ends. The outage menu is judged at once.
A turn that the caller made void, by going on or hanging up before an answer was due, is served.
Turn 0 is the greeting. A call is as bad as its worst turn.
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
    """What a caller got, the best first."""

    SERVED = "served"
    DEGRADED = "degraded"
    HURT = "hurt"
    LOST = "lost"


NOT_SERVED: Final = frozenset({CallerVerdict.HURT, CallerVerdict.LOST})
"""The verdicts of a caller who got no answer."""
CUT: Final = frozenset({"failed", "line_lost", "shutdown"})
"""The ends of a call that cut a caller off."""
WAIT_S: Final = 4.0  # the longest silence that a caller may hear; a longer one is no answer
UNHEARD_S: Final = 6.0  # without a first word; a greeting takes 2 s to begin at worst (chosen)
ORDER: Final = {verdict.value: at for at, verdict in enumerate(CallerVerdict)}


def severity_of(verdict: str) -> int:
    """Return the place of a verdict in their order, the best first; an empty one is unknown."""
    return ORDER.get(verdict, -1)


@dataclass(slots=True)
class HeardTurn:
    """What the caller has heard in a turn.

    Attributes:
        number: Of the turn.
        decided: The caller has finished, and waits.
        answered: Audio of the answer went to the line.
        apology: The stage for which a clip replaced the answer; empty without one.
        asked_again: A clip asked the caller to repeat.
        menu: The outage menu was read, or said goodbye.
        held: A filler was said.
        late: The answer came after the budget.
        other_voice: It was spoken by another voice than the agent's.
        told: The verdict was published.
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
    told: bool = False

    @property
    def disturbed(self) -> bool:
        """Whether something was heard in place of an answer."""
        return self.menu or self.asked_again or bool(self.apology)

    def judge(self, *, waited_s: float) -> tuple[CallerVerdict, str]:
        """Return the verdict and its reason.

        Args:
            waited_s: How long the caller has waited, or did wait until going on.
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
    """Judges one call; events in, the events to publish in their place out.

        verdict = VerdictMeter(other_voices={"elevenlabs", "local"})
        verdict.handle(AttemptWon(stage="tts", provider="elevenlabs", ...), 100.0)
        verdict.handle(TurnDecided(turn=1, at_s=103.0), 103.0)
        # (TurnJudged(turn=0, verdict="degraded", why="other_voice"), TurnDecided(...))

    Attributes:
        worst: Of the turns so far.
        why: Its reason.
        other_voices: The voices' rungs that do not sound like the first one.
        turn: The latest decided turn.
        next_turn: The caller speaks again, and it is not decided; else `None`.
        spoke: The agent was heard in this call.
        model_back: A model answered since the last clip.
        inbound: The caller called us.
        began_at: Of the call, monotonic, as the next two.
        over_at: When the pipeline ended; the end of a lost call comes later.
        stopped_at: The caller's last sound; `None` before it.
        waited_s: From there until the caller went on.
    """

    def __init__(self, *, other_voices: Collection[str] = (), worst: str = "") -> None:
        """Begin.

        Args:
            other_voices: The voices' rungs that do not sound like the first one.
            worst: Of a resumed call, its verdict so far; empty for a new call.
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
        """Return the events to publish in place of `event`, which is the last of them."""
        if isinstance(event, TurnDecided):
            return (*self._decide(event, now), event)
        if isinstance(event, CallEnded):
            return self._end(event, now)
        if read := READS.get(type(event)):
            read(self, event, now)
        turn = self.heard_turn
        return (self._tell(turn, now), event) if turn.menu and not turn.told else (event,)

    @property
    def heard_turn(self) -> HeardTurn:
        """The turn to which what is heard now belongs."""
        return self.next_turn or self.turn

    def _decide(self, event: TurnDecided, now: float) -> tuple[TurnJudged, ...]:
        """Begin a turn, and judge the one before."""
        if event.turn <= self.turn.number:
            return ()
        told = self._close(now)
        self.turn = self.next_turn or HeardTurn(event.turn)
        self.turn.number, self.turn.decided = event.turn, True
        self.next_turn = None
        if self.stopped_at is None:  # keys, or words too soft for the VAD
            self.stopped_at = event.at_s
        return told

    def _end(self, event: CallEnded, now: float) -> tuple[Event, ...]:
        now = self.over_at or now
        told = [*self._close(now, ended=True)]
        if self.next_turn and self.next_turn.disturbed and not self.next_turn.told:
            told.append(self._tell(self.next_turn, now))
        if self.inbound and not self.spoke and now - self.began_at >= UNHEARD_S:
            self.note(CallerVerdict.HURT, "no_answer")
        if event.reason in CUT:
            self.note(CallerVerdict.LOST, event.reason)
        return (*told, replace(event, verdict=self.worst, why=self.why))

    def _close(self, now: float, *, ended: bool = False) -> tuple[TurnJudged, ...]:
        return () if self.turn.told else (self._tell(self.turn, now, ended=ended),)

    def _tell(self, turn: HeardTurn, now: float, *, ended: bool = False) -> TurnJudged:
        turn.told = True
        went_on = self.next_turn is not None and not ended
        waited_s = self.waited_s if went_on else now - (self.stopped_at or now)
        verdict, why = turn.judge(waited_s=waited_s)
        self.note(verdict, why)
        return TurnJudged(turn=turn.number, verdict=verdict.value, why=why)

    def note(self, verdict: CallerVerdict, why: str) -> None:
        """Record a verdict on the call, if it is worse than the one so far."""
        if ORDER[verdict] > ORDER[self.worst]:
            self.worst, self.why = verdict.value, why


def _start(meter: VerdictMeter, event: CallStarted, now: float) -> None:
    meter.began_at, meter.inbound = now, event.direction == "inbound"
    meter.turn.number = event.turn
    if event.gap_s:
        meter.note(CallerVerdict.DEGRADED, "resumed")


def _caller_starts(meter: VerdictMeter, event: CallerStarted, now: float) -> None:
    if meter.next_turn:
        meter.next_turn.asked_again = meter.next_turn.asked_again or bool(meter.next_turn.apology)
        return
    meter.waited_s = 0.0 if meter.stopped_at is None else event.at_s - meter.stopped_at
    meter.next_turn = HeardTurn(meter.turn.number + 1)


def _caller_stops(meter: VerdictMeter, event: CallerStopped, now: float) -> None:
    meter.stopped_at = event.at_s


def _move(meter: VerdictMeter, event: PhaseMoved, now: float) -> None:
    meter.spoke = meter.spoke or event.after == Phase.SPEAKING
    meter.over_at = now if event.after == Phase.ENDED else None


def _first_speech(meter: VerdictMeter, event: FirstSpeech, now: float) -> None:
    meter.turn.answered = True
    meter.turn.other_voice |= event.provider in meter.other_voices


def _said(meter: VerdictMeter, event: AgentSaid, now: float) -> None:
    """Take the voice of what the call said itself; it may be heard after the turn was judged."""
    if event.by not in meter.other_voices:
        return
    said_next = meter.next_turn is not None and meter.next_turn.held
    if event.turn == meter.turn.number and not (meter.turn.told or said_next):
        meter.turn.other_voice = True
    else:
        meter.note(CallerVerdict.DEGRADED, "other_voice")


def _won(meter: VerdictMeter, event: AttemptWon, now: float) -> None:
    """Take the voice that is heard; an answer after a clip is late, and no harm."""
    turn = meter.turn
    if event.stage == "llm":
        meter.model_back = True
    if event.stage != "tts":
        return
    turn.other_voice |= event.provider in meter.other_voices
    if turn.apology == "tts" or (turn.apology and meter.model_back):
        turn.apology, turn.late = "", True


def _late(meter: VerdictMeter, event: BudgetMissed, now: float) -> None:
    meter.turn.late = True


def _held(meter: VerdictMeter, event: HeldTheLine, now: float) -> None:
    """Count a filler for the turn that waits, and for the one that may follow it."""
    meter.heard_turn.held = True
    meter.turn.held |= meter.turn.decided and not meter.turn.answered


def _step(meter: VerdictMeter, event: StepTaken, now: float) -> None:
    turn = meter.heard_turn
    if event.step == "local":
        meter.turn.other_voice = meter.turn.answered = True
        meter.turn.apology = "" if meter.turn.apology == "tts" else meter.turn.apology
    elif event.step == "clip":
        turn.apology, meter.model_back = event.stage, False
    else:
        turn.menu = True


def _empty(meter: VerdictMeter, event: AnswerEmpty, now: float) -> None:
    meter.turn.asked_again |= event.asks_again
    meter.turn.answered = True


def _served_otherwise(meter: VerdictMeter, event: Event, now: float) -> None:
    meter.turn.answered = True


def _restored(meter: VerdictMeter, event: LineRestored, now: float) -> None:
    meter.note(CallerVerdict.DEGRADED, "resumed")


READS: Final[Mapping[type[Event], Callable[[VerdictMeter, Any, float], None]]] = {
    CallStarted: _start,
    CallerStarted: _caller_starts,
    CallerStopped: _caller_stops,
    PhaseMoved: _move,
    FirstSpeech: _first_speech,
    AgentSaid: _said,
    AttemptWon: _won,
    BudgetMissed: _late,
    HeldTheLine: _held,
    StepTaken: _step,
    AnswerEmpty: _empty,
    **dict.fromkeys((PersonWanted, CallbackWanted, HandedOver), _served_otherwise),
    LineRestored: _restored,
}
"""The handler of each event; other events change no verdict."""
