"""The reports of an absent store."""

import pytest

from bot.workers.store_watch_rules import StoreWatch


@pytest.mark.parametrize(
    ("away", "reports"),
    [
        (range(10, 10), []),
        (range(10, 12), []),  # one slow answer
        (range(10, 29), []),
        (range(10, 100), [(30, 2.0), (100, 9.0)]),
    ],
)
def test_a_store_is_reported_once_when_it_has_been_away_and_once_when_it_is_back(
    away: range, reports: list[tuple[int, float]]
) -> None:
    watch, found = StoreWatch(), []
    for step in range(150):
        away_s = watch.look(is_away=step in away, now=step / 10)
        if away_s is not None:
            found.append((step, pytest.approx(away_s)))

    assert found == reports


def test_an_absence_counts_from_its_own_beginning() -> None:
    watch = StoreWatch()
    for now, is_away in ((0.0, True), (1.0, False), (2.0, True), (3.5, True)):
        assert watch.look(is_away=is_away, now=now) is None

    assert watch.look(is_away=True, now=4.0) == 2.0
