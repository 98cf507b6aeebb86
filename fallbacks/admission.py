"""How many more calls can keep the promise, and which worker has most room for the next one.

A call is taken while a seat is free (`full` otherwise) and while there is time for it in a core
(`busy` otherwise). Time is what was measured: the cores that each worker uses, and how late its
loop is. A call that has just come has not shown its load yet, so it counts with what a call costs
on average, less with every second in which its own load is seen. Whoever was admitted keeps the
seat until the call has ended, or for a while if it never begins.

A worker without a call always has room for one: to refuse the only caller helps nobody.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Final

FULL: Final = 0.9  # of a core: beyond it a burst of a few frames makes every call late
CALL_CORES: Final = 0.1  # what a call is believed to cost before it was measured
CALL_CORES_MIN: Final = 0.04
CALL_CORES_MAX: Final = 0.4
LATE_S: Final = 0.25  # a loop that is so late for so many looks tears words
STALE_S: Final = 1.5  # a worker that has not reported for so long is later than it can say
SETTLE_S: Final = 3.0  # after so long a call's load is in what was measured
LEARN: Final = 0.05  # the weight of one report among those before it
HAIR: Final = 1e-6  # nine times a tenth is a hair more than 0.9
WAIT_S: Final = 15.0  # a telephone's stream and a browser's sound come within seconds, or never
HANDED_S: Final = 2.0  # a connection that was handed on begins its call within that time


@dataclass(slots=True)
class _Seat:
    """One call that was admitted."""

    since: float  # when it was admitted; from its begin on, when it began
    worker: int | None = None


@dataclass(slots=True)
class _Place:
    """One worker, as it was last heard."""

    reported_at: float
    cores: float = 0.0
    lag_s: float = 0.0
    leaving: bool = False
    handed: deque[float] = field(default_factory=deque[float])  # calls on their way to it


class Admission:
    """The seats of the house, and what its workers measure."""

    def __init__(self, *, seats: int, cores: float, measured: bool = True) -> None:
        """Open with no worker.

        Args:
            seats: Calls at once, whatever is measured.
            cores: Of this machine.
            measured: Whether load counts; otherwise seats alone do.
        """
        self.seats = seats
        self.call_cores = CALL_CORES
        self._cores = cores
        self._measured = measured
        self._numbers = count(1)
        self._seats: dict[int, _Seat] = {}
        self._places: dict[int, _Place] = {}

    def open(self, worker: int, now: float) -> None:
        """Count on a worker that can take calls."""
        self._places[worker] = _Place(reported_at=now)

    def leave(self, worker: int) -> None:
        """Give a worker no more calls; those that it has go on."""
        if place := self._places.get(worker):
            place.leaving = True

    def lose(self, worker: int) -> int:
        """Forget a worker that is gone; return how many calls went with it."""
        self._places.pop(worker, None)
        lost = [number for number, seat in self._seats.items() if seat.worker == worker]
        for number in lost:
            del self._seats[number]
        return len(lost)

    def heed(self, worker: int, *, cores: float, lag_s: float, now: float) -> None:
        """Take a worker's report: the cores that it uses, and how late its loop is."""
        if place := self._places.get(worker):
            place.cores, place.lag_s, place.reported_at = cores, lag_s, now
            self._learn(now)

    def calls(self, worker: int | None = None) -> int:
        """Return how many seats are taken: by one worker's calls, or in the whole house."""
        if worker is None:
            return len(self._seats)
        return sum(seat.worker == worker for seat in self._seats.values())

    def admit(self, now: float) -> int | None:
        """Take a seat for a call that is coming; None: there is none."""
        if self.why_closed(now):
            return None
        number = next(self._numbers)
        self._seats[number] = _Seat(now)
        return number

    def begin(self, number: int, worker: int, now: float) -> None:
        """Note which worker has the call; one whose seat was given up gets it back."""
        self._seats[number] = _Seat(now, worker)
        place = self._places.get(worker)
        if place and place.handed:
            place.handed.popleft()

    def end(self, number: int) -> None:
        """Give a seat back."""
        self._seats.pop(number, None)

    def hand(self, worker: int, now: float) -> None:
        """Note that a call is on its way to a worker."""
        if place := self._places.get(worker):
            place.handed.append(now)

    def why_closed(self, now: float) -> str:
        """Return why no call can be taken: `full`, `busy`, or nothing."""
        self._give_up(now)
        if not self._places or len(self._seats) >= self.seats:
            return "full"
        return "" if self.room(now) > 0 else "busy"

    def room(self, now: float) -> int:
        """Return how many more calls can keep the promise."""
        self._give_up(now)
        free = self.seats - len(self._seats)
        if not self._measured:
            return max(0, free)
        waiting = sum(seat.worker is None for seat in self._seats.values())
        rooms = sum(self._room_of(worker, now) for worker in self._open())
        left = self._cores * FULL - sum(self._load(each, now) for each in self._places)
        alone = not self._seats and any(True for _ in self._open())
        return max(int(alone), min(free, rooms - waiting, self._calls_in(left) - waiting))

    def best(self, now: float) -> int | None:
        """Return the worker with most room; None: there is none."""
        return max(self._open(), key=lambda each: self._spare(each, now), default=None)

    def _open(self) -> Iterator[int]:
        return (worker for worker, place in self._places.items() if not place.leaving)

    def _spare(self, worker: int, now: float) -> tuple[bool, float, int, int]:
        place = self._places[worker]
        coming = sum(now - at < HANDED_S for at in place.handed)
        spare = FULL - self._load(worker, now) - coming * self.call_cores
        return (not self._is_late(worker, now), spare, -self.calls(worker), -worker)

    def _room_of(self, worker: int, now: float) -> int:
        calls = self._calls_in(FULL - self._load(worker, now))
        if not self.calls(worker):
            return max(1, calls)
        return 0 if self._is_late(worker, now) else max(0, calls)

    def _calls_in(self, cores: float) -> int:
        """Return how many calls of the usual cost there is time for."""
        return int(cores / self.call_cores + HAIR)

    def _is_late(self, worker: int, now: float) -> bool:
        place = self._places[worker]
        return place.lag_s > LATE_S or now - place.reported_at > STALE_S

    def _load(self, worker: int, now: float) -> float:
        """Return the cores that a worker uses or soon will."""
        return self._places[worker].cores + self._unseen(worker, now) * self.call_cores

    def _unseen(self, worker: int, now: float) -> float:
        """Return how many calls' load has not been measured yet, in parts of a call."""
        since = (seat.since for seat in self._seats.values() if seat.worker == worker)
        return sum(max(0.0, 1.0 - (now - each) / SETTLE_S) for each in since)

    def _learn(self, now: float) -> None:
        """Take what a call costs from what all workers use together."""
        begun = sum(seat.worker is not None for seat in self._seats.values())
        seen = begun - sum(self._unseen(each, now) for each in self._places)
        if begun < 2 or seen < begun * 0.9:  # one call's load is mostly what a worker costs anyway
            return
        each = sum(place.cores for place in self._places.values()) / seen
        each = min(max(each, CALL_CORES_MIN), CALL_CORES_MAX)
        self.call_cores += LEARN * (each - self.call_cores)

    def _give_up(self, now: float) -> None:
        """Free the seats of those who were admitted and never came."""
        for number, seat in tuple(self._seats.items()):
            if seat.worker is None and now - seat.since >= WAIT_S:
                del self._seats[number]
        for place in self._places.values():
            while place.handed and now - place.handed[0] >= HANDED_S:
                place.handed.popleft()
