"""What libraries tell the standard library's logging, in our log: in short, and not too often."""

import logging
import sys
import threading
from typing import TYPE_CHECKING, Final

from loguru import logger

from operations.telemetry.repeats import Repeats

if TYPE_CHECKING:
    from loguru import Record

EXPECTED: Final = frozenset(  # how connections end: by their classes' names, as few are imported
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


EXPECTED_LINES: Final = ("Invalid UTF-8 sequence received from client.",)  # Uvicorn's, with a trace


def is_expected(error: BaseException) -> bool:
    """Return whether an error is the ordinary end of a connection; then it is no traceback."""
    if isinstance(error, BaseExceptionGroup):
        return all(is_expected(each) for each in error.exceptions)
    return any(each.__name__ in EXPECTED for each in type(error).__mro__)


class Bridge(logging.Handler):
    """Hands records to our log, each kind once a minute; never raises."""

    def __init__(self) -> None:
        super().__init__()
        self._repeats = Repeats()

    def emit(self, record: logging.LogRecord) -> None:
        """Log one record, or count it."""
        now = record.created
        for kind, times in self._repeats.due(now):
            _log_as(kind.partition(": ")[0], "WARNING", f"{kind} ({times} times more)")
        if self._repeats.may_say(f"{record.name}: {str(record.msg)[:100].strip()}", now):
            _log_as(record.name, _level(record), *_said(record))


def _said(record: logging.LogRecord) -> tuple[str, BaseException | None]:
    """Return what to log of a record: its text, and its error unless that is expected."""
    try:
        text = record.getMessage().strip()
    except (TypeError, ValueError):  # the library's own mistake
        text = str(record.msg)
    error = record.exc_info[1] if record.exc_info else None
    if error is not None and (text in EXPECTED_LINES or is_expected(error)):
        return f"{text}: {type(error).__name__}", None
    return text, error


def _log_as(name: str, level: str, text: str, error: BaseException | None = None) -> None:
    def name_it(shown: "Record") -> None:
        shown["name"], shown["function"], shown["line"] = name, "-", 0

    logger.patch(name_it).opt(exception=error).log(level, "{}", text)


def _level(record: logging.LogRecord) -> str:
    return next(
        (
            name
            for name in ("CRITICAL", "ERROR", "WARNING", "INFO", "DEBUG")
            if record.levelno >= getattr(logging, name)
        ),
        "TRACE",
    )


def bridge_logging() -> None:
    """Send to our log what would have gone to stderr by itself."""
    root = logging.getLogger()
    for each in tuple(root.handlers):
        if isinstance(each, Bridge):
            root.removeHandler(each)
    root.addHandler(Bridge())
    for name in tuple(root.manager.loggerDict):
        _have_said_here(logging.getLogger(name))
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = _log_thread
    if sys.unraisablehook is sys.__unraisablehook__:
        sys.unraisablehook = _log_unraisable


def _have_said_here(library: logging.Logger) -> None:
    """Remove a terminal handler of its own, as Uvicorn's usual configuration gives itself one."""
    for each in tuple(library.handlers):
        if isinstance(each, logging.StreamHandler):
            library.removeHandler(each)
            library.propagate, library.disabled = True, False


def _log_thread(ended: threading.ExceptHookArgs) -> None:
    name = ended.thread.name if ended.thread else "a thread"
    logger.opt(exception=ended.exc_value).error("{} failed", name)


def _log_unraisable(found: "sys.UnraisableHookArgs") -> None:
    logger.opt(exception=found.exc_value).warning("{}", found.err_msg or "an error in a finaliser")
