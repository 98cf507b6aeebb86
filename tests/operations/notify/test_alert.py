"""The state of an alert, and its end when no process reports one."""

from dataclasses import replace

import pytest

from calls.operations_events import AlertClosed
from fallbacks.failure import Severity
from operations.notify.alert import (
    HURT_S,
    RECOVERED,
    Alert,
    AlertRules,
    Census,
    ended_events,
    find_many_hurt,
    with_callers,
)

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
        "it had ended before",
        "it began and ended in between",
        "no process reports it any more",
        "an operator has closed one of two",
    ],
)
def test_an_alert_that_no_process_ended_is_reported_as_closed(
    before: tuple[Alert, ...], after: tuple[Alert, ...], told: tuple[AlertClosed, ...]
) -> None:
    assert ended_events(before, {alert.key: alert for alert in after}) == told


def test_an_alert_counts_the_callers_who_were_hurt_while_it_was_open() -> None:
    census = Census(hurt_s=[80.0, 90.0, 100.0, 150.0, 300.0])
    lasting = replace(OPEN, began_s=40.0, open_s=100.0)

    assert with_callers(lasting, census).callers == 4  # one began shortly before the report
    assert with_callers(replace(lasting, ended_s=200.0), census).callers == 3


@pytest.mark.parametrize(
    ("hurt", "calls", "alarms"),
    [
        (0, 100, False),
        (1, 2, False),  # one unlucky caller is not an outage
        (2, 2, True),
        (2, 100, True),
        (2, 101, False),
        (20, 1000, True),
        (19, 1000, False),
        (3, 0, True),  # not counted
    ],
)
def test_many_hurt_callers_are_an_incident_of_their_own(
    hurt: int, calls: int, *, alarms: bool
) -> None:
    census = Census(hurt_s=[100.0, *[1000.0] * hurt], calls=calls)

    found = find_many_hurt(census, AlertRules(), 1000.0 + HURT_S)

    assert bool(found) is alarms
    assert find_many_hurt(census, AlertRules(), 1001.0 + HURT_S) is None


@pytest.mark.parametrize(
    "other",
    [
        replace(OPEN, kind="quota"),
        replace(OPEN, reason="answered 402"),
        replace(OPEN, then="nobody answers instead"),
        replace(OPEN, callers=1),
        replace(OPEN, beside=("tts",)),
        replace(OPEN, seen_by="ann"),
    ],
    ids=["kind", "reason", "what callers get", "callers", "other stages", "acknowledged by"],
)
def test_every_field_of_a_message_changes_its_digest(other: Alert) -> None:
    assert other.words != OPEN.words
    assert replace(OPEN, heard_s=200.0, failures=9).words == OPEN.words
