"""Each attempt of a call is counted once, by its outcome."""

import pytest
from prometheus_client import CollectorRegistry

from calls.entry import Entry
from calls.events import CallEnded, Event
from calls.state import WON_KEPT
from fallbacks.events import AttemptDropped, AttemptFailed, AttemptWon
from fallbacks.failure import Kind, Scope
from operations.telemetry.meters import OUTCOMES
from operations.telemetry.metrics import Metrics

TOLD = AttemptWon | AttemptFailed | AttemptDropped


def won(attempt: int = 1, stage: str = "tts") -> AttemptWon:
    return AttemptWon(stage=stage, provider="cartesia", attempt=attempt, after_s=0.1)


def failed(attempt: int = 1) -> AttemptFailed:
    return AttemptFailed(
        stage="tts", provider="cartesia", kind=Kind.CUT, scope=Scope.ENDPOINT, after_s=0.4,
        attempt=attempt,
    )  # fmt: skip


def dropped(attempt: int = 1) -> AttemptDropped:
    return AttemptDropped(stage="tts", provider="cartesia", attempt=attempt, because="caller")


class Counted:
    """Metrics, and what they have counted of the attempts."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._metrics = Metrics(self._registry, {})

    async def emit(self, *events: Event, call_id: str = "c") -> dict[str, int]:
        """Return how many attempts these events count, by outcome."""
        before = self._counts()
        for event in events:
            await self._metrics.hear(Entry(call_id=call_id, number=1, at="", event=event))
        now = self._counts()
        return {name: now[name] - before[name] for name in OUTCOMES if now[name] > before[name]}

    def _counts(self) -> dict[str, int]:
        samples = [sample for metric in self._registry.collect() for sample in metric.samples]
        counts = dict.fromkeys(OUTCOMES, 0)
        for sample in samples:
            if sample.name == "holdline_attempts_total":
                counts[sample.labels["outcome"]] += round(sample.value)
        return counts


@pytest.mark.parametrize(
    ("facts", "outcomes"),
    [
        ([won()], {"won": 1}),
        ([failed()], {"failed": 1}),
        ([dropped()], {"dropped": 1}),
        ([won(), failed()], {"won": 1, "broke_off": 1}),
        ([won(), dropped()], {"won": 1}),
        ([won(1), failed(2)], {"won": 1, "failed": 1}),
        ([won(stage="llm"), failed()], {"won": 1, "failed": 1}),
        ([failed(0)], {}),
    ],
    ids=[
        "won",
        "failed",
        "dropped",
        "won, then failed",
        "won, then interrupted",
        "failed after another attempt won",
        "failed after an attempt of another stage won",
        "outside the stages of a call",
    ],
)
async def test_an_attempt_has_one_outcome(facts: list[TOLD], outcomes: dict[str, int]) -> None:
    assert await Counted().emit(*facts) == outcomes


async def test_calls_are_kept_apart_and_events_outside_calls_are_not_counted() -> None:
    it = Counted()

    assert await it.emit(won(), call_id="one") == {"won": 1}
    assert await it.emit(failed(), call_id="other") == {"failed": 1}
    assert await it.emit(won(), failed(), call_id="") == {}


async def test_the_last_attempts_of_a_long_call_are_kept_and_none_of_an_ended_one() -> None:
    it = Counted()
    await it.emit(*(won(number) for number in range(1, WON_KEPT + 2)))

    assert await it.emit(failed(1)) == {"failed": 1}  # forgotten by now
    assert await it.emit(failed(2)) == {"broke_off": 1}

    await it.emit(CallEnded(reason="x", length_s=1.0))
    assert await it.emit(failed(2)) == {"failed": 1}
