"""How many more calls can keep the promise, and which worker has most room for the next one.

A call is taken while a seat is free (`full` otherwise) and while there is time for it in a core
(`busy` otherwise). Time is what was measured: the cores that each worker uses, and how late its
loop is. A call that has just come has not shown its load yet, so it counts with what a call costs
on average, less with every second in which its own load is seen. The load of one that has just
ended is still in what was measured, so it is taken off (docs/decisions/0031). A call that was
admitted keeps the seat until the call has ended, or for a while if it never begins.

What a call costs falls with their number, because the process itself is paid for once. So the
average at this number of calls is never less than what the next one adds, and to go by it lets in
too few at first rather than too many (docs/decisions/0031).

What a worker measures just after its start is its start (models, warm connections), and what one
that leaves without a call measures is its end. Neither is the load of calls, so neither counts.

A worker without a call always has room for one: to refuse the only caller helps nobody.
"""

import math
from collections import deque
from dataclasses import dataclass
from itertools import count
from typing import Final

FULL: Final = 0.7  # of a core: at 0.72 answers were in time, at 1.08 no more (decision 0031)
CALL_CORES: Final = 0.11  # before it was measured: of one call alone, the dearest (decision 0031)
CALL_CORES_MIN: Final = 0.05  # of ten calls, the cheapest: below it a quiet moment was measured
CALL_CORES_MAX: Final = 0.35  # a core that carries two: dearer is trouble, not calls (chosen)
LATE_S: Final = 0.25  # a loop that is so late for so many looks tears words
STALE_S: Final = 1.0  # four reports: a worker that has missed them gets no new connection
START_S: Final = 5.0  # chosen: callers were refused just after a start, after 5 s none
SETTLE_S: Final = 3.0  # after so long a call's load is in what was measured
MEASURED_S: Final = 2.0  # over which a worker's cores are measured (`bot/workers/meter.py`)
BELIEVED_S: Final = 10.0  # of calls: so much weighs what was believed (chosen)
MEMORY_S: Final = 60.0  # a turn of each call, and a few more: their quiet and busy moments (chosen)
HAIR: Final = 1e-6  # seven times 0.1 may be a hair more than 0.7
WAIT_S: Final = 15.0  # a telephone's stream and a browser's sound come within seconds, or never
HANDED_S: Final = 2.0  # a connection that was handed on begins its call within that time


class WorkerLoad:
    """What one worker carries, as it was last heard.

    Attributes:
        cores: That it uses.
        leaving: Gets no more calls.
        calls: Its calls' seats, and when each began.
        settled_at: When what it measures is its start no more.
        reported_at: When it last said anything, as far as that could be heard.
    """

    def __init__(self, now: float) -> None:
        """Count on a worker that can take calls."""
        self.cores = 0.0
        self.leaving = False
        self.calls: dict[int, float] = {}
        self._lag_s = 0.0
        self.settled_at = now + START_S
        self.reported_at = now
        self._handed: deque[float] = deque()  # when calls were sent that have not begun yet
        self._ended: deque[tuple[float, float]] = deque()  # when, and how much of a call was seen

    def heed(self, *, cores: float, lag_s: float, now: float) -> None:
        """Note a report: the cores in use, and how late the loop is."""
        self.cores, self._lag_s, self.reported_at = cores, lag_s, now

    def hand(self, now: float) -> None:
        """Note that a call is on its way here."""
        self._handed.append(now)

    def begin(self, seat: int, now: float) -> None:
        """Note that a call has begun here."""
        self.calls[seat] = now
        if self._handed:
            self._handed.popleft()

    def end(self, seat: int, now: float) -> None:
        """Note that a call is over, if it was one of this worker's."""
        since = self.calls.pop(seat, None)
        if since is not None:
            self._ended.append((now, 1.0 - _left(now - since, SETTLE_S)))

    def seen(self, now: float) -> float:
        """Return how many calls' load is in what was measured, in parts of a call."""
        while self._ended and now - self._ended[0][0] >= MEASURED_S:
            self._ended.popleft()
        over = sum(seen * _left(now - at, MEASURED_S) for at, seen in self._ended)
        return over + sum(1.0 - _left(now - since, SETTLE_S) for since in self.calls.values())

    def load(self, call_cores: float, now: float) -> float:
        """Return the cores that its calls use, or soon will."""
        if now < self.settled_at:
            return len(self.calls) * call_cores
        if self.leaving and not self.calls:
            return 0.0
        return max(0.0, self.cores + (len(self.calls) - self.seen(now)) * call_cores)

    def late(self, now: float) -> bool:
        """Say whether its loop is later than calls bear."""
        return self.silent(now) or (now >= self.settled_at and self._lag_s > LATE_S)

    def silent(self, now: float) -> bool:
        """Say whether it has reported nothing for so long that it may hang."""
        return now - self.reported_at > STALE_S

    def room(self, call_cores: float, now: float) -> int:
        """Return how many more calls it can carry."""
        more = calls_in(FULL - self.load(call_cores, now), call_cores)
        if not self.calls:
            return max(1, more)
        return 0 if self.late(now) else max(0, more)

    def spare(self, call_cores: float, now: float) -> tuple[bool, float]:
        """Return what tells which worker has more room: the greater, the more."""
        cores = self.load(call_cores, now) + self.coming(now) * call_cores
        return (not self.late(now), -cores)

    def coming(self, now: float) -> int:
        """Return how many calls are on their way here."""
        while self._handed and now - self._handed[0] >= HANDED_S:
            self._handed.popleft()
        return len(self._handed)


@dataclass(frozen=True, slots=True)
class _Coming:
    """A call that was admitted and has not begun."""

    since: float
    call: str


class CallCost:
    """What a call costs on average: processor seconds for seconds of calls, lately."""

    def __init__(self) -> None:
        """Believe what was measured elsewhere."""
        self._spent_s = CALL_CORES * BELIEVED_S
        self._talked_s = BELIEVED_S
        self._looked_at: float | None = None  # None: what went on since then counts for nothing

    @property
    def cores(self) -> float:
        """Of one call, within bounds."""
        return min(max(self._spent_s / self._talked_s, CALL_CORES_MIN), CALL_CORES_MAX)

    def learn(self, *, cores: float, calls: float, now: float) -> None:
        """Learn from what so many calls use at this moment."""
        passed_s = min(now - self._looked_at, STALE_S) if self._looked_at is not None else 0.0
        keep = math.exp(-passed_s / MEMORY_S)
        self._spent_s = self._spent_s * keep + cores * passed_s
        self._talked_s = self._talked_s * keep + calls * passed_s
        self._looked_at = now

    def pause(self) -> None:
        """Learn nothing until there is something to be learnt again."""
        self._looked_at = None


class HouseSeats:
    """The seats of all workers together.

    Attributes:
        seats: Calls at once, whatever is measured.
        measured: Whether load counts; otherwise seats alone do.
        cost: Of a call, on average.
        workers: By number.
    """

    def __init__(self, *, seats: int, cores: float, measured: bool = True) -> None:
        """Open with no worker.

        Args:
            seats: Calls at once, whatever is measured.
            cores: Of this machine.
            measured: Whether load counts; otherwise seats alone do.
        """
        self.seats = seats
        self.cost = CallCost()
        self.workers: dict[int, WorkerLoad] = {}
        self._cores = cores
        self.measured = measured
        self._numbers = count(1)
        self._coming: dict[int, _Coming] = {}  # seats of calls that have not begun

    @property
    def taken(self) -> int:
        """How many seats are taken."""
        return len(self._coming) + sum(len(worker.calls) for worker in self.workers.values())

    def open(self, worker: int, now: float) -> None:
        """Count on a worker that can take calls."""
        self.workers[worker] = WorkerLoad(now)

    def lose(self, worker: int) -> int:
        """Forget a worker that is gone; return how many calls went with it."""
        lost = self.workers.pop(worker, None)
        return len(lost.calls) if lost else 0

    def heed(self, worker: int, *, cores: float, lag_s: float, now: float) -> None:
        """Note a worker's report, and learn from all reports what a call costs."""
        if load := self.workers.get(worker):
            load.heed(cores=cores, lag_s=lag_s, now=now)
            self._learn(now)

    def admit(self, now: float, *, call: str = "") -> int | None:
        """Take a seat for a call that is coming; None: there is none.

        Args:
            now: The moment.
            call: The carrier's name for it: one that is asked for again keeps the seat that it has.
        """
        closed = self.why_closed(now)  # gives up seats, too
        for seat, coming in self._coming.items():
            if call and coming.call == call:
                return seat
        if closed:
            return None
        seat = next(self._numbers)
        self._coming[seat] = _Coming(now, call)
        return seat

    def begin(self, seat: int, worker: int, now: float) -> None:
        """Note which worker has the call; one whose seat was given up gets it back."""
        self._coming.pop(seat, None)
        if load := self.workers.get(worker):
            load.begin(seat, now)

    def end(self, seat: int, now: float) -> None:
        """Give a seat back."""
        self._coming.pop(seat, None)
        for load in self.workers.values():
            load.end(seat, now)

    def why_closed(self, now: float) -> str:
        """Return why no call can be taken: `full`, `busy`, or nothing."""
        room = self.room(now)  # gives up seats, too
        if self.taken >= self.seats or self.best(now) is None:
            return "full"
        return "" if room > 0 else "busy"

    def room(self, now: float) -> int:
        """Return how many more calls can keep the promise."""
        self._coming = {
            seat: each for seat, each in self._coming.items() if now - each.since < WAIT_S
        }
        free = max(0, self.seats - self.taken)
        if not self.measured:
            return free
        staying = [worker for worker in self.workers.values() if not worker.leaving]
        rooms = sum(worker.room(self.cost.cores, now) for worker in staying)
        used = sum(worker.load(self.cost.cores, now) for worker in self.workers.values())
        left = calls_in(self._cores * FULL - used, self.cost.cores)
        alone = bool(staying) and not self.taken
        return max(int(alone), min(free, min(rooms, left) - len(self._coming)))

    def best(self, now: float) -> int | None:
        """Return the worker with most room; None: there is none."""
        staying = [number for number, each in self.workers.items() if not each.leaving]

        def rank(number: int) -> tuple[bool, float]:
            load = self.workers[number]
            if self.measured:
                return load.spare(self.cost.cores, now)
            # One that hangs has the fewest calls, and would be given everybody's.
            return (not load.silent(now), -len(load.calls) - load.coming(now))

        return max(staying, key=rank, default=None)

    def _learn(self, now: float) -> None:
        begun = sum(len(item.calls) for item in self.workers.values())
        seen = sum(item.seen(now) for item in self.workers.values())
        starting = any(now < worker.settled_at for worker in self.workers.values())
        # One call's load is mostly what a worker costs anyway.
        if starting or begun < 2 or seen < begun * 0.9:
            self.cost.pause()
            return
        cores = sum(item.cores for item in self.workers.values())
        self.cost.learn(cores=cores, calls=seen, now=now)


def _left(passed_s: float, of_s: float) -> float:
    """Return how much is left of what goes down to nothing in `of_s`."""
    return max(0.0, 1.0 - passed_s / of_s)


def calls_in(cores: float, call_cores: float) -> int:
    """Return how many calls of a cost there is time for."""
    return int(cores / call_cores + HAIR)
