"""The record, written and read again, on a real SQLite and a real PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from calls.entry import Entry
from calls.events import (
    AgentSaid,
    CallEnded,
    CallStarted,
    Event,
    MessageLeft,
    TranscriptFinal,
    TurnDecided,
    TurnJudged,
    UsageMeasured,
)
from calls.leg_events import LegEnded
from fallbacks.events import AttemptFailed, BreakerMoved
from fallbacks.failure import Kind, Scope
from operations.database.database import Database, RefusedRowsError
from operations.database.tables import RECORD_WRITERS
from operations.record.fold_rules import RecordBatch, RecordFold
from operations.record.reader import RecordReader
from operations.record.writer import CUT_S, FORGOTTEN_S, RecordWriter
from tests.kit.databases import on_sqlite
from tests.operations.database.kept_voicemails import kept_voicemails

AT = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
LATER = AT + timedelta(hours=1)
STARTED = CallStarted(transport="twilio", agent="desk", caller="+15550101", call_ref="CA1")
ENDED = CallEnded(reason="caller_hung_up", length_s=12.5)
FAILED = AttemptFailed(
    stage="tts", provider="cartesia", kind=Kind.NETWORK, scope=Scope.CONFIGURATION, after_s=0.4
)
MOVED = BreakerMoved(
    stage="tts", provider="cartesia", before="closed", after="open", cause="failures", after_s=9.0
)

Open = Callable[[str], RecordWriter]
"""Opens the record for one more process."""


def entries(*events: Event, call_id: str = "c1", at: datetime = AT) -> list[Entry]:
    return [
        Entry(call_id=call_id, number=number, at=at.isoformat(), event=event)
        for number, event in enumerate(events, start=1)
    ]


def batch(*said: Entry, holder: str = "one") -> RecordBatch:
    folded = RecordFold(holder=holder, messages="logs/messages")
    for entry in said:
        folded.add(entry)
    return replace(folded.take(), live=folded.live)


class TestRecord:
    @pytest.fixture
    async def opened(self, url: str) -> AsyncIterator[Open]:
        async with AsyncExitStack() as stack:

            def another(holder: str) -> RecordWriter:
                writer = RecordWriter(Database(url), holder=holder)
                stack.push_async_callback(writer.database.close)
                return writer

            yield another

    @pytest.fixture
    async def reader(self, url: str) -> AsyncIterator[RecordReader]:
        reader = RecordReader(Database(url))
        yield reader
        await reader.database.close()

    async def test_a_call_is_read_as_its_events_reported_it(
        self, opened: Open, reader: RecordReader
    ) -> None:
        said = entries(
            STARTED,
            TranscriptFinal(turn=1, at_s=1.0, provider="deepgram", text="Grüße \U0001f44b"),
            TurnDecided(turn=1, at_s=1.1),
            FAILED,
            UsageMeasured(
                turn=1, stage="tts", provider="elevenlabs", model="m", characters=9, cost=0.5
            ),
            MOVED,
            AgentSaid(turn=1, text="Good day"),
            ENDED,
        )
        await opened("one").write(batch(*said), number=1, now=AT)

        page = await reader.call("c1")

        assert page
        assert (page.call.state, page.call.caller, page.call.cost) == ("ended", "+15550101", 0.5)
        assert (page.call.started_at, page.call.length_s) == (AT, 12.5)
        assert [(message.role, message.text) for message in page.messages] == [
            ("caller", "Grüße \U0001f44b"),
            ("agent", "Good day"),
        ]
        assert page.messages[1].spans == [{"provider": "elevenlabs", "words": 2}]
        assert [failure.kind for failure in page.failures] == ["network"]
        assert [breaker_move.after for breaker_move in page.breaker_moves] == ["open"]
        assert [happening.number for happening in page.happenings] == list(range(1, 9))
        assert page.happenings[0].data["transport"] == "twilio"
        assert [turn.turn for turn in page.turns] == [1]
        assert await reader.call("other") is None

    async def test_a_running_call_is_one_row_that_changes(
        self, opened: Open, reader: RecordReader
    ) -> None:
        folded, writer = RecordFold(holder="one", messages=""), opened("one")
        for number, event in enumerate((STARTED, TurnDecided(turn=1, at_s=1.0), ENDED), start=1):
            folded.add(*entries(event))
            await writer.write(folded.take(), number=number, now=AT)
            (row,) = await reader.calls()
            assert row.state == ("ended" if event is ENDED else "live")

        assert len(await reader.turns_between(AT, LATER)) == 1

    async def test_a_resumed_call_costs_the_sum_of_both_processes(
        self, opened: Open, reader: RecordReader
    ) -> None:
        used = UsageMeasured(turn=1, stage="tts", provider="a", model="m", characters=9, cost=0.5)
        hurt = TurnJudged(turn=1, verdict="hurt", why="menu")
        await opened("one").write(batch(*entries(STARTED, FAILED, used, hurt)), number=1, now=AT)
        taken_over = replace(STARTED, gap_s=1.5, began_at=AT.isoformat(), turn=1)
        folded, writer = RecordFold(holder="two", messages=""), opened("two")
        for number, event in enumerate((taken_over, used, FAILED, ENDED), start=1):
            folded.add(*entries(event, at=AT + timedelta(seconds=9)))
            await writer.write(folded.take(), number=number, now=AT)

        (row,) = await reader.calls()

        assert (row.cost, row.failures, row.verdict, row.why) == (1.0, 2, "hurt", "menu")
        assert (row.state, row.started_at, row.turns) == ("ended", AT, 1)

    async def test_a_repeated_batch_is_written_once(
        self, opened: Open, reader: RecordReader
    ) -> None:
        writer, said = opened("one"), batch(*entries(STARTED, FAILED))
        for _ in range(3):
            await writer.write(said, number=1, now=AT)
        await opened("two").write(batch(*entries(MOVED, call_id="")), number=1, now=AT)

        page = await reader.call("c1")

        assert page
        assert len(page.happenings) == 2
        assert len(await reader.failures(AT, LATER)) == 1
        assert len(await reader.breaker_moves(AT, LATER)) == 1

    async def test_many_processes_write_one_record(
        self, opened: Open, reader: RecordReader
    ) -> None:
        writers = [opened(str(place)) for place in range(4)]

        async def write(writer: RecordWriter, name: str) -> None:
            for number in range(1, 6):
                said = entries(STARTED, FAILED, call_id=f"{name}-{number}")
                await writer.write(batch(*said, holder=name), number=number, now=AT)

        await asyncio.gather(*(write(each, str(at)) for at, each in enumerate(writers)))

        assert len(await reader.calls(limit=99)) == 20
        assert len(await reader.failures(AT, LATER)) == 20

    async def test_calls_are_paged_from_the_newest(
        self, opened: Open, reader: RecordReader
    ) -> None:
        said = [
            entry
            for number in range(5)
            for entry in entries(
                STARTED, ENDED, call_id=f"c{number}", at=AT + timedelta(minutes=number)
            )
        ]
        live = entries(STARTED, call_id="live", at=AT)
        await opened("one").write(batch(*said, *live), number=1, now=AT)

        first = await reader.calls(limit=2)
        second = await reader.calls(limit=2, before=first[-1].started_at)

        assert [call.id for call in (*first, *second)] == ["c4", "c3", "c2", "c1"]
        assert [call.id for call in await reader.calls(live=True)] == ["live"]
        assert len(await reader.calls(live=False)) == 5
        assert len(await reader.calls_between(AT, AT + timedelta(minutes=2))) == 3

    @on_sqlite
    async def test_the_costs_of_calls_are_added_up(
        self, opened: Open, reader: RecordReader
    ) -> None:
        used = UsageMeasured(turn=1, stage="tts", provider="a", model="m", cost=0.25)
        unknown = replace(used, cost=None)
        said = [
            *entries(STARTED, used, used, call_id="a"),
            *entries(STARTED, used, call_id="b", at=LATER),
            *entries(STARTED, unknown, call_id="c"),
        ]
        await opened("one").write(batch(*said), number=1, now=AT)

        assert await reader.cost_since(AT) == 0.75
        assert await reader.cost_since(LATER) == 0.25
        assert await reader.cost_since(LATER + timedelta(hours=1)) == 0.0

    async def test_a_call_whose_process_sends_no_heartbeat_is_interrupted(
        self, opened: Open, reader: RecordReader
    ) -> None:
        await opened("dead").write(
            batch(*entries(STARTED, call_id="cut"), holder="dead"), number=1, now=AT
        )
        now = AT + timedelta(seconds=CUT_S + 1)
        alive = opened("alive")
        await alive.write(batch(*entries(STARTED, call_id="on"), holder="alive"), number=1, now=now)

        (cut,) = await alive.interrupt_cut(now)
        assert (cut["state"], cut["verdict"], cut["why"]) == ("interrupted", "lost", "process_lost")
        assert cut["hurt_at"] == cut["ended_at"]
        assert not await alive.interrupt_cut(now)

        cut, on = await reader.call("cut"), await reader.call("on")
        assert cut
        assert on
        assert (cut.call.state, cut.call.reason, cut.call.ended_at) == (
            "interrupted",
            "interrupted",
            AT,
        )
        assert cut.call.length_s == 0.0
        assert on.call.state == "live"

    async def test_calls_found_cut_by_several_processes_at_once_are_counted_once(
        self, opened: Open
    ) -> None:
        for index in range(5):
            said = entries(STARTED, call_id=f"c{index}")
            await opened(f"dead-{index}").write(batch(*said, holder="dead"), number=1, now=AT)
        workers, now = (
            [opened(f"w{index}") for index in range(4)],
            AT + timedelta(seconds=CUT_S + 1),
        )
        for worker in workers:
            await worker.reach()

        found = await asyncio.gather(*(worker.interrupt_cut(now) for worker in workers))

        assert sum(map(len, found)) == 5

    @on_sqlite
    async def test_a_call_that_only_seemed_cut_continues_with_the_next_heartbeat(
        self, opened: Open, reader: RecordReader
    ) -> None:
        slow, now = opened("slow"), AT + timedelta(seconds=CUT_S + 1)
        await slow.write(batch(*entries(STARTED), holder="slow"), number=1, now=AT)
        await opened("other").interrupt_cut(now)

        await slow.write(RecordBatch(live=frozenset({"c1"})), number=2, now=now)

        page = await reader.call("c1")
        assert page
        assert (page.call.state, page.call.reason, page.call.ended_at) == ("live", "", None)
        assert (page.call.verdict, page.call.hurt_at) == ("", None)
        assert page.call.seen_at == now

    @on_sqlite
    async def test_the_carriers_status_stays_in_any_order_of_reports(
        self, opened: Open, reader: RecordReader
    ) -> None:
        folded, mine = RecordFold(holder="mine", messages=""), opened("mine")
        folded.add(*entries(STARTED))
        await mine.write(folded.take(), number=1, now=AT)
        ended = LegEnded(call_ref="CA1", outcome="completed")
        await opened("other").write(batch(*entries(ended, call_id="")), number=1, now=AT)

        folded.add(*entries(ENDED))
        await mine.write(folded.take(), number=2, now=AT)

        page = await reader.call("c1")
        assert page
        assert (page.call.outcome, page.call.state) == ("completed", "ended")

    async def test_text_that_no_database_accepts_is_kept_as_far_as_possible(
        self, opened: Open, reader: RecordReader
    ) -> None:
        said = entries(
            replace(STARTED, agent="x" * 1000, caller="y" * 1000),
            TranscriptFinal(turn=1, at_s=float("nan"), provider="p" * 500, text="a\0b\ud800c"),
            replace(FAILED, reason="z" * 5000, after_s=float("inf")),
        )
        await opened("one").write(batch(*said), number=1, now=AT)

        page = await reader.call("c1")

        assert page
        assert page.messages[0].text == "a\N{REPLACEMENT CHARACTER}b?c"
        assert page.happenings[1].data["at_s"] is None
        assert len(page.failures[0].reason) == 500

    async def test_a_refused_row_does_not_count_as_an_unreachable_database(
        self, opened: Open
    ) -> None:
        said = batch(*entries(STARTED, FAILED))
        said.failures[0]["attempt"] = 2**70

        with pytest.raises(RefusedRowsError):
            await opened("one").write(said, number=1, now=AT)

    @on_sqlite
    async def test_a_message_waits_to_be_handled(self, opened: Open, url: str) -> None:
        said = batch(*entries(STARTED, MessageLeft(length_s=4.0)))
        await opened("one").write(said, number=1, now=AT)

        (mail,) = await kept_voicemails(url)
        assert (mail.call_id, mail.number, mail.length_s) == ("c1", "+15550101", 4.0)
        assert (mail.transcript, mail.done_at) == ("", None)
        assert mail.at.replace(tzinfo=UTC) == AT  # SQLite keeps no zone

    @on_sqlite
    async def test_rows_of_processes_do_not_grow(self, opened: Open, url: str) -> None:
        for index in range(3):
            await opened(f"old-{index}").write(batch(), number=1, now=AT)
        now = AT + timedelta(seconds=FORGOTTEN_S + 1)
        await opened("new").interrupt_cut(now)

        assert await holders(url) == []


async def holders(url: str) -> list[Any]:
    async with create_async_engine(url, poolclass=NullPool).connect() as connection:
        return list((await connection.execute(select(RECORD_WRITERS.c.holder))).scalars())
