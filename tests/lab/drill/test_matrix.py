"""The matrix: every row can be run, judged and named."""

import pytest

from lab.callers import answers
from lab.drill.breaks import AHEAD_S, ALL, SENTENCE_S
from lab.drill.matrix import FULL
from lab.drill.plans import QUESTIONS
from lab.drill.rows import HAIRCUT, HEALTHY, HOURS, WORKER, Row
from lab.drill.selection import SMOKE, chosen
from lab.drill.servers import GREETING, WORKER_SIGNALS
from lab.drill.verdicts import MEASURES
from lab.simulators.schedule import parse_windows
from processors.speaking import speech_queue
from providers import cartesia, elevenlabs
from providers.probing import speech
from runtime.exits import UsageError


def test_no_two_rows_have_the_same_name() -> None:
    names = [row.name for row in FULL]

    assert len(names) == len(set(names))


@pytest.mark.parametrize("row", FULL, ids=lambda row: row.name)
def test_the_lab_knows_every_fault_of_a_row(row: Row) -> None:
    for item in row.breaks:
        if item.provider == WORKER:
            assert item.window["fault"] in WORKER_SIGNALS
            continue
        assert item.provider in ALL
        assert parse_windows([item.window])


@pytest.mark.parametrize("row", FULL, ids=lambda row: row.name)
def test_every_row_has_readable_targets(row: Row) -> None:
    assert row.targets
    assert {target.measure for target in row.targets} <= set(MEASURES)


def test_every_row_runs_five_times() -> None:
    assert all(row.runs >= 5 for row in FULL)


def test_the_questions_are_answered_in_words_only() -> None:
    said = answers([HAIRCUT, HOURS, *QUESTIONS], greeting=GREETING)

    assert len(said[0].split()) == 23
    assert all(len(answer.split()) > 11 for answer in said)


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


@pytest.mark.parametrize("row", FULL, ids=lambda row: row.name)
def test_no_row_may_leave_the_caller_without_any_speech_for_longer_than_the_budget(
    row: Row,
) -> None:
    assert bounds(row.name)["first_speech_s"] == 1.5


@pytest.mark.parametrize("stage", ["stt", "llm", "tts"])
@pytest.mark.parametrize("what", ["turn", "call"])
def test_the_second_caller_is_not_delayed_by_an_outage_that_the_first_one_found(
    stage: str, what: str
) -> None:
    assert bounds(f"second-{what}-{stage}")["first_word_s"] == 0.05


def test_a_healthy_ladder_asks_no_standby_however_its_delays_vary() -> None:
    assert bounds("healthy-varied")["standby_requests"] == 0


@pytest.mark.parametrize("words", [1, 4])
def test_a_model_that_breaks_before_any_sound_delays_the_first_word_by_a_bounded_time(
    words: int,
) -> None:
    assert bounds(f"llm-cut-{words}")["first_word_s"] == 0.5
    assert bounds(f"llm-stall-{words}")["first_word_s"] == 0.9


def test_one_row_plays_rendered_clips_and_no_other_sound_in_their_place() -> None:
    assert ROWS["clips"].clips
    assert bounds("clips")["clips_heard"] >= 1
    assert bounds("clips")["not_clips"] == 0


def test_everything_dies_by_refusing_and_by_hanging() -> None:
    for name in ("all-dead", "all-hung"):
        assert {attempt.provider for attempt in ROWS[name].breaks} == set(ALL)
    assert {item.window["fault"] for item in ROWS["all-dead"].breaks} == {"refuse"}
    assert {item.window["fault"] for item in ROWS["all-hung"].breaks} == {"silent"}


@pytest.mark.parametrize("stage", ["stt", "llm", "tts"])
def test_a_provider_of_each_stage_flaps_and_recovers(stage: str) -> None:
    kind = {"stt": "deepgram", "llm": "openai", "tts": "cartesia"}[stage]

    for name in (f"flapping-{stage}", f"recovery-{stage}"):
        (broken,) = ROWS[name].breaks
        assert broken.provider == kind


@pytest.mark.parametrize(("fault", "within_s"), [("killed", 2.5), ("frozen", 5.0)])
def test_a_call_outlives_its_worker_ten_times(fault: str, within_s: float) -> None:
    row = ROWS[f"worker-{fault}"]

    assert [item.provider for item in row.breaks] == [WORKER]
    assert row.runs == 10
    assert row.ours_alone
    assert bounds(row.name)["silence_s"] == within_s
    assert bounds(row.name)["words_missing"] == 0
    assert bounds(row.name)["calls"] == 1


def test_in_rows_where_only_probes_fail_the_lab_tells_probes_from_calls() -> None:
    samples_hz = {fault.window.get("path") for fault in ROWS["stt-probes"].breaks} - {None}
    contexts = {fault.window.get("path") for fault in ROWS["tts-probes"].breaks} - {None}

    assert samples_hz == {f"sample_rate={speech()[1]}"}
    assert contexts == {f"#{cartesia.PROBE_CONTEXT}"} == {f"#{elevenlabs.PROBE_CONTEXT}"}


def test_a_voices_lead_over_the_line_is_that_of_the_stage() -> None:
    assert AHEAD_S == speech_queue.AHEAD_S
    assert bounds("llm-endless")["ahead_s"] == AHEAD_S + SENTENCE_S


def test_calls_come_over_both_legs() -> None:
    assert {row.leg for row in FULL} == {"carrier", "loopback"}


def test_a_row_with_its_agent_in_the_drills_process_does_not_run_in_parallel() -> None:
    assert all(row.alone for row in FULL if row.leg == "loopback")
