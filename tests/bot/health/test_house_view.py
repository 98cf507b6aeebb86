"""The providers as the whole house sees them."""

from typing import Any

from bot.health.house_view import merge_rungs


def rung(name: str, **said: Any) -> dict[str, Any]:
    usual = {"state": "closed", "usable": True, "suspect": False, "failures": 0, "last_probe": None}
    return {"stage": "tts", "name": name, **usual, **said}


def test_whoever_thinks_worst_of_a_rung_is_believed() -> None:
    here = [rung("a"), rung("b", state="open", usable=False, failures=3)]
    there = [rung("a", suspect=True, failures=1), rung("b")]

    merged = merge_rungs([here, there])

    assert merged == [
        rung("a", suspect=True, failures=1),
        rung("b", state="open", usable=False, failures=3),
    ]


def test_the_last_probe_is_that_of_whoever_probes() -> None:
    old, new = {"ago_s": 9.0, "ok": False}, {"ago_s": 1.0, "ok": True}
    views = [[rung("a", last_probe=old)], [rung("a", last_probe=new)], [rung("a")]]

    assert merge_rungs(views)[0]["last_probe"] == new


def test_a_worker_with_another_configuration_changes_no_order() -> None:
    assert merge_rungs([[rung("a")], [rung("new"), rung("a")]]) == [rung("a")]
