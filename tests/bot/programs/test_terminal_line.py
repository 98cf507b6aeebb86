"""The terminal's one line for the call in progress."""

import pytest

from bot.programs.mic import TerminalLine, level_bar
from calls.entry import Entry
from calls.events import CallStarted, Event, ProviderFailed
from fallbacks.events import AttemptFailed, BreakerMoved
from fallbacks.failure import Kind, Scope


def attempt_failed(kind: Kind, scope: Scope) -> AttemptFailed:
    return AttemptFailed(stage="llm", provider="openai", kind=kind, scope=scope, after_s=0.1)


async def line_after(*events: Event) -> str:
    line = TerminalLine()
    for number, event in enumerate((CallStarted(transport="webrtc", agent="a"), *events), start=1):
        await line.hear(Entry(call_id="c", number=number, at="now", event=event))
    return line.draw().plain


@pytest.mark.parametrize(
    "event",
    [
        attempt_failed(Kind.AUTH, Scope.CREDENTIAL),
        attempt_failed(Kind.CUT, Scope.ENDPOINT),
        ProviderFailed(stage="transport", provider="twilio", error="hang-up answered 401"),
    ],
    ids=["a key refused", "an answer cut", "a hang-up refused"],
)
async def test_each_failure_of_a_provider_counts(event: Event) -> None:
    assert "provider failures 2" in await line_after(event, event)


@pytest.mark.parametrize(
    "event",
    [
        attempt_failed(Kind.BAD_REQUEST, Scope.PAYLOAD),
        BreakerMoved(
            stage="llm",
            provider="openai",
            before="closed",
            after="open",
            cause="failures",
            after_s=9.0,
        ),
    ],
    ids=["our own request", "a breaker that opened by it"],
)
async def test_other_events_do_not_count(event: Event) -> None:
    assert "failures" not in await line_after(event)


@pytest.mark.parametrize(
    ("peak", "shown"),
    [
        (0.0, "mic .........."),
        (0.0005, "mic .........."),
        (0.0316, "mic #####....."),
        (1.0, "mic ##########"),
        (7.0, "mic ##########"),
    ],
)
def test_the_level_is_a_bar_of_fixed_width(peak: float, shown: str) -> None:
    assert level_bar(peak, resting=False).plain == shown
