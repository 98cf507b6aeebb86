"""Where calls of all workers get their seats, until the house is closed."""

from collections.abc import Mapping
from typing import Any, Final

from bot.clock import Clock
from bot.workers.admission_rules import HouseSeats
from bot.workers.connections import STARTING
from bot.workers.worker_process import Worker

DRAINING: Final = "draining"  # as `bot.call.switchboard` has it


class SeatDesk:
    """Gives out the seats of a house, and none once it stops."""

    def __init__(self, seats: HouseSeats, workers: Mapping[str, Worker], *, clock: Clock) -> None:
        """Open; who is there, by name, others keep."""
        self._seats = seats
        self._workers = workers
        self._clock = clock
        self._stopping = False

    @property
    def why_closed(self) -> str:
        """The name of the reason why no call is taken, or nothing."""
        return DRAINING if self._stopping else self._seats.why_closed(self._clock())

    @property
    def why_nobody(self) -> str:
        """The name of the reason why no worker is there, if none is."""
        return DRAINING if self._stopping else STARTING

    def stop(self) -> None:
        """Give out no more."""
        self._stopping = True

    def hold(self, call: str) -> str:
        """Hold a seat for the call of a name; return why there is none, or nothing."""
        if not any(each.ready.is_set() for each in self._workers.values()):
            return ""  # nobody answers: the carrier asks its fallback only if it is told so
        return "" if self._seat(call) is not None else self._why_not

    def serve(self, worker: Worker) -> None:
        """Seat the calls of a worker, and hear when they begin and end."""
        wire, seats = worker.wire, self._seats
        wire.on("begin", lambda said: seats.begin(said["seat"], worker.number, self._clock()))
        wire.on("end", lambda said: seats.end(said["seat"], self._clock()))
        wire.answer("admit", self._admit)

    async def _admit(self, said: Mapping[str, Any]) -> Mapping[str, Any]:
        seat = self._seat(said["call"])
        return {"reason": self._why_not} if seat is None else {"seat": seat}

    @property
    def _why_not(self) -> str:
        return self.why_closed or "full"

    def _seat(self, call: str) -> int | None:
        return None if self._stopping else self._seats.admit(self._clock(), call=call)
