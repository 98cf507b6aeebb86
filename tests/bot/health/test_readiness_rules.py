"""Whether a call could be answered now."""

import pytest

from bot.health.readiness_rules import Readiness, judge_readiness
from processors.holding.outage_rules import STEPS, Step

WELL = {"stt": True, "llm": True, "tts": True}
FAREWELLS = (Step.CLIP, Step.CHOSEN, Step.GOODBYE)


def judged(*down: str, why_closed: str = "", steps: tuple[Step, ...] = STEPS) -> Readiness:
    usable = WELL | dict.fromkeys(down, False)
    return judge_readiness(why_closed=why_closed, usable=usable, steps=steps)


def test_a_healthy_server_is_ready_without_reasons() -> None:
    assert judged() == Readiness(ready=True, degraded=False, reasons=())


@pytest.mark.parametrize("why", ["full", "draining"])
def test_a_server_that_accepts_no_calls_is_not_ready(why: str) -> None:
    assert judged(why_closed=why) == Readiness(ready=False, degraded=False, reasons=(why,))


def test_every_reason_is_named() -> None:
    found = judged("llm", "tts", why_closed="full")

    assert found.reasons == ("full", "llm_down", "tts_down")
    assert not found.degraded


@pytest.mark.parametrize(
    ("stage", "steps", "ready"),
    [
        ("stt", STEPS, True),
        ("llm", STEPS, True),
        ("tts", STEPS, True),
        ("stt", FAREWELLS, False),
        ("llm", FAREWELLS, False),
        ("tts", FAREWELLS, False),
        ("llm", (*FAREWELLS, Step.KEYPAD), True),
        ("tts", (*FAREWELLS, Step.KEYPAD), True),
        ("llm", (*FAREWELLS, Step.LOCAL), False),
        ("stt", (*FAREWELLS, Step.LOCAL), False),
        ("tts", (*FAREWELLS, Step.LOCAL), True),
    ],
)
def test_a_stage_that_is_down_is_covered_by_a_step_without_a_provider(
    stage: str, steps: tuple[Step, ...], *, ready: bool
) -> None:
    found = judged(stage, steps=steps)

    assert found == Readiness(ready=ready, degraded=ready, reasons=(f"{stage}_down",))


def test_all_stages_down_are_covered_by_a_menu() -> None:
    found = judged("stt", "llm", "tts")

    assert (found.ready, found.degraded) == (True, True)
    assert found.reasons == ("stt_down", "llm_down", "tts_down")


def test_one_uncovered_stage_is_enough() -> None:
    assert not judged("tts", "llm", steps=(Step.LOCAL, Step.GOODBYE)).ready


@pytest.mark.parametrize(
    ("down", "reasons"), [((), ("storage_down",)), (("llm",), ("llm_down", "storage_down"))]
)
def test_an_unwritable_database_does_not_prevent_calls(
    down: tuple[str, ...], reasons: tuple[str, ...]
) -> None:
    usable = WELL | dict.fromkeys(down, False)
    found = judge_readiness(why_closed="", usable=usable, steps=STEPS, recorded=False)

    assert found == Readiness(ready=True, degraded=True, reasons=reasons)
