"""What one recogniser was given, and whether its first connection takes too long."""

from fallbacks.feed import OPENING_S, Opening
from fallbacks.lag import Lag

NOW = 100.0


def test_a_first_connection_that_takes_too_long_is_told_of_once() -> None:
    opening = Opening(Lag())
    before = opening.note_overdue(NOW)
    opening.begin(NOW)

    assert not before
    assert opening.under_way
    assert not opening.note_overdue(NOW + OPENING_S - 0.1)
    assert opening.note_overdue(NOW + OPENING_S)
    assert not opening.note_overdue(NOW + 2 * OPENING_S)


def test_one_that_was_made_or_failed_is_not_overdue() -> None:
    opening = Opening(Lag())
    opening.begin(NOW)
    opening.end()

    assert not opening.under_way
    assert not opening.note_overdue(NOW + OPENING_S)
