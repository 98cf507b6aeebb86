"""The queue of what waits to be written."""

from collections.abc import Sequence

import pytest

from operations.backlog import Backlog


def holding(*items: str, limit: int = 3) -> Backlog[str]:
    backlog = Backlog[str](limit)
    backlog.put(*items)
    return backlog


@pytest.mark.parametrize(
    ("before", "put", "dropped", "left"),
    [
        ("", "", 0, ""),
        ("", "abc", 0, "abc"),
        ("ab", "c", 0, "abc"),
        ("abc", "d", 1, "bcd"),
        ("abc", "de", 2, "cde"),
        ("", "abcde", 2, "cde"),
        ("abc", "", 0, "abc"),
    ],
)
def test_beyond_the_limit_the_oldest_are_dropped(
    before: str, put: str, dropped: int, left: str
) -> None:
    backlog = holding(*before)

    assert backlog.put(*put) == dropped
    assert "".join(backlog) == left


@pytest.mark.parametrize(
    ("most", "taken", "left"), [(0, "", "abc"), (2, "ab", "c"), (3, "abc", ""), (9, "abc", "")]
)
def test_the_oldest_are_taken_first(most: int, taken: str, left: str) -> None:
    backlog = holding(*"abc")

    assert "".join(backlog.take(most)) == taken
    assert "".join(backlog) == left


def test_items_that_are_put_back_are_the_oldest_again_until_there_are_too_many() -> None:
    backlog = holding(*"abc")
    taken: Sequence[str] = backlog.take(2)
    backlog.put("d")
    backlog.put_back(taken)
    back = "".join(backlog)

    assert back == "abcd"
    assert backlog.put("e") == 2
    assert "".join(backlog) == "cde"


def test_a_first_item_that_was_dropped_meanwhile_is_not_removed_again() -> None:
    backlog, equal = Backlog[list[str]](2), [list("a") for _ in range(3)]
    backlog.put(*equal[:2])
    backlog.put(equal[2])
    backlog.remove_first(equal[0])
    dropped_before = len(backlog)
    backlog.remove_first(equal[1])
    kept = list(backlog)
    backlog.clear()
    backlog.remove_first(equal[2])

    assert dropped_before == 2
    assert len(kept) == 1
    assert kept[0] is equal[2]
    assert not backlog
