"""Periodic work of a process: clips, transcripts of messages, deletion of old rows, and gauges."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Final

from bot.batch.batch import Batch
from bot.batch.messages import transcribe_messages
from bot.clips.rendering import keep_clips
from bot.workers.machine_views import publish_view
from bot.workers.pool import WorkerPool
from bot.workers.process import Process
from operations.record.forgetting import erase_files_on_request, forget_rows_daily
from operations.record.voicemails import voicemails_listed
from operations.retrying import Retries
from operations.telemetry.emitter import Emitter
from operations.telemetry.metrics import Metrics


@asynccontextmanager
async def do_chores(process: Process, pool: WorkerPool) -> AsyncIterator[None]:
    """Do the pool's periodic work while the block runs and this process leads the pool."""
    settings, messages = process.settings, process.shared.last_resort.messages
    async with (
        _render_clips(process, pool),
        _transcribe_messages(process, pool),
        publish_view(pool, settings.server),
        forget_rows_daily(settings, process.database, leads=lambda: pool.leads),
        erase_files_on_request(settings, process.database, leads=lambda: pool.leads),
        voicemails_listed(messages, process.database, leads=lambda: pool.leads),
    ):
        yield


def _render_clips(process: Process, pool: WorkerPool) -> AbstractAsyncContextManager[None]:
    """Render missing clips while this process leads the pool and the pool has no call."""
    settings, providers = process.settings, process.providers
    return keep_clips(
        settings,
        process.shared.last_resort.utterances,
        process.shared.last_resort.clips,
        quiet=lambda: pool.leads and pool.quiet and not process.switchboard.calls,
        retries=Retries(
            settings=settings.resilience.retry_settings(),
            emit=providers.emit,
            availability=providers.availability,
        ),
    )


def _transcribe_messages(process: Process, pool: WorkerPool) -> AbstractAsyncContextManager[None]:
    """Transcribe the messages that callers left, while this process leads the pool."""
    batch = Batch.of(
        process.settings, availability=process.providers.availability, emit=process.providers.emit
    )
    return transcribe_messages(
        process.shared.last_resort.messages,
        batch.transcribe,
        leads=lambda: pool.leads,
        emit=process.switchboard.emit,
    )


UPDATE_GAUGES_EVERY_S: Final = 5.0  # between two updates of the gauges
PAGE_BYTES: Final = os.sysconf("SC_PAGESIZE")
NETWORK: Final = Path("/proc/net/dev")

Gauges = dict[str, float]


def read_process() -> Gauges:
    """Return the resident memory and the open file descriptors; empty without `/proc`."""
    try:
        resident = int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES
        return {
            "resident_memory_bytes": float(resident),
            "open_fds": float(sum(1 for _ in Path("/proc/self/fd").iterdir())),
        }
    except OSError:
        return {}


def read_network(path: Path = NETWORK) -> Gauges:
    """Return the bytes received and sent by all interfaces but loopback; empty without `/proc`."""
    try:
        rows = path.read_text().splitlines()[2:]  # without the two lines of headings
    except OSError:
        return {}
    counters = [rest.split() for name, _, rest in map(_split_row, rows) if name != "lo"]
    return {
        "received_bytes": float(sum(int(counter[0]) for counter in counters)),
        "sent_bytes": float(sum(int(counter[8]) for counter in counters)),
    }


def read_emitter(emitter: Emitter) -> Gauges:
    """Return how many events are queued, and how many were lost."""
    return {
        "event_queue_entries": float(emitter.waiting),
        "lost_events": float(emitter.lost_entries),
    }


def _split_row(row: str) -> tuple[str, str, str]:
    """Split a row of `NETWORK` into the interface's name, a colon, and its counters."""
    name, colon, rest = row.partition(":")
    return name.strip(), colon, rest


async def update_gauges(emitter: Emitter, metrics: Metrics) -> None:
    """Update the gauges every `UPDATE_GAUGES_EVERY_S` until cancelled."""
    while True:
        metrics.set_gauges(read_process() | read_network() | read_emitter(emitter))
        counts = emitter.counts()
        metrics.set_listener_state(counts.waiting, counts.lost, counts.failed)
        await asyncio.sleep(UPDATE_GAUGES_EVERY_S)
