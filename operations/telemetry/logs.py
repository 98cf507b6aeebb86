"""The log: one line per entry, without callers' words, which Pipecat must not log either."""

import fcntl
import json
import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from functools import partial
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from loguru import logger

from calls.campaign_events import CallOrdered
from calls.entry import Entry
from calls.events import Event
from calls.incident import IncidentBegan, IncidentEnded, IncidentGrew
from calls.known_calls import KnownCalls
from calls.leg_events import HandedOver, LegEnded
from calls.sentences import Vendors, event_sentence
from fallbacks.data_files import read_data
from fallbacks.events import BreakerMoved, RungFollowed
from fallbacks.failure import Severity
from operations.masking import clean, printable, without_numbers, without_words
from operations.telemetry.bridge import LOST, LineWriter, Repeats, bridge_logging

if TYPE_CHECKING:
    from loguru import FormatFunction, Record

Fields: TypeAlias = Mapping[str, str | int | None]
"""By name; `None` if the event has no such field or it is unknown."""

NAMES: Final = ("call_id", "turn", "stage", "provider", "attempt", "failure_kind", "breaker")
PROVIDER_FIELDS: Final = ("provider", "rung", "after")  # fields of events that name the provider


class LogFields:
    """Derives log fields from events; remembers each call's turn and each provider's breaker."""

    def __init__(self) -> None:
        self._calls = KnownCalls()
        self._breakers: dict[str, str] = {}

    def read(self, entry: Entry) -> Fields:
        """Return the fields of one event; needs every event, in order."""
        event, call = entry.event, self._calls.add(entry)
        if isinstance(event, BreakerMoved):
            self._breakers[event.provider] = event.after
        elif isinstance(event, RungFollowed):
            self._breakers[event.provider] = event.breaker
        stage = _text_field(event, "stage")
        turn = call.turn_now if call else 0
        provider = _provider_in_event(event) if stage else None
        return {
            "call_id": entry.call_id or None,
            "turn": getattr(event, "turn", turn) if entry.call_id else None,
            "stage": stage,
            "provider": provider,
            "attempt": getattr(event, "attempt", None) or None,
            "failure_kind": _text_field(event, "kind"),
            "breaker": self._breakers.get(provider, "closed") if provider else None,
        }


def _provider_in_event(event: Event) -> str | None:
    return next((value for name in PROVIDER_FIELDS if (value := _text_field(event, name))), None)


def _text_field(event: Any, name: str) -> str | None:
    text = getattr(event, name, None)
    return str(text) if isinstance(text, str) and text else None


LARGEST_BYTES: Final = 20_000_000
KEPT: Final = 5  # earlier files: holdline.log.1 is the newest of them
OWNER_ONLY: Final = 0o600  # the file's permissions


class LogFile:
    """Appends to a file, even if other processes write to it or rotate it."""

    def __init__(self, path: Path, *, largest_bytes: int = LARGEST_BYTES) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._path = path
        self._largest_bytes = largest_bytes
        self._file = self._open_for_appending()

    def write(self, text: str) -> None:
        """Append, after rotating the files if this one is too large; blocks.

        Raises:
            OSError: The disk is full or broken; nothing of `text` is written.
        """
        self._reopen_if_rotated()
        if os.fstat(self._file.fileno()).st_size >= self._largest_bytes:
            self._rotate_files()
        self._append_or_undo(memoryview(text.encode("utf-8", "backslashreplace")))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _append_or_undo(self, rest: memoryview) -> None:
        """Write everything, or nothing if the disk fills up."""
        number = self._file.fileno()
        fcntl.flock(number, fcntl.LOCK_EX)  # else the truncation could cut another process's line
        try:
            began = os.fstat(number).st_size
            try:
                while rest:
                    rest = rest[self._file.write(rest) :]
            except OSError:
                os.ftruncate(number, began)
                raise
        finally:
            fcntl.flock(number, fcntl.LOCK_UN)

    def _open_for_appending(self) -> FileIO:
        # A file object, not a bare descriptor: after its closing, the number may belong to another
        # file, which a second `close` of the number would close.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        return FileIO(os.open(self._path, flags, OWNER_ONLY), "a")

    def _reopen_if_rotated(self) -> None:
        """Reopen the file by its name: another process may have rotated ours."""
        if not self._has_its_name():
            rotated, self._file = self._file, self._open_for_appending()
            rotated.close()

    def _has_its_name(self) -> bool:
        """Return whether the open file still has its path; a rotation gives it another one."""
        try:
            inode = self._path.stat().st_ino
        except FileNotFoundError:  # renamed, and not opened again yet
            return False
        return inode == os.fstat(self._file.fileno()).st_ino

    def _rotate_files(self) -> None:
        """Rename the files, unless another process has done so meanwhile; then open the new one.

        The oldest file is replaced if there are `KEPT` already.
        """
        fcntl.flock(self._file.fileno(), fcntl.LOCK_EX)  # only one of several processes rotates
        try:
            if self._has_its_name():
                for number in range(KEPT - 1, 0, -1):
                    if self._old_path(number).exists():
                        self._old_path(number).replace(self._old_path(number + 1))
                self._path.replace(self._old_path(1))
        finally:
            fcntl.flock(self._file.fileno(), fcntl.LOCK_UN)
        self._reopen_if_rotated()

    def _old_path(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")


TEXT: Final = (  # loguru's own, without exceptions
    "<green>{time:YYYY-MM-DDTHH:mm:ss.SSSZ}</green> | <level>{level: <8}</level> | "
    "<cyan>{name}</cyan>:<cyan>{function}</cyan>:<cyan>{line}</cyan> - <level>{message}</level>"
)
TRACE_LINES: Final = 80  # of a traceback: its beginning and its end
FRAMES_SHOWN: Final = 20  # of a traceback, the innermost ones
FACT: Final = "fact"  # the key of our own lines' fields


LOST_JSON: Final = (
    json.dumps(
        {
            "timestamp": None,
            "level": "WARNING",
            "logger": bridge_logging.__module__,
            **dict.fromkeys(NAMES),
            "message": "{} lines of the log were lost here: the output was too slow",
        }
    )
    + "\n"
)
"""The line that replaces lost lines, whose times are unknown."""


def make_printable(record: "Record") -> None:
    """Mask a record in place, and add the fields that both formats need."""
    record["message"] = printable(record["message"])
    if (error := record["exception"]) and error.value:
        record["extra"]["trace"] = _format_trace(error.value)
    record["extra"]["json"] = json.dumps(_json_fields(record), ensure_ascii=False)
    if FACT not in record["extra"] and (call_id := record["extra"].get("call_id")):
        record["message"] += f" [call {call_id}]"


def as_text(record: "Record") -> str:
    """Return the template of a readable line, followed by its indented traceback."""
    return f"{TEXT}\n{{extra[trace]}}" if "trace" in record["extra"] else f"{TEXT}\n"


def json_line(record: "Record") -> str:
    """Return the template of a line of JSON, which `make_printable` put into the record."""
    del record
    return "{extra[json]}\n"


def _json_fields(record: "Record") -> Mapping[str, Any]:
    """Return the fields of a JSON line; all of `NAMES`, `None` if unknown, and `trace` if any."""
    extra = record["extra"]
    fact = extra.get(FACT) or {"call_id": extra.get("call_id")}
    trace = {"trace": extra["trace"].splitlines()} if "trace" in extra else {}
    return {
        "timestamp": record["time"].isoformat(timespec="milliseconds"),
        "level": record["level"].name,
        "logger": record["name"],
        **{name: clean(fact.get(name), printable) for name in NAMES},
        "message": record["message"],
        **trace,
    }


def _format_trace(error: BaseException) -> str:
    """Return an error's traceback and causes, with each message on one line."""
    parts = traceback.format_exception(error, limit=-FRAMES_SHOWN)
    lines = [line for part in parts for line in _lines_of(part)]
    if len(lines) > TRACE_LINES:
        lines[TRACE_LINES // 2 : -TRACE_LINES // 2] = ["…"]
    return "".join(f"    {printable(line)}\n" for line in lines)


def _lines_of(part: str) -> list[str]:
    """Return a code location unchanged; an error's message becomes one line."""
    first = part.partition("\n")[0]
    return part.splitlines() if ' File "' in first else [part.rstrip("\n")]


FILE: Final = "holdline.log"
JSON_FILE: Final = "holdline.jsonl"
_DATA: Final = read_data(__name__, "logs.yaml")
CHATTY: Final[Sequence[str]] = _DATA["chatty"]
CONTEXT_FIELDS: Final = ("turn", "breaker")  # shown after the event's name in a readable line
WRITERS: Final[list[LineWriter]] = []
_ARGUMENTS: Final[dict[str, Any]] = {}  # of the last `set_up`
SAID_BY_OUR_EVENT: Final = "no language model answered"  # Pipecat logs it twice for each turn


def set_up(*, level: str, folder: Path | None, json_lines: bool = False) -> None:
    """Send the log to stderr and, given a folder, to two files in it: text and JSON.

    Replaces all earlier outputs; each output gets a thread.

    Args:
        level: TRACE, DEBUG, INFO, WARNING or ERROR. Pipecat's own modules start at WARNING in any
            case: below INFO they print what was said.
        folder: The folder for the files; created if missing.
        json_lines: Whether stderr gets JSON, for a log collector.
    """
    _ARGUMENTS.update(level=level, folder=folder, json_lines=json_lines)
    logger.remove()
    WRITERS.clear()
    logger.enable("pipecat")  # disabled in bot/__init__.py
    logger.configure(patcher=make_printable)
    lost = LOST_JSON if json_lines else LOST
    terminal = LineWriter(_to_stderr, name="log to stderr", lost=lost)
    _add_writer(terminal, level, json_line if json_lines else as_text, colorize=sys.stderr.isatty())
    files = ((folder / FILE, as_text), (folder / JSON_FILE, json_line)) if folder else ()
    for path, form in files:
        file = LogFile(path)
        lost = LOST_JSON if form is json_line else LOST
        writer = LineWriter(file.write, name=f"log to {path.name}", close=file.close, lost=lost)
        _add_writer(writer, level, form)
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
    bridge_logging()


@contextmanager
def kept() -> Iterator[None]:
    """Set the log up again, as it was, if code in the block that is not ours removes its outputs.

    Programs that use loguru begin with `logger.remove()`.
    """
    writing = [writer for writer in WRITERS if not writer.has_ended]
    try:
        yield
    finally:
        if any(writer.has_ended for writer in writing):
            set_up(**_ARGUMENTS)


def flush(wait_s: float = 5.0) -> None:
    """Wait until all lines so far are written, for at most `wait_s` for each output; blocks."""
    for writer in WRITERS:
        writer.flush_within(wait_s)


def _add_writer(
    writer: LineWriter, level: str, form: "FormatFunction", *, colorize: bool = False
) -> None:
    """Send logs of a level and above to a writer, and remember the writer to close it."""
    WRITERS.append(writer)
    logger.add(
        writer,
        level=level,
        filter=_may_print,
        format=form,
        colorize=colorize,
        diagnose=False,  # tracebacks would print variables, including keys
        backtrace=False,
    )


def _to_stderr(line: str) -> None:
    sys.stderr.write(line)
    sys.stderr.flush()


def _may_print(record: "Record") -> bool:
    """Return False for Pipecat's lines that may contain words, or that repeat our own event."""
    if not (record["name"] or "").startswith("pipecat"):
        return True
    return record["level"].no >= logging.WARNING and SAID_BY_OUR_EVENT not in record["message"]


class Log:
    """Writes one line for each entry, at its own level, and one for each incident.

    Every affected call logs the events of an incident, at DEBUG; the incident itself is logged when
    it starts, when it becomes worse, and when it is over. Unauthenticated clients can cause any
    number of refusals: each kind is logged once a minute, with a count.
    """

    def __init__(self, *, words: bool = False, vendors: Vendors | None = None) -> None:
        """Log the words of calls only if `words`; numbers and keys are never logged.

        `vendors` are named in the sentences about failures.
        """
        self._vendors = vendors or {}
        self._hide = without_numbers if words else without_words
        self._fields = LogFields()
        self._repeats = Repeats()

    async def hear(self, entry: Entry) -> None:
        """Log the counts of repeats that are due, then this entry, unless it repeats a refusal."""
        fields, level = self._fields.read(entry), _level_of(entry.event)
        at_s = datetime.fromisoformat(entry.at).timestamp()
        for kind, times in self._repeats.due(at_s):
            logger.warning("process {} {} more times", kind, times)
        name = type(entry.event).__name__
        if name in REFUSALS and not self._may_log(name, asdict(self._hide(entry).event), at_s):
            return
        # Built only for lines that are written: most entries are below the log level.
        line = partial(_line_of, entry, self._hide, fields, self._vendors)
        logger.bind(**{FACT: fields}).opt(lazy=True).log(level, "{}", line)

    def _may_log(self, name: str, shown: Mapping[str, Any], at_s: float) -> bool:
        return self._repeats.may_log(f"{name} {json.dumps(shown, ensure_ascii=False)}", at_s)


def _line_of(entry: Entry, hide: Callable[[Entry], Entry], fields: Fields, vendors: Vendors) -> str:
    """Return the line: call, event, context, a sentence for its codes, and its fields as JSON.

    `hide` removes what must not be logged, such as words.
    """
    shown, name = asdict(hide(entry).event), type(entry.event).__name__
    more = ((field, fields[field]) for field in CONTEXT_FIELDS if field not in shown)
    context = "".join(f" {field}={value}" for field, value in more if value is not None)
    line = json.dumps(shown, ensure_ascii=False)
    text = event_sentence(name, shown, vendors)
    return f"{fields['call_id'] or 'process'} {name}{context} {f'{text} ' if text else ''}{line}"


def _level_of(event: Event) -> str:
    """Return the log level of an event: higher for a failed leg or transfer.

    An incident's end is logged at WARNING, its beginning by its severity.
    """
    match event:
        case LegEnded(outcome="failed") | HandedOver(outcome="failed") | IncidentEnded():
            return "WARNING"
        case CallOrdered(outcome="refused"):
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
LEVELS: Final = {name: level for level, names in _DATA["levels"].items() for name in names.split()}
