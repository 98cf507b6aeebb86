"""The replacement of a failing rung, in an operator's message."""

import pytest

from calls.known_rungs import KnownRungs
from fallbacks.breaker import State

LADDERS = {"llm": ["a", "b", "c"], "tts": ["voice"], "stt": []}


def known(**kinds: str) -> KnownRungs:
    rungs = KnownRungs(LADDERS, steps=["clip", "goodbye"])
    for name, kind in kinds.items():
        rungs.get("llm", name).kind = kind
    return rungs


def test_a_rung_outside_the_ladders_is_not_kept() -> None:
    rungs = known()
    rungs.get("llm", "stranger").kind = "auth"

    assert rungs.get("llm", "stranger").kind == ""
    assert rungs.get("llm", "a") is rungs.get("llm", "a")


@pytest.mark.parametrize(
    ("stage", "name", "there"),
    [
        ("llm", "a", True),
        ("llm", "voice", False),
        ("llm", "", True),
        ("crm", "", False),
        ("crm", "a", False),
    ],
)
def test_the_ladders_rungs_are_known(stage: str, name: str, there: bool) -> None:  # noqa: FBT001 - a table
    assert known().has(stage, name) is there


def test_a_stage_is_retired_when_all_its_rungs_are() -> None:
    rungs = known()
    for name in ("a", "b"):
        rungs.get("llm", name).breaker = State.OPEN
    assert not rungs.is_unavailable("llm")

    rungs.get("llm", "c").breaker = State.HALF_OPEN

    assert rungs.is_unavailable("llm")


@pytest.mark.parametrize("stage", ["stt", "crm"])
def test_a_stage_without_rungs_is_not_retired(stage: str) -> None:
    assert not known().is_unavailable(stage)


def test_failures_are_named_rung_by_rung() -> None:
    rungs = known(a="auth", c="timeout")
    for name in ("a", "c"):
        rung = rungs.get("llm", name)
        rung.reason = rungs.explain("llm", name, rung.kind, "")

    assert rungs.reasons("llm") == "a rejects its key; c does not answer in time"
    assert known().reasons("llm") == ""
    assert known().reasons("crm") == ""


@pytest.mark.parametrize(
    ("kinds", "open_rungs", "said"),
    [
        ({}, (), "b is used instead"),
        ({"b": "timeout"}, (), "c is used instead"),
        ({"b": "timeout", "c": "auth"}, (), "b is used instead"),
        ({}, ("b",), "c is used instead"),
        ({}, ("b", "c"), "callers will hear a recorded sentence"),
    ],
)
def test_the_next_rung_is_the_first_without_suspicion(
    kinds: dict[str, str], open_rungs: tuple[str, ...], said: str
) -> None:
    rungs = known(**kinds)
    for name in open_rungs:
        rungs.get("llm", name).breaker = State.OPEN

    assert rungs.describe_replacement("llm", "a") == said


def test_a_whole_stages_message_names_the_outage_menu() -> None:
    assert known().describe_replacement("llm", "") == "callers will hear a recorded sentence"
    assert (
        KnownRungs(LADDERS, steps=[]).describe_replacement("llm", "") == "callers will hear nothing"
    )
