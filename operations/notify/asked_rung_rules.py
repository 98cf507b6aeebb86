"""Whom a call has asked for what each stage does now: what did its caller harm, and what not.

A rung that failed a call, or let it wait until another took over, touched its caller. One that was
not asked, because it was in doubt or out of rotation, did the caller no harm.
"""

from dataclasses import dataclass, field
from typing import Final

from fallbacks.facts import AttemptFailed, AttemptStarted, AttemptWon, RungChosen

STAGES: Final = frozenset({"stt", "llm", "tts"})


@dataclass(slots=True)
class StageWork:
    """Whom one call has asked for the piece of work that a stage does now."""

    asked: set[str] = field(default_factory=set[str])
    served: bool = False

    def start(self, provider: str) -> None:
        """Note that one was asked: for the next piece if this one was served."""
        if self.served:
            self.asked, self.served = set(), False
        self.asked.add(provider)


class AskedRungs:
    """What the stages of one call are at."""

    def __init__(self) -> None:
        self._work: dict[str, StageWork] = {}

    def heed(self, fact: object) -> bool:
        """Note a fact; return whether it touched the caller."""
        match fact:
            case AttemptStarted():
                self._of(fact.stage).start(fact.provider)
            case AttemptWon() if fact.stage in STAGES:
                self._of(fact.stage).served = True
            case AttemptFailed():
                return fact.stage in STAGES
            case RungChosen():
                return fact.before in self._of(fact.stage).asked
            case _:
                pass
        return False

    def _of(self, stage: str) -> StageWork:
        return self._work.setdefault(stage, StageWork())
