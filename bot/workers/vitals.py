"""Looks now and then at what our process uses, for the metrics."""

import asyncio
import os
from pathlib import Path
from typing import Final

from operations.telemetry.emitter import Emitter
from operations.telemetry.metrics import Metrics

LOOK_S: Final = 5.0
PAGE_BYTES: Final = os.sysconf("SC_PAGESIZE")
NETWORK: Final = Path("/proc/net/dev")

Gauges = dict[str, float]


def read_process() -> Gauges:
    """Return memory and descriptors; nothing where the system keeps no `/proc`."""
    try:
        resident = int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES
        return {
            "resident_memory_bytes": float(resident),
            "open_fds": float(sum(1 for _ in Path("/proc/self/fd").iterdir())),
        }
    except OSError:
        return {}


def read_network(path: Path = NETWORK) -> Gauges:
    """Return the bytes that all interfaces of this machine have carried, loopback left out."""
    try:
        rows = path.read_text().splitlines()[2:]
    except OSError:
        return {}
    fields = [rest.split() for name, _, rest in map(_split, rows) if name != "lo"]
    return {
        "received_bytes": float(sum(int(each[0]) for each in fields)),
        "sent_bytes": float(sum(int(each[8]) for each in fields)),
    }


def read_emitter(emitter: Emitter) -> Gauges:
    """Return what waits to be told, and what never was."""
    return {
        "event_queue_entries": float(emitter.waiting),
        "lost_events": float(emitter.lost_entries),
    }


def _split(row: str) -> tuple[str, str, str]:
    name, colon, rest = row.partition(":")
    return name.strip(), colon, rest


async def look_now_and_then(emitter: Emitter, metrics: Metrics) -> None:
    """Look every few seconds until cancelled."""
    while True:
        metrics.look(read_process() | read_network() | read_emitter(emitter))
        counts = emitter.counts()
        metrics.look_at_listeners(counts.waiting, counts.lost, counts.failed)
        await asyncio.sleep(LOOK_S)
