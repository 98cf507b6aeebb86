"""A few calls match their golden traces; `scripts/golden_traces.py compare` plays them all."""

from pathlib import Path

import pytest

from tests.golden.calls import CALLS
from tests.golden.trace import TRACES, compare_traces, trace_call

pytestmark = [
    pytest.mark.virtual_time,
    pytest.mark.slow,
    pytest.mark.long,
    pytest.mark.usefixtures("quiet_log"),
]


@pytest.mark.parametrize("name", ["healthy", "llm-cut-4", "tts-cut-reset", "stt-dead-capped"])
async def test_a_call_matches_its_golden_trace(tmp_path: Path, name: str) -> None:
    recorded = (TRACES / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()

    assert compare_traces(recorded, await trace_call(CALLS[name], tmp_path), name=name) == []


async def test_a_call_that_departs_from_its_golden_trace_is_detected(tmp_path: Path) -> None:
    recorded = (TRACES / "llm-cut-4.jsonl").read_text(encoding="utf-8").splitlines()
    trace = await trace_call(CALLS["llm-cut-1"], tmp_path)

    assert compare_traces(recorded, trace, name="llm-cut")
