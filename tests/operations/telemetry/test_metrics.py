"""The Prometheus metrics."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from calls.entry import Entry
from calls.events import (
    AnswerHeard,
    CallEnded,
    CallFailed,
    CallStarted,
    Event,
    ProviderFailed,
    TurnParts,
    UsageMeasured,
)
from calls.state import WON_KEPT
from fallbacks.events import (
    AttemptDropped,
    AttemptFailed,
    AttemptWon,
    BreakerMoved,
    ProviderProbed,
    RungChosen,
    RungFollowed,
)
from fallbacks.failure import Kind, Scope, Severity
from operations.notify.incident_rules import Incidents
from operations.telemetry import metrics as module
from operations.telemetry.meters import BREAKER, OUTCOMES, Meters
from operations.telemetry.metrics import Exposition, Metrics, forget_dead_processes
from scripts.metrics_page import PAGE, renew
from tests.operations.telemetry.incident_feed import IncidentFeed

LADDERS = {"tts": ["cartesia", "elevenlabs"]}
AT = "2026-01-01T00:00:00.000+00:00"
OPENED = BreakerMoved(
    stage="tts", provider="cartesia", before="closed", after="open", cause="failures",
    after_s=9.0, severity=Severity.MEDIUM,
)  # fmt: skip
CLOSED = BreakerMoved(
    stage="tts", provider="cartesia", before="open", after="closed", cause="probe", after_s=31.0
)


class Counted:
    """Metrics that were told some events."""

    def __init__(self) -> None:
        self.exposition = Exposition()
        self.metrics = Metrics(self.exposition.registry, LADDERS)
        self.feed = IncidentFeed(self.metrics, Incidents(LADDERS))

    async def emit(self, *events: Event, call_id: str = "c") -> dict[str, float]:
        for event in events:
            await self.feed.hear(Entry(call_id=call_id, number=1, at=AT, event=event))
        return self.read()

    def read(self) -> dict[str, float]:
        text = self.exposition.read().decode()
        return {
            f"{sample.name}{sorted(sample.labels.values())}"
            if sample.labels
            else sample.name: sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }


async def test_calls_start_continue_and_end() -> None:
    it = Counted()
    await it.emit(CallStarted(transport="twilio", agent="a"), call_id="one")
    during = await it.emit(CallStarted(transport="webrtc", agent="a"), call_id="two")
    after = await it.emit(CallEnded(reason="caller_hung_up", length_s=20.0), call_id="one")

    assert during["holdline_calls_active"] == 2
    assert during["holdline_calls_started_total['twilio']"] == 1
    assert after["holdline_calls_active"] == 1
    assert after["holdline_calls_ended_total['caller_hung_up']"] == 1
    assert after["holdline_call_length_seconds_sum"] == 20.0


async def test_an_answer_is_counted_whole_and_in_its_parts() -> None:
    parts = TurnParts(
        vad_s=0.2, transcript_s=0.0, decision_s=0.1, llm_s=0.3, tts_s=0.1, transport_s=-0.01
    )
    read = await Counted().emit(AnswerHeard(turn=1, at_s=0.0, v2v_s=0.7, parts=parts))

    assert read["holdline_v2v_seconds_count"] == 1
    assert read["holdline_v2v_seconds_bucket['0.7']"] == 1
    assert read["holdline_v2v_seconds_bucket['0.6']"] == 0
    assert read["holdline_turn_part_seconds_sum['llm']"] == pytest.approx(0.3)
    assert read["holdline_turn_part_seconds_sum['transport']"] == 0


def test_rungs_have_zero_counts_before_their_first_event() -> None:
    read = Counted().read()

    for name in LADDERS["tts"]:
        assert read[f"holdline_breaker_state['{name}', 'false', 'tts']"] == BREAKER["closed"]
        assert read[f"holdline_retries_exhausted_total['{name}', 'tts']"] == 0
        assert read[f"holdline_unpriced_total['{name}']"] == 0
    assert read["holdline_stage_exhausted_total['tts']"] == 0


def test_counters_of_alert_rules_start_at_zero() -> None:
    rules = Path("deploy/prometheus/rules.yml").read_text(encoding="utf-8")
    asked = re.findall(r'holdline_facts_total\{fact="(\w+)"\}', rules)
    read = Counted().read()

    assert set(asked) == {"CallFailed", "CallRefused", "RetriesExhausted"}
    assert [read[f"holdline_facts_total['{match}']"] for match in asked] == [0] * len(asked)


async def test_another_processs_breaker_state_is_shown() -> None:
    it = Counted()
    opened = await it.emit(OPENED)
    followed = await it.emit(
        RungFollowed(stage="tts", provider="cartesia", breaker="closed", suspect=False)
    )

    assert opened["holdline_breaker_state['cartesia', 'false', 'tts']"] == BREAKER["open"]
    assert followed["holdline_breaker_state['cartesia', 'false', 'tts']"] == BREAKER["closed"]


async def test_a_breakers_outage_is_reported_at_both_ends() -> None:
    it = Counted()
    opened = await it.emit(OPENED)
    closed = await it.emit(CLOSED)

    assert opened["holdline_breaker_state['cartesia', 'false', 'tts']"] == BREAKER["open"]
    assert opened["holdline_incidents_total['medium']"] == 1
    assert closed["holdline_breaker_state['cartesia', 'false', 'tts']"] == 0
    assert closed["holdline_breaker_open_seconds_total['cartesia', 'tts']"] == 31.0
    assert closed["holdline_provider_recovery_seconds_count['cartesia', 'tts']"] == 1


async def test_failures_and_failovers_are_counted() -> None:
    read = await Counted().emit(
        AttemptFailed(
            stage="tts", provider="cartesia", kind=Kind.CUT, scope=Scope.ENDPOINT, after_s=0.4
        ),
        ProviderFailed(stage="transport", provider="twilio", error="500"),
        RungChosen(stage="tts", before="cartesia", after="elevenlabs", cause="cut"),
        ProviderProbed(stage="tts", provider="cartesia", real=True, ok=False, took_s=1.0),
    )

    assert read["holdline_failures_total['cartesia', 'cut', 'tts']"] == 1
    assert read["holdline_failed_attempt_seconds_total['tts']"] == pytest.approx(0.4)
    assert read["holdline_failures_total['error', 'transport', 'twilio']"] == 1
    assert read["holdline_failovers_total['cartesia', 'elevenlabs', 'tts']"] == 1
    assert read["holdline_probes_total['cartesia', 'false', 'tts']"] == 1


def won(attempt: int = 1, stage: str = "tts") -> AttemptWon:
    return AttemptWon(stage=stage, provider="cartesia", attempt=attempt, after_s=0.1)


def died(attempt: int = 1) -> AttemptFailed:
    return AttemptFailed(
        stage="tts", provider="cartesia", kind=Kind.CUT, scope=Scope.ENDPOINT, after_s=0.4,
        attempt=attempt,
    )  # fmt: skip


def dropped(attempt: int = 1) -> AttemptDropped:
    return AttemptDropped(stage="tts", provider="cartesia", attempt=attempt, because="caller")


async def count_outcomes(it: Counted, *events: Event, call_id: str = "c") -> dict[str, int]:
    """Return how many attempts these events count, by outcome."""
    before, now = it.read(), await it.emit(*events, call_id=call_id)
    more = {
        outcome: sum(
            round(value - before.get(name, 0.0))
            for name, value in now.items()
            if name.startswith("holdline_attempts_total[") and f"'{outcome}'" in name
        )
        for outcome in OUTCOMES
    }
    return {outcome: count for outcome, count in more.items() if count}


@pytest.mark.parametrize(
    ("facts", "outcomes"),
    [
        ([won()], {"won": 1}),
        ([died()], {"failed": 1}),
        ([dropped()], {"dropped": 1}),
        ([won(), died()], {"won": 1, "broke_off": 1}),
        ([won(), dropped()], {"won": 1}),
        ([won(1), died(2)], {"won": 1, "failed": 1}),
        ([won(stage="llm"), died()], {"won": 1, "failed": 1}),
        ([died(0)], {}),
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
async def test_an_attempt_has_one_outcome(facts: list[Event], outcomes: dict[str, int]) -> None:
    assert await count_outcomes(Counted(), *facts) == outcomes


async def test_calls_are_kept_apart_and_events_outside_calls_are_not_counted() -> None:
    it = Counted()

    assert await count_outcomes(it, won(), call_id="one") == {"won": 1}
    assert await count_outcomes(it, died(), call_id="other") == {"failed": 1}
    assert await count_outcomes(it, won(), died(), call_id="") == {}


async def test_the_last_attempts_of_a_long_call_are_kept_and_none_of_an_ended_one() -> None:
    it = Counted()
    await it.emit(*(won(number) for number in range(1, WON_KEPT + 2)))

    assert await count_outcomes(it, died(1)) == {"failed": 1}  # forgotten by now
    assert await count_outcomes(it, died(2)) == {"broke_off": 1}

    await it.emit(CallEnded(reason="x", length_s=1.0))
    assert await count_outcomes(it, died(2)) == {"failed": 1}


async def test_use_is_counted_with_its_price_or_as_unpriced() -> None:
    used = {"turn": 1, "stage": "llm", "provider": "openai", "model": "m"}
    read = await Counted().emit(
        UsageMeasured(**used, prompt_tokens=7, completion_tokens=3, cost=0.25),
        UsageMeasured(**used, prompt_tokens=1),
    )

    assert read["holdline_tokens_total['openai', 'prompt']"] == 8
    assert read["holdline_cost_total['openai']"] == 0.25
    assert read["holdline_unpriced_total['openai']"] == 1


async def test_the_state_of_listeners_is_counted_once() -> None:
    it = Counted()
    for _ in range(2):
        it.metrics.set_listener_state({"Log": 7}, {"Log": 3}, {"Log": 0})
    it.metrics.set_listener_state({"Log": 0}, {"Log": 5}, {"Log": 1})

    read = it.read()
    assert read["holdline_telemetry_lost_total['Log']"] == 5
    assert read["holdline_telemetry_failed_total['Log']"] == 1
    assert read["holdline_telemetry_waiting_entries['Log']"] == 0


async def test_labels_do_not_grow_with_the_calls() -> None:
    read = await Counted().emit(
        CallFailed(where="HoldLine#3", error="x"), CallFailed(where="HoldLine#4", error="x")
    )

    assert read["holdline_calls_failed_total['HoldLine']"] == 2
    assert read["holdline_facts_total['CallFailed']"] == 2  # each event by its name


def test_values_fit_their_metric() -> None:
    meters = Meters(CollectorRegistry())
    for kind, counts in module.COUNTS.items():
        fields = set(kind.__dataclass_fields__)
        for count in counts:
            assert len(getattr(meters, count.meter)._labelnames) == len(count.labels), count
            assert {*count.labels, count.amount} - {""} <= fields, count
    for name, _ in module.COUNTED_BY_TYPE.values():
        assert len(getattr(meters, name)._labelnames) == 1


COUNTING = """
from configuration.environment import count_together
from pathlib import Path
import sys
count_together(Path(sys.argv[1]))
import asyncio
from calls.entry import Entry
from calls.events import CallStarted
from operations.telemetry.metrics import Exposition, Metrics
exposition = Exposition(Path(sys.argv[1]))
metrics = Metrics(exposition.registry, {"tts": ["cartesia"]})
entry = Entry(call_id="c", number=1, at="now", event=CallStarted(transport="twilio", agent="a"))
asyncio.run(metrics.hear(entry))
print(exposition.read().decode(), flush=True)
sys.stdin.read()
"""


def test_workers_are_added_up_and_ended_ones_have_no_calls(tmp_path: Path) -> None:
    with counting(tmp_path) as one:
        first = _until_calls(one)
        with counting(tmp_path) as other:
            both = _until_calls(other)
        with counting(tmp_path) as third:
            later = _until_calls(third)

    assert (first["started"], first["active"]) == (1, 1)
    assert (both["started"], both["active"]) == (2, 2)
    assert (later["started"], later["active"]) == (3, 2)
    assert {item["breaker"] for item in (first, both, later)} == {BREAKER["closed"]}


def test_gauges_of_running_processes_stay_also_without_proc(tmp_path: Path) -> None:
    """As on macOS. `1` belongs to another user unless the tests run as root."""
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        pass
    kept = [tmp_path / f"gauge_liveall_{pid}.db" for pid in (os.getpid(), 1)]
    gone = tmp_path / f"gauge_liveall_{dead.pid}.db"
    for file in (*kept, gone):
        file.touch()

    forget_dead_processes(tmp_path)

    assert sorted(tmp_path.iterdir()) == sorted(kept)


def counting(folder: Path) -> subprocess.Popen[str]:
    """Start a process that counts a call, prints all metrics, and ends with its input."""
    return subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-c", COUNTING, str(folder)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _until_calls(process: subprocess.Popen[str]) -> dict[str, float]:
    assert process.stdout
    found: dict[str, float] = {}
    for line in process.stdout:
        if line.startswith("holdline_calls_active "):
            found["active"] = float(line.split()[-1])
        if line.startswith("holdline_calls_started_total{"):
            found["started"] = float(line.split()[-1])
        if line.startswith("holdline_breaker_state{"):
            found["breaker"] = float(line.split()[-1])
        if len(found) == 3:
            break
    return found


def test_the_page_lists_every_metric_as_it_is() -> None:
    page = PAGE.read_text(encoding="utf-8")

    assert renew(page) == page
