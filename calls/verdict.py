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


class Verdict(StrEnum):
    """What a caller got, the best first."""

    SERVED = "served"
    DEGRADED = "degraded"
    HURT = "hurt"
    LOST = "lost"


NOT_SERVED: Final = frozenset({Verdict.HURT, Verdict.LOST})
"""The verdicts of a caller who got no answer."""
CUT: Final = frozenset({"failed", "line_lost", "shutdown"})
"""The ends of a call that cut a caller off."""
WAIT_S: Final = 4.0  # the longest silence that a caller may hear; a longer one is no answer
UNHEARD_S: Final = 6.0  # without a first word; a greeting takes 2 s to begin at worst (chosen)
ORDER: Final = {verdict.value: at for at, verdict in enumerate(Verdict)}


def severity_of(verdict: str) -> int:
    """Return the place of a verdict in their order, the best first; an empty one is unknown."""
    return ORDER.get(verdict, -1)


@dataclass(slots=True)
class _Turn:
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

    def judge(self, *, waited_s: float) -> tuple[Verdict, str]:
        """Return the verdict and its reason.

        Args:
            waited_s: How long the caller has waited, or did wait until going on.
        """
        hurt = {
            "menu": self.menu,
            "clip": bool(self.apology) or self.asked_again,
            "no_answer": self.decided and not self.answered and waited_s >= WAIT_S,
        }
        degraded = {"other_voice": self.other_voice, "filler": self.held, "late": self.late}
        for verdict, reasons in ((Verdict.HURT, hurt), (Verdict.DEGRADED, degraded)):
            if why := next((name for name, holds in reasons.items() if holds), ""):
                return verdict, why
        return Verdict.SERVED, ""


class CallVerdict:
    """Judges one call; events in, the events to publish in their place out.

        verdict = CallVerdict(other_voices={"elevenlabs", "local"})
        verdict.handle(AttemptWon(stage="tts", provider="elevenlabs", ...), 100.0)
        verdict.handle(TurnDecided(turn=1, at_s=103.0), 103.0)
        # (TurnJudged(turn=0, verdict="degraded", why="other_voice"), TurnDecided(...))

    Attributes:
        worst: Of the turns so far.
        why: Its reason.
    """

    def __init__(self, *, other_voices: Collection[str] = (), worst: str = "") -> None:
        """Begin.

        Args:
            other_voices: The voices' rungs that do not sound like the first one.
            worst: Of a resumed call, its verdict so far; empty for a new call.
        """
        self.worst = worst or Verdict.SERVED.value
        self.why = "resumed" if worst else ""
        self._other_voices = frozenset(other_voices)
        self._turn = _Turn(0)
        self._next: _Turn | None = None  # the caller speaks again, and it is not decided
        self._spoke = False  # the agent was heard in this call
        self._model_back = False  # a model answered since the last clip
        self._inbound = False
        self._began_at = 0.0
        self._stopped_at: float | None = None  # the caller's last sound
        self._waited_s = 0.0  # from there until the caller went on
        self._reads: Mapping[type[Event], Callable[[Any, float], None]] = {
            CallStarted: self._start,
            CallerStarted: self._caller_starts,
            CallerStopped: self._caller_stops,
            PhaseMoved: self._move,
            FirstSpeech: self._first_speech,
            AttemptWon: self._won,
            BudgetMissed: self._late,
            HeldTheLine: self._held,
            StepTaken: self._step,
            AnswerEmpty: self._empty,
            **dict.fromkeys((PersonWanted, CallbackWanted, HandedOver), self._served_otherwise),
            LineRestored: self._restored,
        }

    def handle(self, event: Event, now: float) -> tuple[Event, ...]:
        """Return the events to publish in place of `event`, which is the last of them."""
        if isinstance(event, TurnDecided):
            return (*self._decide(event, now), event)
        if isinstance(event, CallEnded):
            return self._end(event, now)
        if read := self._reads.get(type(event)):
            read(event, now)
        turn = self._heard_turn
        return (self._tell(turn, now), event) if turn.menu and not turn.told else (event,)

    @property
    def _heard_turn(self) -> _Turn:
        """The turn to which what is heard now belongs."""
        return self._next or self._turn

    def _decide(self, event: TurnDecided, now: float) -> tuple[TurnJudged, ...]:
        """Begin a turn, and judge the one before."""
        if event.turn <= self._turn.number:
            return ()
        told = self._close(now)
        self._turn = self._next or _Turn(event.turn)
        self._turn.number, self._turn.decided = event.turn, True
        self._next = None
        if self._stopped_at is None:  # keys, or words too soft for the VAD
            self._stopped_at = event.at_s
        return told

    def _end(self, event: CallEnded, now: float) -> tuple[Event, ...]:
        told = [*self._close(now, ended=True)]
        if self._next and self._next.disturbed and not self._next.told:
            told.append(self._tell(self._next, now))
        if self._inbound and not self._spoke and now - self._began_at >= UNHEARD_S:
            self._note(Verdict.HURT, "no_answer")
        if event.reason in CUT:
            self._note(Verdict.LOST, event.reason)
        return (*told, replace(event, verdict=self.worst, why=self.why))

    def _close(self, now: float, *, ended: bool = False) -> tuple[TurnJudged, ...]:
        return () if self._turn.told else (self._tell(self._turn, now, ended=ended),)

    def _tell(self, turn: _Turn, now: float, *, ended: bool = False) -> TurnJudged:
        turn.told = True
        went_on = self._next is not None and not ended
        waited_s = self._waited_s if went_on else now - (self._stopped_at or now)
        verdict, why = turn.judge(waited_s=waited_s)
        self._note(verdict, why)
        return TurnJudged(turn=turn.number, verdict=verdict.value, why=why)

    def _note(self, verdict: Verdict, why: str) -> None:
        if ORDER[verdict] > ORDER[self.worst]:
            self.worst, self.why = verdict.value, why

    def _start(self, event: CallStarted, now: float) -> None:
        self._began_at, self._inbound = now, event.direction == "inbound"
        self._turn.number = event.turn
        if event.gap_s:
            self._note(Verdict.DEGRADED, "resumed")

    def _caller_starts(self, event: CallerStarted, now: float) -> None:
        if self._next:
            self._next.asked_again = self._next.asked_again or bool(self._next.apology)
            return
        self._waited_s = 0.0 if self._stopped_at is None else event.at_s - self._stopped_at
        self._next = _Turn(self._turn.number + 1)

    def _caller_stops(self, event: CallerStopped, now: float) -> None:
        self._stopped_at = event.at_s

    def _move(self, event: PhaseMoved, now: float) -> None:
        self._spoke = self._spoke or event.after == Phase.SPEAKING

    def _first_speech(self, event: FirstSpeech, now: float) -> None:
        self._turn.answered = True
        self._turn.other_voice |= event.provider in self._other_voices

    def _won(self, event: AttemptWon, now: float) -> None:
        """Note whose voice is heard; an answer after a clip is late, and no harm."""
        turn = self._turn
        if event.stage == "llm":
            self._model_back = True
        if event.stage != "tts":
            return
        turn.other_voice |= event.provider in self._other_voices
        if turn.apology == "tts" or (turn.apology and self._model_back):
            turn.apology, turn.late = "", True

    def _late(self, event: BudgetMissed, now: float) -> None:
        self._turn.late = True

    def _held(self, event: HeldTheLine, now: float) -> None:
        """Note a filler: for the turn that waits, and for the one that may follow it."""
        self._heard_turn.held = True
        self._turn.held |= self._turn.decided and not self._turn.answered

    def _step(self, event: StepTaken, now: float) -> None:
        turn = self._heard_turn
        if event.step == "local":
            self._turn.other_voice = self._turn.answered = True
            self._turn.apology = "" if self._turn.apology == "tts" else self._turn.apology
        elif event.step == "clip":
            turn.apology, self._model_back = event.stage, False
        else:
            turn.menu = True

    def _empty(self, event: AnswerEmpty, now: float) -> None:
        self._turn.asked_again |= event.asks_again
        self._turn.answered = True

    def _served_otherwise(self, event: Event, now: float) -> None:
        self._turn.answered = True

    def _restored(self, event: LineRestored, now: float) -> None:
        self._note(Verdict.DEGRADED, "resumed")
