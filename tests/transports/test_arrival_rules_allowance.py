import pytest
from hypothesis import given
from hypothesis import strategies as st

from transports.arrival_rules import IntakeAllowance


def test_saved_allowance_may_be_used_at_once_and_the_rest_at_its_pace() -> None:
    allowance = IntakeAllowance(per_s=10.0, cap=5.0, now=0.0)

    allowance.spend(4, now=0.0)
    assert allowance.wait_s(0.0) == 0.0
    allowance.spend(6, now=0.0)
    assert allowance.wait_s(0.0) == pytest.approx(0.5)
    assert allowance.wait_s(0.51) == 0.0


def test_saved_allowance_is_capped() -> None:
    allowance = IntakeAllowance(per_s=10.0, cap=5.0, now=0.0)

    allowance.spend(5, now=100.0)

    assert allowance.wait_s(100.0) == 0.0
    allowance.spend(1, now=100.0)
    assert allowance.wait_s(100.0) == pytest.approx(0.1)


def test_an_empty_allowance_without_refill_stays_empty() -> None:
    allowance = IntakeAllowance(per_s=0.0, cap=2.0, now=0.0)

    allowance.spend(3, now=0.0)

    assert allowance.wait_s(1e9) == float("inf")


def test_a_wait_is_over_after_its_time() -> None:
    allowance, now = IntakeAllowance(per_s=200.0, cap=1000.0, now=1_048_576.0), 1_048_576.0
    for amount in range(900, 1_100, 3):
        allowance.spend(amount, now)
        now += allowance.wait_s(now)

        assert allowance.wait_s(now) == 0.0


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(1, 20)), max_size=50))
def test_intake_that_waits_as_required_never_exceeds_the_rate(
    pieces: list[tuple[float, int]],
) -> None:
    allowance, now, came = IntakeAllowance(per_s=10.0, cap=20.0, now=0.0), 0.0, 0
    for pause_s, amount in pieces:
        now += pause_s + allowance.wait_s(now + pause_s)
        allowance.spend(amount, now)
        came += amount

    assert came <= 20.0 + 20 + 10.0 * now + 1e-6
