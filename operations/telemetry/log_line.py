"""How a line of the log is written: to read, and as JSON; both with the same fields."""

import json
import traceback
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from operations.masking import clean, printable
from operations.telemetry.log_fields import NAMES

if TYPE_CHECKING:
    from loguru import Record

TEXT: Final = (  # loguru's own, without what it says of exceptions
    "<green>{time:YYYY-MM-DD HH:mm:ss.SSS}</green> | <level>{level: <8}</level> | "
    "<cyan>{name}</cyan>:<cyan>{function}</cyan>:<cyan>{line}</cyan> - <level>{message}</level>"
)
TRACE_LINES: Final = 80  # its beginning and its end
FRAMES_SHOWN: Final = 20  # of a traceback, the innermost ones
FACT: Final = "fact"  # a line of ours has its fields under this name


LOST_JSON: Final = (
    json.dumps(
        {
            "timestamp": None,
            "level": "WARNING",
            "logger": "operations.telemetry.line_writer",
            **dict.fromkeys(NAMES),
            "message": "{} lines of the log were lost here: nobody took them in time",
        }
    )
    + "\n"
)
"""What stands in place of lines that were lost; nobody knows when."""


def make_printable(record: "Record") -> None:
    """Mask a record, and note what the two forms need beside its message."""
    record["message"] = printable(record["message"])
    if (error := record["exception"]) and error.value:
        record["extra"]["trace"] = _trace(error.value)
    record["extra"]["json"] = json.dumps(_fields(record), ensure_ascii=False)
    if FACT not in record["extra"] and (call_id := record["extra"].get("call_id")):
        record["message"] += f" [call {call_id}]"


def as_text(record: "Record") -> str:
    """Return the template of a line to read, its traceback indented behind it."""
    return f"{TEXT}\n{{extra[trace]}}" if "trace" in record["extra"] else f"{TEXT}\n"


def as_json(record: "Record") -> str:
    """Return the template of a line of JSON, which stands in the record by then."""
    del record
    return "{extra[json]}\n"


def _fields(record: "Record") -> Mapping[str, Any]:
    extra = record["extra"]
    told = extra.get(FACT) or {"call_id": extra.get("call_id")}
    trace = {"trace": extra["trace"].splitlines()} if "trace" in extra else {}
    return {
        "timestamp": record["time"].isoformat(timespec="milliseconds"),
        "level": record["level"].name,
        "logger": record["name"],
        **{name: clean(told.get(name), printable) for name in NAMES},
        "message": record["message"],
        **trace,
    }


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
