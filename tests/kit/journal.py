"""Reads the journals of calls that the server writes next to its log."""

import json
from pathlib import Path
from typing import Any


def entries_in(calls: Path) -> list[dict[str, Any]]:
    """Return all complete entries of the journals in a folder, sorted by call id."""
    lines = [
        path.read_text(encoding="utf-8").splitlines() for path in sorted(calls.glob("*.jsonl"))
    ]
    return [json.loads(line) for journal in lines for line in journal if line.endswith("}")]
