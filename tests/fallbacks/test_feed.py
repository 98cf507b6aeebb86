"""What one recogniser was given, and whether its first connection takes too long."""

import pytest

from fallbacks.feed import OPENING_S, Feed, Opening
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


@pytest.mark.parametrize("ours", [True, False])
def test_who_is_given_up_has_written_nothing_until_it_writes_again(*, ours: bool) -> None:
    feed = Feed("a", reconnected_by_us=ours)
    feed.note_result(NOW, words=True)
    wrote = feed.wrote

    feed.renew()

    assert (wrote, feed.wrote) == (True, False)
