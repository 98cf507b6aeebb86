"""The state of an alert, and its end when no process reports one."""

from dataclasses import replace

import pytest

from calls.operations_events import AlertClosed
from fallbacks.failure import Severity
from operations.notify.alert import RECOVERED, Alert, closed, step_up, worse

OPEN = Alert(
    key="llm/openai/auth",
    stage="llm",
    rung="openai",
    kind="auth",
    severity=Severity.HIGH,
    reason="answered 401",
    then="anthropic answers instead",
    began_s=100.0,
    open_s=100.0,
    heard_s=150.0,
)
UNHEARD = replace(OPEN, ended_s=400.0, how="unheard", lasted_s=50.0)
OTHER = replace(OPEN, key="tts/cartesia/auth", stage="tts", rung="cartesia")
RESOLVED = replace(OTHER, ended_s=400.0, how="resolved by ann", lasted_s=300.0)


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ((), (), ()),
        ((OPEN,), (OPEN,), ()),
        ((OPEN,), (), ()),
        ((OPEN,), (replace(UNHEARD, how=RECOVERED),), ()),
        ((UNHEARD,), (UNHEARD,), ()),
        ((), (UNHEARD,), ()),
        (
            (OPEN,),
            (UNHEARD,),
            (AlertClosed(stage="llm", rung="openai", how="unheard", lasted_s=50.0),),
        ),
        (
            (UNHEARD, OTHER),
            (UNHEARD, RESOLVED),
            (AlertClosed(stage="tts", rung="cartesia", how="resolved by ann", lasted_s=300.0),),
        ),
    ],
    ids=[
        "none",
        "it lasts",
        "it is forgotten",
        "a process says that it is over",
        "it was over before",
        "it began and ended in between",
        "nobody speaks of it any more",
        "an operator has closed one of two",
    ],
)
def test_an_end_without_a_reporter_is_told(
    before: tuple[Alert, ...], after: tuple[Alert, ...], told: tuple[AlertClosed, ...]
) -> None:
    assert closed(before, {alert.key: alert for alert in after}) == told


@pytest.mark.parametrize(
    ("stage", "rung", "whole"),
    [("llm", "", True), ("llm", "openai", False), ("alert", "", False)],
    ids=["a stage", "one of its rungs", "no stage of a call"],
)
def test_a_whole_stage_is_down_if_the_alert_names_no_single_rung(
    stage: str, rung: str, *, whole: bool
) -> None:
    assert replace(OPEN, stage=stage, rung=rung).whole_stage is whole


def test_each_process_counts_its_own_turns() -> None:
    assert OPEN.turns_touched == 0
    assert replace(OPEN, turns={"worker 1": 2, "worker 2": 5}).turns_touched == 7


@pytest.mark.parametrize(
    "other",
    [
        replace(OPEN, kind="quota"),
        replace(OPEN, reason="answered 402"),
        replace(OPEN, then="nobody answers instead"),
        replace(OPEN, turns={"worker 1": 1}),
        replace(OPEN, beside=("tts",)),
        replace(OPEN, seen_by="ann"),
    ],
    ids=["what", "why", "what then", "whom it touches", "what else", "who knows"],
)
def test_every_field_of_a_message_changes_its_digest(other: Alert) -> None:
    assert other.words != OPEN.words
    assert replace(OPEN, heard_s=200.0, failures=9).words == OPEN.words


@pytest.mark.parametrize(
    ("severity", "heavier"),
    [
        (Severity.LOW, Severity.MEDIUM),
        (Severity.MEDIUM, Severity.HIGH),
        (Severity.HIGH, Severity.CRITICAL),
        (Severity.CRITICAL, Severity.CRITICAL),
    ],
)
def test_a_step_up_is_the_next_severity(severity: Severity, heavier: Severity) -> None:
    assert step_up(severity) is heavier
    assert worse(severity, heavier) is heavier
    assert worse(heavier, severity) is heavier
