"""When the caller is told that a stage has no usable rung."""

import pytest

from calls.line import CallerLine
from processors.holding.pending_answer_rules import BEHIND_S, MAX_NEWS, StageEvents
from processors.turn.floor import Floor

PAUSE_S = 1.0


def new_news() -> StageEvents:
    return StageEvents(Floor(CallerLine()), pause_s=PAUSE_S)


def starts(news: StageEvents) -> None:
    news._floor.caller_started(0.0)
    news.caller_started()


def stops(news: StageEvents, at: float) -> None:
    news._floor.caller_stopped(at, now=at + 0.2)


def silent_since(stopped_at: float) -> StageEvents:
    news = new_news()
    starts(news)
    stops(news, stopped_at)
    return news


def test_without_an_outage_there_is_nothing_to_say() -> None:
    news = new_news()

    assert news.wake_at is None
    assert news.due(100.0) is None
    assert news.deaf is False


def test_a_caller_who_has_not_spoken_yet_is_told_without_a_pause() -> None:
    news = new_news()
    news.exhausted("stt", 0.0)
    news.exhausted("llm", 0.5)

    assert news.due(BEHIND_S) == "stt"
    assert news.due(0.5) == "llm"


@pytest.mark.parametrize(
    ("stage", "stopped_at", "at"),
    [
        ("llm", 9.0, 10.0),  # at once: no word of it is on its way
        ("tts", 9.0, 10.0 + BEHIND_S),  # its last words may be
        ("stt", 8.0, 10.0 + BEHIND_S),  # the caller's first may be
        ("stt", 9.5, 9.5 + PAUSE_S),  # perhaps only a pause
    ],
)
def test_each_stage_is_announced_in_its_own_time(stage: str, stopped_at: float, at: float) -> None:
    news = silent_since(stopped_at)
    news.exhausted(stage, 10.0)

    assert news.wake_at == pytest.approx(at)
    assert news.due(at - 0.001) is None
    assert news.due(at) == stage


def test_a_failure_is_announced_once() -> None:
    news = silent_since(0.0)
    news.exhausted("llm", 10.0)

    assert news.due(10.0) == "llm"
    assert news.due(11.0) is None
    assert news.wake_at is None


def test_failures_are_announced_in_order() -> None:
    news = silent_since(0.0)
    news.exhausted("tts", 10.0)
    news.exhausted("llm", 10.0)

    assert [news.due(11.0), news.due(11.0), news.due(11.0)] == ["tts", "llm", None]


def test_nothing_is_said_over_the_caller() -> None:
    news = silent_since(0.0)
    starts(news)
    news.exhausted("stt", 10.0)

    assert news.wake_at is None
    assert news.due(20.0) is None

    stops(news, 20.0)

    assert news.due(20.0 + PAUSE_S) == "stt"


def test_a_new_turn_voids_old_outages_except_a_recognisers() -> None:
    news = silent_since(0.0)
    for stage in ("llm", "stt", "tts"):
        news.exhausted(stage, 10.0)
    starts(news)
    stops(news, 11.0)

    assert [news.due(20.0), news.due(20.0)] == ["stt", None]


@pytest.mark.parametrize(("stage", "deaf"), [("stt", True), ("llm", False), ("tts", False)])
def test_only_without_a_recogniser_the_call_is_deaf(stage: str, deaf: bool) -> None:  # noqa: FBT001 - a table
    news = silent_since(0.0)
    news.exhausted(stage, 10.0)
    assert news.deaf is deaf

    starts(news)
    assert news.deaf is deaf  # it is still to be announced


def test_an_announced_recogniser_outage_does_not_make_the_next_turn_deaf() -> None:
    news = silent_since(0.0)
    news.exhausted("stt", 10.0)
    news.due(20.0)
    starts(news)

    assert not news.deaf


def test_deafness_outlasts_another_stages_outage() -> None:
    news = silent_since(0.0)
    news.exhausted("stt", 10.0)
    news.exhausted("llm", 10.0)

    assert news.deaf


def test_a_possible_menu_word_is_waited_for() -> None:
    news = StageEvents(Floor(CallerLine()), pause_s=PAUSE_S, word_until=lambda: 12.0)
    news.exhausted("llm", 10.0)

    assert news.wake_at == 12.0
    assert news.due(11.9) is None
    assert news.due(12.0) == "llm"


def test_a_covered_outage_is_not_announced() -> None:
    news = silent_since(0.0)
    news.exhausted("tts", 10.0)
    news.exhausted("llm", 10.0)
    news.drop("tts")

    assert [news.due(20.0), news.due(20.0)] == ["llm", None]


@pytest.mark.parametrize("before", ["nothing", "a turn", "a stand-in"])
def test_the_oldest_of_too_many_is_forgotten(before: str) -> None:
    news = new_news() if before == "nothing" else silent_since(0.0)
    if before == "a stand-in":
        news.drop("llm")
    news.exhausted("tts", 9.0)
    for _ in range(MAX_NEWS):
        news.exhausted("llm", 10.0)

    assert [news.due(20.0) for _ in range(MAX_NEWS + 1)] == ["llm"] * MAX_NEWS + [None]
