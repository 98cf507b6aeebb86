"""Every metric of `meters.yaml`, by name; `metrics.py` counts into them.

Names follow Prometheus's rules: base units at the end, without a prefix, and `_total` after
counters (https://prometheus.io/docs/practices/naming/).
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from calls.verdict import CallerVerdict
from fallbacks.data_files import read_data

OUTCOMES: Final[tuple[str, ...]] = ("won", "failed", "dropped", "broke_off")
"""The outcomes of an attempt in a call.

An attempt is won with its first useful content. If it fails later, as when a voice dies in the
middle of a sentence, it counts as won and as broken off. Every attempt counts once as won, failed
or dropped. Requests outside calls and to systems without a ladder are not counted, because they do
not report success.
"""

BREAKER: Final[Mapping[str, int]] = {"closed": 0, "half_open": 1, "open": 2}

METERS: Final[Mapping[str, Mapping[str, Any]]] = read_data(__name__, "meters.yaml")
LABELLED_LATE: Final = ("CallFailed", "CallRefused", "RetriesExhausted")
"""Events whose labels are known only when they happen, so their own series appear late.

Their series in `facts` exist from the start: alert rules use these to recognise the first event.
"""

PROCESS: Final[Mapping[str, str]] = {
    "cores": "CPU cores that a process used over the last two seconds.",
    "loop_lag_seconds": "Lag of a process's event loop: 75th percentile of the last two seconds.",
    "resident_memory_bytes": "Resident memory of a process.",
    "open_fds": "Open file descriptors of a process.",
    "sent_bytes": "Bytes that the machine's network interfaces have sent.",
    "received_bytes": "Bytes that the machine's network interfaces have received.",
    "event_queue_entries": "Events in the queue of a process's slowest listener.",
    "lost_events": "Events that a process lost because a listener was too slow.",
}
"""The help texts of a process's gauges, by the name after `holdline_process_`."""


class Meters:
    """The metrics of one process; a scrape adds up those of all workers."""

    # Those that code names; the file has all.
    facts: Counter
    v2v: Histogram
    calls_started: Counter
    calls_failed: Counter
    calls_judged: Counter
    calls_active: Gauge
    turns_judged: Counter
    part: Histogram
    tokens: Counter
    cost: Counter
    unpriced: Counter
    failures: Counter
    attempts: Counter
    exhausted: Counter
    exhausted_retries: Counter
    breaker: Gauge
    breaker_open: Counter
    recovery: Histogram
    telling_waits: Gauge

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register every meter in `registry`, and set it as an attribute of its name."""
        self._local: Collection[str] = ()
        for name, described in METERS.items():
            setattr(self, name, _make_meter(name, described, registry))
        self.process = {
            name: Gauge(
                f"holdline_process_{name}",
                help_text,
                registry=registry,
                multiprocess_mode="liveall",
            )
            for name, help_text in PROCESS.items()
        }

    def create_known_series(
        self, ladders: Mapping[str, Sequence[str]], local: Collection[str] = ()
    ) -> None:
        """Create the series whose labels are known in advance, with value 0.

        Prometheus sees no increase in a series that appears with its first event, and a rung
        without a series would not count as healthy.

        Args:
            ladders: The rungs' names by stage.
            local: The names of the rungs that run on this machine.
        """
        self._local = local
        for stage, rungs in ladders.items():
            self.exhausted.labels(stage)
            for name in rungs:
                self.show_breaker(stage, name, "closed")
                self.exhausted_retries.labels(stage, name)
                self.unpriced.labels(name)
                for outcome in OUTCOMES:
                    self.attempts.labels(stage, name, outcome)
        for verdict in CallerVerdict:
            self.calls_judged.labels(verdict)
            self.turns_judged.labels(verdict)
        for fact in LABELLED_LATE:
            self.facts.labels(fact)

    def show_breaker(self, stage: str, name: str, state: str) -> None:
        """Show the state of a rung's breaker.

        The breaker of a local rung hardly ever opens. It has a label, so that an alert on all
        providers being down can exclude it.
        """
        local = "true" if name in self._local else "false"
        self.breaker.labels(stage, name, local).set(BREAKER[state])


def _make_meter(name: str, described: Mapping[str, Any], registry: CollectorRegistry) -> Any:
    """Return a metric, as the file describes it."""
    about = {
        "name": f"holdline_{described.get('name', name)}",
        "documentation": described["help"],
        "labelnames": described.get("labels", ()),
        "registry": registry,
    }
    if "buckets" in described:
        return Histogram(**about, buckets=tuple(map(float, described["buckets"])))
    if "gauge" in described:
        return Gauge(**about, multiprocess_mode=described["gauge"])
    return Counter(**about)
