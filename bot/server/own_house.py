"""The house as a server has it: its own load measured and told, and who is turned away."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from bot import clock
from bot.workers.admission_rules import HouseSeats
from bot.workers.cores import own_cores
from bot.workers.meter import Meter
from bot.workers.pool import Alone, House
from bot.workers.pool_client import Joined
from bot.workers.process import Process
from bot.workers.shared_limits import SharedLimits
from bot.workers.vitals import look_now_and_then
from calls.events import CallRefused
from calls.house_events import ConfigurationReloaded, WorkerLost, WorkerStarted
from operations.keep_running import keep_running


@asynccontextmanager
async def open_house(process: Process, joined: Joined | None) -> AsyncIterator[House]:
    """Measure our own load while the block runs, and tell the house, or decide by it alone."""
    house = joined or alone(process)
    process.carrier_words.join(house)
    limits = SharedLimits(joined, process.policies.values()) if joined else None

    def report(cores: float, lag_s: float) -> None:
        house.report(cores, lag_s)
        process.metrics.look({"cores": cores, "loop_lag_seconds": lag_s})
        if limits:
            limits.tell()

    if joined:
        joined.wire.on("turned_away", partial(_tell_turned_away, process))
        joined.wire.on("reloaded", partial(_tell_reloaded, process))
        joined.wire.on("worker_started", partial(_tell_started, process))
        joined.wire.on("worker_lost", partial(_tell_lost, process))
    looking = partial(look_now_and_then, process.emitter, process.metrics)
    meter = Meter(report, processor_s=clock.processor_s)
    async with asyncio.TaskGroup() as tasks:
        look = tasks.create_task(keep_running("the look at the process", looking), name="look")
        try:
            with process.measuring.heard_by(meter.beat):
                yield house
        finally:
            look.cancel()


def alone(process: Process) -> Alone:
    """Return the house of a process that has its port to itself."""
    server, switchboard = process.settings.server, process.switchboard
    measured = server.admission == "measured"
    return Alone(
        why_closed=lambda: switchboard.why_closed,
        clock=clock.monotonic,
        seats=HouseSeats(seats=server.max_calls, cores=own_cores(), measured=measured),
    )


def _tell_turned_away(process: Process, said: Mapping[str, Any]) -> None:
    """Tell what the supervisor did: it has no listeners of its own."""
    process.switchboard.tell(CallRefused(transport="twilio", reason=said["reason"]))


def _tell_reloaded(process: Process, said: Mapping[str, Any]) -> None:
    """Tell what became of the configuration that the supervisor read anew."""
    process.switchboard.tell(
        ConfigurationReloaded(
            by=said["by"],
            outcome=said["outcome"],
            changed=tuple(said.get("changed", ())),
            workers=said.get("workers", 0),
        )
    )


def _tell_started(process: Process, said: Mapping[str, Any]) -> None:
    """Tell of a worker that is ready, perhaps of ourselves."""
    process.switchboard.tell(
        WorkerStarted(
            worker=said["worker"],
            process=said["process"],
            cause=said["cause"],
            replaces=said["replaces"],
            after_s=said["after_s"],
        )
    )


def _tell_lost(process: Process, said: Mapping[str, Any]) -> None:
    """Tell of a worker that died."""
    lost = WorkerLost(worker=said["worker"], code=said["code"], calls=said["calls"])
    process.switchboard.tell(lost)
