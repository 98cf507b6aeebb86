"""Each call's own record: one JSON line an entry, and a summary at the end."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Final

from calls.entry import Entry
from calls.events import CallEnded, Event, UsageMeasured
from calls.outcome import Outcome, Tally

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
        self._calls: dict[str, Account] = {}

    async def hear(self, entry: Entry) -> None:
        """Write one entry down."""
        if not entry.call_id:
            return
        if entry.call_id not in self._calls:
            self._calls[entry.call_id] = Account(self._price)
        self._calls[entry.call_id].add(entry.event)
        line = json.dumps(entry.as_json(), ensure_ascii=False)
        await asyncio.to_thread(self._append, f"{entry.call_id}.jsonl", line)
        if isinstance(entry.event, CallEnded):
            await asyncio.to_thread(self._close, entry.call_id)

    def _append(self, name: str, line: str) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / name).open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def _close(self, call_id: str) -> None:
        summary = asdict(self._calls.pop(call_id).outcome)
        text = json.dumps(summary, indent=2, ensure_ascii=False)
        (self._folder / f"{call_id}.summary.json").write_text(text + "\n", encoding="utf-8")


class Account:
    """What one call came to so far, and what it costs; it keeps no fact, however long the call."""

    def __init__(self, price: Price | None) -> None:
        self._tally = Tally()
        self._price = price
        self._cost: float | None = None if price is None else 0.0

    def add(self, event: Event) -> None:
        """Take one fact in."""
        self._tally.add(event)
        if isinstance(event, UsageMeasured) and self._price and self._cost is not None:
            part = self._price(event)
            self._cost = None if part is None else self._cost + part

    @property
    def outcome(self) -> Outcome:
        """The summary; its cost is None when the price of any part of it is unknown."""
        return self._tally.outcome(cost=self._cost)
