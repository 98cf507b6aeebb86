"""What the providers allow the whole house: places lent to workers, and one pace for all."""

from collections.abc import Mapping
from typing import Any

from aiolimiter import AsyncLimiter

from bot.config.settings import Settings
from bot.workers.lease_rules import Leases
from bot.workers.worker_process import Worker
from fallbacks.limits import MINUTE_S


class Quotas:
    """The limits of all rungs that have some."""

    def __init__(self, settings: Settings) -> None:
        """Lend places by the limits in `settings`."""
        self._leases: dict[str, Leases] = {}
        self._paces: dict[str, AsyncLimiter] = {}
        self._workers: dict[str, Worker] = {}
        self.renew(settings)

    def renew(self, settings: Settings) -> None:
        """Lend by the limits of a new configuration; what is lent is not forgotten."""
        for _, rung in settings.stages.rungs():
            if rung.limits.concurrent is not None:
                self._leases.setdefault(rung.name, Leases(0)).limit = rung.limits.concurrent
            pace = getattr(rung.limits, "per_minute", None)
            known = self._paces.get(rung.name)
            if pace and (known is None or known.max_rate != pace):
                self._paces[rung.name] = AsyncLimiter(pace, MINUTE_S)

    def receive(self, worker: Worker) -> None:
        """Lend places to a worker that reads its line, and say when it may make a request."""
        self._workers[worker.name] = worker
        for leases in self._leases.values():
            leases.join(worker.name)
        worker.wire.on("places", lambda said: self._heed(worker, said))
        # who gave up must not go on standing in line: its turn would be nobody's
        worker.wire.answer("pace", self._pace, revocable=True)
        self.divide()

    def lose(self, worker: Worker) -> None:
        """Get back what was lent to a worker that is gone."""
        self._workers.pop(worker.name, None)
        for leases in self._leases.values():
            leases.leave(worker.name)
        self.divide()

    def divide(self) -> None:
        """Lend what is free."""
        for rung, leases in self._leases.items():
            for name, lent in leases.divide().items():
                wire = self._workers[name].wire
                wire.tell("lease", rung=rung, places=lent.places, number=lent.number)

    def full_paces(self) -> list[str]:
        """Return the rungs at which a request would have to wait now."""
        return [name for name, pace in self._paces.items() if not pace.has_capacity()]

    def _heed(self, worker: Worker, said: Mapping[str, Any]) -> None:
        for rung, (number, inside, wanted) in said["rungs"].items():
            if leases := self._leases.get(rung):
                leases.heed(worker.name, number=number, inside=inside, wanted=wanted)
        self.divide()

    async def _pace(self, said: Mapping[str, Any]) -> None:
        pace = self._paces.get(said["rung"])
        if pace is not None:
            await pace.acquire()
