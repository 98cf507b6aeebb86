"""The state of a voice's connection, and what it means for an attempt."""

import pytest

from fallbacks.failure import Failure, Kind, failed
from fallbacks.tts_times import COLD_CONNECT_S, CONNECT_S
from processors.speaking.rung import Connection

NOW = 100.0


def refusal() -> Failure:
    return failed(Kind.OVERLOADED, "tts", provider="cartesia")


def test_a_refusal_is_reported_to_one_attempt_and_the_next_one_waits_for_a_new_connection() -> None:
    connection = Connection("cartesia")
    connection.refused(refusal(), waited_for=False)

    assert connection.report_failure(NOW) == refusal()
    assert connection.report_failure(NOW) is None
    assert connection.wait_until_s(NOW) == pytest.approx(NOW + CONNECT_S)


def test_each_new_refusal_is_reported_again_and_the_rung_is_no_longer_cold() -> None:
    connection = Connection("cartesia")
    connection.cold = True
    assert connection.report_failure(NOW) is None
    for _ in range(2):
        connection.began(NOW)
        connection.refused(refusal(), waited_for=False)

        assert connection.report_failure(NOW) == refusal()
        assert (connection.cold, connection.up) == (False, False)


@pytest.mark.parametrize("waited", ["until it was refused", "until it took too long", "after that"])
def test_a_failed_connection_fails_one_attempt_and_no_later_one(waited: str) -> None:
    connection = Connection("cartesia")
    connection.began(NOW)
    if waited == "until it took too long":
        assert connection.report_hang().kind is Kind.TIMEOUT
    elif waited == "after that":
        assert connection.report_failure(NOW + CONNECT_S) is not None
    connection.refused(refusal(), waited_for=waited == "until it was refused")

    assert connection.report_failure(NOW + 4.0) is None


def test_a_connection_in_progress_is_waited_for_from_its_beginning() -> None:
    connection = Connection("cartesia")
    connection.began(NOW)

    assert connection.is_connecting
    assert connection.report_failure(NOW + 0.1) is None
    assert connection.wait_until_s(NOW + 0.1) == pytest.approx(NOW + CONNECT_S)


def test_a_hanging_connection_fails_every_attempt_at_once() -> None:
    connection = Connection("cartesia")
    connection.began(NOW)

    for _ in range(2):
        hung = connection.report_failure(NOW + CONNECT_S)

        assert hung is not None
        assert (hung.kind, hung.provider, hung.stage) == (Kind.TIMEOUT, "cartesia", "tts")


def test_a_cold_rungs_first_connection_may_take_longer() -> None:
    connection = Connection("cartesia")
    connection.cold = True
    connection.began(NOW)

    assert connection.report_failure(NOW + CONNECT_S) is None
    assert connection.wait_until_s(NOW) == pytest.approx(NOW + COLD_CONNECT_S)


def test_a_connection_renewed_for_new_settings_may_take_as_long_as_a_cold_one() -> None:
    connection = Connection("cartesia")
    connection.made(waited_for=False)
    connection.settling = True
    connection.began(NOW)

    assert connection.wait_until_s(NOW) == pytest.approx(NOW + COLD_CONNECT_S)
    connection.made(waited_for=False)
    connection.began(NOW)
    assert connection.wait_until_s(NOW) == pytest.approx(NOW + CONNECT_S)


@pytest.mark.parametrize("made", [True, False])
def test_a_connection_without_a_failure_reports_none(*, made: bool) -> None:
    connection = Connection("cartesia")
    connection.refused(refusal(), waited_for=False)
    connection.began(NOW)

    if made:
        connection.made(waited_for=False)
    else:
        connection.lost()

    assert connection.up == made
    assert not connection.is_connecting
    assert connection.report_failure(NOW + 10.0) is None


def test_a_connection_is_down_while_it_is_renewed() -> None:
    connection = Connection("cartesia")
    connection.made(waited_for=False)

    connection.began(NOW)

    assert not connection.up


@pytest.mark.parametrize("waited_for", [True, False])
def test_a_cold_rung_stays_cold_only_for_the_work_that_waited_for_it(*, waited_for: bool) -> None:
    connection = Connection("cartesia")
    connection.cold = True
    connection.began(NOW)

    connection.made(waited_for=waited_for)

    assert connection.cold is waited_for
