"""Files for external tools: failures, alerts, recovery, all events.

Two of them are JSON arrays, which are valid at any time: one worker at a time replaces the whole
file. The others grow line by line and are rotated when they are large.
"""

import asyncio
import fcntl
import json
import os
import tempfile
import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias

from calls.entry import Emit, Entry
from calls.events import CallFailed
from calls.incident import IncidentBegan, IncidentEnded, IncidentGrew
from calls.operations_events import AlertClosed, WritesRefused, WritesResumed
from operations.backlog import Backlog
from operations.masking import bounded, one_line, without_words
from operations.notify.alert import failed_call_incident
from operations.telemetry.logs import LogFile
from operations.telemetry.record_rows import AGAIN_S, READ, Row, RowMaker, Rows, apply_alerts

NEWEST: Final = 1_000  # entries of a JSON array
ERRORS, ALERTS = "error_log.json", "alerts.json"  # arrays
RECORD, RECOVERY = "logs.jsonl", "error_recovery.log"
APP, WORDS = "app_logs.json", "app.log"
NAMES: Final = (ERRORS, ALERTS, RECORD, RECOVERY, APP, WORDS)
"""Every file; each can be disabled."""

Redact: TypeAlias = Callable[[str], str]


def _as_json(row: Row) -> str:
    return json.dumps(row, ensure_ascii=False)


def _as_words(row: Row) -> str:
    return f"{row['timestamp']} {row['service_name']}: {row['message']}"


def _redacted_row(redact: Redact, row: Row) -> Row:
    return {
        name: bounded(one_line(redact(value))) if isinstance(value, str) else value
        for name, value in row.items()
    }


def _change_array(
    path: Path, change: Callable[[list[Row]], list[Row]], clean: Callable[[Row], Row]
) -> None:
    """Replace an array of rows atomically; a concurrent reader gets the previous one.

    Blocks, also while another process replaces it.

    Args:
        path: The file.
        change: Returns the new rows, given the stored ones; only the `NEWEST` are kept.
        clean: Removes secrets from a row.
    """
    with _locked_file(path.with_name(f".{path.name}.lock")):
        rows = change(_read_array(path))[-NEWEST:]
        text = ",\n".join(_as_json(clean(row)) for row in rows)
        handle, new_file = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
                file.write(f"[{text}]\n")
            Path(new_file).replace(path)
        except OSError:
            Path(new_file).unlink(missing_ok=True)
            raise


def _read_array(path: Path) -> list[Row]:
    """Return a stored array; a damaged one is moved aside, not lost."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    except ValueError:
        found = None
    if not isinstance(found, list):
        path.replace(path.with_name(f"{path.name}.spoilt"))
        return []
    return [row for row in found if isinstance(row, dict)]


@contextmanager
def _locked_file(lock: Path) -> Iterator[None]:
    """Wait until no other process has the lock, and hold it; closing the file releases it."""
    handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


MAX_WAITING: Final = 20_000  # rows that are not written yet; with more, the oldest are dropped
WRITE_S: Final = 0.5  # between two writes
DISK_NAME: Final = "logs"  # the name of the disk with these files, in events


class RecordFiles:
    """Writes rows twice a second in a thread; a full disk may lose rows, but affects no call.

    Attributes:
        lost: Rows that were dropped because too many waited.
    """

    def __init__(
        self,
        folder: Path,
        *,
        names: Collection[str] = NAMES,
        redact: Redact,
        again_s: float = AGAIN_S,
    ) -> None:
        """Write to `folder`.

        Args:
            folder: The log's folder.
            names: The enabled files.
            redact: Removes keys and card numbers from a text.
            again_s: An incident that returns within this time is the same alert.
        """
        self._folder = folder
        self._redact = redact
        self._again_s = again_s
        self._maker = RowMaker()
        self._waiting = {name: Backlog[Any](MAX_WAITING) for name in NAMES if name in names}
        # A thread that writes goes on when `run` is cancelled, and the last write waits for it.
        self._writing = threading.Lock()
        self._refused = False  # whether the last write failed
        self.lost = 0

    async def hear(self, entry: Entry) -> None:
        """Queue one entry's rows, without words and numbers, for the files that are enabled."""
        if type(entry.event) in READ:
            self._queue_rows(self._maker.rows(without_words(entry)))
        match entry.event:
            case IncidentBegan() | IncidentGrew() | IncidentEnded() | AlertClosed() as fact:
                self._queue_rows_for_file(ALERTS, [(fact, entry.at)])
            case CallFailed() as event:
                self._queue_rows_for_file(ALERTS, [(failed_call_incident(event), entry.at)])
            case _:
                pass

    @property
    def waiting(self) -> int:
        """How many rows are not written yet."""
        return sum(map(len, self._waiting.values()))

    async def run(self, tell: Emit) -> None:
        """Write regularly until cancelled, then once more, which blocks.

        Emits events about a full disk.
        """
        try:
            while True:
                await asyncio.sleep(WRITE_S)
                await self.write_now(tell)
        finally:
            self.write()

    async def write_now(self, tell: Emit) -> None:
        """Write waiting rows in a thread; emit an event if writing starts or ceases to fail."""
        was_refused = self._refused
        error = await asyncio.to_thread(self.write)
        if error and not was_refused:
            reason = error.strerror or type(error).__name__
            tell(WritesRefused(where=DISK_NAME, reason=reason))
        if was_refused and not error:
            tell(WritesResumed(where=DISK_NAME, lost=self.lost))

    def write(self) -> OSError | None:
        """Write waiting rows; blocks, also while another thread writes.

        Returns:
            The last error, or `None`. The rows of a file that cannot be written still wait.
        """
        with self._writing:
            errors = [error for name in self._waiting if (error := self._write_waiting(name))]
            self._refused = bool(errors)
        return errors[-1] if errors else None

    def _write_waiting(self, name: str) -> OSError | None:
        """Write a file's waiting rows; return the error if they still wait."""
        waiting = self._waiting[name]
        taken = waiting.take(len(waiting))  # in a thread: meanwhile, rows may be added
        try:
            if taken:
                self._write_file(name, taken)
        except OSError as error:
            waiting.put_back(taken)
            return error
        return None

    def _write_file(self, name: str, taken: list[Any]) -> None:
        """Add rows to a file, or to its array."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path, clean = self._folder / name, partial(_redacted_row, self._redact)
        if name == ERRORS:
            _change_array(path, lambda rows: [*rows, *taken], clean)
        elif name == ALERTS:
            _change_array(path, partial(apply_alerts, facts=taken, again_s=self._again_s), clean)
        else:
            form = _as_words if name == WORDS else _as_json
            with closing(LogFile(path)) as file:
                file.write("".join(f"{form(clean(item))}\n" for item in taken))

    def _queue_rows(self, rows: Rows) -> None:
        """Queue rows for the files that they belong to; the app's rows go to two."""
        for name, added in (
            (ERRORS, rows.errors),
            (RECORD, rows.record),
            (RECOVERY, rows.recovery),
            (APP, rows.app),
            (WORDS, rows.app),
        ):
            self._queue_rows_for_file(name, added)

    def _queue_rows_for_file(self, name: str, rows: Iterable[Any]) -> None:
        """Queue rows for a file, unless it is disabled; drop the oldest beyond `MAX_WAITING`."""
        waiting = self._waiting.get(name)
        if waiting is None:
            return
        self.lost += waiting.put(*rows)
