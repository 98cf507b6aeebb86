"""The events of one healthy turn, taken from the record of a telephone call."""

import json
from pathlib import Path
from typing import Any, Final

from calls import events
from calls.events import Event, TurnParts
from fallbacks import events as fallback_events

FILE: Final = Path(__file__).parent / "data" / "turn.jsonl"


def _event(fields: dict[str, Any]) -> Event:
    if "parts" in fields:
        fields["parts"] = TurnParts(**fields["parts"])
    name = fields.pop("event")
    return getattr(events if hasattr(events, name) else fallback_events, name)(**fields)


TURN: Final = tuple(
    _event(json.loads(line)) for line in FILE.read_text(encoding="utf-8").splitlines()
)
