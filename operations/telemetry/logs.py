"""The log: one line an entry, without anyone's words, and Pipecat kept quiet about them too."""

import json
import logging
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from loguru import logger

from calls.entry import Entry
from calls.events import Event
from calls.incident import IncidentBegan, IncidentEnded, IncidentGrew
from calls.leg_events import HandedOver, LegEnded
from fallbacks.failure import Severity
from operations.privacy import without_numbers, without_words
from operations.telemetry.bridge import bridge_logging
from operations.telemetry.line_writer import LOST, LineWriter
from operations.telemetry.log_fields import Fields, LogFields
from operations.telemetry.log_file import LogFile
from operations.telemetry.log_line import FACT, LOST_JSON, as_json, as_text, make_printable
from operations.telemetry.repeats import Repeats

if TYPE_CHECKING:
    from loguru import FormatFunction, Record

FILE: Final = "holdline.log"
JSON_FILE: Final = "holdline.jsonl"
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
BESIDE: Final = ("turn", "breaker")  # what a line to read has behind the name of its fact
WRITERS: Final[list[LineWriter]] = []
TOLD_AS_A_FACT: Final = "no language model answered"  # Pipecat's lines of it: two for each turn


def set_up(*, level: str, folder: Path | None, json_lines: bool = False) -> None:
    """Send the log to stderr and, given a folder, to two files in it, to read and as JSON.

    Args:
        level: TRACE, DEBUG, INFO, WARNING or ERROR. Pipecat's own modules begin at WARNING
            whatever it is: below INFO they print what was said.
        folder: Where the files go; created when missing.
        json_lines: Whether stderr gets JSON, for a machine that collects it.
    """
    logger.remove()
    WRITERS.clear()
    logger.enable("pipecat")  # silent until now: see bot/__init__.py
    logger.configure(patcher=make_printable)
    lost = LOST_JSON if json_lines else LOST
    terminal = LineWriter(_to_stderr, name="log to stderr", lost=lost)
    _add(terminal, level, as_json if json_lines else as_text, colorize=sys.stderr.isatty())
    files = ((folder / FILE, as_text), (folder / JSON_FILE, as_json)) if folder else ()
    for path, form in files:
        file = LogFile(path)
        lost = LOST_JSON if form is as_json else LOST
        writer = LineWriter(file.write, name=f"log to {path.name}", close=file.close, lost=lost)
        _add(writer, level, form)
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
    bridge_logging()


def flush(wait_s: float = 5.0) -> None:
    """Wait until what was logged so far is written: before somebody reads it."""
    for each in WRITERS:
        each.flush_within(wait_s)


def _add(writer: LineWriter, level: str, form: "FormatFunction", *, colorize: bool = False) -> None:
    WRITERS.append(writer)
    logger.add(
        writer,
        level=level,
        filter=_fit_to_print,
        format=form,
        colorize=colorize,
        diagnose=False,  # tracebacks would print variables, keys among them
        backtrace=False,
    )


def _to_stderr(line: str) -> None:
    sys.stderr.write(line)
    sys.stderr.flush()


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

    def __init__(self, *, words: bool = False) -> None:
        """Write lines with what was said only if `words`; numbers and keys they never have."""
        self._shown = without_numbers if words else without_words
        self._fields = LogFields()
        self._repeats = Repeats()

    async def hear(self, entry: Entry) -> None:
        """Log one entry, and what it means for an operator."""
        fields, level = self._fields.read(entry), _level_of(entry.event)
        at_s = datetime.fromisoformat(entry.at).timestamp()
        for kind, times in self._repeats.due(at_s):
            logger.warning("process {} {} times more", kind, times)
        shown, name = self._shown, type(entry.event).__name__
        if name in REFUSALS and not self._is_news(name, asdict(shown(entry).event), at_s):
            return
        # Made when it is known that the line is read: of most that is told nobody reads one.
        said = partial(_words_of, entry, shown, fields)
        logger.bind(**{FACT: fields}).opt(lazy=True).log(level, "{}", said)

    def _is_news(self, name: str, shown: Mapping[str, Any], at_s: float) -> bool:
        return self._repeats.may_say(f"{name} {json.dumps(shown, ensure_ascii=False)}", at_s)


def _words_of(entry: Entry, show: Callable[[Entry], Entry], fields: Fields) -> str:
    shown = asdict(show(entry).event)
    more = ((each, fields[each]) for each in BESIDE if each not in shown)
    said = "".join(f" {each}={value}" for each, value in more if value is not None)
    line = json.dumps(shown, ensure_ascii=False)
    return f"{fields['call_id'] or 'process'} {type(entry.event).__name__}{said} {line}"


def _level_of(event: Event) -> str:
    """Return at which level a fact is logged: a leg or handover that failed is worse.

    An incident's end has the level that its beginning had, WARNING.
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
_NAMES: Final = {
    "INFO": (
        "CallStarted CallEnded HedgeStarted LimitReached AnswerHeard ToolCalled PersonWanted "
        "HandedOver LegEnded LineRestored CallerReturned MessageTranscribed CallbackWanted "
        "CallbackQueued CallSummarised DoNotCallListed ProviderReset OperatorActed ShareRegained "
        "ConfigurationReloaded ConfigurationLoaded WorkerStarted ClipsRendered RecordsForgotten "
        "AlertSent CampaignResumed ContactSkipped DialPlaced DialAsked DialEnded"
    ),
    "WARNING": (
        "CallRefused BudgetMissed PhaseRefused InputRefused DoNotCallOwed ShareLost ProcessLagged "
        "CallsCut CampaignHeld"
    ),
    "ERROR": "CallFailed DoNotCallDropped WorkerLost CampaignPaused",
}
LEVELS: Final = {name: level for level, names in _NAMES.items() for name in names.split()}
