"""Every metric, by name; `metrics.py` counts into them.

Names follow Prometheus's rules: base units at the end, without a prefix, and `_total` after
counters (https://prometheus.io/docs/practices/naming/).
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from calls.verdict import CallerVerdict

OUTCOMES: Final[tuple[str, ...]] = ("won", "failed", "dropped", "broke_off")
"""The outcomes of an attempt in a call.

An attempt is won with its first useful content. If it fails later, as when a voice dies in the
middle of a sentence, it counts as won and as broken off. Every attempt counts once as won, failed
or dropped. Requests outside calls and to systems without a ladder are not counted, because they do
not report success.
"""

VOICE_S: Final = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.2, 1.5, 2.0, 3.0, 5.0, 8.0, 15.0)
"""Bucket boundaries of callers' waits: 0.1 s apart where that is audible; 1.5 is the budget."""

PART_S: Final = (0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0, 8.0)
LAG_S: Final = (0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
CALL_S: Final = (5, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600)
OUTAGE_S: Final = (5, 15, 30, 60, 120, 300, 600, 1800, 3600, 14_400, 86_400)
GAP_S: Final = (0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0)

BREAKER: Final[Mapping[str, int]] = {"closed": 0, "half_open": 1, "open": 2}

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

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._local: Collection[str] = ()
        self._make_calls()
        self._make_turns()
        self._make_attempts()
        self._make_ladders()
        self._make_operations()
        self._make_pool_meters()
        self._make_telemetry()
        self.process = {
            name: Gauge(
                f"holdline_process_{name}",
                help_text,
                registry=registry,
                multiprocess_mode="liveall",
            )
            for name, help_text in PROCESS.items()
        }

    def begin(self, ladders: Mapping[str, Sequence[str]], local: Collection[str] = ()) -> None:
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

    def _make_calls(self) -> None:
        self.calls_started = self._counter(
            "calls_started", "Calls that were answered.", "transport"
        )
        self.calls_ended = self._counter("calls_ended", "Calls that ended, by reason.", "reason")
        self.calls_refused = self._counter(
            "calls_refused", "Calls that were rejected, by reason.", "transport", "reason"
        )
        self.calls_failed = self._counter(
            "calls_failed",
            "Calls that an internal error ended, by the place of the error.",
            "where",
        )
        self.calls_judged = self._counter(
            "calls_judged",
            "Calls that ended, by verdict: the worst that the caller got.",
            "verdict",
        )
        self.legs_ended = self._counter(
            "legs_ended", "Legs that ended, by the outcome that the carrier reported.", "outcome"
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
            "v2v_seconds",
            "Voice to voice: caller's last sound to agent's first, of each answer.",
            VOICE_S,
        )
        self.part = self._histogram(
            "turn_part_seconds", "Parts of the voice-to-voice time.", PART_S, "part"
        )
        self.over_budget = self._counter(
            "turns_over_budget", "Answers later than latency.budget_s, by the longest part.", "most"
        )
        self.turns_judged = self._counter(
            "turns_judged", "Turns, by verdict: what the caller got.", "verdict"
        )
        self.turns = self._counter(
            "turns_ended", "Answers that ended, interrupted or not.", "interrupted"
        )
        self.barge_ins = self._counter("barge_ins", "Times that a caller interrupted the agent.")
        self.fillers = self._counter(
            "held_the_line", "Times that an utterance filled in for a late answer.", "utterance"
        )
        self.early = self._counter(
            "early_answers", "Answers requested before the turn was decided.", "outcome"
        )
        self.tokens = self._counter("tokens", "Tokens billed, by kind.", "provider", "kind")
        self.characters = self._counter("characters", "Characters billed by voices.", "provider")
        self.audio = self._counter("audio_seconds", "Audio billed by recognisers.", "provider")
        self.cost = self._counter(
            "cost", "Cost of providers, in the currency of the price table.", "provider"
        )
        self.unpriced = self._counter(
            "unpriced", "Billable uses of a provider whose price is unknown.", "provider"
        )

    def _make_attempts(self) -> None:
        rung = ("stage", "provider")
        self.failures = self._counter(
            "failures",
            "Failed attempts, by kind; kind error: failures outside an attempt.",
            *rung,
            "kind",
        )
        self.attempts = self._counter(
            "attempts",
            "Attempts in calls: won, failed or dropped; won attempts that failed later: broke_off.",
            *(*rung, "outcome"),
        )
        self.lost = self._counter(
            "failed_attempt_seconds", "Time spent on failed attempts.", "stage"
        )

    def _make_ladders(self) -> None:
        rung = ("stage", "provider")
        self.failovers = self._counter(
            "failovers", "Switches to another rung of a stage.", "stage", "before", "after"
        )
        self.hedges = self._counter(
            "hedges", "Requests to a second rung that were sent before the first was late.", *rung
        )
        self.limits = self._counter(
            "limit_reached", "Attempts that our own limits delayed, or sent to another rung.", *rung
        )
        self.retries = self._counter(
            "retries", "Retries of work outside turns, by the kind of the failure.", *rung, "kind"
        )
        self.exhausted_retries = self._counter(
            "retries_exhausted", "Work outside turns that was given up after its retries.", *rung
        )
        self.exhausted = self._counter(
            "stage_exhausted", "Requests that found no usable rung in the stage.", "stage"
        )
        self.stage_down = self._counter(
            "stage_down_seconds", "Time that a stage was down in calls, if it recovered.", "stage"
        )
        self.breaker_moves = self._counter("breaker_moves", "Breaker transitions.", *rung, "to")
        self.breaker_open = self._counter(
            "breaker_open_seconds", "Time that a breaker was open, counted at the end.", *rung
        )
        self.breaker = Gauge(
            "holdline_breaker_state",
            "State of a breaker: 0 closed, 1 half-open, 2 open; the highest of all workers.",
            (*rung, "local"),
            registry=self._registry,
            multiprocess_mode="livemax",
        )
        self.recovery = self._histogram(
            "provider_recovery_seconds", "Time from failure to recovery of a rung.", OUTAGE_S, *rung
        )

    def _make_operations(self) -> None:
        self.incidents = self._counter("incidents", "Incidents that started.", "severity")
        self.probes = self._counter(
            "probes",
            "Probes (synthetic requests) of a rung, by whether they succeeded.",
            "stage",
            "provider",
            "ok",
        )
        self.tools = self._counter("tool_calls", "Tool calls by the model, by outcome.", "outcome")
        self.wishes = self._counter(
            "wishes", "Requests of callers: a person, a callback, a message left.", "wish"
        )
        self.handovers = self._counter("handovers", "Transfers of callers, by outcome.", "outcome")
        self.line_restored = self._histogram(
            "line_restored_seconds", "Time that a line was lost before it was restored.", GAP_S
        )
        self.refusals = self._counter(
            "input_refused",
            "Rejected input, such as from carriers and browsers, by reason.",
            "transport",
            "reason",
        )
        self.lagged = self._histogram(
            "lag_seconds",
            "Delays in our own processes: event loop, computation, audio output.",
            LAG_S,
            "where",
        )

    def _make_pool_meters(self) -> None:
        self.workers_started = self._counter(
            "workers_started", "Workers that became ready for calls, by cause.", "cause"
        )
        self.workers_lost = self._counter("workers_lost", "Workers that died.")
        self.worker_calls_lost = self._counter(
            "worker_calls_lost", "Calls in progress on workers that died."
        )
        self.calls_interrupted = self._counter(
            "calls_interrupted", "Calls marked as interrupted in the record: their process died."
        )
        self.reloads = self._counter(
            "reloads", "Reloads of the configuration, by outcome.", "outcome"
        )
        self.clips = self._counter("clips_rendered", "Clips that were rendered.")
        self.clips_failed = self._counter("clips_failed", "Clips that could not be rendered.")
        self.alerts_sent = self._counter(
            "alerts_sent",
            "Messages about incidents, including updates, that a channel accepted.",
            *("channel", "severity"),
        )
        self.share_lost = self._counter(
            "share_lost", "Times that the shared provider health became unreadable."
        )
        self.record_halted = self._counter(
            "record_halted", "Times that the database stopped accepting the call record."
        )

    def _make_telemetry(self) -> None:
        self.facts = self._counter("facts", "All events, by name.", "fact")
        self.telling_lost = self._counter(
            "telemetry_lost", "Events lost because a listener was too slow.", "listener"
        )
        self.telling_failed = self._counter(
            "telemetry_failed", "Events on which a listener raised an exception.", "listener"
        )
        self.telling_waits = Gauge(
            "holdline_telemetry_waiting_entries",
            "Events that wait for a listener, in all processes together.",
            ("listener",),
            registry=self._registry,
            multiprocess_mode="livesum",
        )

    def _counter(self, name: str, help_text: str, *labels: str) -> Counter:
        return Counter(f"holdline_{name}", help_text, labels, registry=self._registry)

    def _histogram(
        self, name: str, help_text: str, buckets: Sequence[float], *labels: str
    ) -> Histogram:
        return Histogram(
            f"holdline_{name}", help_text, labels, buckets=buckets, registry=self._registry
        )
