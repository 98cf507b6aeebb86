"""Which rung to ask, and how often to ask more than one."""

from dataclasses import replace
from typing import Any

import pytest

from fallbacks.availability import Availability, AvailabilityTable, Place, Reason, RungState
from fallbacks.deadline import Deadline
from fallbacks.failure import Kind, failed
from fallbacks.ladder import (
    Allowance,
    NextRung,
    Pace,
    RungChoice,
    StagePolicy,
    may_ask_again,
    rank,
)


def rung(provider: str, *, suspect: bool = False, p50_s: float = 0.2) -> Availability:
    state = RungState.SUSPECT if suspect else RungState.READY
    return Availability(provider=provider, state=state, p50_s=p50_s, p95_s=p50_s * 2)


SOON = Deadline(at=101.5)


def test_the_preferred_rung_comes_first() -> None:
    assert rank([rung("a"), rung("b")], SOON, now=100.0) == ("a", "b")


def test_a_suspect_comes_after_the_others() -> None:
    ladder = [rung("a", suspect=True), rung("b"), rung("c")]

    assert rank(ladder, SOON, now=100.0) == ("b", "c", "a")


def test_a_resting_rung_is_asked_last_but_is_asked() -> None:
    spared = replace(rung("a"), reason=Reason.PAUSE)
    ladder = [spared, rung("b", suspect=True), rung("c")]

    assert rank(ladder, SOON, now=100.0, stay_with="a") == ("c", "b", "a")
    assert rank([spared], SOON, now=100.0) == ("a",)


def test_a_rung_too_slow_for_the_deadline_comes_after_the_others() -> None:
    ladder = [rung("slow", p50_s=1.0), rung("quick", p50_s=0.2)]

    assert rank(ladder, SOON, now=101.0) == ("quick", "slow")
    assert rank(ladder, SOON, now=100.0) == ("slow", "quick")


def test_the_voice_that_took_over_stays_until_it_is_suspect_itself() -> None:
    ladder = [rung("a"), rung("b")]
    assert rank(ladder, SOON, now=100.0, stay_with="b") == ("b", "a")

    ladder = [rung("a"), rung("b", suspect=True)]
    assert rank(ladder, SOON, now=100.0, stay_with="b") == ("a", "b")


@pytest.mark.parametrize(("p50_s", "after_s"), [(0.1, 0.35), (0.25, 0.5), (1.0, 0.8)])
def test_lateness_is_relative_to_the_rungs_usual_latency_within_bounds(
    p50_s: float, after_s: float
) -> None:
    assert Pace().late_after_s(rung("a", p50_s=p50_s)) == after_s


SHORT, LONG = {"retry_after_s": 0.2}, {"retry_after_s": 0.31}
PERMANENT = (Kind.AUTH, Kind.QUOTA, Kind.BAD_REQUEST, Kind.NOT_FOUND)


@pytest.mark.parametrize(
    ("kind", "more", "now", "tries", "wait_s"),
    [
        (Kind.CUT, {}, 100.0, 1, 0.0),
        (Kind.CUT, {}, 100.0, 2, None),  # at once, and only twice
        (Kind.CUT, {}, 101.5, 0, None),  # after the deadline
        *((kind, {}, 100.0, 0, None) for kind in PERMANENT),
        (Kind.OVERLOADED, {"same_rung": False}, 100.0, 0, None),  # the provider forbids it
        (Kind.RATE_LIMITED, {}, 100.0, 0, None),
        (Kind.RATE_LIMITED, SHORT, 101.4, 0, None),
        *((kind, SHORT, 100.0, 0, 0.2) for kind in (Kind.RATE_LIMITED, Kind.NETWORK, Kind.TIMEOUT)),
        *((kind, LONG, 100.0, 0, None) for kind in (Kind.RATE_LIMITED, Kind.OVERLOADED)),
    ],
)
def test_a_failed_rung_is_asked_again_only_soon_and_if_the_failure_may_pass(
    kind: Kind, more: dict[str, Any], now: float, tries: int, wait_s: float | None
) -> None:
    failure = failed(kind, "llm", provider="a", **more)

    assert may_ask_again(failure, SOON, now=now, tries=tries) == wait_s


def test_extra_attempts_stay_below_their_share_of_the_recent_ones() -> None:
    allowance = Allowance(share=0.1, floor=3, recent=100)
    taken = 0
    for _ in range(1_000):
        allowance.note()
        taken += allowance.take()

    assert 90 <= taken <= 0.1 * (1_000 + taken)


def test_races_are_allowed_in_the_first_outage_before_there_is_any_history() -> None:
    allowance = Allowance(share=0.1, floor=3)

    assert [allowance.take() for _ in range(5)] == [True, True, True, False, False]


def taken(allowance: Allowance) -> int:
    """Return how many extra attempts may be made one after the other."""
    return sum(allowance.take() for _ in range(50))


@pytest.mark.parametrize(
    ("floor", "processes", "each"),
    [(6, 1, 6), (6, 3, 2), (7, 2, 3), (3, 8, 1), (0, 2, 0)],
    ids=["alone", "a part", "no half ones", "one for each at least", "none is none"],
)
def test_processes_share_the_guaranteed_attempts(floor: int, processes: int, each: int) -> None:
    allowance = Allowance(floor=floor)

    allowance.share(processes)

    assert taken(allowance) == each


def test_the_share_of_attempts_is_each_processs_own() -> None:
    allowance = Allowance(share=0.1, floor=3, recent=1_000)
    for _ in range(100):
        allowance.note()

    allowance.share(4)

    assert taken(allowance) == 11  # a tenth of 100 and of the extra ones themselves
    assert allowance.spent == 11


def choice() -> RungChoice:
    places = [Place(stage="llm", provider=name, credential="") for name in ("a", "resting", "b")]
    table = AvailabilityTable(places, now=100.0)
    table.of("llm", "resting").rests_until = 200.0
    table.of("llm", "b").suspect(Kind.CUT, 100.0)
    return RungChoice(StagePolicy(stage="llm", availability=table))


def test_standbys_are_allowed_rungs_that_have_not_been_asked() -> None:
    asked = choice()
    asked.note_start(NextRung(provider="a"))

    assert [standby.provider for standby in asked.standbys(100.0)] == ["b"]
    assert [standby.provider for standby in asked.standbys(200.0)] == ["resting", "b"]


def test_a_rung_with_an_unneeded_attempt_is_a_standby_again() -> None:
    asked = choice()
    asked.note_start(NextRung(provider="a"))
    asked.take_back("a")

    assert [standby.provider for standby in asked.standbys(100.0)] == ["a", "b"]
    assert asked.attempts == 0


def test_an_attempt_keeps_the_availability_of_its_choice() -> None:
    asked = choice()
    before = asked.note_start(NextRung(provider="a"))
    asked.find_next(SOON, (), 100.0)
    after = asked.note_start(NextRung(provider="b"))

    assert before is None  # nothing has been read yet
    assert after is not None
    assert after.state is RungState.SUSPECT
