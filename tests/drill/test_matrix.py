"""The matrix: every row can be run, judged and named."""

import pytest

from bot.exits import UsageError
from bot.lab.callers import answers
from drill.matrix import ALL, FULL
from drill.plans import QUESTIONS
from drill.rows import HAIRCUT, HEALTHY, HOURS, Row
from drill.selection import SMOKE, chosen
from drill.servers import GREETING
from drill.verdicts import MEASURES
from faultlab.schedule import parse_windows


def test_no_two_rows_have_one_name() -> None:
    names = [row.name for row in FULL]

    assert len(names) == len(set(names))


@pytest.mark.parametrize("row", FULL, ids=lambda row: row.name)
def test_the_lab_understands_every_fault_of_a_row(row: Row) -> None:
    for each in row.breaks:
        assert each.provider in ALL
        assert parse_windows([each.window])


@pytest.mark.parametrize("row", FULL, ids=lambda row: row.name)
def test_every_row_has_targets_that_people_can_read(row: Row) -> None:
    assert row.targets
    assert {target.measure for target in row.targets} <= set(MEASURES)


def test_every_row_runs_five_times() -> None:
    assert all(row.runs >= 5 for row in FULL)


def test_the_questions_are_answered_in_words_alone() -> None:
    said = answers([HAIRCUT, HOURS, *QUESTIONS], greeting=GREETING)

    assert len(said[0].split()) == 23
    assert all(len(each.split()) > 11 for each in said)


def test_the_healthy_row_comes_first_whatever_is_wanted() -> None:
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
def test_an_unknown_name_is_told_with_what_there_is(matrix: str, only: list[str]) -> None:
    with pytest.raises(UsageError, match="it takes"):
        chosen(matrix, only)


def test_named_rows_need_no_healthy_row_where_one_is_known() -> None:
    assert [row.name for row in chosen("full", ["tts-stall"])] == [HEALTHY, "tts-stall"]
    assert [row.name for row in chosen("full", ["tts-stall"], healthy_known=True)] == ["tts-stall"]
    assert chosen("full", [], healthy_known=True)[0].name == HEALTHY
