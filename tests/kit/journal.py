"""The journals of calls, which the server writes next to its log."""

import json
from pathlib import Path
from typing import Any


def entries_in(calls: Path) -> list[dict[str, Any]]:
    """Return every complete entry in a folder of journals, the calls in the order of their ids."""
    lines = [
        path.read_text(encoding="utf-8").splitlines() for path in sorted(calls.glob("*.jsonl"))
    ]
    return [json.loads(line) for journal in lines for line in journal if line.endswith("}")]
