"""Every metric, by name; `metrics.py` counts into them.

Names follow Prometheus's rules: base units at the end, without a prefix, and `_total` after
counters (https://prometheus.io/docs/practices/naming/).
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from calls.verdict import CallerVerdict

OUTCOMES: Final[tuple[str, ...]] = ("won", "failed", "dropped", "broke_off")
"""The outcomes of an attempt of a call.

An attempt wins with its first useful content, and may fail later: a voice may die in the middle
of a sentence. It then counts as won and as broken off. The first three are all attempts that ended
or won. Requests outside a call, or to systems without a ladder, report no success, and are left
out.
"""

VOICE_S: Final = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.2, 1.5, 2.0, 3.0, 5.0, 8.0, 15.0)
"""Buckets for callers' waits: finest where 0.1 s can be heard, one edge at the budget."""

PART_S: Final = (0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0, 8.0)
LAG_S: Final = (0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
CALL_S: Final = (5, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600)
OUTAGE_S: Final = (5, 15, 30, 60, 120, 300, 600, 1800, 3600, 14_400, 86_400)
GAP_S: Final = (0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0)

BREAKER: Final[Mapping[str, int]] = {"closed": 0, "half_open": 1, "open": 2}

LABELLED_LATE: Final = ("CallFailed", "CallRefused", "RetriesExhausted")
"""Events whose labels are unknown beforehand; an alert must see even the first one."""

PROCESS: Final[Mapping[str, str]] = {
    "cores": "Cores in use by a process, over the last two seconds.",
    "loop_lag_seconds": "Typical lag of a process's event loop over the last two seconds.",
    "resident_memory_bytes": "Resident memory of a process.",
    "open_fds": "Open file descriptors of a process.",
    "sent_bytes": "Bytes that the machine's network interfaces have sent.",
    "received_bytes": "Bytes that the machine's network interfaces have received.",
    "event_queue_entries": "Events that wait for the slowest listener.",
    "lost_events": "Events of a process that were lost because a listener was too slow.",
}
"""A process's gauges, by the name after `holdline_process_`."""


class Meters:
    """The metrics of one process; several workers add up."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._local: Collection[str] = ()
        self._make_calls()
        self._make_turns()
        self._make_attempts()
        self._make_ladders()
        self._make_beside()
        self._make_pool_meters()
        self._make_telling()
        self.process = {
            name: Gauge(
                f"holdline_process_{name}", says, registry=registry, multiprocess_mode="liveall"
            )
            for name, says in PROCESS.items()
        }

    def begin(self, ladders: Mapping[str, Sequence[str]], local: Collection[str] = ()) -> None:
        """Create the series that are known in advance, with value 0.

        Prometheus sees no increase in a series that appears with its first event, and a missing
        rung does not count as healthy.

        Args:
            ladders: The rungs' names by stage.
            local: The names of those on this machine.
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

        A local one hardly ever opens: an alert on all providers being down must be able to exclude
        it.
        """
        local = "true" if name in self._local else "false"
        self.breaker.labels(stage, name, local).set(BREAKER[state])

    def _make_calls(self) -> None:
        self.calls_started = self._counter("calls_started", "Calls answered.", "transport")
        self.calls_ended = self._counter("calls_ended", "Calls that ended.", "reason")
        self.calls_refused = self._counter(
            "calls_refused", "Calls that were rejected.", "transport", "reason"
        )
        self.calls_failed = self._counter(
            "calls_failed", "Calls that ended because of an error of our own.", "where"
        )
        self.calls_judged = self._counter(
            "calls_judged", "Ended calls, by what their callers got at worst.", "verdict"
        )
        self.legs_ended = self._counter(
            "legs_ended", "Legs, by their outcome according to the carrier.", "outcome"
        )
        self.call_length = self._histogram("call_length_seconds", "Length of calls.", CALL_S)
        self.calls_active = Gauge(
            "holdline_calls_active",
            "Calls in progress.",
            registry=self._registry,
            multiprocess_mode="livesum",
        )

    def _make_turns(self) -> None:
        self.v2v = self._histogram(
            "v2v_seconds", "From the caller's last sound to our first, of each answer.", VOICE_S
        )
        self.part = self._histogram("turn_part_seconds", "Parts of that time.", PART_S, "part")
        self.over_budget = self._counter(
            "turns_over_budget",
            "Answers later than latency.budget_s, by their longest part.",
            "most",
        )
        self.turns_judged = self._counter(
            "turns_judged", "Turns, by what their callers got.", "verdict"
        )
        self.turns = self._counter(
            "turns_ended", "Answers that ended, or that the caller interrupted.", "interrupted"
        )
        self.barge_ins = self._counter("barge_ins", "Times a caller spoke over the agent.")
        self.fillers = self._counter(
            "held_the_line", "Times an utterance replaced a late answer.", "utterance"
        )
        self.early = self._counter(
            "early_answers", "Answers requested before the end of the turn was decided.", "outcome"
        )
        self.tokens = self._counter("tokens", "Tokens billed.", "provider", "kind")
        self.characters = self._counter("characters", "Characters spoken.", "provider")
        self.audio = self._counter("audio_seconds", "Sound recognised.", "provider")
        self.cost = self._counter("cost", "In the price table's currency.", "provider")
        self.unpriced = self._counter("unpriced", "Uses without a known price.", "provider")

    def _make_attempts(self) -> None:
        rung = ("stage", "provider")
        self.failures = self._counter(
            "failures", "Failed attempts; kind error: failures outside an attempt.", *rung, "kind"
        )
        self.attempts = self._counter(
            "attempts",
            "Attempts of calls: won, failed, dropped; of those that won, broke_off.",
            *(*rung, "outcome"),
        )
        self.lost = self._counter("failed_attempt_seconds", "Time lost to them.", "stage")

    def _make_ladders(self) -> None:
        rung = ("stage", "provider")
        self.failovers = self._counter(
            "failovers", "Switches to another rung.", "stage", "before", "after"
        )
        self.hedges = self._counter(
            "hedges", "Second rungs that were asked before the first was late.", *rung
        )
        self.limits = self._counter("limit_reached", "Attempts delayed by our own limits.", *rung)
        self.retries = self._counter("retries", "Retries outside a turn.", *rung, "kind")
        self.exhausted_retries = self._counter(
            "retries_exhausted", "Work outside a turn that was given up.", *rung
        )
        self.exhausted = self._counter(
            "stage_exhausted", "Requests without a usable rung in the stage.", "stage"
        )
        self.stage_down = self._counter(
            "stage_down_seconds", "Outages of a stage in calls, if it recovered.", "stage"
        )
        self.breaker_moves = self._counter("breaker_moves", "Breakers' moves.", *rung, "to")
        self.breaker_open = self._counter(
            "breaker_open_seconds", "Time spent open, counted when it ends.", *rung
        )
        self.breaker = Gauge(
            "holdline_breaker_state",
            "0 closed, 1 half-open, 2 open; with several workers the worst.",
            (*rung, "local"),
            registry=self._registry,
            multiprocess_mode="livemax",
        )
        self.recovery = self._histogram(
            "provider_recovery_seconds", "From the first failure to recovery.", OUTAGE_S, *rung
        )

    def _make_beside(self) -> None:
        self.incidents = self._counter("incidents", "Incidents that started.", "severity")
        self.probes = self._counter(
            "probes", "Synthetic requests to a rung.", "stage", "provider", "ok"
        )
        self.tools = self._counter("tool_calls", "Uses of a tool by the model.", "outcome")
        self.wishes = self._counter(
            "wishes", "Callers who want a person, a callback, or left a message.", "wish"
        )
        self.handovers = self._counter("handovers", "Transfers, by outcome.", "outcome")
        self.line_restored = self._histogram(
            "line_restored_seconds", "Durations of lost lines that were restored.", GAP_S
        )
        self.refusals = self._counter(
            "input_refused", "Refused input from strangers and carriers.", "transport", "reason"
        )
        self.lagged = self._histogram("lag_seconds", "Delays of our own.", LAG_S, "where")

    def _make_pool_meters(self) -> None:
        self.workers_started = self._counter(
            "workers_started", "Workers that became ready for calls, by cause.", "cause"
        )
        self.workers_lost = self._counter("workers_lost", "Workers that died.")
        self.worker_calls_lost = self._counter("worker_calls_lost", "Calls that died with them.")
        self.calls_interrupted = self._counter(
            "calls_interrupted", "Recorded calls whose process died."
        )
        self.reloads = self._counter(
            "reloads", "Reloads of the configuration, by outcome.", "outcome"
        )
        self.clips = self._counter("clips_rendered", "Clips that were rendered.")
        self.clips_failed = self._counter("clips_failed", "Clips that could not be rendered.")
        self.alerts_sent = self._counter(
            "alerts_sent",
            "Messages about incidents that a channel accepted, including updates.",
            *("channel", "severity"),
        )
        self.share_lost = self._counter(
            "share_lost", "Times the shared provider health could not be read."
        )
        self.record_halted = self._counter(
            "record_halted", "Times the database stopped accepting the record."
        )

    def _make_telling(self) -> None:
        self.facts = self._counter("facts", "Events, by name.", "fact")
        self.telling_lost = self._counter(
            "telemetry_lost", "Events lost because a listener was too slow.", "listener"
        )
        self.telling_failed = self._counter(
            "telemetry_failed", "Events on which a listener raised.", "listener"
        )
        self.telling_waits = Gauge(
            "holdline_telemetry_waiting_entries",
            "Events that wait for a listener, over all processes.",
            ("listener",),
            registry=self._registry,
            multiprocess_mode="livesum",
        )

    def _counter(self, name: str, says: str, *labels: str) -> Counter:
        return Counter(f"holdline_{name}", says, labels, registry=self._registry)

    def _histogram(self, name: str, says: str, buckets: Sequence[float], *labels: str) -> Histogram:
        return Histogram(f"holdline_{name}", says, labels, buckets=buckets, registry=self._registry)
