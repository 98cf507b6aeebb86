"""Each call's own record: one JSON line an entry, and a summary at the end."""

import asyncio
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Final

from calls.entry import Entry
from calls.events import CallEnded, ProcessLagged
from calls.outcome import Outcome, Tally

DAY_S: Final = 86_400
RECORDS: Final = ("*.json*", "*.wav")
ENDED_CALLS: Final = 64  # a hang-up that fails is told within seconds of the end (chosen)


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

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._calls: dict[str, Tally] = {}
        self._ended: dict[str, Tally] = {}  # the latest, for what is still told of them

    async def hear(self, entry: Entry) -> None:
        """Write one entry down; how late we were stands in each call that it happened in."""
        if isinstance(entry.event, ProcessLagged) and not entry.call_id:
            for call_id in tuple(self._calls):
                await self.hear(replace(entry, call_id=call_id, number=0))
        if not entry.call_id:
            return
        tally = self._tally(entry.call_id)
        tally.add(entry.event)
        line = json.dumps(entry.as_json(), ensure_ascii=False)
        await asyncio.to_thread(self._append, f"{entry.call_id}.jsonl", line)
        if isinstance(entry.event, CallEnded):
            self._ended[entry.call_id] = self._calls.pop(entry.call_id)
            while len(self._ended) > ENDED_CALLS:
                del self._ended[next(iter(self._ended))]
        if entry.call_id in self._ended:
            await asyncio.to_thread(self._sum_up, entry.call_id, tally.outcome())

    def _tally(self, call_id: str) -> Tally:
        ended = self._ended.get(call_id)
        return ended or self._calls.setdefault(call_id, Tally())

    def _append(self, name: str, line: str) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / name).open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def _sum_up(self, call_id: str, outcome: Outcome) -> None:
        text = json.dumps(asdict(outcome), indent=2, ensure_ascii=False)
        (self._folder / f"{call_id}.summary.json").write_text(text + "\n", encoding="utf-8")
