"""The wait before a lost connection is tried again."""

from fallbacks.retrying import STABLE_S, WAITS_S, Backoff


def waits(backoff: Backoff, tries: int) -> list[float]:
    return [backoff.next_s() for _ in range(tries)]


def test_a_failed_first_connection_is_not_tried_again_at_once() -> None:
    assert waits(Backoff(), 3) == [0.5, 1.0, 2.0]


def test_the_waits_are_bounded() -> None:
    assert waits(Backoff(), 20)[-2:] == [WAITS_S[-1]] * 2


def test_a_stable_connection_is_made_again_at_once() -> None:
    backoff = Backoff()
    waits(backoff, 4)
    backoff.up(now=10.0)
    backoff.down(now=10.0 + STABLE_S + 0.1)

    assert backoff.next_s() == 0.0


def test_a_stable_connection_that_cannot_be_restored_waits_longer_and_longer() -> None:
    backoff = Backoff()
    backoff.up(now=10.0)
    backoff.down(now=10.0 + STABLE_S + 0.1)
    first = backoff.next_s()
    backoff.down(now=100.0)  # the new try failed; nothing was up in between

    assert [first, *waits(backoff, 2)] == [0.0, 0.5, 1.0]


def test_a_connection_that_fails_early_keeps_its_longer_wait() -> None:
    backoff = Backoff()
    before = waits(backoff, 3)[-1]
    backoff.up(now=10.0)
    backoff.down(now=10.0 + STABLE_S)

    assert backoff.next_s() > before


def test_a_permanent_failure_is_retried_rarely() -> None:
    backoff = Backoff()
    backoff.down(now=10.0, permanent=True)

    assert backoff.next_s() == WAITS_S[-1]


def test_an_urgent_try_does_not_delay_the_next_one() -> None:
    backoff = Backoff()
    first = backoff.next_s()
    backoff.hurried()

    assert backoff.next_s() == first


def test_an_immediate_retry_does_not_delay_the_next_one() -> None:
    backoff = Backoff()
    backoff.up(now=10.0)
    backoff.down(now=10.0 + STABLE_S + 0.1)
    first = backoff.next_s()
    backoff.hurried()

    assert [first, backoff.next_s()] == [0.0, 0.0]


def test_a_service_that_reconnects_by_itself_is_left_alone_at_first() -> None:
    backoff = Backoff(retries_itself=True)
    backoff.up(now=10.0)
    backoff.down(now=10.0 + STABLE_S + 0.1)

    assert waits(backoff, 2) == [0.5, 1.0]
