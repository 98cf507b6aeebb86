"""Passes libraries' log records to our log, shortened and with limited repeats."""

import logging
import queue
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from loguru import logger

APART_S: Final = 60.0  # between two lines with the same text
MAX_KINDS: Final = 200  # further kinds share one count: an attacker could create many
OTHERS: Final = "others"


@dataclass(slots=True)
class Repeats:
    """The recent kinds of lines, and how often each was suppressed since."""

    _times: dict[str, tuple[float, int]] = field(default_factory=dict)

    def may_log(self, kind: str, now: float) -> bool:
        """Return whether to log this now; if not, count it for `due`. `now` is in seconds."""
        if kind not in self._times and len(self._times) >= MAX_KINDS:
            kind = OTHERS
        seen = self._times.get(kind)
        if seen is None:
            self._times[kind] = (now, 0)
            return True
        at, times = seen
        self._times[kind] = (at, times + 1)
        return False

    def due(self, now: float) -> Iterator[tuple[str, int]]:
        """Yield each kind whose line is `APART_S` old, and how often it was suppressed since.

        Its count starts again. A kind that was not suppressed is forgotten instead.
        """
        for kind, (at, times) in tuple(self._times.items()):
            if abs(now - at) < APART_S:  # absolute: the clock may have been set back
                continue
            if times:
                self._times[kind] = (now, 0)
                yield kind, times
            else:
                del self._times[kind]


MAX_LINES: Final = 2_000  # a few seconds of a busy server at INFO; then new lines are dropped
STOP_S: Final = 1.0  # the longest wait at the end, as the terminal may be blocked
LOST: Final = "… {} lines of the log were lost here: the output was too slow\n"

Write = Callable[[str], None]


class LineWriter:
    """A loguru sink: lines go into a bounded queue; lines beyond it are counted."""

    def __init__(
        self,
        write: Write,
        *,
        name: str,
        close: Callable[[], None] | None = None,
        lines_held: int = MAX_LINES,
        lost: str = LOST,
    ) -> None:
        """Start the thread.

        Args:
            write: Writes a line and may block; an `OSError` drops the line.
            name: The thread's name.
            close: Called after the last line.
            lines_held: How many lines may wait.
            lost: The text that reports lost lines, in the format of the others.
        """
        self._write = write
        self._close = close
        self._lines: queue.Queue[str | None] = queue.Queue(lines_held)
        self._lost_line = lost
        self._lost = 0  # lost lines that were not reported yet
        self._idle = threading.Condition()  # notified after each line
        self._thread = threading.Thread(target=self._write_queued_lines, name=name, daemon=True)
        self._thread.start()

    @property
    def has_ended(self) -> bool:
        """Whether it was stopped, and has written all lines."""
        return not self._thread.is_alive()

    def write(self, message: str) -> None:
        """Queue a line; never waits. If the queue is full, the line is lost, and counted."""
        try:
            self._lines.put_nowait(message)
        except queue.Full:
            self._lost += 1

    def flush_within(self, wait_s: float) -> bool:
        """Wait until the lines so far are written; return False after a timeout."""
        with self._idle:
            return self._idle.wait_for(lambda: not self._lines.unfinished_tasks, wait_s)

    def stop(self) -> None:
        """Write the remaining lines if that takes less than `STOP_S`; loguru calls this."""
        self.flush_within(STOP_S)
        try:
            self._lines.put_nowait(None)
        except queue.Full:
            return  # a blocked thread ends with the process
        self._thread.join(STOP_S)

    def _write_queued_lines(self) -> None:
        """Write lines until `None` is queued, and wake up who waits for each; runs in a thread."""
        while (line := self._lines.get()) is not None:
            try:
                self._write_line(line)
            finally:
                self._lines.task_done()
                with self._idle:
                    self._idle.notify_all()
        if self._close:
            self._close()

    def _write_line(self, line: str) -> None:
        """Write a line, after a report of the lines that were lost before it."""
        lost, self._lost = self._lost, 0
        try:
            self._write(self._lost_line.replace("{}", str(lost)) + line if lost else line)
        except (OSError, ValueError):  # a full disk, a closed stream: the error cannot be reported
            self._lost += lost + 1  # the report of these lines was lost, too


if TYPE_CHECKING:
    from loguru import Record

EXPECTED_ERRORS: Final = frozenset(
    {
        "ConnectionError",
        "ConnectionClosed",
        "ClientDisconnect",
        "ClientDisconnected",
        "WebSocketDisconnect",
        "IncompleteReadError",
        "InvalidHandshake",
        "InvalidMessage",
        "RemoteProtocolError",
        "ProtocolError",
        "LocalProtocolError",
        "PayloadTooBig",
    }
)
"""The ordinary ends of connections, by class name, because few of the classes are imported."""

EXPECTED_LINES: Final = ("Invalid UTF-8 sequence received from client.",)  # Uvicorn's, with a trace


def is_expected(error: BaseException) -> bool:
    """Return whether an error is the ordinary end of a connection, which needs no traceback."""
    if isinstance(error, BaseExceptionGroup):
        return all(is_expected(exception) for exception in error.exceptions)
    return any(item.__name__ in EXPECTED_ERRORS for item in type(error).__mro__)


class Bridge(logging.Handler):
    """Passes records to our log, each kind once a minute, with a count; never raises."""

    def __init__(self) -> None:
        super().__init__()
        self._repeats = Repeats()

    def emit(self, record: logging.LogRecord) -> None:
        """Log one record, or only count it if one of its kind was logged recently.

        First log how often others were only counted, if that is due. A kind is a logger's name and
        the beginning of its unformatted message.
        """
        now = record.created
        for kind, times in self._repeats.due(now):
            _log_as(kind.partition(": ")[0], "WARNING", f"{kind} ({times} more times)")
        if self._repeats.may_log(f"{record.name}: {str(record.msg)[:100].strip()}", now):
            _log_as(record.name, _level_name(record), *_text_and_error(record))


def _text_and_error(record: logging.LogRecord) -> tuple[str, BaseException | None]:
    """Return a record's text, and its error unless that is expected."""
    try:
        text = record.getMessage().strip()
    except (TypeError, ValueError):  # the library's own mistake
        text = str(record.msg)
    error = record.exc_info[1] if record.exc_info else None
    if error is not None and (text in EXPECTED_LINES or is_expected(error)):
        return f"{text}: {type(error).__name__}", None
    return text, error


def _log_as(name: str, level: str, text: str, error: BaseException | None = None) -> None:
    """Log under the name of the library's logger, not of this module."""

    def name_it(shown: "Record") -> None:
        shown["name"], shown["function"], shown["line"] = name, "-", 0

    logger.patch(name_it).opt(exception=error).log(level, "{}", text)


def _level_name(record: logging.LogRecord) -> str:
    """Return the name of our level at or below the record's; libraries may use numbers between."""
    return next(
        (
            name
            for name in ("CRITICAL", "ERROR", "WARNING", "INFO", "DEBUG")
            if record.levelno >= getattr(logging, name)
        ),
        "TRACE",
    )


def bridge_logging() -> None:
    """Send to our log everything that libraries and threads would write to stderr.

    Removes the terminal handlers of all loggers that exist now; repeat it for later ones.
    """
    root = logging.getLogger()
    for handler in tuple(root.handlers):
        if isinstance(handler, Bridge):
            root.removeHandler(handler)
    root.addHandler(Bridge())
    for name in tuple(root.manager.loggerDict):
        _use_our_log(logging.getLogger(name))
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = _log_thread
    if sys.unraisablehook is sys.__unraisablehook__:
        sys.unraisablehook = _log_unraisable


def _use_our_log(library: logging.Logger) -> None:
    """Remove a library's own terminal handler, such as Uvicorn's; its records reach our log."""
    for handler in tuple(library.handlers):
        if isinstance(handler, logging.StreamHandler):
            library.removeHandler(handler)
            library.propagate, library.disabled = True, False


def _log_thread(ended: threading.ExceptHookArgs) -> None:
    name = ended.thread.name if ended.thread else "a thread"
    logger.opt(exception=ended.exc_value).error("{} failed", name)


def _log_unraisable(found: "sys.UnraisableHookArgs") -> None:
    logger.opt(exception=found.exc_value).warning("{}", found.err_msg or "an error in a finaliser")
