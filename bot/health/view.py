"""What an operator sees of the providers, and what an operator may do to them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bot.clock import Clock
from bot.config.stages import STAGES, StagesSettings
from bot.health.probing import Prober, by_place
from calls.entry import Tell
from fallbacks.health import Health
from fallbacks.roster import Roster


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderView:
    """All rungs of a process."""

    stages: StagesSettings
    roster: Roster
    probers: Sequence[Prober]
    tell: Tell
    clock: Clock

    @property
    def names(self) -> tuple[str, ...]:
        """The rungs' names."""
        return tuple(rung.name for _, rung in self.stages.rungs())

    def usable(self) -> dict[str, bool]:
        """Return for each stage whether any of its rungs may be asked now."""
        now = self.clock()
        return {
            stage: any(each.usable for each in self.roster.standings(stage, now))
            for stage in STAGES
        }

    def list_rungs(self) -> list[dict[str, Any]]:
        """Return every rung as plain JSON values, stage by stage, preferred rung first."""
        now, probers = self.clock(), by_place(self.probers)
        ranks: dict[str, int] = {}
        found: list[dict[str, Any]] = []
        for stage, rung in self.stages.rungs():
            ranks[stage] = ranks.get(stage, 0) + 1
            place = {"stage": stage, "name": rung.name, "kind": rung.kind, "rank": ranks[stage]}
            health = self.roster.health(stage, rung.name)
            prober = probers.get((stage, rung.name))
            found.append(place | _describe(health, now) | {"last_probe": _probe(prober, now)})
        return found

    def withdraw(self, name: str) -> None:
        """Take the rung of this name out of rotation: calls pass over it from the next turn on."""
        self.roster.withdraw(name, self.clock())

    def put_back(self, name: str) -> None:
        """Put the rung of this name back into rotation."""
        self.roster.put_back(name, self.clock())

    def reset(self, name: str) -> None:
        """Let the rung of this name be tried at once.

        Raises:
            KeyError: There is none.
        """
        for fact in self.roster.reset(name, self.clock()):
            self.tell(fact)
        for each in self.probers:
            if each.health.provider == name:
                each.reset()


def _describe(health: Health, now: float) -> dict[str, Any]:
    standing = health.standing(now)
    wake_at = health.breaker.wake_at
    return {
        "state": health.breaker.state.value,
        "usable": standing.usable,
        "suspect": health.suspect_since is not None,
        "retired": health.retired,
        "withdrawn": health.rotation.out,
        "rests_s": _left_s(health.rests_until, now),
        "half_opens_in_s": None if wake_at is None else _left_s(wake_at, now),
        "failures": health.breaker.failures,
        "p50_s": round(standing.p50_s, 3),
        "p95_s": round(standing.p95_s, 3),
        "spent_s": {
            state.value: round(spent, 1) for state, spent in health.breaker.spent_s(now).items()
        },
    }


def _left_s(until: float, now: float) -> float:
    return round(max(0.0, until - now), 1)


def _probe(prober: Prober | None, now: float) -> dict[str, Any] | None:
    last = prober.last if prober else None
    if last is None:
        return None
    return {
        "ago_s": round(now - last.at_s, 1),
        "real": last.real,
        "ok": last.ok,
        "took_s": round(last.took_s, 3),
        "error": last.error,
    }
