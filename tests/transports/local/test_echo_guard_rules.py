"""When the microphone may be heard next to a loudspeaker."""

import pytest

from transports.local.echo_guard_rules import TAIL_S, EchoGuard


def guard_playing(*, until: float) -> EchoGuard:
    guard = EchoGuard(delay_s=0.1)
    guard.play(10.0, until=until)
    return guard


def test_the_microphone_is_open_until_the_agent_speaks() -> None:
    assert not EchoGuard(delay_s=0.1).is_closed(0.0)


@pytest.mark.parametrize(
    ("now", "closed"),
    [(10.0, True), (10.9, True), (11.1 + TAIL_S - 0.01, True), (11.1 + TAIL_S + 0.01, False)],
    ids=["at once", "while it plays", "while it echoes", "afterwards"],
)
def test_the_microphone_is_closed_while_our_sound_is_in_the_room(
    now: float, *, closed: bool
) -> None:
    assert guard_playing(until=11.0).is_closed(now) is closed


def test_discarded_sound_closes_nothing() -> None:
    guard = guard_playing(until=15.0)

    guard.drop(until=10.5)

    assert guard.is_closed(10.6)
    assert not guard.is_closed(11.0)


def test_late_discarded_sound_does_not_close_the_microphone_again() -> None:
    guard = guard_playing(until=11.0)

    guard.drop(until=20.0)

    assert not guard.is_closed(12.0)


def test_a_piece_that_ends_sooner_does_not_open_the_microphone_during_an_earlier_one() -> None:
    guard = guard_playing(until=15.0)

    guard.play(10.2, until=10.4)

    assert guard.is_closed(14.9)
