"""The log: one line an entry, without anyone's words, and Pipecat kept quiet about them too."""

import json
import logging
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from loguru import logger

from calls.entry import Entry
from telemetry.privacy import without_words

if TYPE_CHECKING:
    from loguru import Record

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
KEY_SHAPED: Final = re.compile(
    r"(?i)(bearer|token|x-api-key|xi-api-key|authorization)([\"':=\s]+)([\w.\-/+]{8,})"
    r"|\bsk[-_][\w\-]{8,}"
)


def redacted(text: str) -> str:
    """Return `text` without what looks like a key, or the words that Pipecat did not speak."""
    text = TELLS_WORDS.sub("not speaking [...]", text)
    return KEY_SHAPED.sub(lambda found: f"{found[1] or ''}{found[2] or ''}[redacted]", text)


def set_up(*, level: str, folder: Path | None) -> None:
    """Send the log to stderr and, given a folder, to a rotating `holdline.log` in it.

    Args:
        level: TRACE, DEBUG, INFO, WARNING or ERROR. Pipecat's own modules begin at WARNING
            whatever it is: below INFO they print what was said.
        folder: Where the file goes; created when missing.
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
        logger.add(folder / "holdline.log", rotation="20 MB", retention=5, **settings)
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)


def _redact(record: "Record") -> None:
    record["message"] = redacted(record["message"])


def _fit_to_print(record: "Record") -> bool:
    from_pipecat = (record["name"] or "").startswith("pipecat")
    return not from_pipecat or record["level"].no >= logging.WARNING


class Log:
    """Writes each entry as one line at the level that it deserves."""

    async def hear(self, entry: Entry) -> None:
        """Log one entry."""
        shown = without_words(entry).as_json()
        name = shown.pop("event")
        call_id = shown.pop("call_id") or "house"
        del shown["number"], shown["at"]
        line = json.dumps(shown, ensure_ascii=False)
        logger.log(LEVELS.get(name, "DEBUG"), "{} {} {}", call_id, name, line)


LEVELS: Final = {
    "CallStarted": "INFO",
    "CallEnded": "INFO",
    "CallRefused": "WARNING",
    "CallFailed": "ERROR",
    "BudgetMissed": "WARNING",
    "ProviderFailed": "WARNING",
    "PhaseRefused": "WARNING",
    "InputRefused": "WARNING",
    "HedgeStarted": "INFO",
    "LimitReached": "INFO",
    "AnswerHeard": "INFO",
    "ToolCalled": "INFO",
    "PersonWanted": "INFO",
    "CallbackWanted": "INFO",
    "ShareLost": "WARNING",
    "ShareRegained": "INFO",
    "RetriesExhausted": "WARNING",
}
