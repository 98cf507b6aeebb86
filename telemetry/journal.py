"""Each call's own record: one JSON line an entry, and a summary at the end."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Final

from calls.entry import Entry
from calls.events import CallEnded, Event, UsageMeasured
from calls.outcome import Outcome, outcome

Price = Callable[[UsageMeasured], float | None]
"""What one measured use costs, in the table's currency; None when nobody knows."""


DAY_S: Final = 86_400
RECORDS: Final = ("*.json*", "*.wav")


def forget_old(folder: Path, *, keep_days: int, utc_s: float) -> int:
    """Delete the records of calls that ended more than `keep_days` ago; return how many files.

    Args:
        folder: The calls' records, or the messages that callers left.
        keep_days: How long a call's words are kept.
        utc_s: The wall clock, in seconds since 1970.
    """
    oldest_s = utc_s - keep_days * DAY_S
    files = [each for pattern in RECORDS for each in folder.glob(pattern)]
    old = [each for each in files if each.stat().st_mtime < oldest_s]
    for each in old:
        each.unlink(missing_ok=True)
    return len(old)


class Journal:
    """Writes `CALL.jsonl` and `CALL.summary.json` into a folder.

    The record of a call holds its words; who may read the folder may read the calls.
    """

    def __init__(self, folder: Path, *, price: Price | None = None) -> None:
        self._folder = folder
        self._price = price
        self._events: dict[str, list[Event]] = {}

    async def hear(self, entry: Entry) -> None:
        """Write one entry down."""
        if not entry.call_id:
            return
        self._events.setdefault(entry.call_id, []).append(entry.event)
        line = json.dumps(entry.as_json(), ensure_ascii=False)
        await asyncio.to_thread(self._append, f"{entry.call_id}.jsonl", line)
        if isinstance(entry.event, CallEnded):
            await asyncio.to_thread(self._close, entry.call_id)

    def _append(self, name: str, line: str) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / name).open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def _close(self, call_id: str) -> None:
        events = self._events.pop(call_id)
        summary = asdict(self._summary(events))
        text = json.dumps(summary, indent=2, ensure_ascii=False)
        (self._folder / f"{call_id}.summary.json").write_text(text + "\n", encoding="utf-8")

    def _summary(self, events: list[Event]) -> Outcome:
        return outcome(events, cost=total_cost(events, self._price))


def total_cost(events: list[Event], price: Price | None) -> float | None:
    """Return what all measured use of a call costs; None when any part of it is unknown."""
    if price is None:
        return None
    parts = [price(each) for each in events if isinstance(each, UsageMeasured)]
    known = [each for each in parts if each is not None]
    return sum(known) if len(known) == len(parts) else None
