"""The limits on guessing a token."""

import pytest

from bot.server.access import ALL_TOGETHER, FREE, KNOWN_ADDRESSES, MAX_ADDRESSES, Attempts


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


def test_others_do_not_wait_for_a_guesser() -> None:
    assert guessed(FREE + 5).wait_s("192.0.2.2", 0.0) == 0.0


def test_one_ipv6_network_counts_as_one_stranger() -> None:
    attempts = guessed(FREE + 1, address="2001:db8::1")

    assert attempts.wait_s("2001:db8::2", 0.0) == 1.0
    assert attempts.wait_s("2001:db8:1::2", 0.0) == 0.0


def test_many_slow_guessers_are_slowed_together_but_not_known_addresses() -> None:
    attempts = Attempts()
    attempts.note_right("192.0.2.200", 0.0)
    for number in range(ALL_TOGETHER):
        attempts.note_wrong(f"198.51.100.{number}", 10.0)

    assert attempts.wait_s("203.0.113.1", 10.0) == 60.0
    assert attempts.wait_s("203.0.113.1", 70.0) == 0.0
    assert attempts.wait_s("192.0.2.200", 10.0) == 0.0


def test_the_right_token_clears_the_wait() -> None:
    attempts = guessed(FREE + 1)
    attempts.note_right("192.0.2.1", 1.0)
    attempts.note_wrong("192.0.2.1", 1.0)

    assert attempts.wait_s("192.0.2.1", 1.0) == 0.0


def test_a_right_token_does_not_shorten_another_wait() -> None:
    """A guesser may share the address of an operator."""
    attempts = guessed(FREE + 1)
    attempts.note_right("192.0.2.1", 0.5)

    assert attempts.wait_s("192.0.2.1", 0.5) == 0.5


def test_a_right_token_from_a_waiting_address_does_not_make_it_known() -> None:
    attempts = Attempts()
    for number in range(ALL_TOGETHER):
        attempts.note_wrong(f"198.51.100.{number}", 10.0)
    attempts.note_right("203.0.113.1", 10.0)

    assert attempts.wait_s("203.0.113.1", 10.0) == 60.0


def test_memory_is_bounded_by_any_number_of_addresses() -> None:
    attempts = Attempts()
    for number in range(10_000):
        address = f"10.0.{number // 250}.{number % 250}"
        attempts.note_wrong(address, 100.0 * number)
        attempts.note_right(address, 100.0 * number)
        attempts.note_wrong(f"{address}0", 100.0 * number)

    assert len(attempts._wrong) == MAX_ADDRESSES
    assert len(attempts._known) == KNOWN_ADDRESSES
