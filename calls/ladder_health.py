"""The health of each rung, as the events report it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from calls.sentences import VENDOR_DOWN, Vendors, callers_get, explain, vendor_at
from fallbacks.breaker import State
from fallbacks.failure import ONE_CALL, Kind

OUTAGE: Final = frozenset(
    {Kind.TIMEOUT, Kind.NETWORK, Kind.OVERLOADED, Kind.CUT, Kind.STALLED, Kind.SILENT}
)
"""The kinds of failure of a vendor that is down; which of them a rung has is chance."""


@dataclass(slots=True)
class RungHealth:
    """The health of one rung."""

    breaker: str = State.CLOSED
    suspect: bool = False
    kind: str = ""  # of the latest failure; empty if the rung seems healthy
    reason: str = ""  # of that failure, as a sentence

    @property
    def is_out(self) -> bool:
        """Whether it is suspected, or its breaker is not closed."""
        return self.suspect or self.breaker != State.CLOSED

    def clear(self) -> None:
        """Forget the failures; the breaker's state stays."""
        self.suspect, self.kind, self.reason = False, "", ""


class LadderHealth:
    """The health of all rungs of all ladders, and sentences about it for operators."""

    def __init__(
        self,
        ladders: Mapping[str, Sequence[str]],
        *,
        steps: Collection[str],
        vendors: Vendors | None = None,
    ) -> None:
        """Create a healthy rung for each name.

        Args:
            ladders: The rungs' names by stage, the preferred one first.
            steps: The enabled steps of the outage menu, in any order.
            vendors: The vendors to name in sentences about failures. A rung that has none here
                fails alone, and its sentences use its own name.
        """
        self._ladders = ladders
        self._rungs = {(stage, name): RungHealth() for stage in ladders for name in ladders[stage]}
        self._steps = steps
        self._vendors = vendors or {}

    def get(self, stage: str, name: str) -> RungHealth:
        """Return one rung; for an unknown name, a healthy one that is not stored."""
        return self._rungs.get((stage, name)) or RungHealth()

    def explain(self, stage: str, name: str, kind: str, reason: str) -> str:
        """Return an operator's sentence about a failure of a rung or another system."""
        return explain(kind, reason, vendor_at(self._vendors, stage, name))

    def explain_for_all_calls(self, stage: str, name: str) -> None:
        """Explain a rung's failure as that of all calls, not of one call: its breaker has opened.

        Nothing changes if no failure of the rung is known.
        """
        rung = self.get(stage, name)
        rung.reason = rung.kind and self.explain(stage, name, rung.kind, rung.reason)

    def failing_alike(self, stage: str, name: str, kind: str) -> list[str]:
        """Return the rungs that are out because their vendor is, the preferred one first.

        They include the rung itself, whose latest failure has this kind. It is alone if its vendor
        is unknown, or if the kind is no sign of an outage.
        """
        vendor = vendor_at(self._vendors, stage, name).name
        if not vendor or kind not in OUTAGE:
            return [name]
        return [
            other
            for other in self._ladders.get(stage, ())
            if vendor_at(self._vendors, stage, other).name == vendor
            and (other == name or _is_down(self.get(stage, other)))
        ]

    def explain_together(self, stage: str, names: Sequence[str]) -> str:
        """Return an operator's sentence about two or more rungs of one vendor that fail alike."""
        vendor = vendor_at(self._vendors, stage, names[0])
        vendor = replace(vendor, title=vendor.name, place=_join_with_and(names))
        return explain(VENDOR_DOWN, "", vendor)

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

    def describe_replacement(
        self, stage: str, name: str, *, alike: Sequence[str] = (), is_breaker_open: bool = False
    ) -> str:
        """Return in words what callers get instead of a rung, and whether the rung is tested.

        With an empty `name` it is about the whole stage. What is no rung, such as the CRM, has no
        replacement. `alike` are all rungs that are out because their vendor is down.
        `is_breaker_open` is whether only probes ask the rung, or soon will.
        """
        if not self.has(stage, name):
            return "calls go on without it"
        is_breaker_open = is_breaker_open or self.get(stage, name).breaker == State.OPEN
        other = self._usable_alternative(stage, (name, *alike)) if name else None
        then = callers_get([other] if other else [], self._steps, stage=stage)
        if not name or not is_breaker_open:
            return then
        if len(alike) > 1:
            return f"{then}; {_join_with_and(alike)} are tested until they work again"
        return f"{then}; {name} is tested until it works again"

    def _usable_alternative(self, stage: str, names: Sequence[str]) -> str | None:
        """Return the rung that is used instead of others, or `None`.

        Its breaker is closed; of several such rungs, one without a failure is preferred.
        """
        others = (rung for rung in self._ladders[stage] if rung not in names)
        known = {rung: self.get(stage, rung) for rung in others}
        usable = [name for name, rung in known.items() if rung.breaker == State.CLOSED]
        return min(
            usable, key=lambda name: (known[name].suspect, bool(known[name].kind)), default=None
        )


def _join_with_and(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"


def _is_down(rung: RungHealth) -> bool:
    """Return whether a rung is out for a reason that may be its vendor's outage."""
    return rung.is_out and rung.kind in OUTAGE and ONE_CALL not in rung.reason
