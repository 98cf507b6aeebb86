"""The view of providers over all workers."""

from typing import Any

from bot.health.view import emptied_by, merge_rungs
from operations.telemetry.live import NO_ATTEMPTS


def rung(name: str, **said: Any) -> dict[str, Any]:
    usual = {"state": "closed", "usable": True, "suspect": False, "failures": 0, "last_probe": None}
    more = {"withdrawn": False, "recent": None}
    return {"stage": "tts", "name": name, **usual, **more, **said}


def test_the_worst_state_of_a_rung_wins() -> None:
    here = [rung("a"), rung("b", state="open", usable=False, failures=3)]
    there = [rung("a", suspect=True, failures=1), rung("b")]

    merged = merge_rungs([here, there])

    assert merged == [
        rung("a", suspect=True, failures=1, recent=NO_ATTEMPTS),
        rung("b", state="open", usable=False, failures=3, recent=NO_ATTEMPTS),
    ]


def test_the_last_probe_is_that_of_the_probing_worker() -> None:
    old, new = {"ago_s": 9.0, "ok": False}, {"ago_s": 1.0, "ok": True}
    views = [[rung("a", last_probe=old)], [rung("a", last_probe=new)], [rung("a")]]

    assert merge_rungs(views)[0]["last_probe"] == new


def test_a_worker_with_another_configuration_does_not_reorder_the_rungs() -> None:
    assert merge_rungs([[rung("a")], [rung("new"), rung("a")]]) == [rung("a", recent=NO_ATTEMPTS)]


def test_a_rung_taken_out_by_one_worker_is_shown_as_out_and_counts_are_summed() -> None:
    counts = {"began": {"100": 2}, "failures": 1, "failovers": 0}
    raw = counts | {"last_failure": {"at": "2026", "kind": "cut", "reason": ""}}

    (merged,) = merge_rungs([[rung("a", recent=raw)], [rung("a", recent=raw, withdrawn=True)]])

    assert merged["withdrawn"] is True
    assert (merged["recent"]["answers"], merged["recent"]["failures"]) == (4, 2)


def test_taking_out_the_last_usable_rung_empties_the_stage() -> None:
    rungs = [rung("a"), rung("b", usable=False), rung("c", usable=False)]

    assert emptied_by(rungs, "a") == ["tts"]
    assert emptied_by(rungs, "b") == []
    assert emptied_by([rung("a"), rung("b")], "a") == []
