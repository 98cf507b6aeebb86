"""A run's server and its reports of calls."""

import json
from pathlib import Path
from typing import Any, cast

from lab.drill.rig import Rig
from lab.drill.rows import Row


def rig(calls: Path, *events: str) -> Rig:
    lines = [json.dumps({"event": event}) for event in events]
    (calls / "one.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    nothing = cast(Any, None)
    row = Row(name="row", title="A row")
    return Rig(row=row, lab=nothing, control=nothing, ring=nothing, calls=calls)


def test_only_failures_after_a_barge_in_are_blamed_on_it(tmp_path: Path) -> None:
    told = rig(
        tmp_path,
        *("CallerStarted", "AttemptFailed", "AttemptFailed"),
        *("CallerStarted", "AttemptDropped", "ProviderFailed"),
    )

    assert len(told.failures()) == 3
    assert [failure["event"] for failure in told.failures_since_spoken_to()] == ["ProviderFailed"]
