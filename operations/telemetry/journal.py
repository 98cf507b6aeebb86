"""Each call's journal: one JSON line per entry, and a summary at the end."""

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Final

from loguru import logger

from calls.entry import Entry
from calls.events import ProcessLagged, UsageMeasured
from calls.known_calls import KnownCalls
from calls.outcome import Outcome, call_outcome_of

DAY_S: Final = 86_400
CALL_FILES: Final = ("*.json*", "*.wav")
ESCAPED: Final = "backslashreplace"  # for lone surrogates: their escapes are valid JSON
ENDED_CALLS: Final = 64  # events may follow within a minute of the end (chosen)


def forget_old(folder: Path, *, keep_days: int, utc_s: float) -> int:
    """Delete files last written more than `keep_days` ago; return how many; blocks.

    Files that cannot be deleted are logged. Another worker may do the same in the same folder.

    Args:
        folder: The journals, the recordings or the voicemails.
        keep_days: How long the files are kept.
        utc_s: Now, in seconds since 1970.
    """
    oldest_s = utc_s - keep_days * DAY_S
    files = [path for pattern in CALL_FILES for path in folder.glob(pattern)]
    errors: list[OSError] = []
    count = sum(_delete_old(file, oldest_s, errors) for file in files)
    if errors:
        message = "{} files are too old but cannot be deleted; the first: {}"
        logger.error(message, len(errors), errors[0])
    return count


def _delete_old(file: Path, oldest_s: float, errors: list[OSError]) -> bool:
    """Delete a file if it is old; return whether that was done. Failures are added to `errors`."""
    try:
        if file.stat().st_mtime >= oldest_s:
            return False
        file.unlink()
    except FileNotFoundError:  # another process was faster
        return False
    except OSError as error:
        errors.append(error)
        return False
    return True


class Journal:
    """Writes `CALL.jsonl` and `CALL.summary.json` into a folder.

    A journal contains the call's words: whoever may read the folder may read the calls.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._calls = KnownCalls(keep_ended=ENDED_CALLS)

    async def hear(self, entry: Entry) -> None:
        """Write one entry; a lag of this process goes into the journal of each live call."""
        await self.hear_all([entry])

    async def hear_all(self, entries: Sequence[Entry]) -> None:
        """Write a batch in one thread call, and again the summary of each ended call in it.

        Raises:
            OSError: The disk is full or broken; unwritten entries of the batch are lost.
        """
        entries_by_call: dict[str, list[Entry]] = {}
        ended: dict[str, Outcome] = {}
        for item in entries:
            for entry in self._entries_for_journals(item):
                entries_by_call.setdefault(entry.call_id, []).append(entry)
                self._calls.add(entry)
                if call := self._calls.ended.get(entry.call_id):
                    ended[entry.call_id] = call_outcome_of(call)
        if entries_by_call:
            await asyncio.to_thread(self._write_entries, entries_by_call, ended)

    def _entries_for_journals(self, entry: Entry) -> Iterator[Entry]:
        """Yield the entry for each journal that it belongs to.

        Without a call, that is the journal of each live call for a lag of this process, and that
        of the ended call for usage that was measured after its end. Others belong to none.
        """
        if entry.call_id:
            yield entry
        elif isinstance(entry.event, ProcessLagged):
            yield from (replace(entry, call_id=call_id, number=0) for call_id in self._calls.live)
        elif isinstance(entry.event, UsageMeasured):
            ended_call = entry.event.behind_call
            if ended_call in self._calls.ended:
                yield replace(entry, call_id=ended_call, number=0)

    def _write_entries(
        self, entries_by_call: Mapping[str, Sequence[Entry]], ended: Mapping[str, Outcome]
    ) -> None:
        """Append entries to the journals, and replace the summaries of ended calls; blocks."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for call_id, entries in entries_by_call.items():
            lines = (json.dumps(entry.as_json(), ensure_ascii=False) for entry in entries)
            text = "".join(f"{line}\n" for line in lines)
            _append_or_undo(self._folder / f"{call_id}.jsonl", text.encode("utf-8", ESCAPED))
        for call_id, outcome in ended.items():
            self._write_summary(call_id, outcome)

    def _write_summary(self, call_id: str, outcome: Outcome) -> None:
        text = json.dumps(asdict(outcome), indent=2, ensure_ascii=False)
        path = self._folder / f"{call_id}.summary.json"
        path.write_text(text + "\n", encoding="utf-8", errors=ESCAPED)


def _append_or_undo(path: Path, lines: bytes) -> None:
    """Write everything, or nothing if the disk fills up: half a line would spoil the next."""
    with path.open("ab", buffering=0) as file:
        began, rest = file.tell(), memoryview(lines)
        try:
            while rest:
                rest = rest[file.write(rest) :]
        except OSError:
            file.truncate(began)
            raise
