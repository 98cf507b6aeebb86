"""PoolAdmission: seats, processor time, and a burst whose load is not measured yet."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from bot.workers.admission_rules import (
    CALL_CORES,
    CALL_CORES_MIN,
    FULL_CORES,
    MAX_LAG_S,
    MEASURED_S,
    RESERVED_S,
    SETTLE_S,
    STALE_S,
    STARTUP_S,
    TAKEN_UP_S,
    PoolAdmission,
    PublicLimits,
    calls_in,
)

CARRIED = calls_in(FULL_CORES, CALL_CORES)  # calls of the usual cost in one worker


def pool(
    *, workers: int = 2, seats: int = 100, cores: float = 2, measured: bool = True
) -> PoolAdmission:
    admission = PoolAdmission(seats=seats, cores=cores, measured=measured)
    for number in range(1, workers + 1):
        admission.open(number, now=-STARTUP_S)
        admission.note_load(number, cores=0.0, lag_s=0.0, now=0.0)
    return admission


def fill(admission: PoolAdmission, now: float) -> list[int]:
    """Admit calls, each started at the worker with most room, until one is refused."""
    seats: list[int] = []
    while (seat := admission.admit(now)) is not None:
        admission.begin(seat, admission.best(now) or 0, now)
        seats.append(seat)
    return seats


def report(admission: PoolAdmission, now: float, *, cores: float, lag_s: float = 0.0) -> None:
    for worker in (1, 2):
        admission.note_load(worker, cores=cores, lag_s=lag_s, now=now)


@pytest.mark.parametrize(
    ("workers", "seats", "cores", "carried"),
    [(1, 100, 1, CARRIED), (2, 100, 2, 2 * CARRIED), (2, 5, 2, 5), (2, 100, 1, CARRIED)],
    ids=["one worker", "two workers", "few seats", "two workers on one core"],
)
def test_a_bounded_part_of_a_burst_is_admitted(
    workers: int, seats: int, cores: float, carried: int
) -> None:
    admission = pool(workers=workers, seats=seats, cores=cores)

    assert len(fill(admission, now=0.0)) == carried
    assert admission.why_closed(0.0) == ("full" if carried == seats else "busy")


def test_a_burst_is_spread_evenly() -> None:
    admission = pool()

    fill(admission, now=0.0)

    assert len(admission.workers[1].calls) == len(admission.workers[2].calls)


def test_admitted_calls_that_have_not_begun_take_room_too() -> None:
    admission = pool()

    seats = 0
    while admission.admit(0.0) is not None:
        seats += 1

    assert seats == 2 * CARRIED


def test_a_repeated_call_keeps_its_seat() -> None:
    admission = pool(seats=1)
    seat = admission.admit(0.0, call="CA1")

    assert admission.admit(1.0, call="CA1") == seat
    assert admission.admit(1.0, call="CA2") is None


def admit_public(admission: PoolAdmission, *addresses: str, now: float = 0.0) -> list[int]:
    """Admit public callers, and begin the calls of those who get a seat."""
    seats = [admission.admit(now, address=address) for address in addresses]
    for seat in filter(None, seats):
        admission.begin(seat, 1, now)
    return [seat for seat in seats if seat is not None]


@pytest.mark.parametrize(
    ("seats", "share", "carried"),
    [(10, 0.5, 5), (10, 0.25, 2), (3, 0.5, 1), (1, 0.5, 1), (10, 0.0, 1), (10, 1.0, 10)],
)
def test_public_callers_have_a_share_of_the_seats_and_at_least_one(
    seats: int, share: float, carried: int
) -> None:
    admission = pool(seats=seats, measured=False)
    admission.public = PublicLimits(share=share, per_address=99)

    assert len(admit_public(admission, *(f"10.0.0.{number}" for number in range(20)))) == carried
    assert len(fill(admission, now=0.0)) == seats - carried


def test_public_callers_share_is_a_part_of_the_calls_that_fit_and_not_of_all_seats() -> None:
    admission = pool(seats=1_000)

    held = admit_public(admission, *(f"10.0.0.{number}" for number in range(50)))

    assert len(held) == CARRIED  # half of two workers' calls
    assert admission.why_closed(0.0, "10.0.0.99") == "public_full"


def test_one_address_gets_few_seats_and_the_next_one_after_a_call_has_ended() -> None:
    admission = pool(seats=20, measured=False)
    admission.public = PublicLimits(share=1.0, per_address=2)

    seats = admit_public(admission, *["10.0.0.1"] * 5)
    assert len(seats) == 2
    assert admission.why_closed(0.0, "10.0.0.1") == "address_full"
    assert len(admit_public(admission, "10.0.0.2")) == 1
    admission.end(seats[0], 1.0)

    assert len(admit_public(admission, *["10.0.0.1"] * 5, now=2.0)) == 1


@pytest.mark.parametrize("lost", ["worker", "never began"])
def test_an_ended_public_call_no_longer_counts(lost: str) -> None:
    admission = pool(seats=20, measured=False)
    admission.public = PublicLimits(share=1.0, per_address=1)
    if lost == "worker":
        admit_public(admission, "10.0.0.1")
        admission.lose(1, 0.0)
    else:
        admission.admit(0.0, address="10.0.0.1")

    assert admission.admit(RESERVED_S, address="10.0.0.1") is not None


def test_a_seat_whose_call_never_comes_is_freed() -> None:
    admission = pool(seats=1)
    admission.admit(0.0)

    assert admission.why_closed(RESERVED_S - 0.1) == "full"
    assert admission.why_closed(RESERVED_S) == ""


@pytest.mark.parametrize(
    ("cores", "lag_s", "why"),
    [(0.5, 0.0, ""), (0.5, MAX_LAG_S + 0.1, "busy"), (FULL_CORES, 0.0, "busy")],
    ids=["room", "late", "no core left"],
)
def test_measured_load_decides(cores: float, lag_s: float, why: str) -> None:
    admission = pool()
    for worker in (1, 2):
        admission.begin(admission.admit(0.0) or 0, worker, 0.0)

    report(admission, SETTLE_S + 1, cores=cores, lag_s=lag_s)

    assert admission.why_closed(SETTLE_S + 1) == why


def test_a_worker_without_reports_is_late() -> None:
    admission = pool(workers=1, cores=1)
    admission.begin(admission.admit(0.0) or 0, 1, 0.0)

    assert admission.why_closed(STALE_S) == ""
    assert admission.why_closed(STALE_S + 0.1) == "busy"


def test_load_does_not_count_where_it_is_disabled() -> None:
    admission = pool(seats=50, measured=False)

    assert len(fill(admission, now=0.0)) == 50


def test_the_only_caller_is_admitted_however_busy_the_machine_is() -> None:
    admission = pool()
    report(admission, 1.0, cores=1.0, lag_s=5.0)

    assert admission.why_closed(1.0) == ""


@pytest.mark.parametrize(
    ("cores", "lag_s"),
    [(1.0, 0.0), (0.0, 2 * MAX_LAG_S), (1.0, 2 * MAX_LAG_S)],
    ids=["loads models", "a late loop", "both"],
)
@pytest.mark.parametrize("leaving", [0, 2], ids=["started", "reloaded"])
def test_a_new_worker_accepts_its_full_number_of_calls(
    cores: float, lag_s: float, leaving: int
) -> None:
    admission = pool(workers=leaving)
    for number in admission.workers:
        admission.workers[number].leaving = True
    for number in (11, 12):
        admission.open(number, now=0.0)
    for number in admission.workers:
        admission.note_load(number, cores=cores, lag_s=lag_s, now=0.25)

    assert len(fill(admission, now=0.25)) == 2 * CARRIED


def test_the_load_of_a_starting_worker_does_not_count() -> None:
    admission = PoolAdmission(seats=100, cores=2)
    admission.open(1, now=0.0)
    for seat in range(2):
        admission.begin(admission.admit(0.0) or seat, 1, 0.0)
    admission.note_load(1, cores=FULL_CORES, lag_s=0.0, now=STARTUP_S - 0.1)

    assert admission.why_closed(STARTUP_S - 0.1) == ""
    assert admission.cost.cores == pytest.approx(CALL_CORES)  # the start of a worker is not a call
    assert admission.why_closed(STARTUP_S) == "busy"


def test_a_leaving_worker_counts_as_long_as_it_has_calls() -> None:
    admission = pool(workers=2, cores=1)
    for _ in range(2):
        admission.begin(admission.admit(0.0) or 0, 1, 0.0)
    admission.workers[1].leaving = True
    admission.note_load(1, cores=FULL_CORES, lag_s=0.0, now=SETTLE_S + 1)

    assert admission.why_closed(SETTLE_S + 1) == "busy"


def test_the_next_call_goes_to_the_worker_with_the_most_room() -> None:
    admission = pool()
    admission.note_load(1, cores=0.6, lag_s=0.0, now=1.0)
    admission.note_load(2, cores=0.2, lag_s=0.0, now=1.0)

    assert admission.best(1.0) == 2


def test_with_load_disabled_the_next_call_goes_to_the_worker_with_the_fewest_calls() -> None:
    admission = pool(measured=False)
    admission.begin(admission.admit(1.0) or 0, 1, 1.0)
    admission.note_load(2, cores=0.9, lag_s=9.0, now=1.0)

    assert admission.best(1.0) == 2


def test_without_load_a_hanging_worker_gets_no_calls_either() -> None:
    admission = pool(measured=False)
    admission.begin(admission.admit(1.0) or 0, 1, 1.0)
    admission.note_load(1, cores=0.1, lag_s=0.0, now=1.0 + STALE_S)

    assert admission.best(1.0 + STALE_S) == 1


def test_admitted_calls_count_before_they_begin() -> None:
    admission = pool()
    admission.workers[1].note_sent(now=0.0)

    assert admission.best(0.0) == 2


def test_a_leaving_worker_gets_no_more_calls_and_keeps_its_own() -> None:
    admission = pool()
    seat = admission.admit(0.0) or 0
    admission.begin(seat, 1, 0.0)
    admission.workers[1].leaving = True

    assert admission.best(0.0) == 2
    assert len(admission.workers[1].calls) == 1


def test_a_lost_workers_seats_are_left_free_for_its_calls_at_first() -> None:
    admission = pool(seats=2, measured=False)
    for call in ("CA1", "CA2"):
        admission.begin(admission.admit(0.0, call=call) or 0, 1, 0.0)

    assert admission.lose(1, 1.0) == 2
    assert (admission.why_closed(1.0), admission.room(1.0)) == ("full", 0)
    assert admission.admit(1.0, call="new") is None
    assert admission.admit(1.0, call="CA1", goes_on=True) is not None
    assert admission.admit(1.0, call="new") is None
    assert admission.admit(1.0 + TAKEN_UP_S, call="new") is not None


def test_a_call_that_has_lost_its_process_gets_a_seat_before_new_calls_do() -> None:
    admission = pool(seats=2, measured=False)
    seats = [admission.admit(0.0) or 0 for _ in range(2)]
    for seat in seats:
        admission.begin(seat, 1, 0.0)

    assert [admission.admit(0.0, call=call, goes_on=True) for call in ("CA1", "CA2")] == [None] * 2
    admission.end(seats[0], 1.0)
    assert admission.admit(1.0, call="new") is None
    assert admission.admit(1.0, call="CA2", goes_on=True) is not None
    admission.end(seats[1], 2.0)
    assert admission.admit(2.0, call="new") is None
    assert admission.admit(TAKEN_UP_S, call="new") is not None  # CA1 has not asked again


def test_the_cost_of_a_call_is_learnt() -> None:
    admission = pool()
    for worker in (1, 1, 2, 2):
        admission.begin(admission.admit(0.0) or 0, worker, 0.0)
    for look in range(200):
        report(admission, SETTLE_S + 1 + look / 4, cores=0.4)

    assert admission.cost.cores == pytest.approx(0.2, abs=0.01)
    assert admission.room(SETTLE_S + 51) == 2


# The use of all workers together: the report's rows on two cores, with two workers (2026-11-21).
REPORTED = {1: 0.114, 4: 0.292, 8: 0.456, 10: 0.510}


@pytest.mark.parametrize("calls", REPORTED, ids="{} calls".format)
def test_admission_matches_the_capacity_report(calls: int) -> None:
    admission = pool(seats=20)
    for number in range(calls):
        admission.begin(admission.admit(0.0) or 0, 1 + number % 2, 0.0)
    for look in range(400):
        report(admission, SETTLE_S + look / 4, cores=REPORTED[calls] / 2)

    now = SETTLE_S + 100
    at_most = 2 * FULL_CORES / (REPORTED[calls] / calls)
    assert calls + admission.room(now) <= at_most
    assert admission.room(now) >= min(20, int(at_most)) - calls - 2 if calls > 1 else True


@pytest.mark.parametrize(
    ("worker_cores", "call_cores"),
    [(0.045, 0.044), (0.02, 0.1), (0.02, 0.18), (0.1, 0.3)],
    ids=["as reported", "as aimed at", "as stock Pipecat once", "a slow machine"],
)
def test_callers_one_by_one_fill_the_machine_and_no_more(
    worker_cores: float, call_cores: float
) -> None:
    admission = pool(seats=1000)
    now = 0.0

    for tenth in range(6000):
        now = tenth / 10
        if tenth % 50 == 0 and (seat := admission.admit(now)) is not None:
            admission.begin(seat, admission.best(now) or 0, now)
        for number, worker in admission.workers.items():
            used = worker_cores + call_cores * len(worker.calls)
            admission.note_load(number, cores=used, lag_s=0.0, now=now)

    for worker in admission.workers.values():
        used = worker_cores + call_cores * len(worker.calls)
        assert FULL_CORES - 2 * max(call_cores, CALL_CORES_MIN) <= used <= FULL_CORES


def spent_s(age: float, *, steady: float, building_s: float) -> float:
    """The processor seconds that a call of this age has used: its first 0.6 s also build it."""
    return max(0.0, age) * steady + min(max(0.0, age / 0.6), 1.0) * building_s


@pytest.mark.parametrize("building_s", [0.0, 0.18], ids="{} s to build a call".format)
@pytest.mark.parametrize("gap_s", [0.1, 0.7, 2.5])
def test_callers_in_a_row_fill_a_worker_whatever_building_their_calls_costs(
    gap_s: float, building_s: float
) -> None:
    admission = pool(workers=1, cores=4)
    begun: list[float] = []

    for hundredth in range(2000):
        now = hundredth / 100
        if hundredth % round(gap_s * 100) == 0 and (seat := admission.admit(now)) is not None:
            admission.begin(seat, 1, now)
            begun.append(now)
        if hundredth % 25 == 24:
            window = [
                spent_s(now - began, steady=0.1, building_s=building_s)
                - spent_s(now - MEASURED_S - began, steady=0.1, building_s=building_s)
                for began in begun
            ]
            admission.note_load(1, cores=0.04 + sum(window) / MEASURED_S, lag_s=0.0, now=now)
        if now < 5 * gap_s - 0.01:
            assert len(begun) == int(now / gap_s + 1e-6) + 1, "refused too early"

    assert len(begun) == 6  # calls of 0.1 cores, beside the worker's own load


def test_a_quiet_moment_does_not_make_calls_cheap() -> None:
    admission = pool()
    for number in range(8):
        admission.begin(admission.admit(0.0) or 0, 1 + number % 2, 0.0)
    for look in range(480):
        report(admission, SETTLE_S + look / 4, cores=0.4)

    for look in range(12):  # silence for three seconds
        report(admission, SETTLE_S + 120 + look / 4, cores=0.2)

    assert admission.cost.cores == pytest.approx(0.1, abs=0.005)


def test_many_simultaneous_hang_ups_do_not_make_the_others_expensive() -> None:
    admission = pool()
    seats = fill(admission, 0.0)
    for look in range(480):
        report(admission, SETTLE_S + look / 4, cores=0.3)
    before = admission.cost.cores

    for seat in seats[2:]:
        admission.end(seat, SETTLE_S + 120)
    for look in range(8):  # cores are measured over two seconds
        report(admission, SETTLE_S + 120 + look / 4, cores=0.3)

    assert admission.cost.cores == pytest.approx(before, rel=0.1)


def test_a_caller_right_after_a_hang_up_gets_the_seat() -> None:
    cores = FULL_CORES - CALL_CORES / 2  # of each worker: there is no time for one more
    admission = pool()
    seats = [admission.admit(0.0) or 0 for _ in range(2 * CARRIED)]
    for number, seat in enumerate(seats):
        admission.begin(seat, 1 + number % 2, 0.0)
    now = SETTLE_S + 1
    report(admission, now, cores=cores)
    assert admission.why_closed(now) == "busy"

    admission.end(seats[0], now)

    assert admission.room(now) == 1
    assert admission.best(now) == 1
    report(admission, now + MEASURED_S, cores=cores)  # the load stays: other work causes it
    assert admission.why_closed(now + MEASURED_S) == "busy"


def test_a_call_that_ended_before_its_load_was_measured_gives_nothing_back() -> None:
    admission = pool()
    for number in range(2 * CARRIED):
        admission.begin(admission.admit(0.0) or 0, 1 + number % 2, 0.0)
    now = SETTLE_S + 1
    report(admission, now, cores=FULL_CORES / 2)
    seat = admission.admit(now) or 0
    admission.begin(seat, 1, now)
    report(admission, now, cores=FULL_CORES - CALL_CORES / 2)

    admission.end(seat, now)

    assert admission.why_closed(now) == "busy"


def test_many_workers_learn_no_faster_than_one() -> None:
    costs = []
    for workers in (1, 8):
        admission = pool(workers=workers, cores=8)
        for number in range(1, workers + 1):
            for _ in range(2):
                admission.begin(admission.admit(0.0) or 0, number, 0.0)
        for look in range(40):
            for number in range(1, workers + 1):
                now = SETTLE_S + look / 4
                admission.note_load(number, cores=0.4, lag_s=0.0, now=now)
        costs.append(admission.cost.cores)

    assert costs[0] < 0.2
    assert costs[1] == pytest.approx(costs[0], abs=0.03)


class AdmissionMachine(RuleBasedStateMachine):
    """Calls come, begin and end, workers come and go, and report."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.it = PoolAdmission(seats=12, cores=2)
        self.workers: list[int] = []
        self.coming: list[int] = []
        self.begun: dict[int, int] = {}
        self.opened = 0

    @rule()
    def a_worker_opens(self) -> None:
        self.opened += 1
        self.workers.append(self.opened)
        self.it.open(self.opened, self.now)

    @rule()
    def a_worker_is_lost(self) -> None:
        if self.workers:
            lost = self.workers.pop()
            calls = [seat for seat, worker in self.begun.items() if worker == lost]
            assert self.it.lose(lost, self.now) == len(calls)
            for seat in calls:
                del self.begun[seat]

    @rule()
    def a_call_comes(self) -> None:
        closed = self.it.why_closed(self.now)
        seat = self.it.admit(self.now)
        assert (seat is None) == bool(closed)
        if seat is not None:
            self.coming.append(seat)

    @rule(call=st.sampled_from(["CA1", "CA2"]))
    def a_call_has_lost_its_process(self, call: str) -> None:
        seat = self.it.admit(self.now, call=call, goes_on=True)
        if seat is not None and seat not in self.coming:
            self.coming.append(seat)

    @rule()
    def a_call_begins(self) -> None:
        best = self.it.best(self.now)
        if self.coming and best is not None:
            seat = self.coming.pop(0)
            self.begun[seat] = best
            self.it.begin(seat, best, self.now)

    @rule()
    def a_call_ends(self) -> None:
        if self.begun:
            seat = next(iter(self.begun))
            del self.begun[seat]
            self.it.end(seat, self.now)

    @rule(cores=st.floats(0, 2), lag_s=st.floats(0, 3))
    def a_worker_reports(self, cores: float, lag_s: float) -> None:
        if self.workers:
            self.it.note_load(self.workers[-1], cores=cores, lag_s=lag_s, now=self.now)

    @rule(seconds=st.floats(0, 20))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def every_call_in_progress_has_its_seat(self) -> None:
        assert self.it.taken >= len(self.begun)
        assert self.it.room(self.now) >= 0

    @invariant()
    def nobody_is_sent_to_a_worker_that_is_not_there(self) -> None:
        assert (self.it.best(self.now) in self.workers) or not self.workers


TestAdmissionMachine = AdmissionMachine.TestCase
