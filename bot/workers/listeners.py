"""The event listeners of a process; those that write are closed after the last event."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from bot.workers.configuration import ladders, local_rungs
from calls.entry import Emit
from configuration.rungs import vendors_of
from configuration.settings import Settings
from operations.after_call.configured_work import AfterCallListener, works_after_calls
from operations.crm.configured_crm import CrmListener
from operations.keep_running import keep_running
from operations.masking import redacted
from operations.notify.incident_rules import Incidents
from operations.record.forgetting import forget_daily
from operations.record.record_listener import RecordListener, keep_record
from operations.telemetry.emitter import Emitter, Listener
from operations.telemetry.journal import Journal
from operations.telemetry.live import ConsoleSums, Live
from operations.telemetry.logs import Log
from operations.telemetry.metrics import Exposition, Metrics
from operations.telemetry.record_files import RecordFiles
from runtime import clock
from transports.carrier_words import CarrierWords

if TYPE_CHECKING:
    from operations.telemetry.traces import Traces


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnListeners:
    """The listeners that every process has.

    Attributes:
        record: Writes the log files for other tools.
        sums: Adds up the console's figures.
        crm: Reports calls to the CRM.
        after_calls: Starts the other work after a call.
        record_listener: Records the calls in the database; `None` if calls are not recorded.
        traces: Exports calls as spans; `None` if traces are disabled.
    """

    live: Live
    exposition: Exposition
    metrics: Metrics
    record: RecordFiles
    sums: ConsoleSums
    carrier_words: CarrierWords
    crm: CrmListener
    after_calls: AfterCallListener
    record_listener: RecordListener | None
    traces: "Traces | None"

    @property
    def recorded(self) -> bool:
        """Whether calls are recorded in the database, or need not be."""
        return self.record_listener is None or not self.record_listener.halted

    def emitter(self, settings: Settings, more: Sequence[Listener]) -> Emitter:
        """Return the emitter for the log, the call journals, these listeners and `more`."""
        vendors = vendors_of(settings)
        optional = [listener for listener in (self.record_listener, self.traces) if listener]
        return Emitter(
            listeners=[
                Log(words=settings.logs.words, vendors=vendors),
                Journal(settings.logs.dir / "calls"),
                *(self.live, self.metrics, self.record, self.sums, self.carrier_words),
                *(self.crm, self.after_calls, *optional),
                *more,
            ],
            utc_now=clock.utc_now,
            incidents=Incidents(
                ladders(settings),
                steps=settings.hold.steps,
                vendors=vendors,
            ),
            clock=clock.monotonic,
        )


def own_listeners(
    settings: Settings,
    *,
    words: bool,
    metrics_folder: Path | None,
    record_listener: RecordListener | None,
) -> OwnListeners:
    """Return the listeners of a process; see `open_process` for `words` and `metrics_folder`.

    From now on, `record_listener` passes calls whose process has died to the CRM's listener.
    """
    exposition = Exposition(metrics_folder)
    crm = CrmListener(follows=not works_after_calls(settings))
    if record_listener:
        record_listener.report_cut = crm.report_cut
    vendors = vendors_of(settings)
    return OwnListeners(
        live=Live(words=words, vendors=vendors),
        exposition=exposition,
        metrics=Metrics(exposition.registry, ladders(settings), local=local_rungs(settings)),
        record=record_of(settings),
        sums=ConsoleSums(vendors),
        carrier_words=CarrierWords(),
        crm=crm,
        after_calls=AfterCallListener(),
        record_listener=record_listener,
        traces=traces_of(settings),
    )


@asynccontextmanager
async def open_listeners(
    settings: Settings, own: OwnListeners, emitter: Emitter
) -> AsyncIterator[None]:
    """Deliver events to the listeners while the block runs; then let them write the last ones."""
    emit = emitter.emit_for("")
    async with (
        forget_daily(settings, emit=emit),
        write_record_files(own.record, emit),
        close_traces(own.traces),
        keep_record(own.record_listener, settings, emit=emit),
        emitter,
    ):
        yield


def record_of(settings: Settings) -> RecordFiles:
    """Return the writer of the log files for other tools."""
    logs = settings.logs
    again_s = settings.alerts.again_s
    return RecordFiles(logs.dir, names=logs.files, redact=redacted, again_s=again_s)


def traces_of(settings: Settings) -> "Traces | None":
    """Return the exporter of spans; `None` if traces are disabled."""
    if not settings.traces.enabled:
        return None
    from operations.telemetry.traces import Traces  # noqa: PLC0415 - an optional dependency

    return Traces.over_http(settings.traces.url, version=version("holdline"))


@asynccontextmanager
async def close_traces(traces: "Traces | None") -> AsyncIterator[None]:
    """Send the remaining spans when the block ends."""
    try:
        yield
    finally:
        if traces:
            await traces.close()


@asynccontextmanager
async def write_record_files(record: RecordFiles, emit: Emit) -> AsyncIterator[None]:
    """Write the log files for other tools while the block runs."""
    async with asyncio.TaskGroup() as tasks:
        run = keep_running("the record", partial(record.run, emit))
        writing = tasks.create_task(run, name="the record")
        try:
            yield
        finally:
            writing.cancel()
