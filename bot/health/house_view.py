"""The providers' health as the whole house sees it: one line a rung, of what each process knows."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from operations.telemetry.recent_work import merge_recent

WORST: Final = ("closed", "half_open", "open")


def merge_rungs(views: Sequence[Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Return one entry a rung, in the first view's order: the worst opinion of it counts.

    The processes tell each other within half a second, so they differ for no longer than that. One
    of them probes for all, so its last probe is the house's.
    """
    found: list[dict[str, Any]] = []
    for rung in views[0]:
        same = [
            each
            for view in views
            for each in view
            if (each["stage"], each["name"]) == (rung["stage"], rung["name"])
        ]
        probes = [each["last_probe"] for each in same if each["last_probe"]]
        found.append(
            dict(max(same, key=_trouble))
            | {
                "recent": merge_recent([each["recent"] for each in same if each.get("recent")]),
                "usable": all(each["usable"] for each in same),
                "suspect": any(each["suspect"] for each in same),
                "withdrawn": any(each["withdrawn"] for each in same),
                "last_probe": min(probes, key=_age, default=None),
            }
        )
    return found


def emptied_by(rungs: Sequence[Mapping[str, Any]], name: str) -> list[str]:
    """Return the stages that would have nobody left to ask without the rung of this name."""
    stages = {each["stage"] for each in rungs if each["name"] == name}
    kept = {each["stage"] for each in rungs if each["usable"] and each["name"] != name}
    return sorted(stages - kept)


def _trouble(rung: Mapping[str, Any]) -> tuple[int, int]:
    return WORST.index(rung["state"]), rung["failures"]


def _age(probe: Mapping[str, Any]) -> float:
    return probe["ago_s"]
