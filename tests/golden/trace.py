"""The trace of a golden call: what happened in it, in lines that every run repeats.

A trace is JSON lines, each a list: `["call 1", "TurnDecided", {"turn": 1}]`. The first word says
which part it belongs to:

- `call 1`, ...: the events of each call, in order; `process cartesia`, ...: the events of the
  process about each provider. Each provider has its own list, because two probes that are due at
  the same moment end in any order.
- `heard`: the words that the caller heard in each turn, as the drill finds them in the recording.
  `other` says that there was other speech, too, such as a filler.
- `carrier`: how each call ended for the telephone company, and its complaints.
- `row`: the rows of the database, by their call or provider as the events are. Of `happenings`,
  the events themselves, only those kinds whose number differs from what was told.
- `request`: what each of the lab's providers was asked, in order, and how that ended; without the
  query of a path that was asked before.

Left out is what differs between two runs, or between two machines:

- fractions (moments, durations, shares, prices, confidence) and all fields that end in `_s`: they
  tell when, and a trace tells what;
- ids, ports, names of processes and files, and the configuration's digest, which holds a port: they
  are random, or the machine's own. In texts they become `ID` and `HOST`;
- our version and that of the client libraries (`user_agent`), which an upgrade changes;
- `false`, 0 and what is empty, and what the lab's model meant to say (`answer`, beside `sent`), to
  keep the files small.
"""

import dataclasses
import difflib
import itertools
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Float, RowMapping, Table, create_engine, select

from calls.entry import Entry
from lab.drill.measured import MeasuredRun
from lab.simulators.carrier.carrier import Carrier
from lab.simulators.lab import Lab
from lab.simulators.record import Request
from operations.database.tables import (
    ALERTS,
    BREAKER_MOVES,
    CALLBACKS,
    CALLS,
    FAILURES,
    HAPPENINGS,
    MESSAGES,
    TURNS,
    VOICEMAILS,
    UtcDateTime,
)
from tests.golden.calls import GoldenCall, play_golden
from tests.golden.rig import open_golden_rig

TABLES: Final = (
    CALLS, TURNS, MESSAGES, FAILURES, BREAKER_MOVES, VOICEMAILS, CALLBACKS, ALERTS,
)  # fmt: skip
LEFT_OUT: Final = {
    *("at", "began_at", "id", "call_id", "call_ref", "provider_call_id", "holder", "digest"),
    *("recording", "path", "alert", "version"),
}
UNTOLD: Final = {"answer", "user_agent"}  # of a request
TRACES: Final = Path(__file__).parent / "traces"
# Neighbours that two runs have in either order, because the event loop fires timers of one moment
# in any order: refused connections, alerts of two rungs, and what is told as a call ends. They are
# compared in the order of what matches here.
TIES: Final = (
    re.compile(r'.*"reason":"ConnectionRefusedError".*'),
    re.compile(r'\["(process","IncidentBegan|row","alerts","process)".*'),
    re.compile(r'\["call \d+","(AgentSaid|UsageMeasured)"'),
)
# Only the last of several incidents leaves callers without a provider, and tells so.
THEN: Final = re.compile(r',"then":"[^"]*"')
SHOWN: Final = 60  # lines of a difference
MASKS: Final = (
    (re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{12,}"), "ID"),
    (re.compile(r"(127\.0\.0\.1|localhost):\d+"), "HOST"),
)


def compare_traces(recorded: Sequence[str], now: Sequence[str], *, name: str) -> list[str]:
    """Return how two traces of a call differ, as a unified diff; empty if they are equal."""
    before, after = _with_ties_sorted(recorded), _with_ties_sorted(now)
    lines = list(
        difflib.unified_diff(before, after, f"{name}, recorded", f"{name}, now", "", "", 2, "")
    )
    more = len(lines) - SHOWN
    return lines if more <= 0 else [*lines[:SHOWN], f"... and {more} lines more"]


def _with_ties_sorted(lines: Sequence[str]) -> list[str]:
    """Return the lines, with neighbours that are a tie in one order."""
    found: list[str] = []
    for tie, group in itertools.groupby(lines, key=_tie_of):
        neighbours = list(group)
        if tie and len(neighbours) > 1:
            without = (THEN.sub("", line) for line in neighbours)
            neighbours = sorted(without, key=lambda line, tie=tie: tie.match(line)[0])
        found += neighbours
    return found


def _tie_of(line: str) -> re.Pattern[str] | None:
    return next((tie for tie in TIES if tie.match(line)), None)


def normalised(value: Any) -> Any:
    """Return the part of a value that every run repeats, as JSON has it; `None`: no part."""
    match value:
        case str():
            for pattern, mask in MASKS:
                value = pattern.sub(mask, value)
            return value
        case Mapping():
            kept = {key: normalised(part) for key, part in value.items() if _is_kept(key)}
            return {key: part for key, part in kept.items() if part}
        case list() | tuple():
            return [part for part in map(normalised, value) if part]
        case float():
            return None
        case _:
            return value


def _is_kept(key: str) -> bool:
    return key not in LEFT_OUT and not key.endswith("_s")


async def trace_call(call: GoldenCall, folder: Path) -> list[str]:
    """Play a call and return its trace, a line for each fact.

    Args:
        call: What to play; the event loop is a virtual one.
        folder: An empty one, for the server's files.
    """
    async with open_golden_rig(call.row, folder, call.changes) as golden:
        run = await play_golden(call, golden)
    told = golden.server.told
    numbered = dict.fromkeys(entry.call_id for entry in told if entry.call_id)
    calls = {call_id: f"call {number}" for number, call_id in enumerate(numbered, 1)}
    lines = [
        *_events(told, calls),
        *_heard(run),
        *_carriers(golden.carriers),
        *_rows(folder / "holdline.db", told, calls),
        *_requests(golden.server.lab),
    ]
    return [json.dumps(line, ensure_ascii=False, separators=(",", ":")) for line in lines]


def _events(told: Sequence[Entry], calls: Mapping[str, str]) -> list[list[Any]]:
    lines: list[list[Any]] = []
    for entry in told:
        subject = _subject(calls.get(entry.call_id), getattr(entry.event, "provider", ""))
        event = dataclasses.asdict(entry.event)
        lines.append([subject, type(entry.event).__name__, _fields(event)])
    return sorted(lines, key=lambda line: line[0])


def _subject(call: str | None, provider: str) -> str:
    return call or f"process {provider}".strip()


def _fields(mapping: Mapping[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = normalised(mapping)
    return dict(sorted(kept.items()))


def _heard(run: MeasuredRun) -> Iterator[list[Any]]:
    for number, judged in enumerate(run.turns, 1):
        verdict = judged.verdict
        wrong = {"missing": verdict.missing, "extra": verdict.extra, "other": bool(verdict.other)}
        spoken = [
            [provider, " ".join(word.text for word in words)]
            for provider, words in itertools.groupby(verdict.words, key=lambda word: word.provider)
        ]
        yield ["heard", f"turn {number}", spoken, _fields(wrong)]


def _carriers(carriers: Sequence[Carrier]) -> Iterator[list[Any]]:
    for number, carrier in enumerate(carriers, 1):
        ended = {
            "by": carrier.ended_by,
            "complaints": carrier.complaints,
            "told": carrier.announcements,
        }
        lost = {"lost": len(carrier.lost_at), "close_code": carrier.close_code}
        yield ["carrier", f"call {number}", _fields(ended | lost)]


def _rows(database: Path, told: Sequence[Entry], calls: Mapping[str, str]) -> Iterator[list[Any]]:
    engine = create_engine(f"sqlite:///{database}")
    try:
        with engine.connect() as connection:
            for table in TABLES:
                rows = connection.execute(select(table)).mappings()
                yield from _rows_of(table, rows, calls)
            kinds = Counter(connection.execute(select(HAPPENINGS.c.kind)).scalars())
            kinds.subtract(type(entry.event).__name__ for entry in told)
            yield ["row", HAPPENINGS.name, _fields(kinds)]
    finally:
        engine.dispose()


def _rows_of(table: Table, rows: Iterable[RowMapping], calls: Mapping[str, str]) -> list[list[Any]]:
    lines: list[list[Any]] = []
    for row in rows:
        call = calls.get(row["id"] if table is CALLS else row.get("call_id", ""))
        kept = {name: row[name] for name in _columns(table)}
        lines.append(["row", table.name, _subject(call, row.get("provider", "")), _fields(kept)])
    return sorted(lines, key=lambda line: line[2])


def _columns(table: Table) -> Iterator[str]:
    for column in table.columns:
        if not isinstance(column.type, UtcDateTime | Float):
            yield column.name


def _requests(lab: Lab) -> Iterator[list[Any]]:
    seen: set[str] = set()
    for request in itertools.chain(*map(lab.record.requests, lab.instances)):
        path: str = normalised(request.path)
        shown = path.partition("?")[0] if path in seen else path
        seen.add(path)
        asked = f"{request.method} {shown}"
        yield ["request", request.instance, asked, request.outcome, _told_of(request)]


def _told_of(request: Request) -> dict[str, Any]:
    wrong = {"fault": request.fault}
    if not (request.ok_auth and request.well_formed):
        wrong["refused"] = "key" if not request.ok_auth else "form"
    told = {key: value for key, value in request.details.items() if key not in UNTOLD}
    return _fields(told | wrong)
