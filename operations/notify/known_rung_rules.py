"""What the facts so far say of each rung, for telling an operator who is asked instead."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from calls.incident import Trouble
from fallbacks.breaker import State


@dataclass(slots=True)
class KnownRung:
    """One rung."""

    breaker: str = State.CLOSED
    suspect: bool = False
    kind: str = ""  # of its latest failure; empty: nothing speaks against it
    reason: str = ""

    def clear(self) -> None:
        """Forget what spoke against it."""
        self.suspect, self.kind, self.reason = False, "", ""


class KnownRungs:
    """All rungs of all ladders."""

    def __init__(self, ladders: Mapping[str, Sequence[str]], *, steps: Sequence[str]) -> None:
        """Prepare.

        Args:
            ladders: The rungs' names by stage, the preferred one first.
            steps: What callers get when no rung is left, one step after the other.
        """
        self._ladders = ladders
        self._rungs = {(stage, name): KnownRung() for stage in ladders for name in ladders[stage]}
        self._steps = ", ".join(steps) or "nothing"

    def get(self, stage: str, name: str) -> KnownRung:
        """Return one rung; nothing is kept of what stands on no ladder."""
        return self._rungs.get((stage, name)) or KnownRung()

    def has(self, stage: str, name: str) -> bool:
        """Say whether it is a rung on a ladder, or without a name a stage."""
        return stage in self._ladders if not name else (stage, name) in self._rungs

    def left_alone(self, stage: str) -> bool:
        """Say whether every rung of a stage is left alone."""
        rungs = [self.get(stage, name) for name in self._ladders.get(stage, ())]
        return bool(rungs) and all(each.breaker != State.CLOSED for each in rungs)

    def kinds(self, stage: str) -> str:
        """Return what is wrong with each rung of a stage, in a line."""
        kinds = {name: self.get(stage, name).kind for name in self._ladders.get(stage, ())}
        return ", ".join(f"{name}: {kind}" for name, kind in kinds.items() if kind)

    def instead(self, trouble: Trouble) -> str:
        """Say what is done instead, as far as is known at this moment."""
        stage, name = trouble.stage, trouble.rung
        if not self.has(stage, name):
            return "the call goes on without it"
        if not name:
            return self._steps
        other = self._other(stage, name)
        then = f"{other} is asked instead" if other else f"no other rung is left: {self._steps}"
        alone = f"; {name} is left alone until a trial of it succeeds"
        return then + alone if trouble.left_alone else then

    def _other(self, stage: str, name: str) -> str | None:
        """Return the rung that is asked next: the first that is in no doubt, or else the first."""
        others = (each for each in self._ladders[stage] if each != name)
        usable = [each for each in others if self.get(stage, each).breaker == State.CLOSED]
        return min(usable, key=lambda each: bool(self.get(stage, each).kind), default=None)
