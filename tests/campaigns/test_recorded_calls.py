"""The result of a dial whose process has ended, from the record."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from bot.call.briefs import Briefs
from bot.outbound.call_ledger import CallLedger
from bot.outbound.outbound import RECORD_S, PlacedCalls
from bot.workers.pool import SingleProcess
from calls.campaign_events import DialEnded
from calls.events import CallFailed, Event, TranscriptFinal
from calls.leg_events import AnswererHeard
from campaigns.store.dials import Ledger, RecordedEnd
from configuration.agent import AgentSettings
from fallbacks.events import AttemptWon, StageExhausted
from operations.database.database import Database, StorageError
from operations.record.writer import CUT_S, RecordWriter
from tests.campaigns.dialing import Dialing, dialing, now_s
from tests.campaigns.test_call_costs import AT, Call

pytestmark = pytest.mark.virtual_time

A = "+15005550101"
TTS_OUT = StageExhausted(stage="tts", attempts=2)
TTS_WON = AttemptWon(stage="tts", provider="cartesia", attempt=3, after_s=0.2)
MAILBOX = AnswererHeard(answerer="voicemail", why="words", after_s=2.0)
WORDS = TranscriptFinal(turn=1, at_s=1.0, provider="x", text="Hello?")
BROKEN = CallFailed(where="call", error="ValueError: no")


def house_with(record: Ledger) -> PlacedCalls:
    """Return the calls of a server whose processes know of no call."""
    ledger = CallLedger()
    ledger.join(SingleProcess(why_closed=str, clock=now_s))
    return PlacedCalls(
        ledger=ledger, record=record, briefs=Briefs(), agent_of=lambda _: AgentSettings()
    )


@asynccontextmanager
async def pool(url: str) -> AsyncIterator[PlacedCalls]:
    record = Ledger(Database(url))
    try:
        yield house_with(record)
    finally:
        await record.database.close()


async def dialled(it: Dialing) -> str:
    """Let the dialler call the contact; return the dial's id."""
    async with asyncio.timeout(100.0):
        while not it.carrier.record:  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.1)
    return it.carrier.record[0]


async def outcome_of(it: Dialing, *events: Event, reason: str) -> DialEnded:
    """Return the result of a dial whose call was recorded by a process that has left."""
    async with pool(it.url) as calls, asyncio.TaskGroup() as tasks:
        it.calls = calls
        dialing = tasks.create_task(it.dialer().run())
        call = Call(it.url, await dialled(it))
        await call.end(*events, reason=reason)
        await call.close()
        async with asyncio.timeout(1000.0):
            while not it.of(DialEnded):  # noqa: ASYNC110 - there is no event
                await asyncio.sleep(0.5)
        dialing.cancel()
    return it.of(DialEnded)[0]


@pytest.mark.parametrize(
    ("events", "reason", "outcome", "why"),
    [
        ((WORDS,), "caller_hung_up", "completed", ""),
        ((TTS_OUT, TTS_WON, WORDS), "agent_hung_up", "completed", ""),
        ((), "caller_hung_up", "silent", "hung_up_silent"),
        ((), "silence", "silent", "nobody_spoke"),
        ((MAILBOX,), "caller_hung_up", "voicemail", ""),
        ((), "shutdown", "agent_failed", "shutdown"),
        ((TTS_OUT,), "caller_hung_up", "agent_failed", "tts_out"),
        ((BROKEN,), "failed", "agent_failed", "call_failed"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
async def test_a_lost_processs_call_is_judged_by_the_record(
    tmp_path: Path, events: tuple[Event, ...], reason: str, outcome: str, why: str
) -> None:
    async with dialing(tmp_path, A) as it:
        ended = await outcome_of(it, *events, reason=reason)

    assert (ended.outcome, ended.reason) == (outcome, why)


async def test_a_dial_without_a_row_had_no_call_on_our_side(tmp_path: Path) -> None:
    async with dialing(tmp_path, A) as it, pool(it.url) as calls:
        assert await calls.verdict("d1") is None


async def test_a_running_call_in_the_record_is_not_judged(tmp_path: Path) -> None:
    async with dialing(tmp_path, A) as it, pool(it.url) as calls:
        call = Call(it.url, "d1")
        await call.emit(MAILBOX)
        await call.close()

        assert await calls.verdict("d1") is None


async def test_a_call_that_was_cut_with_its_process_has_failed(tmp_path: Path) -> None:
    async with dialing(tmp_path, A) as it, pool(it.url) as calls:
        call, keeper = Call(it.url, "d1"), RecordWriter(Database(it.url), holder="another")
        await call.emit()
        await keeper.interrupt_cut(AT + timedelta(seconds=CUT_S + 1.0))
        await call.close()
        await keeper.database.close()
        verdict = await calls.verdict("d1")

    assert verdict
    assert (verdict.over, verdict.failed) == (True, "interrupted")


async def test_the_last_call_of_a_dial_is_judged(tmp_path: Path) -> None:
    async with dialing(tmp_path, A) as it, pool(it.url) as calls:
        for name, at, reason in (("c1", AT, "failed"), ("c0", AT + timedelta(60), "transfer")):
            call = Call(it.url, "d1", name, at=at)
            await call.end(reason=reason)
            await call.close()
        verdict = await calls.verdict("d1")

    assert verdict
    assert (verdict.over, verdict.failed, verdict.length_s) == (True, "", 30.0)


class HangingRecord(Ledger):
    """A record whose database does not answer."""

    async def recorded_end(self, dial_id: str, kinds: Sequence[str]) -> RecordedEnd | None:
        await asyncio.sleep(3600.0)
        raise AssertionError(dial_id, kinds)


class AwayRecord(Ledger):
    """A record whose database is missing."""

    async def recorded_end(self, dial_id: str, kinds: Sequence[str]) -> RecordedEnd | None:
        raise StorageError(f"nothing of {dial_id} and {kinds}")


@pytest.mark.parametrize("kind", [HangingRecord, AwayRecord])
async def test_an_unavailable_record_does_not_delay_the_verdict(kind: type[Ledger]) -> None:
    calls, began_s = house_with(kind(Database("sqlite+aiosqlite://"))), now_s()

    assert await calls.verdict("d1") is None
    assert now_s() - began_s <= RECORD_S
