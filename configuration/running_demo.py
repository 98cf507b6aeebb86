"""The demo that runs in this folder, for commands that have no configuration of their own.

A demo writes the part of its configuration that other commands need to `logs/demo.json`, and locks
the file while it runs. The lock ends with the process, so a demo that was killed is not found.
"""

import fcntl
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from configuration.sections import near_address

FOLDER: Final = Path("logs")
FILE: Final = "demo.json"
KEYS: Final = ("server.port", "storage.url", "logs.dir")
MAX_NOTE_BYTES: Final = 4096
HOST: Final = "127.0.0.1"
DEFAULT_ADDRESS: Final = "http://127.0.0.1:8080"  # a demo's address without `--port`, in any folder


@contextmanager
def announced(folder: Path, port: int, *, storage: str, logs: Path) -> Iterator[None]:
    """Let other commands find the demo during the block, unless the folder has a demo already.

    Args:
        folder: Where the file is written; commands look in `FOLDER`.
        port: The demo's port on loopback.
        storage: The URL of its database.
        logs: Its `logs.dir`.
    """
    values = dict(zip(KEYS, (port, storage, str(logs)), strict=True))
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / FILE).open("a", encoding="utf-8") as file:
        is_first = _try_lock(file.fileno(), fcntl.LOCK_EX)
        if is_first:
            file.truncate(0)
            file.write(json.dumps(values))
            file.flush()
        try:
            yield
        finally:
            if is_first:
                (folder / FILE).unlink(missing_ok=True)


def running_demo() -> Mapping[str, Any] | None:
    """Return a running demo's values by dotted key, as `load` takes them; `None` if none runs."""
    try:
        with (FOLDER / FILE).open("rb") as file:
            text = file.read(MAX_NOTE_BYTES)
            # If this lock succeeds, the demo that wrote the file has ended.
            if not text or _try_lock(file.fileno(), fcntl.LOCK_SH):
                return None
        found = json.loads(text)
        return {"server.host": HOST, **{key: found[key] for key in KEYS}}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def demo_addresses() -> tuple[str, ...]:
    """Return where a demo may run: the address of this folder's demo, then the default one."""
    demo = running_demo()
    own = (near_address(HOST, demo["server.port"]),) if demo else ()
    return tuple(dict.fromkeys((*own, DEFAULT_ADDRESS)))


def _try_lock(file: int, kind: int) -> bool:
    """Lock an open file until it is closed; return False if another process has locked it."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
