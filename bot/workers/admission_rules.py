"""Decides how many more calls fit, and which worker gets the next one.

A call is admitted while a seat is free (`full` otherwise) and while there is processor time for it
(`busy` otherwise). Workers report both the cores that they use and the lag of their event loop. The
load of a new call is not in these figures yet, so the average cost of a call is added for it, and
less of that with every second in which its own load is measured. The figures also contain what
building a call has cost, which is spent once, and the load of a call that has just ended, so both
are subtracted (docs/decisions/0031). An admitted call keeps its seat until it ends, or for
`RESERVED_S` if it never begins.

The more calls, the less each costs, because all share the fixed load of the process. So the average
is never less than what the next call adds: admission by the average admits too few calls at first,
not too many (docs/decisions/0031).

A worker that is starting up reports the load of loading models and opening connections, and a
leaving worker without a call that of shutting down. Neither comes from calls, so neither counts.

A call that has lost its worker or its machine gets a seat before new calls do: while it waits for
one, and for `TAKEN_UP_S` after a worker was lost, new calls leave that many seats free.

A worker without a call counts as having room for one, and a pool without a call always admits one:
refusing its only caller would help no other call. All times are monotonic, in seconds.
"""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Final

FULL_CORES: Final = 0.7  # of a core: at 0.72 answers were in time, at 1.08 late (decision 0031)
CALL_CORES: Final = 0.11  # initial value: cores of a single call, the worst case (decision 0031)
CALL_CORES_MIN: Final = 0.05  # per call with ten calls, the best case; less means a quiet moment
CALL_CORES_MAX: Final = 0.35  # two calls per core; more does not come from calls (chosen)
MAX_LAG_S: Final = 0.25  # the 75th percentile of the loop's lag; more breaks up speech
STALE_S: Final = 1.0  # four reports: a worker that misses them counts as late
STARTUP_S: Final = 5.0  # chosen: callers were refused in the first seconds, none after 5 s
SETTLE_S: Final = 3.0  # after this, the measurement contains a call's full load
# Building a call and its pipeline costs as much as this much of the call, and takes so long: 0.18 s
# of processor time within 0.6 s, where a call used 0.11 cores (decision 0031).
BUILDING_COSTS_S: Final = 1.6
BUILDING_TAKES_S: Final = 0.6
MEASURED_S: Final = 2.0  # the window of a worker's core measurement (`bot/workers/meter.py`)
INITIAL_WEIGHT_S: Final = 10.0  # the weight of the initial value, in seconds of calls (chosen)
AVERAGING_S: Final = 60.0  # time constant of the average: a few turns, quiet and busy ones (chosen)
ROUNDING: Final = 1e-6  # tolerance for rounding: seven times 0.1 may exceed 0.7
RESERVED_S: Final = 15.0  # for a call to begin: its audio arrives within seconds or never
# How long seats are left free for the calls of a lost worker, and for a call that is told to wait:
# carriers ask within a second of the loss, and again after a sentence of some 2 s (chosen).
TAKEN_UP_S: Final = 5.0
ON_ITS_WAY_S: Final = 2.0  # a connection sent to a worker begins its call within this time


class WorkerLoad:
    """The load of one worker, from its last report and its calls.

    Attributes:
        cores: The cores that it uses, as last reported.
        leaving: Whether it gets no more calls.
        calls: When each of its calls began, by seat.
        settled_at: From then on, its reports no longer contain its start-up.
        reported_at: When its last report arrived.
    """

    def __init__(self, now: float) -> None:
        self.cores = 0.0
        self.leaving = False
        self.calls: dict[int, float] = {}
        self._lag_s = 0.0
        self.settled_at = now + STARTUP_S
        self.reported_at = now
        self._sent_at: deque[float] = deque()  # send times of connections whose call has not begun
        # Of each call that ended: when, and which fraction of its load the reports contained.
        self._ended: deque[tuple[float, float]] = deque()

    def note_load(self, *, cores: float, lag_s: float, now: float) -> None:
        """Store a report: the cores in use, and the loop's lag (75th percentile)."""
        self.cores, self._lag_s, self.reported_at = cores, lag_s, now

    def note_sent(self, now: float) -> None:
        """Count a call as on its way to this worker, until one begins or for `ON_ITS_WAY_S`."""
        self._sent_at.append(now)

    def begin(self, seat: int, now: float) -> None:
        """Count a call that has begun on this worker; one call fewer is on its way there."""
        self.calls[seat] = now
        if self._sent_at:
            self._sent_at.popleft()

    def end(self, seat: int, now: float) -> None:
        """Remove a call if it was one of this worker's.

        For `MEASURED_S`, what the reports still contain of its load is subtracted.
        """
        began_at = self.calls.pop(seat, None)
        if began_at is not None:
            self._ended.append((now, 1.0 - _remaining_weight(now - began_at, SETTLE_S)))

    def measured_calls(self, now: float) -> float:
        """Return how many calls' load the last report contains.

        A call that has just begun or ended counts as a fraction.
        """
        while self._ended and now - self._ended[0][0] >= MEASURED_S:
            self._ended.popleft()
        ended = sum(share * _remaining_weight(now - at, MEASURED_S) for at, share in self._ended)
        begun = sum(1.0 - _remaining_weight(now - since, SETTLE_S) for since in self.calls.values())
        return ended + begun

    def load(self, call_cores: float, now: float) -> float:
        """Return the cores that its calls use now or will use soon.

        As soon as a call has begun, it counts with `call_cores`, less what the report contains.
        """
        if now < self.settled_at:
            return len(self.calls) * call_cores
        if self.leaving and not self.calls:
            return 0.0
        used = self.cores + (len(self.calls) - self.measured_calls(now)) * call_cores
        building = _building_load([self.reported_at - since for since in self.calls.values()])
        # Where building costs less, as much as in a burst is counted, which no report contains yet.
        steady = max(used - building * call_cores, len(self.calls) * call_cores)
        return max(0.0, min(used, steady))

    def is_late(self, now: float) -> bool:
        """Return whether its loop lags too much for calls, or has not reported lately."""
        return self.is_silent(now) or (now >= self.settled_at and self._lag_s > MAX_LAG_S)

    def is_silent(self, now: float) -> bool:
        """Return whether it may hang: it has not reported for `STALE_S`."""
        return now - self.reported_at > STALE_S

    def room(self, call_cores: float, now: float) -> int:
        """Return how many more calls it can take.

        At least one while it has no call, even if it is late; otherwise a late worker takes none.
        """
        more = calls_in(FULL_CORES - self.load(call_cores, now), call_cores)
        if not self.calls:
            return max(1, more)
        return 0 if self.is_late(now) else max(0, more)

    def spare_key(self, call_cores: float, now: float) -> tuple[bool, float]:
        """Return a sort key: the greater, the more spare capacity."""
        cores = self.load(call_cores, now) + self.calls_coming(now) * call_cores
        return (not self.is_late(now), -cores)

    def calls_coming(self, now: float) -> int:
        """Return how many calls are on their way to this worker."""
        while self._sent_at and now - self._sent_at[0] >= ON_ITS_WAY_S:
            self._sent_at.popleft()
        return len(self._sent_at)


@dataclass(frozen=True, slots=True)
class _Reservation:
    """An admitted call that has not begun."""

    since: float
    call: str


class CallCost:
    """The recent average cost of a call: processor seconds per second of a call."""

    def __init__(self) -> None:
        self._spent_s = CALL_CORES * INITIAL_WEIGHT_S  # processor time
        self._talked_s = INITIAL_WEIGHT_S  # time of calls
        self._learned_at: float | None = None  # the last `learn`; `None` while paused

    @property
    def cores(self) -> float:
        """The cores that one call uses, within bounds."""
        return min(max(self._spent_s / self._talked_s, CALL_CORES_MIN), CALL_CORES_MAX)

    def learn(self, *, cores: float, calls: float, now: float) -> None:
        """Update the average: `calls` calls have used `cores` cores since the last `learn`.

        After a `pause`, this only starts the time. Of a longer time, only `STALE_S` count.
        """
        passed_s = min(now - self._learned_at, STALE_S) if self._learned_at is not None else 0.0
        keep = math.exp(-passed_s / AVERAGING_S)
        self._spent_s = self._spent_s * keep + cores * passed_s
        self._talked_s = self._talked_s * keep + calls * passed_s
        self._learned_at = now

    def pause(self) -> None:
        """Ignore the time until the next `learn`."""
        self._learned_at = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicLimits:
    """How many seats public callers may hold, as in `transports.webrtc`.

    Attributes:
        share: The fraction of all seats that fit; one seat in any case.
        per_address: The number of seats per IP address.
    """

    share: float = 0.5
    per_address: int = 3

    def why_closed(self, address: str, held: Sequence[str], *, fit: int) -> str:
        """Return why a public caller gets no seat: `address_full`, `public_full`, or empty.

        Args:
            address: The caller's IP address.
            held: The address of each seat that public callers hold.
            fit: How many calls of any kind fit.
        """
        if held.count(address) >= self.per_address:
            return "address_full"
        return "public_full" if len(held) >= max(1, int(fit * self.share)) else ""


class LostCalls:
    """The calls that have lost their process and are expected to ask for a seat."""

    def __init__(self) -> None:
        # Until when: by the carrier's id of a call that waits, and by the former seat of others.
        self._until: dict[str | int, float] = {}

    def expected(self, now: float) -> int:
        """Return for how many calls a seat is left free."""
        self._until = {which: until for which, until in self._until.items() if now < until}
        return len(self._until)

    def lose(self, seats: Sequence[int], now: float) -> None:
        """Expect the calls that had these seats of a lost worker, for `TAKEN_UP_S`."""
        self._until |= dict.fromkeys(seats, now + TAKEN_UP_S)

    def ask(self, call: str, now: float, *, waits: bool) -> None:
        """Record the request of a call for a seat, which it has got unless it `waits`.

        Its first request ends the expectation of one call of a lost worker: of those, only the
        seats are known, not the ids.
        """
        former = next((which for which in self._until if not isinstance(which, str)), None)
        if self._until.pop(call, None) is None and former is not None:
            del self._until[former]
        if waits:
            self._until[call] = now + TAKEN_UP_S


class PoolAdmission:
    """Admits calls to seats, and chooses the worker for each.

    Attributes:
        seats: The maximum number of concurrent calls.
        measured: Whether load limits admission; otherwise only the seats do.
        cost: The average cost of a call.
        workers: The workers' loads, by worker number.
        public: The limits of public callers.
    """

    def __init__(
        self,
        *,
        seats: int,
        cores: float,
        measured: bool = True,
        public: PublicLimits | None = None,
    ) -> None:
        """Start without workers.

        Args:
            seats: The maximum number of concurrent calls.
            cores: The cores of this machine.
            measured: Whether load limits admission; otherwise only the seats do.
            public: The limits of public callers.
        """
        self.seats = seats
        self.public = public or PublicLimits()
        self._public: dict[int, str] = {}  # addresses of public callers, by seat
        self.cost = CallCost()
        self.workers: dict[int, WorkerLoad] = {}
        self._cores = cores
        self.measured = measured
        self._numbers = count(1)
        self._reserved: dict[int, _Reservation] = {}  # seats of calls that have not begun
        self._lost_calls = LostCalls()

    @property
    def taken(self) -> int:
        """How many seats are taken, by calls in progress or reserved for calls to come."""
        return len(self._reserved) + sum(len(worker.calls) for worker in self.workers.values())

    def open(self, worker: int, now: float) -> None:
        """Add a worker that can take calls."""
        self.workers[worker] = WorkerLoad(now)

    def lose(self, worker: int, now: float) -> int:
        """Remove a worker that is gone; return how many calls it interrupted.

        For `TAKEN_UP_S`, new calls leave as many seats free for them.
        """
        lost = self.workers.pop(worker, None)
        interrupted = list(lost.calls) if lost else []
        self._lost_calls.lose(interrupted, now)
        return len(interrupted)

    def note_load(self, worker: int, *, cores: float, lag_s: float, now: float) -> None:
        """Store a worker's report, and update the average cost of a call.

        Ignored from a worker that is gone or has not been opened.
        """
        if load := self.workers.get(worker):
            load.note_load(cores=cores, lag_s=lag_s, now=now)
            self._learn_call_cost(now)

    def admit(
        self, now: float, *, call: str = "", address: str = "", goes_on: bool = False
    ) -> int | None:
        """Reserve a seat for an expected call and return it; `None` if the call is refused.

        Args:
            now: The current time.
            call: The carrier's id of the call; another request before it begins returns the same
                seat.
            address: The IP address of a public caller; empty for others.
            goes_on: Whether the call has lost its process. If it is refused, new calls leave a seat
                free for it for `TAKEN_UP_S`.
        """
        reason = self.why_closed(now, address, goes_on=goes_on)
        for seat, reservation in self._reserved.items():
            if call and reservation.call == call:
                return seat
        if goes_on:
            self._lost_calls.ask(call, now, waits=bool(reason))
        if reason:
            return None
        seat = next(self._numbers)
        if address:
            self._public[seat] = address
        self._reserved[seat] = _Reservation(now, call)
        return seat

    def begin(self, seat: int, worker: int, now: float) -> None:
        """Record that a call has begun on a worker, even if its reservation has expired."""
        self._reserved.pop(seat, None)
        if load := self.workers.get(worker):
            load.begin(seat, now)

    def end(self, seat: int, now: float) -> None:
        """Free a seat, whether it is reserved or of a call that has begun."""
        self._reserved.pop(seat, None)
        for load in self.workers.values():
            load.end(seat, now)

    def why_closed(self, now: float, address: str = "", *, goes_on: bool = False) -> str:
        """Return why no call can be taken: `full` or `busy`; empty if one can.

        It is also `full` without a staying worker, and while the last seats are left free for calls
        that have lost their process. Also frees expired seats.

        Args:
            now: The current time.
            address: The IP address of a public caller, for whom the reason may also be
                `address_full` or `public_full`; empty for others.
            goes_on: Whether the call has lost its process.
        """
        room = self.room(now, goes_on=goes_on)  # also frees expired seats
        is_left_free = not room and self.room(now, goes_on=True) > 0
        if self.taken >= self.seats or self.best(now) is None or is_left_free:
            return "full"
        if room <= 0 or not address:
            return "" if room > 0 else "busy"
        held = {*self._reserved, *(seat for load in self.workers.values() for seat in load.calls)}
        self._public = {seat: place for seat, place in self._public.items() if seat in held}
        fit = min(self.seats, self.taken + room)
        return self.public.why_closed(address, list(self._public.values()), fit=fit)

    def room(self, now: float, *, goes_on: bool = False) -> int:
        """Free expired seats; return how many more calls can be admitted.

        Args:
            now: The current time.
            goes_on: Whether they have lost their process; otherwise they are new.
        """
        left_free = 0 if goes_on else self._lost_calls.expected(now)
        self._reserved = {
            seat: item for seat, item in self._reserved.items() if now - item.since < RESERVED_S
        }
        free = max(0, self.seats - self.taken)
        if not self.measured:
            return max(0, free - left_free)
        staying = [load for load in self.workers.values() if not load.leaving]
        rooms = sum(load.room(self.cost.cores, now) for load in staying)
        used = sum(load.load(self.cost.cores, now) for load in self.workers.values())
        by_cores = calls_in(self._cores * FULL_CORES - used, self.cost.cores)
        idle = bool(staying) and not self.taken  # an idle pool always has room for one call
        fit = max(int(idle), min(free, min(rooms, by_cores) - len(self._reserved)))
        return max(0, fit - left_free)

    def best(self, now: float) -> int | None:
        """Return the staying worker with the most spare capacity; `None` if there is none."""
        staying = [number for number, load in self.workers.items() if not load.leaving]

        def rank(number: int) -> tuple[bool, float]:
            load = self.workers[number]
            if self.measured:
                return load.spare_key(self.cost.cores, now)
            # A worker that hangs begins no calls, so by their number alone it would get them all.
            return (not load.is_silent(now), -len(load.calls) - load.calls_coming(now))

        return max(staying, key=rank, default=None)

    def _learn_call_cost(self, now: float) -> None:
        """Update the average cost of a call, unless calls are too few or too new to be measured."""
        calls = sum(len(load.calls) for load in self.workers.values())
        measured = sum(load.measured_calls(now) for load in self.workers.values())
        starting = any(now < load.settled_at for load in self.workers.values())
        # With a single call, most of the load is the worker's own.
        if starting or calls < 2 or measured < calls * 0.9:
            self.cost.pause()
            return
        cores = sum(load.cores for load in self.workers.values())
        self.cost.learn(cores=cores, calls=measured, now=now)


def _remaining_weight(passed_s: float, of_s: float) -> float:
    """Return a weight that falls linearly from 1 to 0 within `of_s`."""
    return max(0.0, 1.0 - passed_s / of_s)


def _building_load(ages_s: Sequence[float]) -> float:
    """Return how many calls' load equals what a report contains of building calls of these ages."""

    def built(age_s: float) -> float:
        return min(max(age_s / BUILDING_TAKES_S, 0.0), 1.0)

    done = sum(built(age_s) - built(age_s - MEASURED_S) for age_s in ages_s)
    return done * BUILDING_COSTS_S / MEASURED_S


def calls_in(cores: float, call_cores: float) -> int:
    """Return how many calls of this cost fit into the cores; negative if the cores are."""
    return int(cores / call_cores + ROUNDING)
