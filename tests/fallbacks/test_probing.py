"""When to probe a rung."""

import itertools

import pytest

from fallbacks.availability import RungAvailability
from fallbacks.breaker import BreakerSettings
from fallbacks.failure import Kind, failed
from fallbacks.probing import DAY_S, Probe, ProbeSettings, Probing, is_doubted


def failing(plan: Probing, count: int) -> list[float]:
    """The moments of this many probes that all fail at once."""
    moments: list[float] = []
    for _ in range(count):
        assert plan.wake_at is not None
        now = plan.wake_at
        (probe,) = plan.tick(now)
        moments.append(now)
        plan.reported(probe.number, now, ok=False)
    return moments


def test_a_healthy_rung_gets_a_cheap_probe_a_minute() -> None:
    plan = Probing(now=0.0)

    assert plan.tick(59.9) == ()
    assert plan.tick(60.0) == (Probe(number=1, real=False, counts=False, timeout_s=5.0),)


def test_a_suspect_rung_gets_real_requests_soon_and_then_less_and_less_often() -> None:
    plan = Probing(now=0.0)
    plan.see(100.0, doubted=True)

    moments = failing(plan, 9)

    waits = [later - earlier for earlier, later in itertools.pairwise([100.0, *moments])]
    assert waits == [1.0, 2.0, 5.0, 10.0, 20.0, 40.0, 60.0, 60.0, 60.0]


@pytest.mark.parametrize(
    ("kind", "wait_s"),
    [
        (Kind.AUTH, 0.0),
        (Kind.QUOTA, 0.0),
        (Kind.NOT_FOUND, 0.0),
        (Kind.BAD_REQUEST, 0.0),
        (Kind.NETWORK, 1.0),
        (Kind.OVERLOADED, 1.0),
        (Kind.SILENT, 1.0),
    ],
)
def test_a_rung_that_refuses_one_call_for_good_is_probed_at_once(kind: Kind, wait_s: float) -> None:
    health, plan = RungAvailability("llm", "openai", now=0.0), Probing(now=0.0)
    failure = failed(kind, "llm", provider="openai")
    permit = health.permit(100.0)
    assert permit is not None
    health.failed(permit, failure, now=100.0, call="one")

    plan.see(100.0, doubted=is_doubted(health), refused=health.refused_for_good)

    assert failing(plan, 3) == [100.0 + wait_s, 102.0 + wait_s, 107.0 + wait_s]


def test_probing_that_is_off_stays_off_after_a_refusal() -> None:
    plan = Probing(now=0.0, settings=ProbeSettings(interval_s=0.0))

    plan.see(100.0, doubted=True, refused=True)

    assert plan.wake_at is None


def test_after_a_success_the_next_trial_comes_soon() -> None:
    plan = Probing(now=0.0)
    plan.see(100.0, doubted=True)
    now = failing(plan, 5)[-1]
    assert plan.wake_at is not None
    now = plan.wake_at
    (probe,) = plan.tick(now)

    plan.reported(probe.number, now + 0.2, ok=True)

    assert plan.wake_at == pytest.approx(now + 1.2)


@pytest.mark.parametrize("kind", [Kind.AUTH, Kind.QUOTA, Kind.NOT_FOUND, Kind.OVERLOADED])
def test_in_any_state_a_rung_is_probed_at_least_once_a_minute(kind: Kind) -> None:
    health, plan = RungAvailability("llm", "openai", now=0.0), Probing(now=0.0)
    health.retire(kind, 0.0)
    plan.see(0.0, doubted=is_doubted(health))

    probed = [0.0, *failing(plan, 12)]

    assert max(after - before for before, after in itertools.pairwise(probed)) <= 60.0


def test_only_one_probe_runs_at_a_time() -> None:
    plan = Probing(now=0.0)
    plan.see(0.0, doubted=True)
    plan.tick(1.0)

    assert plan.tick(5.0) == ()


def test_a_probe_without_a_result_expires_and_counts_as_failed() -> None:
    plan = Probing(now=0.0)
    plan.see(0.0, doubted=True)
    (lost,) = plan.tick(1.0)

    assert plan.wake_at == 11.0
    assert plan.tick(11.0) == ()
    assert plan.wake_at == 13.0
    plan.reported(lost.number, 11.5, ok=True)
    assert plan.wake_at == 13.0


def test_an_expired_probes_late_result_is_not_taken_for_the_next_ones() -> None:
    plan = Probing(now=0.0)
    plan.see(0.0, doubted=True)
    (lost,) = plan.tick(1.0)
    plan.tick(11.0)
    plan.tick(13.0)

    plan.reported(lost.number, 13.1, ok=True)

    assert plan.wake_at == 23.0  # the next one is still in progress


def test_a_healthy_rung_whose_cheap_probe_failed_is_asked_again_in_a_minute() -> None:
    assert failing(Probing(now=0.0), 3) == [60.0, 120.0, 180.0]


def test_after_an_operators_reset_the_waits_start_over() -> None:
    plan = Probing(now=0.0)
    plan.see(100.0, doubted=True)
    failing(plan, 5)

    plan.reset(200.0)

    assert failing(plan, 3) == [200.0, 202.0, 207.0]
    plan.reset(300.0)
    assert [probe.real for probe in plan.tick(300.0)] == [True]


def test_a_real_request_counts_towards_one_days_money() -> None:
    plan = Probing(now=0.0, settings=ProbeSettings(cost=1.0, daily_cost=1.0))
    plan.see(0.0, doubted=True)
    failing(plan, 1)

    (next_day,) = plan.tick(1.0 + DAY_S)

    assert next_day.real


def test_a_healthy_rung_may_be_probed_every_second() -> None:
    plan = Probing(now=0.0, settings=ProbeSettings(interval_s=1.0))
    planned = plan.wake_at
    plan.reset(0.5)

    assert (planned, plan.wake_at) == (1.0, 0.5)


def test_beyond_the_days_money_probes_are_cheap_and_still_count() -> None:
    plan = Probing(now=0.0, settings=ProbeSettings(cost=1.0, daily_cost=2.0))
    plan.see(0.0, doubted=True)
    probes: list[Probe] = []
    for _ in range(3):
        assert plan.wake_at is not None
        now = plan.wake_at
        (probe,) = plan.tick(now)
        probes.append(probe)
        plan.reported(probe.number, now, ok=False)

    assert [item.real for item in probes] == [True, True, False]
    assert all(item.counts for item in probes)
    (tomorrow,) = plan.tick(now + DAY_S)
    assert tomorrow.real


def test_probing_can_be_disabled() -> None:
    plan = Probing(now=0.0, settings=ProbeSettings(interval_s=0.0))
    plan.see(1.0, doubted=True)
    assert plan.wake_at is None

    plan.reset(2.0)
    assert plan.wake_at is None


def test_the_kind_of_probe_follows_the_rungs_health() -> None:
    health = RungAvailability("llm", "openai", now=0.0, settings=BreakerSettings())
    assert not is_doubted(health)

    health.suspect(Kind.TIMEOUT, 1.0)
    assert is_doubted(health)

    permit = health.permit(1.0)
    assert permit is not None
    health.failed(permit, failed(Kind.AUTH, "llm", provider="openai"), now=2.0)
    health.clear(2.0)
    assert is_doubted(health)


def test_a_recovered_rung_is_available_within_five_seconds_of_its_first_good_probe() -> None:
    health = RungAvailability("tts", "cartesia", now=0.0)
    plan = Probing(now=0.0)
    health.breaker.trip(0.0)
    plan.see(0.0, doubted=is_doubted(health))
    first_good: float | None = None
    now = 0.0
    while is_doubted(health):
        assert plan.wake_at is not None
        now = plan.wake_at
        for probe in plan.tick(now):
            permit = health.permit(now, probe=True)
            assert permit is not None
            health.succeeded(permit, now)
            first_good = now if first_good is None else first_good
            plan.reported(probe.number, now, ok=True)
            plan.see(now, doubted=is_doubted(health))

    assert first_good == 1.0
    assert now - first_good <= 5.0
