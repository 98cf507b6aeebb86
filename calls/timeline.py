"""The phase of a call, and the timeline of a turn: when each part of the answer was ready.

The parts form a chain: the caller stops, the VAD reports it, the transcript is final, the turn is
decided, then come the model's first word, the first audio, and the first audible sample on the
line. A part that was ready before the previous one took no time of its own, so the parts always add
up to the whole.
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from calls.events import (
    AnswerHeard,
    BudgetMissed,
    CallerStarted,
    CallerStopped,
    DictationHeard,
    Event,
    FirstSpeech,
    FirstToken,
    PhaseCause,
    PhaseMoved,
    PhaseRefused,
    TranscriptFinal,
    TurnDecided,
    TurnParts,
)


class Phase(StrEnum):
    """The phases of a call, which listens, prepares an answer, and speaks; `ENDED` is final."""

    LISTENING = "listening"
    PROCESSING = "processing"
    SPEAKING = "speaking"
    ENDED = "ended"


TRANSITIONS: Final[Mapping[Phase, frozenset[Phase]]] = {
    # To speaking, without processing: the greeting, a prompt, a goodbye.
    Phase.LISTENING: frozenset({Phase.PROCESSING, Phase.SPEAKING, Phase.ENDED}),
    # Back to listening: the answer failed or was empty, or the caller resumed.
    Phase.PROCESSING: frozenset({Phase.LISTENING, Phase.SPEAKING, Phase.ENDED}),
    # Back to listening: finished, or barge-in. To processing: a tool runs after the words.
    Phase.SPEAKING: frozenset({Phase.LISTENING, Phase.PROCESSING, Phase.ENDED}),
    Phase.ENDED: frozenset(),
}
"""All permitted transitions. Any other transition is reported and ignored, because an unexpected
order of frames must not affect a caller."""


class CallPhase:
    """The phase of one call."""

    def __init__(self) -> None:
        self._state = Phase.LISTENING

    @property
    def current_state(self) -> Phase:
        """The current phase."""
        return self._state

    def can_transition(self, target: Phase) -> bool:
        """Return whether the table has a transition from the current phase to `target`."""
        return target in TRANSITIONS[self._state]

    def transition_to(
        self, target: Phase, cause: PhaseCause
    ) -> tuple[PhaseMoved | PhaseRefused, ...]:
        """Change the phase if the table permits it; return the event to publish.

        That is `PhaseRefused` if it does not, and none if the phase is `target` already.
        """
        before = self._state
        if target is before:
            return ()
        if not self.can_transition(target):
            return (PhaseRefused(phase=before, target=target, cause=cause),)
        self._state = target
        return (PhaseMoved(before=before, after=target, cause=cause),)


CHAIN: Final = ("noticed", "transcript", "decided", "first_token", "first_speech", "heard")
PARTS: Final = ("vad_s", "transcript_s", "decision_s", "llm_s", "tts_s", "transport_s")


@dataclass(slots=True)
class _Turn:
    stopped_at_s: float
    marks: dict[str, float] = field(default_factory=dict[str, float])

    def parts(self) -> TurnParts:
        """Return the parts, each at least 0; a missing mark counts as set with the previous one."""
        moments = [self.stopped_at_s]
        heard = self.marks["heard"]
        for name in CHAIN:
            at_s = self.marks.get(name, moments[-1])
            moments.append(min(heard, max(moments[-1], at_s)))
        spans = [after - before for before, after in itertools.pairwise(moments)]
        return TurnParts(**dict(zip(PARTS, spans, strict=True)))


class Timeline:
    """Measures the time to each answer, and its parts, from timed events.

    `handle` records the times in events, and `heard` returns the measurement. Since events contain
    their times, the order in which they arrive within a turn does not matter.
    """

    def __init__(self, *, budget_s: float) -> None:
        self._budget_s = budget_s
        self._turn: _Turn | None = None
        self.number = 0  # of the latest decided turn; 0 during the greeting

    def handle(self, event: Event) -> tuple[AnswerHeard | BudgetMissed, ...]:
        """Record the time in an event of the turn in progress; always returns nothing."""
        match event:
            case CallerStopped():
                self._turn = _Turn(event.at_s, {"noticed": event.noticed_at_s})
            case CallerStarted():
                self._turn = None  # the caller resumes or barges in, so no answer is measured
            case DictationHeard() if self._turn is not None:
                self._turn.stopped_at_s = event.until_s
            case TurnDecided():
                self.number = event.turn
                self._set_mark("decided", event.at_s)
            case TranscriptFinal():
                self._set_mark("transcript", event.at_s)
            case FirstToken():
                self._set_mark("first_token", event.at_s)
            case FirstSpeech():
                self._set_mark("first_speech", event.at_s)
            case _:
                pass
        return ()

    def heard(self, at_s: float) -> tuple[AnswerHeard | BudgetMissed, ...]:
        """Record an audible sample of speech; return the measurement if it begins an answer.

        A turn is measured once: its later samples return nothing. So does the speech before the
        turn is decided and a model has written. `BudgetMissed` follows if it came late.
        """
        turn = self._turn
        if turn is None or not {"decided", "first_token"} <= turn.marks.keys():
            return ()  # the greeting, a prompt, or other speech that is not an answer
        self._turn = None
        turn.marks["heard"] = max(at_s, turn.stopped_at_s)
        parts = turn.parts()
        v2v_s = turn.marks["heard"] - turn.stopped_at_s
        answer = AnswerHeard(turn=self.number, at_s=at_s, v2v_s=v2v_s, parts=parts)
        if v2v_s <= self._budget_s:
            return (answer,)
        most = max(PARTS, key=lambda part: getattr(parts, part))
        return (
            answer,
            BudgetMissed(turn=self.number, v2v_s=v2v_s, budget_s=self._budget_s, most=most),
        )

    def _set_mark(self, name: str, at_s: float) -> None:
        """Set a mark of the turn in progress, if there is one; the first one of a name counts.

        Of transcripts before the decision, the last one counts.
        """
        if self._turn is None:
            return
        if name == "transcript" and "decided" not in self._turn.marks:
            self._turn.marks[name] = at_s  # of several final transcripts, the last one counts
        else:
            self._turn.marks.setdefault(name, at_s)
