"""Announcements to the caller that a stage has no usable rung."""

import pytest

from calls.line import CallerLine
from processors.holding.pending_answer_rules import MAX_WAITING, SETTLE_S, Announcements
from processors.turn.floor import Floor

PAUSE_S = 1.0


def new_announcements() -> Announcements:
    return Announcements(Floor(CallerLine()), pause_s=PAUSE_S)


def starts(announcements: Announcements) -> None:
    announcements._floor.caller_started(0.0)
    announcements.caller_started()


def stops(announcements: Announcements, at: float) -> None:
    announcements._floor.caller_stopped(at, now=at + 0.2)


def silent_since(stopped_at: float) -> Announcements:
    announcements = new_announcements()
    starts(announcements)
    stops(announcements, stopped_at)
    return announcements


def test_without_an_outage_nothing_is_announced() -> None:
    announcements = new_announcements()

    assert announcements.wake_at is None
    assert announcements.due(100.0) is None
    assert announcements.deaf is False


def test_a_caller_who_has_not_spoken_yet_is_told_without_a_pause() -> None:
    announcements = new_announcements()
    announcements.exhausted("stt", 0.0)
    announcements.exhausted("llm", 0.5)

    assert announcements.due(SETTLE_S) == "stt"
    assert announcements.due(0.5) == "llm"


@pytest.mark.parametrize(
    ("stage", "stopped_at", "at"),
    [
        ("llm", 9.0, 10.0),  # at once: no word of it is on its way
        ("tts", 9.0, 10.0 + SETTLE_S),  # its last words may be
        ("stt", 8.0, 10.0 + SETTLE_S),  # the caller's first may be
        ("stt", 9.5, 9.5 + PAUSE_S),  # perhaps only a pause
    ],
)
def test_each_stage_is_announced_in_its_own_time(stage: str, stopped_at: float, at: float) -> None:
    announcements = silent_since(stopped_at)
    announcements.exhausted(stage, 10.0)

    assert announcements.wake_at == pytest.approx(at)
    assert announcements.due(at - 0.001) is None
    assert announcements.due(at) == stage


def test_failures_are_announced_in_order() -> None:
    announcements = silent_since(0.0)
    announcements.exhausted("tts", 10.0)
    announcements.exhausted("llm", 10.0)

    assert [announcements.due(11.0), announcements.due(11.0), announcements.due(11.0)] == [
        "tts",
        "llm",
        None,
    ]
    assert announcements.wake_at is None


def test_nothing_is_announced_while_the_caller_speaks() -> None:
    announcements = silent_since(0.0)
    starts(announcements)
    announcements.exhausted("stt", 10.0)

    assert announcements.wake_at is None
    assert announcements.due(20.0) is None

    stops(announcements, 20.0)

    assert announcements.due(20.0 + PAUSE_S) == "stt"


def test_a_new_turn_voids_old_outages_except_a_recognisers() -> None:
    announcements = silent_since(0.0)
    for stage in ("llm", "stt", "tts"):
        announcements.exhausted(stage, 10.0)
    starts(announcements)
    stops(announcements, 11.0)

    assert [announcements.due(20.0), announcements.due(20.0)] == ["stt", None]


@pytest.mark.parametrize(("stage", "deaf"), [("stt", True), ("llm", False), ("tts", False)])
def test_the_call_is_deaf_only_without_a_recogniser(stage: str, deaf: bool) -> None:  # noqa: FBT001 - a table
    announcements = silent_since(0.0)
    announcements.exhausted(stage, 10.0)
    assert announcements.deaf is deaf

    starts(announcements)
    assert announcements.deaf is deaf  # it is still to be announced


def test_an_announced_recogniser_outage_does_not_make_the_next_turn_deaf() -> None:
    announcements = silent_since(0.0)
    announcements.exhausted("stt", 10.0)
    announcements.due(20.0)
    starts(announcements)

    assert not announcements.deaf


def test_deafness_outlasts_another_stages_outage() -> None:
    announcements = silent_since(0.0)
    announcements.exhausted("stt", 10.0)
    announcements.exhausted("llm", 10.0)

    assert announcements.deaf


def test_a_possible_menu_word_is_waited_for() -> None:
    announcements = Announcements(Floor(CallerLine()), pause_s=PAUSE_S, word_until=lambda: 12.0)
    announcements.exhausted("llm", 10.0)

    assert announcements.wake_at == 12.0
    assert announcements.due(11.9) is None
    assert announcements.due(12.0) == "llm"


def test_a_covered_outage_is_not_announced() -> None:
    announcements = silent_since(0.0)
    announcements.exhausted("tts", 10.0)
    announcements.exhausted("llm", 10.0)
    announcements.drop("tts")

    assert [announcements.due(20.0), announcements.due(20.0)] == ["llm", None]


@pytest.mark.parametrize("before", ["nothing", "a turn", "a stand-in"])
def test_the_oldest_of_too_many_is_forgotten(before: str) -> None:
    announcements = new_announcements() if before == "nothing" else silent_since(0.0)
    if before == "a stand-in":
        announcements.drop("llm")
    announcements.exhausted("tts", 9.0)
    for _ in range(MAX_WAITING):
        announcements.exhausted("llm", 10.0)

    assert [announcements.due(20.0) for _ in range(MAX_WAITING + 1)] == ["llm"] * MAX_WAITING + [
        None
    ]
