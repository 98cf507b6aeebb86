"""Counts events as Prometheus metrics, which `meters.py` defines."""

import os
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, get_args

from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from calls.entry import Entry
from calls.events import (
    AnswerHeard,
    CallEnded,
    CallFailed,
    CallMoved,
    CallStarted,
    Event,
    PhaseMoved,
    ProviderFailed,
    UsageMeasured,
)
from calls.incident import IncidentEnded
from calls.known_calls import KnownCalls
from calls.state import CallState
from fallbacks.breaker import State
from fallbacks.events import (
    AttemptDropped,
    AttemptFailed,
    AttemptWon,
    BreakerMoved,
    RungFollowed,
)
from operations.telemetry.meters import METERS, Meters

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
LIVE_GAUGE_FILES: Final = "gauge_live*_*.db"  # prometheus_client's files for the current gauges


@dataclass(frozen=True, slots=True)
class Count:
    """One event's contribution to one metric."""

    meter: str  # its name in `Meters`
    labels: tuple[str, ...] = ()  # the event's fields, in the order of the metric's labels
    amount: str = ""  # the field with the amount; empty for one


EVENTS: Final = {kind.__name__: kind for kind in get_args(Event)}


def _counts_by_event() -> Mapping[type, Sequence[Count]]:
    """Return by event the metrics that `meters.yaml` counts it in; those by type are elsewhere."""
    found = defaultdict[type, list[Count]](list)
    for meter, about in METERS.items():
        events, fields = about.get("counts", ()), about.get("fields", about.get("labels", ()))
        for name in events if isinstance(events, list) else ():
            found[EVENTS[name]].append(Count(meter, tuple(fields), about.get("amount", "")))
    return dict(found)


COUNTS: Final = _counts_by_event()
"""Contributions from an event's own fields."""

COUNTED_BY_TYPE: Final[Mapping[type, tuple[str, str]]] = {
    EVENTS[name]: (meter, label)
    for meter, about in METERS.items()
    if isinstance(events := about.get("counts"), dict)
    for name, label in events.items()
}
"""Contributions from an event's type: metric and label."""


class Metrics:
    """Counts every entry.

    No label contains a caller's words or number, and the number of labels does not grow with the
    calls: providers, stages, kinds and reasons are closed sets, or come from the configuration.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        ladders: Mapping[str, Sequence[str]],
        *,
        local: Collection[str] = (),
    ) -> None:
        """Create the metrics in `registry`.

        Args:
            registry: For the metrics.
            ladders: The rungs' names by stage.
            local: The names of the rungs that run on this machine.
        """
        self._meters = Meters(registry)
        self._meters.create_known_series(ladders, local)
        self._calls = KnownCalls()
        self._counted: dict[tuple[str, str], int] = {}  # totals so far, by metric and listener

    async def hear(self, entry: Entry) -> None:
        """Count one entry: its type, its fields (`COUNTS`), its call and its details."""
        event = entry.event
        self._meters.facts.labels(type(event).__name__).inc()
        for count in COUNTS.get(type(event), ()):
            self._add_count(count, event)
        if named := COUNTED_BY_TYPE.get(type(event)):
            meter_name, label = named
            getattr(self._meters, meter_name).labels(label).inc()
        self._count_call(entry, self._calls.add(entry))
        self._count_details(event)

    def set_gauges(self, gauges: Mapping[str, float]) -> None:
        """Set the sampled gauges; names as in `operations.telemetry.meters.PROCESS`."""
        for name, value in gauges.items():
            self._meters.process[name].set(value)

    def set_listener_state(
        self, waiting: Mapping[str, int], lost: Mapping[str, int], failed: Mapping[str, int]
    ) -> None:
        """Set the listeners' state, by name; losses and failures are totals."""
        for name, entries in waiting.items():
            self._meters.telling_waits.labels(name).set(entries)
        for meter, counts in (("telling_lost", lost), ("telling_failed", failed)):
            for name, times in counts.items():
                more = times - self._counted.get((meter, name), 0)
                getattr(self._meters, meter).labels(name).inc(max(0, more))
                self._counted[meter, name] = times

    def _add_count(self, count: Count, event: Event) -> None:
        """Add to a counter or a histogram; a negative amount, which a counter refuses, is 0."""
        meter = getattr(self._meters, count.meter)
        if count.labels:
            meter = meter.labels(*(_label_text(getattr(event, label)) for label in count.labels))
        amount = max(0.0, getattr(event, count.amount)) if count.amount else 1
        if isinstance(meter, Counter):
            meter.inc(amount)
        else:
            meter.observe(amount)

    def _count_call(self, entry: Entry, call: CallState | None) -> None:
        """Count what depends on the state of calls: those in progress, and attempts by outcome."""
        match entry.event:
            case CallStarted() | CallEnded() | CallMoved() | PhaseMoved() as event:
                # A call with a gap was continued here: its first worker has counted it.
                if isinstance(event, CallStarted) and not event.gap_s:
                    self._meters.calls_started.labels(event.transport).inc()
                active = sum(item.in_progress for item in self._calls.live.values())
                self._meters.calls_active.set(active)
            case CallFailed(where=where):  # Pipecat numbers its processors
                self._meters.calls_failed.labels(where.partition("#")[0]).inc()
            case AttemptWon() | AttemptFailed() | AttemptDropped() as event:
                won = bool(call) and (event.stage, event.attempt) in call.won
                outcome = _outcome_to_count(event, won=won)
                if outcome and entry.call_id and event.attempt:
                    self._meters.attempts.labels(event.stage, event.provider, outcome).inc()
            case _:
                pass

    def _count_details(self, event: Event) -> None:
        """Count what the tables cannot: parts of an event, or amounts that must be computed."""
        meters = self._meters
        match event:
            case AnswerHeard(parts=parts):
                for name, part_s in asdict(parts).items():
                    meters.part.labels(name.removesuffix("_s")).observe(max(0.0, part_s))
            case UsageMeasured():
                self._count_usage(event)
            case ProviderFailed():
                meters.failures.labels(event.stage, event.provider, "error").inc()
            case BreakerMoved() | RungFollowed():
                self._show_breaker(event)
            case IncidentEnded() if event.rung:
                meters.recovery.labels(event.stage, event.rung).observe(event.lasted_s)
            case _:
                pass

    def _show_breaker(self, event: BreakerMoved | RungFollowed) -> None:
        """Show a breaker's new state; count how long it was open, in the process where it moved."""
        place = (event.stage, event.provider)
        if isinstance(event, RungFollowed):  # the process whose breaker moved counts its open time
            self._meters.show_breaker(*place, event.breaker)
            return
        self._meters.show_breaker(*place, event.after)
        if event.before == State.OPEN:
            self._meters.breaker_open.labels(*place).inc(max(0.0, event.after_s))

    def _count_usage(self, used: UsageMeasured) -> None:
        """Count a request's tokens and cost; one without a price is counted as unpriced."""
        meters, provider = self._meters, used.provider
        for kind in ("prompt", "cached", "completion"):
            if count := getattr(used, f"{kind}_tokens"):
                meters.tokens.labels(provider, kind).inc(count)
        if used.cost is None:
            meters.unpriced.labels(provider).inc()
        else:
            meters.cost.labels(provider).inc(used.cost)


def _outcome_to_count(event: AttemptWon | AttemptFailed | AttemptDropped, *, won: bool) -> str:
    """Return what an attempt counts as; empty if it is counted already."""
    match event:
        case AttemptWon():
            return "won"
        case AttemptFailed():
            return "broke_off" if won else "failed"
        case AttemptDropped():
            return "" if won else "dropped"


def _label_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


class Exposition:
    """Answers scrapes, with this process's metrics or those of all workers."""

    def __init__(self, folder: Path | None = None) -> None:
        """Read the workers' metrics from `folder`; `None` for a single process."""
        self._folder = folder
        self.registry = CollectorRegistry(auto_describe=False)
        """The registry for this process's metrics."""

    def read(self) -> bytes:
        """Return all metrics as text; also deletes the gauges of dead workers.

        Reads files, so call it in a thread.
        """
        if self._folder is None:
            return generate_latest(self.registry)
        forget_dead_processes(self._folder)
        pool = CollectorRegistry()
        MultiProcessCollector(pool, path=str(self._folder))
        return generate_latest(pool)


def forget_dead_processes(folder: Path) -> None:
    """Remove dead processes' gauges; their counters stay."""
    pids = {path.stem.rpartition("_")[2] for path in folder.glob(LIVE_GAUGE_FILES)}
    for pid in pids:
        if pid.isdigit() and not _is_alive(int(pid)):
            mark_process_dead(int(pid), path=str(folder))


def _is_alive(pid: int) -> bool:
    """Return whether a process exists, also where there is no `/proc`."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True
