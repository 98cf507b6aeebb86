"""The log: one line an entry, without anyone's words, and Pipecat kept quiet about them too."""

import json
import logging
import sys
import traceback
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from loguru import logger

from calls.entry import Entry
from calls.events import Event
from calls.incident import IncidentBegan, IncidentEnded, IncidentGrew
from calls.leg_events import HandedOver, LegEnded
from fallbacks.failure import Severity
from telemetry.bridge import bridge_logging
from telemetry.line_writer import LineWriter
from telemetry.log_file import LogFile
from telemetry.masking import printable
from telemetry.privacy import without_words
from telemetry.repeats import Repeats

if TYPE_CHECKING:
    from loguru import Record

FILE: Final = "holdline.log"
CHATTY: Final = (  # at DEBUG these print payloads, headers or the words themselves
    "websockets.client",
    "websockets.server",
    "httpx",
    "httpcore",
    "openai",
    "aiortc",
    "aioice",
    "livekit",
    "deepgram",
    "twilio",
    "asyncio",
)
TRACE_LINES: Final = 80  # its beginning and its end
FRAMES_SHOWN: Final = 20  # of a traceback, the innermost ones
LINE: Final = (  # loguru's own, without what it says of exceptions
    "<green>{time:YYYY-MM-DD HH:mm:ss.SSS}</green> | <level>{level: <8}</level> | "
    "<cyan>{name}</cyan>:<cyan>{function}</cyan>:<cyan>{line}</cyan> - <level>{message}</level>"
)
WRITERS: Final[list[LineWriter]] = []
TOLD_AS_A_FACT: Final = "no language model answered"  # Pipecat's lines of it: two for each turn


def set_up(*, level: str, folder: Path | None) -> None:
    """Send the log to stderr and, given a folder, to a rotating `holdline.log` in it.

    Args:
        level: TRACE, DEBUG, INFO, WARNING or ERROR. Pipecat's own modules begin at WARNING
            whatever it is: below INFO they print what was said.
        folder: Where the file goes; created when missing.
    """
    logger.remove()
    WRITERS.clear()
    logger.enable("pipecat")  # silent until now: see bot/__init__.py
    logger.configure(patcher=_make_printable)
    _add(LineWriter(_to_stderr, name="log to stderr"), level, colorize=sys.stderr.isatty())
    if folder:
        file = LogFile(folder / FILE)
        _add(LineWriter(file.write, name="log to file", close=file.close), level, colorize=False)
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
    bridge_logging()


def flush(wait_s: float = 5.0) -> None:
    """Wait until what was logged so far is written: before somebody reads it."""
    for each in WRITERS:
        each.flush_within(wait_s)


def _add(writer: LineWriter, level: str, *, colorize: bool) -> None:
    WRITERS.append(writer)
    logger.add(
        writer,
        level=level,
        filter=_fit_to_print,
        format=_form,
        colorize=colorize,
        diagnose=False,  # tracebacks would print variables, keys among them
        backtrace=False,
    )


def _to_stderr(line: str) -> None:
    sys.stderr.write(line)
    sys.stderr.flush()


def _form(record: "Record") -> str:
    return f"{LINE}\n{{extra[trace]}}" if "trace" in record["extra"] else f"{LINE}\n"


def _make_printable(record: "Record") -> None:
    record["message"] = printable(record["message"])
    if (error := record["exception"]) and error.value:
        record["extra"]["trace"] = _trace(error.value)


def _trace(error: BaseException) -> str:
    """Return where an error came from and what caused it, and what each says in one line."""
    parts = traceback.format_exception(error, limit=-FRAMES_SHOWN)
    lines = [line for part in parts for line in _lines_of(part)]
    if len(lines) > TRACE_LINES:
        lines[TRACE_LINES // 2 : -TRACE_LINES // 2] = ["…"]
    return "".join(f"    {printable(line)}\n" for line in lines)


def _lines_of(part: str) -> list[str]:
    """Return a place with its code as it is; what an error says is one line, whatever is in it."""
    first = part.partition("\n")[0]
    return part.splitlines() if ' File "' in first else [part.rstrip("\n")]


def _fit_to_print(record: "Record") -> bool:
    if not (record["name"] or "").startswith("pipecat"):
        return True
    return record["level"].no >= logging.WARNING and TOLD_AS_A_FACT not in record["message"]


class Log:
    """Writes each entry as one line at the level that it deserves, and each incident as one.

    What makes an incident is told by every call that meets it, at DEBUG; the incident itself is a
    line of its own when it begins, when it is worse than was said, and when it is over. Refusals
    are as many as strangers want: each kind is one line a minute, and then how often it was.
    """

    def __init__(self) -> None:
        self._repeats = Repeats()

    async def hear(self, entry: Entry) -> None:
        """Log one entry, and what it means for an operator."""
        shown = without_words(entry).as_json()
        name = shown.pop("event")
        del shown["call_id"], shown["number"], shown["at"]
        at_s = datetime.fromisoformat(entry.at).timestamp()
        for kind, times in self._repeats.due(at_s):
            logger.warning("process {} {} times more", kind, times)
        if self._is_news(name, shown, at_s):
            _write(_level_of(entry.event), entry, name, shown)

    def _is_news(self, name: str, shown: Mapping[str, Any], at_s: float) -> bool:
        if name not in REFUSALS:
            return True
        return self._repeats.may_say(f"{name} {json.dumps(shown, ensure_ascii=False)}", at_s)


def _write(level: str, entry: Entry, name: str, shown: Mapping[str, Any]) -> None:
    line = json.dumps(shown, ensure_ascii=False)
    logger.log(level, "{} {} {}", entry.call_id or "process", name, line)


def _level_of(event: Event) -> str:
    """Return at which level a fact is logged: a leg or handover that failed is worse.

    An incident's end stands where its begin stood.
    """
    match event:
        case LegEnded(outcome="failed") | HandedOver(outcome="failed") | IncidentEnded():
            return "WARNING"
        case IncidentBegan() | IncidentGrew():
            return SEVERITIES[event.severity]
        case _:
            return LEVELS.get(type(event).__name__, "DEBUG")


SEVERITIES: Final[Mapping[Severity, str]] = {
    Severity.LOW: "WARNING",
    Severity.MEDIUM: "WARNING",
    Severity.HIGH: "ERROR",
    Severity.CRITICAL: "CRITICAL",
}
REFUSALS: Final = frozenset({"CallRefused", "InputRefused"})
LEVELS: Final = {
    "CallStarted": "INFO",
    "CallEnded": "INFO",
    "CallRefused": "WARNING",
    "CallFailed": "ERROR",
    "BudgetMissed": "WARNING",
    "PhaseRefused": "WARNING",
    "InputRefused": "WARNING",
    "HedgeStarted": "INFO",
    "LimitReached": "INFO",
    "AnswerHeard": "INFO",
    "ToolCalled": "INFO",
    "PersonWanted": "INFO",
    "HandedOver": "INFO",
    "LegEnded": "INFO",
    "LineRestored": "INFO",
    "CallerReturned": "INFO",
    "MessageTranscribed": "INFO",
    "CallbackWanted": "INFO",
    "ProviderReset": "INFO",
    "ShareLost": "WARNING",
    "ProcessLagged": "WARNING",
    "ShareRegained": "INFO",
}
