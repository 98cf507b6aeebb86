"""Writes the log's lines from a thread of its own: nobody waits for a terminal or a disk."""

import queue
import threading
from collections.abc import Callable
from typing import Final

LINES_HELD: Final = 2_000  # some seconds of a busy server at INFO; the newest beyond it are lost
STOP_S: Final = 1.0  # at the end: a terminal that is blocked is not waited for
LOST: Final = "… {} lines of the log were lost here: nobody took them in time\n"

Write = Callable[[str], None]


class LineWriter:
    """A sink for loguru: a line goes into a bounded queue, and is counted when that is full."""

    def __init__(
        self,
        write: Write,
        *,
        name: str,
        close: Callable[[], None] | None = None,
        lines_held: int = LINES_HELD,
        lost: str = LOST,
    ) -> None:
        """Begin.

        Args:
            write: Takes a line and may block; an `OSError` loses the line.
            name: Of the thread.
            close: Called behind the last line.
            lines_held: How many lines may wait.
            lost: The line that says how many were lost, in the form of the others.
        """
        self._write = write
        self._close = close
        self._lines: queue.Queue[str | None] = queue.Queue(lines_held)
        self._lost_line = lost
        self._lost = 0
        self._untold = 0
        self._idle = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def lost_lines(self) -> int:
        """How many lines were lost so far."""
        return self._lost

    def write(self, message: str) -> None:
        """Queue a line; never waits."""
        try:
            self._lines.put_nowait(message)
        except queue.Full:
            self._lose()

    def flush_within(self, wait_s: float) -> bool:
        """Wait until all that was taken so far is written; False: that took longer."""
        with self._idle:
            return self._idle.wait_for(lambda: not self._lines.unfinished_tasks, wait_s)

    def stop(self) -> None:
        """Write what is left, if that is possible soon; loguru calls this."""
        self.flush_within(STOP_S)
        try:
            self._lines.put_nowait(None)
        except queue.Full:
            return  # a thread that is blocked ends with the process
        self._thread.join(STOP_S)

    def _lose(self) -> None:
        self._lost += 1
        self._untold += 1

    def _run(self) -> None:
        while (line := self._lines.get()) is not None:
            try:
                self._put(line)
            finally:
                self._lines.task_done()
                with self._idle:
                    self._idle.notify_all()
        if self._close:
            self._close()

    def _put(self, line: str) -> None:
        untold, self._untold = self._untold, 0
        try:
            self._write(self._lost_line.replace("{}", str(untold)) + line if untold else line)
        except (OSError, ValueError):  # a full disk, a closed stream: there is nobody left to tell
            self._untold += untold  # nobody has read of these either
            self._lose()
