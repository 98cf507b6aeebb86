"""Whose turn it is: the call's state table.

A call listens, works out an answer, and speaks. Every allowed edge is written down; anything else
is told as a fact and changes nothing, because a surprise in the order of frames must never hurt a
caller. `ENDED` is final.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from calls.events import PhaseCause, PhaseMoved, PhaseRefused


class Phase(StrEnum):
    """Where a call stands."""

    LISTENING = "listening"
    PROCESSING = "processing"
    SPEAKING = "speaking"
    ENDED = "ended"


TRANSITIONS: Final[Mapping[Phase, frozenset[Phase]]] = {
    # Speaking without processing: the greeting, a gentle prompt, a farewell.
    Phase.LISTENING: frozenset({Phase.PROCESSING, Phase.SPEAKING, Phase.ENDED}),
    # Back to listening: the answer failed or was empty, or the caller went on speaking.
    Phase.PROCESSING: frozenset({Phase.LISTENING, Phase.SPEAKING, Phase.ENDED}),
    # Back to listening: said, or barged in. To processing: a tool works on after some words.
    Phase.SPEAKING: frozenset({Phase.LISTENING, Phase.PROCESSING, Phase.ENDED}),
    Phase.ENDED: frozenset(),
}


class CallPhase:
    """The phase of one call."""

    def __init__(self) -> None:
        self._state = Phase.LISTENING

    @property
    def current_state(self) -> Phase:
        """The phase now."""
        return self._state

    def can_transition(self, target: Phase) -> bool:
        """Say whether the table has an edge from here to `target`."""
        return target in TRANSITIONS[self._state]

    def transition_to(
        self, target: Phase, cause: PhaseCause
    ) -> tuple[PhaseMoved | PhaseRefused, ...]:
        """Move, and return the fact; staying where one is is no fact at all."""
        before = self._state
        if target is before:
            return ()
        if not self.can_transition(target):
            return (PhaseRefused(phase=before, target=target, cause=cause),)
        self._state = target
        return (PhaseMoved(before=before, after=target, cause=cause),)
