"""The part of a caller's sound that is their message, and its end."""

from typing import Final

import pytest

from calls.line import CallerLine
from processors.holding.line_rules import MESSAGE_END_S, OVER_TONE_S, CallerMessage
from processors.turn.floor import Floor

BEGIN_S: Final = 100.0
RATE_HZ: Final = 8000
SECOND: Final = bytes(range(200)) * (2 * RATE_HZ // 200)


def message(floor: Floor | None = None, *, limit_s: float = 30.0) -> CallerMessage:
    floor = floor or Floor(CallerLine())
    return CallerMessage(floor, begins_at=BEGIN_S, rate_hz=RATE_HZ, limit_s=limit_s)


def test_sound_is_kept_from_the_beginning_and_in_order() -> None:
    new = message()

    assert new.sound(SECOND, BEGIN_S - 0.02) == b""
    assert new.sound(SECOND, BEGIN_S) == SECOND
    assert new.sound(SECOND[::-1], BEGIN_S + 1.0) == SECOND[::-1]
    assert new.pcm == SECOND + SECOND[::-1]
    assert new.length_s == 2.0
    assert new.rate_hz == RATE_HZ


def test_the_kept_sound_is_bounded() -> None:
    floor = Floor(CallerLine())
    new = message(floor, limit_s=1.5)
    floor.caller_started(BEGIN_S)

    assert new.sound(SECOND, BEGIN_S + 1.0) == SECOND
    assert new.sound(SECOND, BEGIN_S + 1.4) == SECOND[:RATE_HZ]
    assert new.sound(SECOND, BEGIN_S + 1.4) == b""
    assert new.length_s == 1.5


@pytest.mark.parametrize(
    ("speaking", "at_s", "spoken", "over_s"),
    [
        pytest.param(True, 1.0, True, 30.0, id="speech lasts until the limit"),
        pytest.param(True, 0.0, True, 30.0, id="speech from its first moment"),
        pytest.param(True, -0.1, False, 30.0, id="speech that began before it does not count"),
        pytest.param(False, 2.0, False, 2.0 + MESSAGE_END_S, id="silence ends it"),
        pytest.param(False, -1.0, False, MESSAGE_END_S, id="silence counts from its beginning"),
        pytest.param(False, 29.0, False, 30.0, id="silence does not extend the limit"),
    ],
)
def test_speech_keeps_a_message_open(
    *, speaking: bool, at_s: float, spoken: bool, over_s: float
) -> None:
    floor = Floor(CallerLine())
    new = message(floor)

    if speaking:
        floor.caller_started(BEGIN_S + at_s)
        new.sound(SECOND, BEGIN_S + at_s)
    else:
        floor.caller_stopped(BEGIN_S + at_s, now=BEGIN_S + at_s)

    assert new.spoken is spoken
    assert new.over_at == BEGIN_S + over_s
    assert not new.over(BEGIN_S + over_s - 0.01)
    assert new.over(BEGIN_S + over_s)


def test_a_caller_who_falls_silent_has_spoken() -> None:
    floor = Floor(CallerLine())
    new = message(floor)
    floor.caller_started(BEGIN_S + 1.0)
    new.sound(SECOND, BEGIN_S + 1.0)
    floor.caller_stopped(BEGIN_S + 1.8, now=BEGIN_S + 2.0)

    assert new.spoken
    assert new.over_at == BEGIN_S + 2.0 + MESSAGE_END_S


@pytest.mark.parametrize(("at_s", "spoken"), [(0.2, False), (OVER_TONE_S, True)])
def test_a_caller_who_speaks_over_the_tone_has_spoken(*, at_s: float, spoken: bool) -> None:
    floor = Floor(CallerLine())
    new = message(floor)
    floor.caller_started(BEGIN_S - 0.1)

    new.sound(SECOND, BEGIN_S + at_s)
    floor.caller_stopped(BEGIN_S + at_s, now=BEGIN_S + at_s)

    assert new.spoken is spoken


@pytest.mark.parametrize(("at_s", "over"), [(-0.1, False), (0.0, True), (1.0, True)])
def test_a_key_ends_a_message_but_not_before_it_began(*, at_s: float, over: bool) -> None:
    new = message()

    new.key(BEGIN_S + at_s)

    assert new.over(BEGIN_S + 1.0) is over


def test_nothing_is_kept_once_a_message_is_over() -> None:
    new = message()
    new.sound(SECOND, BEGIN_S + 1.0)
    new.key(BEGIN_S + 1.5)

    assert new.sound(SECOND, BEGIN_S + 2.0) == b""
    assert new.pcm == SECOND
    new.key(BEGIN_S - 1.0)
    assert new.over(BEGIN_S + 2.0)
