"""Retention: rows that are deleted when they expire, on a real SQLite and a real PostgreSQL."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import update
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from calls.entry import Entry
from calls.events import AgentSaid, CallEnded, CallStarted, MessageLeft, TurnDecided
from calls.incident import IncidentBegan, IncidentEnded
from fallbacks.events import AttemptFailed, BreakerMoved
from fallbacks.failure import Kind, Scope, Severity
from operations.crm.crm_outbox import CrmOutbox
from operations.crm.customer import CrmReport
from operations.database.database import Database, StorageError
from operations.database.tables import CALLS
from operations.notify.alert_outbox import AlertOutbox, ReportedEvent
from operations.record.callbacks import Callback, Callbacks
from operations.record.erasing import AT_ONCE, Erasure
from operations.record.fold_rules import RecordFold
from operations.record.reader import RecordReader
from operations.record.writer import RecordWriter
from tests.kit.clock import always
from tests.kit.databases import on_sqlite
from tests.operations.database.kept_voicemails import kept_voicemails
from tests.operations.notify.test_alert_outbox import MAIL, decide

NOW = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
KINDS = ("calls", "messages", "happenings", "failures", "voicemails", "callbacks", "alerts")
EVENTS = (
    CallStarted(transport="twilio", agent="desk", caller="+15550101"),
    TurnDecided(turn=1, at_s=1.0),
    AgentSaid(turn=1, text="Hello"),
    AttemptFailed(
        stage="tts", provider="a", kind=Kind.NETWORK, scope=Scope.CONFIGURATION, after_s=0.4
    ),
    BreakerMoved(
        stage="tts", provider="a", before="closed", after="open", cause="failures", after_s=9.0
    ),
    MessageLeft(length_s=4.0),
    CallEnded(reason="caller_hung_up", length_s=12.5),
)


async def write_call(url: str, folder: Path, call_id: str, *, days_old: float) -> None:
    """Insert a call with all its possible rows, its message on the disk."""
    folded = RecordFold(holder=call_id, messages=str(folder))
    at = (NOW - timedelta(days=days_old)).isoformat()
    for number, event in enumerate(EVENTS, start=1):
        folded.add(Entry(call_id=call_id, number=number, at=at, event=event))
    writer = RecordWriter(Database(url), holder=call_id)
    await writer.write(folded.take(), number=1, now=NOW)
    await writer.database.close()
    for name in (f"{call_id}.wav", f"{call_id}.text.json"):
        (folder / name).write_text("x", encoding="utf-8")


async def wish(url: str, call_id: str, *, days_old: float) -> None:
    database = Database(url)
    at = NOW - timedelta(days=days_old)
    await Callbacks(database).add(
        Callback(call_id=call_id, number="+15550101", reason="r", asked_at=at)
    )
    await database.close()


async def alert(url: str, rung: str, *, days_old: float, over: bool) -> None:
    outbox, at_s = AlertOutbox(Database(url)), (NOW - timedelta(days=days_old)).timestamp()
    began = IncidentBegan(
        stage="tts", rung=rung, kind="auth", severity=Severity.HIGH, reason="", then=""
    )
    ended = IncidentEnded(stage="tts", rung=rung, kind="auth", lasted_s=1.0, failures=1)
    facts = [began, ended] if over else [began]
    await outbox.report([ReportedEvent(fact=fact, at_s=at_s, holder="x") for fact in facts])
    await outbox.run_round(decide, channels=[MAIL], now=at_s)
    await outbox.database.close()


async def record(url: str, call_id: str, path: Path) -> None:
    async with create_async_engine(url, poolclass=NullPool).begin() as connection:
        own = update(CALLS).where(CALLS.c.id == call_id)
        await connection.execute(own.values(recording=str(path)))


def days_ago(days: float) -> float:
    return (NOW - timedelta(days=days)).timestamp()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.*") if "holdline.db" not in path.name)


class TestForgetting:
    @pytest.fixture
    async def erasure(self, url: str) -> AsyncIterator[Erasure]:
        erasure = Erasure(Database(url))
        yield erasure
        await erasure.database.close()

    @pytest.fixture
    async def reader(self, url: str) -> AsyncIterator[RecordReader]:
        reader = RecordReader(Database(url))
        yield reader
        await reader.database.close()

    async def test_rows_older_than_their_kinds_retention_are_deleted(
        self, url: str, erasure: Erasure, reader: RecordReader, tmp_path: Path
    ) -> None:
        await write_call(url, tmp_path, "old", days_old=31)
        await write_call(url, tmp_path, "young", days_old=29)
        for name, days in (("old", 31), ("young", 29)):
            await wish(url, name, days_old=days)
            await alert(url, name, days_old=days, over=True)
        await alert(url, "open", days_old=31, over=False)

        erased = await erasure.erase_old(dict.fromkeys(KINDS, 30), now=NOW)

        assert erased == {
            "calls": 2,  # with its turn
            "messages": 1,
            "happenings": len(EVENTS),
            "failures": 2,  # with the breaker's move
            "voicemails": 1,
            "callbacks": 1,
            "alerts": 1,
        }
        assert await reader.call("old") is None
        young = await reader.call("young")
        assert young
        assert len(young.happenings) == len(EVENTS)
        assert names(tmp_path) == ["young.text.json", "young.wav"]
        assert await erasure.erase_old(dict.fromkeys(KINDS, 30), now=NOW) == {}

    @on_sqlite
    async def test_each_kind_has_its_own_retention(
        self, url: str, erasure: Erasure, reader: RecordReader, tmp_path: Path
    ) -> None:
        await write_call(url, tmp_path, "c1", days_old=31)
        await erasure.erase_old({"calls": 90, "messages": 30, "happenings": 30}, now=NOW)

        page = await reader.call("c1")

        assert page
        assert (page.messages, page.happenings) == ([], [])
        assert len(page.turns) == 1

    async def test_expired_crm_reports_are_deleted_even_without_a_crm(
        self, url: str, erasure: Erasure
    ) -> None:
        outbox = CrmOutbox(Database(url))
        for key, made_days, told_days in (
            ("told long ago", 9, 8),
            ("told lately", 90, 6),
            ("owed for long", 31, None),
            ("owed", 29, None),
        ):
            report = CrmReport(key=key, call_id=key, direction="inbound", number="+15550101")
            await outbox.put(report, now=days_ago(made_days))
            if told_days is not None:
                lent = await outbox.lend(now_s=always(days_ago(told_days)))
                assert lent
                await outbox.record_accepted(lent, now=days_ago(told_days))

        erased = await erasure.erase_old({"messages": 30}, now=NOW)

        assert erased == {"messages": 1, "crm_reports": 1}
        assert [text.key for text in await outbox.pending()] == ["owed"]
        again = CrmReport(key="told lately", call_id="1", direction="inbound", number="+15550101")
        assert not await outbox.put(again, now=NOW.timestamp())
        await outbox.database.close()

    @on_sqlite
    async def test_a_running_call_is_not_deleted(
        self, url: str, erasure: Erasure, reader: RecordReader
    ) -> None:
        folded = RecordFold(holder="one", messages="")
        at = (NOW - timedelta(days=99)).isoformat()
        folded.add(Entry(call_id="c1", number=1, at=at, event=EVENTS[0]))
        writer = RecordWriter(Database(url), holder="one")
        await writer.write(folded.take(), number=1, now=NOW)
        await writer.database.close()

        await erasure.erase_old({"calls": 1}, now=NOW)

        assert await reader.call("c1")

    @on_sqlite
    async def test_more_than_one_batch_is_deleted(
        self, url: str, erasure: Erasure, reader: RecordReader
    ) -> None:
        folded = RecordFold(holder="one", messages="")
        at = (NOW - timedelta(days=99)).isoformat()
        for number in range(1, AT_ONCE + 2):
            said = TurnDecided(turn=number, at_s=1.0)
            folded.add(Entry(call_id="c1", number=number, at=at, event=said))
            folded.take()
        for number in range(AT_ONCE + 1):
            said = TurnDecided(turn=number, at_s=1.0)
            folded.add(Entry(call_id="c2", number=number, at=at, event=said))
        writer = RecordWriter(Database(url), holder="one")
        await writer.write(folded.take(), number=1, now=NOW)
        await writer.database.close()

        erased = await erasure.erase_old({"happenings": 1}, now=NOW)

        assert erased == {"happenings": AT_ONCE + 1}
        page = await reader.call("c2")
        assert page
        assert page.happenings == []

    @on_sqlite
    @pytest.mark.parametrize("kind", ["voicemails", "recordings"])
    async def test_a_file_that_cannot_be_deleted_keeps_nothing_else(
        self, url: str, erasure: Erasure, reader: RecordReader, tmp_path: Path, kind: str
    ) -> None:
        for name in ("stuck", "old"):
            await write_call(url, tmp_path, name, days_old=31)
            await wish(url, name, days_old=31)
            await record(url, name, tmp_path / f"{name}.wav")
        (tmp_path / "stuck.wav").unlink()
        (tmp_path / "stuck.wav").mkdir()  # like another user's file, it cannot be deleted
        keep_days = {kind: 30, "messages": 30, "callbacks": 30}

        with pytest.raises(StorageError, match=r"stuck\.wav"):
            await erasure.erase_old(keep_days, now=NOW)

        assert names(tmp_path) == ["stuck.wav"]
        page = await reader.call("old")
        assert page
        assert page.messages == []
        left = [kept_voicemail.call_id for kept_voicemail in await kept_voicemails(url)]
        assert left == (["stuck"] if kind == "voicemails" else ["stuck", "old"])
        (tmp_path / "stuck.wav").rmdir()
        await erasure.erase_old(keep_days, now=NOW)  # the rest is found again
        assert await erasure.erase_old(keep_days, now=NOW) == {}
