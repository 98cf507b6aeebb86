"""Rows of the record as a report reads them, and a database that holds them."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Table, insert

from fallbacks.failure import Severity
from operations.database.database import Database
from operations.database.tables import (
    ALERT_SENDINGS,
    ALERTS,
    BREAKER_MOVES,
    CALLS,
    FAILURES,
    HAPPENINGS,
    MESSAGES,
    RECORD_WRITERS,
    TURNS,
)
from operations.notify.alert import Alert
from operations.notify.alert_outbox import write_alert
from operations.record.reader import BreakerMoveRow, FailureRow, TurnRow

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
NUMBER = "+15550104477"
WORDS = "my secret garden"
KEY = "sk-" + "a1" * 20
HOSTILE = f"<script>alert(1)</script> Bearer {KEY}"


def at(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


def failure(minutes: float, *, provider: str = "cartesia", call: str = "c1") -> FailureRow:
    return FailureRow(id=0, **failure_values(minutes, provider=provider, call=call))


def failure_values(minutes: float, *, provider: str = "cartesia", call: str = "c1") -> Any:
    return {
        "call_id": call,
        "turn": 1,
        "at": at(minutes),
        "stage": "tts",
        "provider": provider,
        "kind": "network",
        "scope": "configuration",
        "severity": "low",
        "attempt": 1,
        "permanent": False,
        "reason": HOSTILE,
    }


def move(minutes: float, after: str, *, holder: str = "one", before: str = "") -> BreakerMoveRow:
    return BreakerMoveRow(id=0, **move_values(minutes, after, holder=holder, before=before))


def move_values(minutes: float, after: str, *, holder: str = "one", before: str = "") -> Any:
    return {
        "call_id": "",
        "at": at(minutes),
        "holder": holder,
        "stage": "tts",
        "provider": "cartesia",
        "before": before or "closed",
        "after": after,
        "cause": "failures",
        "after_s": 1.0,
        "severity": "high",
    }


def turn(minutes: float, v2v_s: float | None, *, number: int = 1) -> TurnRow:
    return TurnRow(**turn_values(minutes, v2v_s, number=number))


def turn_values(minutes: float, v2v_s: float | None, *, number: int = 1) -> Any:
    return {
        "call_id": "c1",
        "turn": number,
        "began_at": at(minutes),
        "v2v_s": v2v_s,
        "parts": {},
        "stt": "deepgram",
        "llm": "openai",
        "tts": "cartesia",
        "prompt_tokens": 1,
        "completion_tokens": 1,
        "characters": 1,
        "cost": 0.01,
        "interrupted": False,
        "verdict": "hurt" if v2v_s is None else "served" if v2v_s <= 1.5 else "degraded",
        "why": "",
    }


def call_values(name: str, minutes: float, **changes: Any) -> Any:
    return {
        "id": name,
        "holder": "one",
        "transport": "twilio",
        "direction": "inbound",
        "agent": "desk",
        "caller": NUMBER,
        "called": "+15550109999",
        "provider_call_id": f"CA{name}",
        "started_at": at(minutes),
        "ended_at": at(minutes + 5),
        "state": "ended",
        "reason": "caller_hung_up",
        "outcome": "",
        "length_s": 300.0,
        "turns": 3,
        "failovers": 0,
        "failures": 0,
        "cost": 0.25,
        "currency": "USD",
        "seen_at": at(minutes + 5),
        "recording": "",
        "verdict": "served",
        "why": "",
        "hurt_at": None,
    } | changes


MESSAGE = {
    "call_id": "c1",
    "turn": 1,
    "role": "caller",
    "text": WORDS,
    "at": at(10),
    "spans": [],
}
ALERT = Alert(
    key="tts/cartesia/network/1",
    stage="tts",
    rung="cartesia",
    kind="network",
    severity=Severity.HIGH,
    reason=HOSTILE,
    then="elevenlabs speaks",
    began_s=at(10).timestamp(),
    open_s=at(10).timestamp(),
    heard_s=at(12).timestamp(),
    ended_s=at(13).timestamp(),
    lasted_s=180.0,
    how="recovered",
    callers=1,
    revision=2,
    told_at_s=at(13).timestamp(),
    told_ended=True,
)


HURT = {"verdict": "hurt", "why": "menu", "hurt_at": at(11), "failovers": 1}


async def fill(url: str) -> None:
    """Insert an outage of three minutes, with a call before, in and after it."""
    rows: Sequence[tuple[Table, Any]] = [
        (CALLS, call_values("c0", -20)),
        (CALLS, call_values("c1", 9, failures=2) | HURT),
        (CALLS, call_values("c2", 15, failovers=1)),  # moved from a rung that it had not asked
        (TURNS, turn_values(6, 0.9, number=1)),
        (TURNS, turn_values(10.5, 2.5, number=2)),
        (TURNS, turn_values(11, None, number=3)),
        (TURNS, turn_values(14, 1.0, number=4)),
        (FAILURES, failure_values(10)),
        (FAILURES, failure_values(10.1)),
        (BREAKER_MOVES, move_values(10.1, "open")),
        (BREAKER_MOVES, move_values(12.5, "half_open", before="open")),
        (BREAKER_MOVES, move_values(13, "closed", before="half_open")),
        (MESSAGES, MESSAGE),
        (HAPPENINGS, happening("ConfigurationReloaded", by="Ada", outcome="replaced")),
        (HAPPENINGS, happening("TranscriptFinal", text=WORDS)),
        (
            ALERTS,
            {
                "key": ALERT.key,
                "severity": ALERT.severity.value,
                "began_s": ALERT.began_s,
                "ended_s": ALERT.ended_s,
                "alert": write_alert(ALERT),
            },
        ),
        (ALERT_SENDINGS, sending("mail", sent=2)),
        (ALERT_SENDINGS, sending("telegram", sent=1)),
    ]  # fmt: skip
    database = Database(url)
    async with (await database.engine()).begin() as connection:
        for table, values in rows:
            await connection.execute(insert(table), [values])
    await database.close()


async def add_happenings(url: str, *happenings: Any) -> None:
    """Insert events into the timeline, within its first minutes."""
    database = Database(url)
    rows = [each | {"at": at(n / 10)} for n, each in enumerate(happenings)]
    async with (await database.engine()).begin() as connection:
        await connection.execute(insert(HAPPENINGS), rows)
    await database.close()


async def add_moves(url: str, *moves: Any, seen: dict[str, float]) -> None:
    """Insert moves of breakers, and the last write of each process, in minutes."""
    database = Database(url)
    writers = [
        {"holder": holder, "batch": 1, "seen_at": at(minutes)} for holder, minutes in seen.items()
    ]
    async with (await database.engine()).begin() as connection:
        await connection.execute(insert(BREAKER_MOVES), list(moves))
        await connection.execute(insert(RECORD_WRITERS), writers)
    await database.close()


def happening(kind: str, **data: Any) -> Any:
    place = {"call_id": "", "number": 1, "stage": "", "provider": ""}
    return place | {"at": at(9), "kind": kind, "data": data}


def sending(channel: str, *, sent: int) -> Any:
    return {
        "key": ALERT.key,
        "channel": channel,
        "wanted": 2,
        "sent": sent,
        "handle": "",
        "due_s": 0.0,
    }
