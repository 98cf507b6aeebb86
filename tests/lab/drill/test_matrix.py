"""The matrix: every row can be run, judged and named."""

import pytest

from lab.drill.breaks import AHEAD_S, ALL, SENTENCE_S
from lab.drill.matrix import FULL
from lab.drill.rows import HEALTHY, WORKER
from lab.drill.selection import SMOKE, chosen
from lab.drill.servers import WORKER_SIGNALS
from lab.drill.verdicts import MEASURES
from lab.simulators.schedule import parse_windows
from processors.speaking import speech_queue
from providers import cartesia, elevenlabs
from providers.probing import speech
from runtime.exits import UsageError


def test_no_two_rows_have_the_same_name() -> None:
    names = [row.name for row in FULL]

    assert len(names) == len(set(names))


def test_the_lab_knows_every_fault_of_a_row_and_how_it_is_measured() -> None:
    for row in FULL:
        for item in row.breaks:
            if item.provider == WORKER:
                assert item.window["fault"] in WORKER_SIGNALS
                continue
            assert item.provider in ALL
            assert parse_windows([item.window])
        assert row.targets
        assert {target.measure for target in row.targets} <= set(MEASURES)


def test_the_healthy_row_comes_first_in_any_selection() -> None:
    assert [row.name for row in chosen("full", ["tts-stall", "llm-401"])] == [
        HEALTHY,
        "tts-stall",
        "llm-401",
    ]


def test_the_smoke_matrix_is_a_few_rows_run_once() -> None:
    rows = chosen("smoke", [])

    assert tuple(row.name for row in rows) == SMOKE
    assert {row.runs for row in rows} == {1}


@pytest.mark.parametrize(("matrix", "only"), [("fool", []), ("full", ["llm-99"])])
def test_an_unknown_name_is_reported_with_the_known_ones(matrix: str, only: list[str]) -> None:
    with pytest.raises(UsageError, match="it takes"):
        chosen(matrix, only)


def test_named_rows_need_no_healthy_row_if_one_is_known() -> None:
    assert [row.name for row in chosen("full", ["tts-stall"])] == [HEALTHY, "tts-stall"]
    assert [row.name for row in chosen("full", ["tts-stall"], healthy_known=True)] == ["tts-stall"]
    assert chosen("full", [], healthy_known=True)[0].name == HEALTHY


ROWS = {row.name: row for row in FULL}


def bounds(name: str) -> dict[str, float]:
    return {target.measure: target.worst for target in ROWS[name].targets}


def test_no_row_may_leave_the_caller_without_any_speech_for_longer_than_the_budget() -> None:
    assert {bounds(row.name)["first_speech_s"] for row in FULL} == {1.5}


def test_in_rows_where_only_probes_fail_the_lab_tells_probes_from_calls() -> None:
    samples_hz = {fault.window.get("path") for fault in ROWS["stt-probes"].breaks} - {None}
    contexts = {fault.window.get("path") for fault in ROWS["tts-probes"].breaks} - {None}

    assert samples_hz == {f"sample_rate={speech()[1]}"}
    assert contexts == {f"#{cartesia.PROBE_CONTEXT}"} == {f"#{elevenlabs.PROBE_CONTEXT}"}


def test_a_voices_lead_over_the_line_is_that_of_the_stage() -> None:
    assert AHEAD_S == speech_queue.AHEAD_S
    assert bounds("llm-endless")["ahead_s"] == AHEAD_S + SENTENCE_S
