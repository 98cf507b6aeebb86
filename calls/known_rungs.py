"""The health of each rung, as the events report it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from calls.sentences import Vendors, callers_get, explain, vendor_at
from fallbacks.breaker import State


@dataclass(slots=True)
class KnownRung:
    """The health of one rung."""

    breaker: str = State.CLOSED
    suspect: bool = False
    kind: str = ""  # of the latest failure; empty if the rung seems healthy
    reason: str = ""  # of that failure, as a sentence

    def clear(self) -> None:
        """Forget the failures."""
        self.suspect, self.kind, self.reason = False, "", ""


class KnownRungs:
    """The health of all rungs of all ladders."""

    def __init__(
        self,
        ladders: Mapping[str, Sequence[str]],
        *,
        steps: Sequence[str],
        vendors: Vendors | None = None,
    ) -> None:
        """Create a healthy rung for each name.

        Args:
            ladders: The rungs' names by stage, the preferred one first.
            steps: The steps of the outage menu that are enabled.
            vendors: The vendors to name in sentences about failures.
        """
        self._ladders = ladders
        self._rungs = {(stage, name): KnownRung() for stage in ladders for name in ladders[stage]}
        self._steps = steps
        self._vendors = vendors or {}

    def get(self, stage: str, name: str) -> KnownRung:
        """Return one rung; for an unknown name, a healthy one that is not stored."""
        return self._rungs.get((stage, name)) or KnownRung()

    def explain(self, stage: str, name: str, kind: str, reason: str) -> str:
        """Return an operator's sentence about a failure of a rung or another system."""
        return explain(kind, reason, vendor_at(self._vendors, stage, name))

    def prove(self, stage: str, name: str) -> None:
        """Explain the failure of a rung as that of all calls: its breaker has opened."""
        rung = self.get(stage, name)
        rung.reason = rung.kind and self.explain(stage, name, rung.kind, rung.reason)

    def has(self, stage: str, name: str) -> bool:
        """Return whether a rung exists; if `name` is empty, whether the stage does."""
        return stage in self._ladders if not name else (stage, name) in self._rungs

    def is_unavailable(self, stage: str) -> bool:
        """Return whether a stage has rungs, but none whose breaker is closed."""
        rungs = [self.get(stage, name) for name in self._ladders.get(stage, ())]
        return bool(rungs) and all(rung.breaker != State.CLOSED for rung in rungs)

    def reasons(self, stage: str) -> str:
        """Return the sentences about the failures of a stage's rungs, in one line."""
        rungs = [self.get(stage, name) for name in self._ladders.get(stage, ())]
        return "; ".join(dict.fromkeys(rung.reason for rung in rungs if rung.reason))

    def describe_replacement(self, stage: str, name: str, *, is_breaker_open: bool = False) -> str:
        """Return what callers get instead of a rung (of a stage if `name` is empty), in words.

        `is_breaker_open` is whether the rung's breaker is open or about to open, so that only
        probes ask it.
        """
        if not self.has(stage, name):
            return "calls go on without it"
        is_breaker_open = is_breaker_open or self.get(stage, name).breaker == State.OPEN
        other = self._other(stage, name) if name else None
        then = callers_get([other] if other else [], self._steps, stage=stage)
        if not name:
            return then
        tested = f"; {name} is tested until it works again"
        return then + tested if is_breaker_open else then

    def _other(self, stage: str, name: str) -> str | None:
        """Return the rung that is used instead, or `None`.

        Its breaker is closed; of several such rungs, one without a failure is preferred.
        """
        others = (rung for rung in self._ladders[stage] if rung != name)
        known = {rung: self.get(stage, rung) for rung in others}
        usable = [name for name, rung in known.items() if rung.breaker == State.CLOSED]
        return min(
            usable, key=lambda name: (known[name].suspect, bool(known[name].kind)), default=None
        )
