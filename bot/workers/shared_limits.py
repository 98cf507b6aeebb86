"""A worker's share of what the providers allow the whole house."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from bot.workers.pool_client import Joined
from bot.workers.wire import WireError
from fallbacks.work import StagePolicy
from processors.ladder.gate import RungGate

PACE_S: Final = 30.0  # the gate itself gives up as soon as the turn does


class HousePace:
    """One pace for all workers, kept by the supervisor.

    Where that is gone nobody keeps it: the calls that are left get their answers.
    """

    def __init__(self, house: Joined, rung: str) -> None:
        self._house = house
        self._rung = rung

    def has_capacity(self) -> bool:
        """Say whether a request would pass at once, as the supervisor last said."""
        return self._is_gone or self._rung not in self._house.full_paces

    async def acquire(self) -> None:
        """Wait until it is this request's turn; raises `TimeoutError`: that will be too late."""
        try:
            await self._house.wire.ask("pace", within_s=PACE_S, rung=self._rung)
        except WireError as late:
            if not self._is_gone:
                raise TimeoutError(str(late)) from late

    @property
    def _is_gone(self) -> bool:
        return self._house.wire.gone.is_set()


class SharedLimits:
    """The gates of the rungs that have limits, which are the house's."""

    def __init__(self, house: Joined, policies: Iterable[StagePolicy]) -> None:
        """Close every limited gate until the supervisor has lent it some places."""
        self._house = house
        self._numbers: dict[str, int] = {}
        self._told: dict[str, tuple[int, int, int]] = {}
        self._gates: dict[str, RungGate] = {}
        for policy in policies:
            policy.allowance.share(house.workers)
            for name, gate in policy.gates.items():
                self._share(name, gate)
        house.wire.on("lease", self._take)

    def tell(self) -> None:
        """Tell the supervisor what is used and wanted, if that has changed."""
        news = {name: self._use(name) for name in self._gates}
        news = {name: use for name, use in news.items() if self._told.get(name) != use}
        if news:
            self._told |= news
            self._house.wire.tell("places", rungs=news)

    def _share(self, name: str, gate: Any) -> None:
        if not isinstance(gate, RungGate):
            return
        if gate.limits.per_minute is not None:
            gate.pace = HousePace(self._house, name)
        if gate.limits.concurrent is not None:
            self._gates[name] = gate
            self._numbers[name] = 0
            gate.resize(0)
            gate.on_short = self.tell

    def _take(self, said: Mapping[str, Any]) -> None:
        gate = self._gates.get(said["rung"])
        if gate is None:
            # Another configuration limits it, ours does not: what is asked back is free at once.
            self._house.wire.tell("places", rungs={said["rung"]: (said["number"], 0, 0)})
            return
        self._numbers[said["rung"]] = said["number"]
        gate.resize(said["places"])
        self.tell()

    def _use(self, name: str) -> tuple[int, int, int]:
        gate = self._gates[name]
        return self._numbers[name], gate.inside, gate.wanted
