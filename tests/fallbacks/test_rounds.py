"""The next rung for work without a waiting caller."""

import pytest

from fallbacks.availability import Availability, RungState
from fallbacks.retrying import Rounds


def ladder(*names: str, down: tuple[str, ...] = (), suspect: str = "") -> list[Availability]:
    states = dict.fromkeys(down, RungState.OPEN) | {suspect: RungState.SUSPECT}
    return [
        Availability(provider=name, state=states.get(name, RungState.READY), p50_s=0.4, p95_s=0.8)
        for name in names
    ]


BOTH = ladder("first", "second")


def test_the_preferred_rung_is_asked_first() -> None:
    assert Rounds().choose(BOTH, now=10.0) == "first"


def test_a_suspect_rung_is_asked_last() -> None:
    assert Rounds().choose(ladder("first", "second", suspect="first"), now=10.0) == "second"


def test_a_standby_is_asked_at_once_after_a_failure() -> None:
    rounds = Rounds()

    rounds.fail("first", again_at=15.0)

    assert rounds.choose(BOTH, now=10.0) == "second"


def test_the_first_due_rung_is_asked_again() -> None:
    rounds = Rounds()
    rounds.fail("first", again_at=15.0)
    rounds.fail("second", again_at=14.0)

    assert rounds.choose(BOTH, now=10.0) is None
    assert rounds.wake_at(BOTH) == 14.0
    assert rounds.choose(BOTH, now=14.0) == "second"


def test_the_preferred_of_two_due_rungs_is_asked() -> None:
    rounds = Rounds()
    rounds.fail("first", again_at=15.0)
    rounds.fail("second", again_at=14.0)

    assert rounds.choose(BOTH, now=16.0) == "first"


def test_a_permanent_failure_is_not_asked_again() -> None:
    rounds = Rounds()
    rounds.fail("first", again_at=None)
    rounds.fail("second", again_at=None)

    assert rounds.choose(BOTH, now=1000.0) is None
    assert rounds.wake_at(BOTH) is None


@pytest.mark.parametrize("down", [("first",), ("first", "second")], ids=["one", "all"])
def test_a_rung_with_an_open_breaker_is_not_waited_for(down: tuple[str, ...]) -> None:
    rounds = Rounds()
    rounds.fail("first", again_at=15.0)
    rounds.fail("second", again_at=None)

    assert rounds.wake_at(ladder("first", "second", down=down)) is None
