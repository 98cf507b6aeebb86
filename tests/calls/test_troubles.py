"""What each fact says is wrong."""

import pytest

from calls.events import ProviderFailed
from calls.incident import Trouble
from calls.troubles import trouble_of
from fallbacks.facts import RetriesExhausted, StageExhausted
from fallbacks.failure import Kind, Severity

EXHAUSTED = StageExhausted(stage="llm", attempts=2)


@pytest.mark.parametrize(
    ("event", "trouble"),
    [
        (
            ProviderFailed(stage="transport", provider="twilio", error="answered 401"),
            Trouble(
                stage="transport",
                rung="twilio",
                kind="error",
                severity=Severity.MEDIUM,
                reason="answered 401",
            ),
        ),
        (
            RetriesExhausted(
                stage="tools", provider="crm", kind=Kind.TIMEOUT, tries=4, severity=Severity.HIGH
            ),
            Trouble(stage="tools", rung="crm", kind="timeout", severity=Severity.HIGH),
        ),
        (
            EXHAUSTED,
            Trouble(stage="llm", rung="", kind="exhausted", severity=Severity.CRITICAL),
        ),
    ],
    ids=["off the ladders", "tried again in vain", "a whole stage"],
)
def test_a_fact_says_who_failed_how_and_how_badly(
    event: ProviderFailed | RetriesExhausted | StageExhausted, trouble: Trouble
) -> None:
    assert trouble_of(event) == trouble
