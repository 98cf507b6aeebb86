"""How often a token may be guessed, in figures."""

import pytest

from bot.server.access import ALL_TOGETHER, FREE, KNOWN_ADDRESSES, MOST_ADDRESSES, Attempts


def guessed(times: int, *, address: str = "192.0.2.1", now: float = 0.0) -> Attempts:
    attempts = Attempts()
    for _ in range(times):
        attempts.note_wrong(address, now)
    return attempts


@pytest.mark.parametrize(
    ("wrong", "wait_s"), [(0, 0), (FREE, 0), (FREE + 1, 1), (FREE + 3, 4), (FREE + 40, 60)]
)
def test_each_wrong_token_makes_the_next_wait_longer(wrong: int, wait_s: float) -> None:
    assert guessed(wrong).wait_s("192.0.2.1", 0.0) == wait_s


def test_a_wait_is_over_when_its_time_has_passed() -> None:
    attempts = guessed(FREE + 2)

    assert [attempts.wait_s("192.0.2.1", now) for now in (0.0, 1.5, 2.0)] == [2.0, 0.5, 0.0]


def test_others_do_not_wait_for_one_who_guesses() -> None:
    assert guessed(FREE + 5).wait_s("192.0.2.2", 0.0) == 0.0


def test_one_network_of_the_newer_kind_is_one_stranger() -> None:
    attempts = guessed(FREE + 1, address="2001:db8::1")

    assert attempts.wait_s("2001:db8::2", 0.0) == 1.0
    assert attempts.wait_s("2001:db8:1::2", 0.0) == 0.0


def test_many_who_guess_a_little_are_slowed_together_but_not_who_had_the_token() -> None:
    attempts = Attempts()
    attempts.note_right("192.0.2.200", 0.0)
    for number in range(ALL_TOGETHER):
        attempts.note_wrong(f"198.51.100.{number}", 10.0)

    assert attempts.wait_s("203.0.113.1", 10.0) == 60.0
    assert attempts.wait_s("203.0.113.1", 70.0) == 0.0
    assert attempts.wait_s("192.0.2.200", 10.0) == 0.0


def test_the_right_token_forgives() -> None:
    attempts = guessed(FREE + 1)
    attempts.note_right("192.0.2.1", 1.0)
    attempts.note_wrong("192.0.2.1", 1.0)

    assert attempts.wait_s("192.0.2.1", 1.0) == 0.0


def test_a_right_token_frees_nobody_who_has_to_wait() -> None:
    """Who guesses may share the address of someone who has it."""
    attempts = guessed(FREE + 1)
    attempts.note_right("192.0.2.1", 0.5)

    assert attempts.wait_s("192.0.2.1", 0.5) == 0.5


def test_a_right_token_makes_no_address_known_that_waits_with_all_others() -> None:
    attempts = Attempts()
    for number in range(ALL_TOGETHER):
        attempts.note_wrong(f"198.51.100.{number}", 10.0)
    attempts.note_right("203.0.113.1", 10.0)

    assert attempts.wait_s("203.0.113.1", 10.0) == 60.0


def test_memory_is_bounded_whoever_comes() -> None:
    attempts = Attempts()
    for number in range(10_000):
        address = f"10.0.{number // 250}.{number % 250}"
        attempts.note_wrong(address, 100.0 * number)
        attempts.note_right(address, 100.0 * number)
        attempts.note_wrong(f"{address}0", 100.0 * number)

    assert len(attempts._wrong) == MOST_ADDRESSES
    assert len(attempts._known) == KNOWN_ADDRESSES
