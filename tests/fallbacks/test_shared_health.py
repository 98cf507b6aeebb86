"""Two processes' states of one rung, exchanged as messages."""

import pytest

from fallbacks.availability import SERVED_S, RungAvailability, RungState
from fallbacks.breaker import BreakerSettings, State
from fallbacks.failure import Kind, failed
from fallbacks.shared_health import SERVED_EACH_S, STALE_S, Aspect, RungReport, SharedRung

UTC_S = 1_700_000_000.0  # the wall clock when both monotonic clocks are as below
HERE, THERE = 100.0, 5_000.0  # the two processes' own clocks


class Process:
    """One process's rung; its clock runs with the other's but from another start."""

    def __init__(self, clock_s: float, *, born_s: float = 0.0) -> None:
        self.clock_s = clock_s
        self.off_s = 0.0  # its error in the board's clock
        self.rung = RungAvailability("llm", "it", now=clock_s + born_s, settings=BreakerSettings())
        self.shared = SharedRung("llm/it", self.rung)

    def now(self, at_s: float) -> float:
        return self.clock_s + at_s

    def fails(
        self, at_s: float, kind: Kind = Kind.NETWORK, *, probe: bool = False, **said: float | None
    ) -> None:
        permit = self.rung.permit(self.now(at_s), probe=probe)
        assert permit is not None
        failure = failed(kind, "llm", provider="it", retry_after_s=said.get("retry_after_s"))
        self.rung.failed(permit, failure, now=self.now(at_s))

    def succeeds(self, at_s: float) -> None:
        permit = self.rung.permit(self.now(at_s), probe=True)
        assert permit is not None
        self.rung.succeeded(permit, self.now(at_s))

    def serves(self, at_s: float) -> None:
        permit = self.rung.permit(self.now(at_s))
        assert permit is not None
        self.rung.succeeded(permit, self.now(at_s))

    def changes(self, at_s: float) -> tuple[RungReport, ...]:
        return self.shared.take_changes(self.now(at_s), utc_s=UTC_S + at_s + self.off_s)

    def adopts(self, reports: tuple[RungReport, ...], at_s: float) -> list[bool]:
        return [
            self.shared.adopt(report, self.now(at_s), utc_s=UTC_S + at_s + self.off_s)
            for report in reports
        ]

    def usable(self, at_s: float) -> bool:
        return self.rung.at(self.now(at_s)).usable


@pytest.fixture
def here() -> Process:
    return Process(HERE)


@pytest.fixture
def there() -> Process:
    return Process(THERE)


def test_an_untouched_rung_has_no_message(here: Process) -> None:
    assert here.changes(1.0) == ()


def test_a_suspicion_of_one_process_is_shared_and_not_repeated(
    here: Process, there: Process
) -> None:
    here.fails(1.0)
    reports = here.changes(1.5)

    assert there.adopts(reports, 1.6) == [True, True]
    assert there.rung.cause == Kind.NETWORK
    assert there.rung.suspect_since == pytest.approx(there.now(1.0))
    assert there.changes(2.0) == ()


def test_an_old_all_clear_does_not_clear_a_newer_suspicion(here: Process, there: Process) -> None:
    there.fails(1.0)
    there.succeeds(2.0)
    reports = there.changes(2.1)
    here.fails(3.0)

    here.adopts(reports, 3.1)

    assert here.rung.suspect_since == pytest.approx(here.now(3.0))


def test_an_open_breaker_is_open_everywhere_for_the_rest_of_its_time(
    here: Process, there: Process
) -> None:
    for at_s in (1.0, 2.0, 3.0):
        here.fails(at_s)

    there.adopts(here.changes(3.5), 4.0)

    assert there.rung.breaker.state is State.OPEN
    assert there.rung.breaker.wake_at == pytest.approx(there.now(33.0))
    assert not there.usable(4.0)


def test_a_refused_key_is_retired_everywhere(here: Process, there: Process) -> None:
    here.fails(1.0, Kind.AUTH)

    there.adopts(here.changes(1.5), 1.6)

    assert there.rung.retired
    assert there.rung.breaker.wake_at == pytest.approx(there.now(91.0))


def test_the_prober_closes_the_breaker_for_all(here: Process, there: Process) -> None:
    for at_s in (1.0, 2.0, 3.0):
        here.fails(at_s)
    there.adopts(here.changes(3.1), 3.2)
    for at_s in (3.3, 3.4, 3.5):  # quicker than they read each other's messages
        there.succeeds(at_s)

    here.adopts(there.changes(3.6), 3.7)

    assert here.rung.breaker.state is State.CLOSED
    assert here.rung.suspect_since is None
    assert here.usable(3.7)


@pytest.mark.parametrize("off_s", [-0.5, 0.5], ids=["behind", "before"])
@pytest.mark.parametrize("shift_s", [-0.3, 0.0, 0.3])
def test_a_message_caused_by_another_is_newer_whatever_the_clocks_say(
    here: Process, there: Process, off_s: float, shift_s: float
) -> None:
    there.off_s = off_s
    here.fails(1.0, Kind.AUTH)
    there.adopts(here.changes(1.05), 1.1)
    here.off_s = shift_s  # a better estimate of the board's clock
    for at_s in (1.2, 1.3, 1.4):
        there.succeeds(at_s)

    here.adopts(there.changes(1.5), 1.6)
    recovered = here.rung.breaker.state
    here.fails(1.7, Kind.AUTH)
    there.adopts(here.changes(1.75), 1.8)

    assert recovered is State.CLOSED
    assert there.rung.breaker.state is State.OPEN
    assert there.rung.suspect_since is not None


def test_an_older_message_stays_older_when_the_clock_offset_is_corrected(
    here: Process, there: Process
) -> None:
    here.fails(1.0, Kind.AUTH)
    for at_s in (1.2, 1.3, 1.4):
        here.succeeds(at_s)
    here.changes(1.45)
    there.fails(1.35, Kind.AUTH)
    here.off_s = -0.3

    here.adopts(there.changes(1.5), 1.6)

    assert here.rung.breaker.state is State.CLOSED


def test_an_old_recovery_does_not_close_a_breaker_that_opened_since(
    here: Process, there: Process
) -> None:
    for at_s in (1.0, 1.1, 1.2):
        there.fails(at_s)
    for at_s in (2.0, 2.1, 2.2):
        there.succeeds(at_s)
    reports = there.changes(2.3)
    for at_s in (2.4, 2.5, 2.6):
        here.fails(at_s)

    here.adopts(reports, 2.7)

    assert here.rung.breaker.state is State.OPEN


def test_a_rate_limit_rests_the_rung_for_both(here: Process, there: Process) -> None:
    here.fails(1.0, Kind.RATE_LIMITED, retry_after_s=10.0)

    there.adopts(here.changes(1.5), 2.0)

    assert not there.usable(10.9)
    assert there.usable(11.1)


def test_an_operators_reset_ends_the_rest_for_both(here: Process, there: Process) -> None:
    here.fails(1.0, Kind.RATE_LIMITED, retry_after_s=100.0)
    there.adopts(here.changes(1.5), 2.0)
    here.rung.reset(here.now(3.0))

    there.adopts(here.changes(3.5), 3.6)

    assert there.usable(3.7)


@pytest.mark.parametrize("aspect", [Aspect.BREAKER, Aspect.SUSPICION, Aspect.REST])
def test_a_dead_processs_messages_are_ignored(here: Process, aspect: Aspect) -> None:
    value = {Aspect.BREAKER: "open", Aspect.SUSPICION: "suspect"}.get(aspect, "")
    report = RungReport(
        place="llm/it", aspect=aspect, at_s=UTC_S, value=value, until_s=UTC_S + 30.0
    )

    assert here.adopts((report,), STALE_S + 1.0) == [False]
    assert here.usable(STALE_S + 1.0)


def test_the_same_message_is_applied_once(here: Process, there: Process) -> None:
    here.fails(1.0)
    reports = here.changes(1.5)

    assert there.adopts(reports, 1.6) == [True, True]
    assert there.adopts(reports, 1.7) == [False, False]


def test_after_isolation_a_process_publishes_its_state_and_clears_nothing(here: Process) -> None:
    here.fails(1.0)
    here.changes(1.5)

    here.shared.repeat_all()

    reports = here.changes(2.0)
    assert [(report.aspect, report.value) for report in reports] == [
        (Aspect.BREAKER, "closed"),
        (Aspect.SUSPICION, "suspect"),
        (Aspect.CAUSE, "network"),
    ]


def test_a_suspicion_cleared_before_the_state_is_republished_is_published_as_cleared(
    here: Process, there: Process
) -> None:
    here.fails(1.0)
    there.adopts(here.changes(1.5), 1.6)
    here.shared.repeat_all()
    here.succeeds(1.7)

    there.adopts(here.changes(2.0), 2.1)

    assert there.rung.suspect_since is None


def test_a_repeated_state_is_published_once(here: Process) -> None:
    here.fails(1.0, Kind.RATE_LIMITED, retry_after_s=60.0)
    here.changes(1.5)
    here.shared.repeat_all()

    again = here.changes(2.0)

    assert [news_item.aspect for news_item in again] == [Aspect.BREAKER, Aspect.REST]
    assert here.changes(2.5) == ()


def test_a_rung_taken_out_by_an_operator_is_out_for_all_until_it_is_put_back(
    here: Process, there: Process
) -> None:
    here.rung.set_out(here.now(1.0), out=True)
    reports = here.changes(1.5)
    assert there.adopts(reports, 1.6) == [True]
    assert not there.usable(1.7)
    assert there.changes(2.0) == ()
    assert reports[0].until_s > UTC_S + 365 * 86_400  # a board that is cleaned up keeps it

    there.rung.set_out(there.now(3.0), out=False)

    assert here.adopts(there.changes(3.5), 3.6) == [True]
    assert here.usable(3.7)


def test_a_rung_taken_out_is_out_for_a_process_that_starts_later(here: Process) -> None:
    here.rung.set_out(here.now(1.0), out=True)
    reports = here.changes(1.5)
    young = Process(THERE, born_s=10.0)

    assert young.adopts(reports, 10.1) == [True]

    assert not young.usable(10.2)
    young.rung.set_out(young.now(11.0), out=False)
    assert here.adopts(young.changes(11.5), 11.6) == [True]
    assert here.usable(11.7)


def test_an_operators_older_action_does_not_undo_the_newer_one(
    here: Process, there: Process
) -> None:
    here.rung.set_out(here.now(1.0), out=True)
    reports = here.changes(1.5)
    there.rung.set_out(there.now(1.2), out=False)

    there.adopts(reports, 1.6)

    assert there.usable(1.7)


def test_rungs_out_of_rotation_are_published_again_to_a_board_that_lost_its_data(
    here: Process, there: Process
) -> None:
    here.rung.set_out(here.now(1.0), out=True)
    here.changes(1.5)
    here.shared.repeat_all()

    there.adopts(here.changes(5.0), 5.1)

    assert not there.usable(5.2)


def open_both(here: Process, there: Process) -> None:
    """Open the breaker in both processes at 1.2, by failures that pass with time."""
    for at_s in (1.0, 1.1, 1.2):
        here.fails(at_s)
    there.adopts(here.changes(1.3), 1.4)


@pytest.mark.parametrize(
    ("kind", "retry_after_s", "retired", "until_s"),
    [(Kind.AUTH, None, True, 95.0), (Kind.OVERLOADED, 300.0, False, 305.0)],
)
def test_what_a_probe_of_an_open_rung_finds_is_known_everywhere(
    here: Process,
    there: Process,
    kind: Kind,
    retry_after_s: float | None,
    retired: bool,  # noqa: FBT001  parametrised
    until_s: float,
) -> None:
    open_both(here, there)
    here.fails(5.0, kind, probe=True, retry_after_s=retry_after_s)

    there.adopts(here.changes(5.5), 5.6)

    assert there.rung.retired is retired
    assert there.rung.breaker.wake_at == pytest.approx(there.now(until_s))
    assert there.changes(6.0) == ()


def test_a_retirement_lasts_until_a_success_though_others_do_not_know_it(
    here: Process, there: Process
) -> None:
    there.fails(1.1, Kind.AUTH)
    for at_s in (1.0, 1.1, 1.2):
        here.fails(at_s)
    there.adopts(here.changes(1.3), 1.4)
    assert there.rung.retired
    here.adopts(there.changes(1.5), 1.6)
    assert here.rung.retired
    assert here.changes(1.7) == there.changes(1.7) == ()

    here.succeeds(2.0)
    there.adopts(here.changes(2.1), 2.2)
    assert there.rung.at(there.now(2.2)).state is RungState.PROBED
    here.succeeds(3.0)
    here.succeeds(4.0)
    there.adopts(here.changes(4.1), 4.2)
    assert there.rung.breaker.state is State.CLOSED
    assert not there.rung.retired


@pytest.mark.parametrize("read", [True, False], ids=["both know both", "unread"])
@pytest.mark.parametrize("kind", [Kind.AUTH, Kind.OVERLOADED])
def test_the_end_of_a_shorter_rest_is_no_good_probe_and_ends_no_longer_one(
    here: Process, there: Process, kind: Kind, *, read: bool
) -> None:
    there.fails(1.1, kind, probe=True, retry_after_s=300.0)
    for at_s in (1.0, 1.1, 1.2):
        here.fails(at_s)
    reports = here.changes(1.3)
    there.adopts(reports if read else (), 1.4)
    before = (there.rung.retired, there.rung.breaker.wake_at)
    here.rung.breaker.tick(here.now(31.3))

    there.adopts((*reports, *here.changes(31.5)), 31.6)
    here.shared.repeat_all()
    there.adopts(here.changes(32.0), 32.1)

    assert there.rung.breaker.state is State.OPEN
    assert not there.rung.breaker.probe_succeeded
    assert (there.rung.retired, there.rung.breaker.wake_at) == before


def test_a_good_probe_after_the_rest_is_known_everywhere(here: Process, there: Process) -> None:
    open_both(here, there)
    for process in (here, there):
        process.rung.breaker.tick(process.now(31.3))
    there.adopts(here.changes(31.5), 31.6)
    assert there.rung.at(there.now(31.6)).state is RungState.OPEN

    here.succeeds(32.0)
    there.adopts(here.changes(32.1), 32.2)

    assert there.rung.at(there.now(32.2)).state is RungState.PROBED


def test_a_good_probe_from_before_a_conclusive_failure_does_not_end_its_rest(
    here: Process, there: Process
) -> None:
    open_both(here, there)
    here.succeeds(2.0)
    there.fails(3.0, Kind.AUTH, probe=True)

    there.adopts(here.changes(3.1), 3.2)

    assert there.rung.at(there.now(3.2)).state is RungState.OUT


def test_an_operators_reset_lets_all_try_but_is_no_good_probe(
    here: Process, there: Process
) -> None:
    here.fails(1.0, Kind.AUTH)
    there.adopts(here.changes(1.5), 1.6)
    here.rung.reset(here.now(3.0))

    there.adopts(here.changes(3.5), 3.6)

    assert there.rung.breaker.state is State.HALF_OPEN
    assert there.rung.at(there.now(3.6)).state is RungState.OUT  # until a probe succeeds


@pytest.mark.parametrize("short_s", [0.1, 0.45, 10.0])
def test_of_two_rests_after_rate_limits_the_longer_one_applies_to_both(
    here: Process, there: Process, short_s: float
) -> None:
    there.fails(1.0, Kind.RATE_LIMITED, retry_after_s=60.0)
    lost = there.changes(1.1)  # replaced on the board before `here` reads it
    here.fails(1.05, Kind.RATE_LIMITED, retry_after_s=short_s)

    there.adopts(here.changes(1.2), 1.6)
    here.adopts(lost, 1.6)
    here.adopts(there.changes(2.0), 2.1)

    assert not here.usable(60.9)
    assert not there.usable(60.9)
    assert here.changes(2.5) == there.changes(2.5) == ()
    assert here.usable(61.1)


@pytest.mark.parametrize("set_back_s", [0.5, 3600.0])
def test_a_recovery_is_newer_than_the_outage_though_the_clock_was_set_back_between(
    here: Process, there: Process, set_back_s: float
) -> None:
    here.fails(1.0, Kind.AUTH)
    there.adopts(here.changes(1.05), 1.1)
    here.off_s = there.off_s = -set_back_s
    for at_s in (1.2, 1.3, 1.4):
        here.succeeds(at_s)

    there.adopts(here.changes(1.5), 1.6)

    assert there.usable(1.7)


def test_a_repeated_message_keeps_its_age_though_the_clock_was_set_back(
    here: Process, there: Process
) -> None:
    here.rung.set_out(here.now(1.0), out=True)
    there.adopts(here.changes(1.5), 1.6)
    here.off_s = there.off_s = -3600.0
    here.shared.repeat_all()
    here.changes(2.0)
    here.rung.set_out(here.now(3.0), out=False)

    there.adopts(here.changes(3.5), 3.6)

    assert there.usable(3.7)


@pytest.mark.parametrize("kind", [Kind.AUTH, Kind.RATE_LIMITED])
def test_a_rest_does_not_grow_when_the_clock_is_set(
    here: Process, there: Process, kind: Kind
) -> None:
    here.off_s = 3600.0  # put forward, which `there` has not seen yet, or set back since
    here.fails(1.0, kind, retry_after_s=100.0)

    there.adopts(here.changes(1.5), 1.6)
    there.rung.breaker.tick(there.now(902.0))

    assert there.rung.rests_until <= there.now(102.0)
    assert there.rung.breaker.state is not State.OPEN


def test_callers_served_by_one_process_outweigh_failed_probes_of_another(
    here: Process, there: Process
) -> None:
    here.serves(0.0)
    there.adopts(here.changes(0.1), 0.1)

    for at_s in (1.0, 2.0, 3.0, SERVED_S - 1):
        there.fails(at_s, probe=True)
    assert there.rung.breaker.state is State.CLOSED
    assert not [report for report in there.changes(4.0) if report.aspect is Aspect.SERVED]

    there.fails(SERVED_S + 1, probe=True)
    assert there.rung.breaker.state is State.OPEN


def test_a_process_that_keeps_serving_callers_publishes_this_at_intervals(here: Process) -> None:
    seconds = 5 * int(SERVED_EACH_S)
    told = 0
    for at_s in range(seconds):
        here.serves(float(at_s))
        told += len(here.changes(at_s + 0.5))

    assert told == 5
