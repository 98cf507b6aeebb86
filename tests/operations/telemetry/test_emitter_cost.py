"""The cost of telling an event, counted in function calls, so that a busy machine does not matter.

If a change makes it dearer for a reason, count again and state the reason.
"""

import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from loguru import logger

from benchmarks.telling_turn import TURN
from bot.outbound.call_ledger import CallLedger
from calls.events import CallStarted
from operations.after_call.configured_work import AfterCallListener
from operations.crm.configured_crm import CrmListener
from operations.database.database import Database
from operations.masking import redacted
from operations.notify.alert_outbox import AlertOutbox
from operations.notify.incident_rules import Incidents
from operations.notify.reporter import AlertReporter
from operations.record.fold_rules import RecordFold
from operations.record.record_listener import RecordListener
from operations.record.writer import RecordWriter
from operations.telemetry import logs
from operations.telemetry.emitter import Emitter, Listener
from operations.telemetry.journal import Journal
from operations.telemetry.live import ConsoleSums, Live
from operations.telemetry.logs import Log
from operations.telemetry.metrics import Exposition, Metrics
from operations.telemetry.record_files import RecordFiles
from runtime import clock
from tests.bot.step_count import counted_calls
from transports.carrier_words import CarrierWords

TURNS = 5
WARM_TURNS = 2  # what is made once is made then
MAX_CALLS = 800  # of functions, for each fact; counted: 766
NOTED_CALLS = 8  # counted: 6
RUNG_CALLS = 16  # with a step of the loop asked for; counted: 13
BATCH_STEPS = 12  # of the loop; counted: 8, and 59 when each statement went to a thread and back
LADDERS = {"stt": ["deepgram"], "llm": ["openai"], "tts": ["elevenlabs"]}


@pytest.fixture(autouse=True)
def server_log(tmp_path: Path) -> Iterator[None]:
    """Log as a server does; the threads that write it are not counted."""
    logs.set_up(level="INFO", folder=tmp_path)
    yield
    logs.flush()
    logger.remove()


@asynccontextmanager
async def everyone(folder: Path) -> AsyncIterator[tuple[Sequence[Listener], RecordListener]]:
    """Prepare the listeners of a server, and the record's writer."""
    url = f"sqlite+aiosqlite:///{folder}/holdline.db"
    database = Database(url)
    outbox = AlertOutbox(database)
    record_listener = RecordListener(
        RecordWriter(database, holder="here"),
        RecordFold(holder="here", messages=str(folder)),
        utc_now=clock.utc_now,
        clock=clock.monotonic,
    )
    listeners = [
        Log(),
        Journal(folder / "calls"),
        Live(words=False),
        Metrics(Exposition(None).registry, LADDERS),
        RecordFiles(folder, redact=redacted),
        ConsoleSums(),
        CarrierWords(),
        CrmListener(),
        AfterCallListener(),
        record_listener,
        AlertReporter(outbox, utc_s=time.time),
        CallLedger(),
    ]
    yield listeners, record_listener
    await record_listener.close()
    await database.close()


def emitter_of(listeners: Sequence[Listener]) -> Emitter:
    incidents = Incidents(LADDERS, steps=())
    return Emitter(
        listeners=listeners, utc_now=clock.utc_now, incidents=incidents, clock=clock.monotonic
    )


async def tell_turns(emitter: Emitter, listeners: Sequence[Listener], *, turns: int) -> None:
    """Tell some turns, each handled and written before the next, so batches need no clock."""
    emit = emitter.emit_for("c1")
    for _ in range(turns):
        for fact in TURN:
            emit(fact)
        await emitter.flush()
        for listener in listeners:
            match listener:
                case RecordListener():
                    assert await listener.write()
                case RecordFiles():
                    assert listener.write() is None
                case _:
                    pass


async def test_an_event_costs_all_listeners_a_bounded_number_of_calls(tmp_path: Path) -> None:
    """A turn of a call, and one in which a rung failed: heard, masked, shown, counted, written."""
    with counted_calls() as count:
        async with everyone(tmp_path) as (listeners, _), emitter_of(listeners) as emitter:
            emitter.emit_for("c1")(CallStarted(transport="twilio", agent="a", caller="+15550101"))
            await tell_turns(emitter, listeners, turns=WARM_TURNS)
            before = count.calls
            await tell_turns(emitter, listeners, turns=TURNS)
            calls = count.calls - before

    assert emitter.lost_entries == 0
    assert calls / (TURNS * len(TURN)) <= MAX_CALLS


async def test_emitting_an_event_only_queues_it() -> None:
    async with emitter_of([Live(words=False)]) as emitter:
        emit = emitter.emit_for("c1")
        emit(TURN[0])
        with counted_calls() as nothing:
            pass
        with counted_calls() as noting:
            emit(TURN[1])
        await emitter.flush()
        with counted_calls() as ringing:
            emit(TURN[2])

    assert noting.calls - nothing.calls <= NOTED_CALLS  # the loop is already scheduled
    assert ringing.calls - nothing.calls <= RUNG_CALLS


async def test_a_batch_of_the_record_is_written_in_a_few_steps_of_the_loop(tmp_path: Path) -> None:
    async with everyone(tmp_path) as (_, record_listener), emitter_of([record_listener]) as emitter:
        await tell_turns(emitter, [record_listener], turns=WARM_TURNS)
        for fact in TURN:
            emitter.emit_for("c1")(fact)
        await emitter.flush()

        with counted_calls() as count:
            assert await record_listener.write()

    assert 0 < count.of(":Handle._run") <= BATCH_STEPS
