"""The stack of a frozen worker, written by Python's `faulthandler`.

The supervisor sends the signal before it kills the worker. The handler needs no interpreter, so it
also writes while a function in C holds Python's lock.
"""

import faulthandler
import os
import re
import signal
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from bot.code_places import innermost_own

SIGNAL: Final = signal.SIGUSR2
WRITE_S: Final = 0.1  # for the handler to write (chosen)
MAX_STACKS_BYTES: Final = 64_000
_FRAME: Final = re.compile(r'^  File "(.*)", line (\d+) in (.*)$', re.MULTILINE)
_WAITS: Final = frozenset({"wait", "select", "_worker", "get", "run_forever"})


def stack_file(folder: Path, pid: int) -> Path:
    """Return the file of a worker's stacks."""
    return folder / f"stacks-{pid}.txt"


def write_stacks_at_signal(folder: Path) -> None:
    """Write the stacks of all threads of this process at each `SIGNAL`.

    If the file cannot be opened, the signal is ignored.
    """
    try:
        file = stack_file(folder, os.getpid()).open("w")
    except OSError:  # a full disk must not stop the worker
        signal.signal(SIGNAL, signal.SIG_IGN)
        return
    faulthandler.register(SIGNAL, file=file, all_threads=True)


def ask_for_stacks(pid: int) -> None:
    """Make a worker write its stacks."""
    if pid:  # 0 would be all processes of our group
        with suppress(ProcessLookupError):
            os.kill(pid, SIGNAL)


def read_stacks(folder: Path, pid: int) -> str:
    """Return the stacks that a worker has written; empty if it has written none."""
    try:
        with stack_file(folder, pid).open("rb") as file:
            return file.read(MAX_STACKS_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""


def place_in(stacks: str) -> str:
    """Return the function in which the main thread was, with file and line; empty if unknown.

    If the main thread only waited, another thread that did not wait is named instead, because it
    may have held Python's lock.
    """
    threads = [part for part in re.split(r"\n\n", stacks) if _FRAME.search(part)]
    main = [part for part in threads if "Current thread" in part] or threads[-1:]
    others = [part for part in threads if part not in main]
    for part in (*main, *others):
        frames: Sequence[tuple[str, str, str]] = _FRAME.findall(part)
        if frames[0][2] not in _WAITS:
            file, line, function = frames[innermost_own(frame[0] for frame in frames)]
            return f"{function} ({file}:{line})"
    return ""
