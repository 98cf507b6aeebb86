"""The record's files as they stand in their folder: two arrays, and those that grow by lines."""

import fcntl
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final, TypeAlias

from operations.printable import bounded, one_line
from operations.telemetry.log_file import LogFile
from operations.telemetry.record_rows import Row, apply_alerts

NEWEST: Final = 1_000  # entries of a JSON array
ERRORS, ALERTS = "error_log.json", "alerts.json"  # arrays
RECORD, RECOVERY = "logs.jsonl", "error_recovery.log"
APP, WORDS = "app_logs.json", "app.log"
NAMES: Final = (ERRORS, ALERTS, RECORD, RECOVERY, APP, WORDS)
"""Every file that there is; each can be left out."""

Redact: TypeAlias = Callable[[str], str]


class RecordFolder:
    """Writes rows into the files; nothing of a row leaves here that is not clean."""

    def __init__(self, folder: Path, *, redact: Redact, again_s: float) -> None:
        """Write to a folder; nothing is opened yet.

        Args:
            folder: Of the log.
            redact: Takes keys and cards out of a text.
            again_s: How soon an incident that comes back is the same alert.
        """
        self._folder = folder
        self._redact = redact
        self._again_s = again_s

    def write(self, name: str, taken: list[Any]) -> None:
        """Add rows to a file, or to its array; blocks, and raises what the disk says."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if name == ERRORS:
            self._replace(name, lambda rows: [*rows, *taken])
        elif name == ALERTS:
            self._replace(name, lambda rows: apply_alerts(rows, taken, again_s=self._again_s))
        else:
            form = self._words if name == WORDS else self._json
            with closing(LogFile(self._folder / name)) as file:
                file.write("".join(f"{form(each)}\n" for each in taken))

    def _json(self, row: Row) -> str:
        return json.dumps(self._clean(row), ensure_ascii=False)

    def _words(self, row: Row) -> str:
        clean = self._clean(row)
        return f"{clean['timestamp']} {clean['service_name']}: {clean['message']}"

    def _clean(self, row: Row) -> dict[str, Any]:
        return {
            name: bounded(one_line(self._redact(value))) if isinstance(value, str) else value
            for name, value in row.items()
        }

    def _replace(self, name: str, change: Callable[[list[Row]], list[Row]]) -> None:
        """Replace an array as a whole; a reader meanwhile has the one before."""
        path = self._folder / name
        with _alone(self._folder / f".{name}.lock"):
            rows = change(_read(path))[-NEWEST:]
            text = ",\n".join(map(self._json, rows))
            handle, written = tempfile.mkstemp(prefix=f".{name}.", dir=self._folder)
            try:
                with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
                    file.write(f"[{text}]\n")
                Path(written).replace(path)
            except OSError:
                Path(written).unlink(missing_ok=True)
                raise


def _read(path: Path) -> list[Row]:
    """Return an array as it stands; one that somebody has spoilt is set aside, not lost."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    except ValueError:
        found = None
    if not isinstance(found, list):
        path.replace(path.with_name(f"{path.name}.spoilt"))
        return []
    return [each for each in found if isinstance(each, dict)]


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
