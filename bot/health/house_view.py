"""The providers' health as the whole house sees it: one line a rung, of what each process knows."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

WORST: Final = ("closed", "half_open", "open")


def merge_rungs(views: Sequence[Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Return one entry a rung, in the first view's order: whoever thinks worst of it is believed.

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
                "usable": all(each["usable"] for each in same),
                "suspect": any(each["suspect"] for each in same),
                "last_probe": min(probes, key=_age, default=None),
            }
        )
    return found


def _trouble(rung: Mapping[str, Any]) -> tuple[int, int]:
    return WORST.index(rung["state"]), rung["failures"]


def _age(probe: Mapping[str, Any]) -> float:
    return probe["ago_s"]
