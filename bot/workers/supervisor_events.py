"""What happens in the supervisor, told by its workers: facts are told there, and nowhere else."""

from collections import deque
from collections.abc import Mapping
from typing import Any, Final

from bot.workers.worker_process import Worker

UNTOLD: Final = 100  # facts that wait for a worker to tell them: of a house that has none now


class HouseNews:
    """Words for the workers: for all of them, or for whichever is there to tell a fact."""

    def __init__(self, workers: Mapping[str, Worker]) -> None:
        """Speak to `workers`, by name; the mapping is kept up to date by its owner."""
        self._workers = workers
        self._untold: deque[tuple[str, Mapping[str, Any]]] = deque(maxlen=UNTOLD)

    def tell_all(self, what: str, **fields: Any) -> None:
        """Tell every worker."""
        for worker in self._workers.values():
            worker.wire.tell(what, **fields)

    def tell_one(self, what: str, **fields: Any) -> None:
        """Have a worker tell what happened here; without one it waits for the next."""
        for worker in sorted(self._workers.values(), key=lambda each: each.leaving):
            if worker.ready.is_set() and worker.wire.tell(what, **fields):
                return
        self._untold.append((what, fields))

    def tell_turned_away(self, reason: str) -> None:
        """Have a worker tell that a call was refused at the door."""
        self.tell_one("turned_away", reason=reason)

    def catch_up(self, worker: Worker) -> None:
        """Have a worker that is ready tell what nobody was there for."""
        while self._untold:
            what, fields = self._untold.popleft()
            worker.wire.tell(what, **fields)
