"""The log: one line an entry, without anyone's words, and Pipecat kept quiet about them too."""

import json
import logging
import re
import sys
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from loguru import logger

from calls.entry import Entry
from calls.incident import IncidentEnded, IncidentFact
from calls.incidents import Incidents
from fallbacks.failure import Severity
from telemetry.privacy import without_words
from telemetry.shared_file import SharedFile

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
    "deepgram",
    "twilio",
    "asyncio",
)
TELLS_WORDS: Final = re.compile(r"not speaking \[.*\]", re.DOTALL)
TOLD_AS_A_FACT: Final = "no language model answered"  # Pipecat's lines of it: two for each turn
KEY_SHAPED: Final = re.compile(
    r"(?i)(bearer|token|x-api-key|xi-api-key|authorization)([\"':=\s]+)([\w.\-/+]{8,})"
    r"|\bsk[-_][\w\-]{8,}"
)


def redacted(text: str) -> str:
    """Return `text` without what looks like a key, or the words that Pipecat did not speak."""
    text = TELLS_WORDS.sub("not speaking [...]", text)
    return KEY_SHAPED.sub(lambda found: f"{found[1] or ''}{found[2] or ''}[redacted]", text)


def set_up(*, level: str, folder: Path | None, shared: bool = False) -> None:
    """Send the log to stderr and, given a folder, to a rotating `holdline.log` in it.

    Args:
        level: TRACE, DEBUG, INFO, WARNING or ERROR. Pipecat's own modules begin at WARNING
            whatever it is: below INFO they print what was said.
        folder: Where the file goes; created when missing.
        shared: Whether other processes write the same file; who rotates it is then `rotate`'s
            caller.
    """
    logger.remove()
    logger.enable("pipecat")  # silent until now: see bot/__init__.py
    logger.configure(patcher=_redact)
    settings: dict[str, Any] = {
        "level": level,
        "filter": _fit_to_print,
        "diagnose": False,  # tracebacks would print variables, keys among them
        "backtrace": False,
    }
    logger.add(sys.stderr, **settings)
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
        if shared:
            logger.add(SharedFile(folder / FILE).write, **settings)
        else:
            logger.add(folder / FILE, rotation="20 MB", retention=5, **settings)
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)


def _redact(record: "Record") -> None:
    record["message"] = redacted(record["message"])


def _fit_to_print(record: "Record") -> bool:
    if not (record["name"] or "").startswith("pipecat"):
        return True
    return record["level"].no >= logging.WARNING and TOLD_AS_A_FACT not in record["message"]


class Log:
    """Writes each entry as one line at the level that it deserves, and each incident as one.

    What makes an incident is told by every call that meets it, at DEBUG; the incident itself is a
    line of its own when it begins, when it is worse than was said, and when it is over.
    """

    def __init__(self, incidents: Incidents) -> None:
        self._incidents = incidents

    async def hear(self, entry: Entry) -> None:
        """Log one entry, and what it means for an operator."""
        shown = without_words(entry).as_json()
        name = shown.pop("event")
        del shown["call_id"], shown["number"], shown["at"]
        _write(LEVELS.get(name, "DEBUG"), entry, name, shown)
        at_s = datetime.fromisoformat(entry.at).timestamp()
        for fact in self._incidents.handle(entry.event, at_s):
            _write(_level(fact), entry, type(fact).__name__, asdict(fact))


def _write(level: str, entry: Entry, name: str, shown: Mapping[str, Any]) -> None:
    line = json.dumps(shown, ensure_ascii=False)
    logger.log(level, "{} {} {}", entry.call_id or "process", name, line)


def _level(fact: IncidentFact) -> str:
    """Return at which level an incident is logged; its end stands where its begin stood."""
    return "WARNING" if isinstance(fact, IncidentEnded) else SEVERITIES[fact.severity]


SEVERITIES: Final[Mapping[Severity, str]] = {
    Severity.LOW: "WARNING",
    Severity.MEDIUM: "WARNING",
    Severity.HIGH: "ERROR",
    Severity.CRITICAL: "CRITICAL",
}
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
    "CallbackWanted": "INFO",
    "ProviderReset": "INFO",
    "ShareLost": "WARNING",
    "ShareRegained": "INFO",
}
