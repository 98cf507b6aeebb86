"""Every metric that there is, by name; what counts into them stands in `metrics.py`.

Names follow Prometheus' own rules: a unit at the end, seconds and bytes without a prefix, `_total`
behind what only grows (https://prometheus.io/docs/practices/naming/).
"""

import os
from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, Literal, TypeAlias

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from fallbacks.facts import AttemptDropped, AttemptFailed, AttemptWon

# What came of each attempt of a call, for counting.
#
# An attempt wins with the first useful thing that it gives, and may fail all the same: a voice dies
# in the middle of a sentence. It is counted as won and, of those, as broken off. What is asked
# outside of a call, or of no ladder, tells no success, and is left out.

Outcome: TypeAlias = Literal["won", "failed", "dropped", "broke_off"]
OUTCOMES: Final[tuple[Outcome, ...]] = ("won", "failed", "dropped", "broke_off")
"""The first three are all attempts that have ended or won; the last one is some that won."""

KEPT: Final = 64  # attempts of a call that won lately (chosen: a few are under way at once)


class AttemptOutcomes:
    """Says of each attempt once what came of it."""

    def __init__(self) -> None:
        self._won: dict[str, deque[tuple[str, int]]] = {}  # by call: stage and number

    def outcome(
        self, call_id: str, told: AttemptWon | AttemptFailed | AttemptDropped
    ) -> Outcome | None:
        """Return what came of an attempt; None: it is counted already, or is none of a call's."""
        if not call_id or not told.attempt:
            return None
        won = (told.stage, told.attempt) in self._won.get(call_id, ())
        match told:
            case AttemptWon():
                kept = self._won.setdefault(call_id, deque(maxlen=KEPT))
                kept.append((told.stage, told.attempt))
                return "won"
            case AttemptFailed():
                return "broke_off" if won else "failed"
            case AttemptDropped():
                return None if won else "dropped"

    def forget(self, call_id: str) -> None:
        """Keep nothing of a call that has ended."""
        self._won.pop(call_id, None)


# Room on the disk for what a process of a house counts, taken before it begins to count.
#
# prometheus_client counts in files that it maps, and makes them of nothing: room is taken only as
# pages are written. Where the disk is full by then the kernel ends the process (SIGBUS), and so
# each that is started in its place. A file that is there already is used as it is.

GROWING_BYTES: Final = 128 * 1024  # chosen: a call with eight rungs leaves 8 kB in each
LIVE_BYTES: Final = 64 * 1024  # what prometheus_client maps first; some ten values
ROOM: Final = {
    "counter": GROWING_BYTES,
    "histogram": GROWING_BYTES,
    "gauge_liveall": LIVE_BYTES,
    "gauge_livesum": LIVE_BYTES,
    "gauge_livemax": LIVE_BYTES,
}


def take_room(folder: Path, pid: int) -> bool:
    """Make the files in which a process is to count; False: there is no room, and none is made."""
    try:
        for path, size_bytes in _files(folder, pid):
            _fill(path, size_bytes)
    except OSError:
        for path, _ in _files(folder, pid):
            path.unlink(missing_ok=True)
        return False
    return True


def _files(folder: Path, pid: int) -> Iterator[tuple[Path, int]]:
    for kind, size_bytes in ROOM.items():
        yield folder / f"{kind}_{pid}.db", size_bytes  # as prometheus_client names them


def _fill(path: Path, size_bytes: int) -> None:
    with path.open("wb") as file:
        file.write(bytes(size_bytes))
        file.flush()
        os.fsync(file.fileno())  # some systems look for the room only then


VOICE_S: Final = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.2, 1.5, 2.0, 3.0, 5.0, 8.0, 15.0)
"""Buckets of what a caller waits for: finest where 0.1 s can be heard, one edge at the budget."""

PART_S: Final = (0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0, 8.0)
LAG_S: Final = (0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
CALL_S: Final = (5, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600)
OUTAGE_S: Final = (5, 15, 30, 60, 120, 300, 600, 1800, 3600, 14_400, 86_400)
GAP_S: Final = (0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0)

BREAKER: Final[Mapping[str, int]] = {"closed": 0, "half_open": 1, "open": 2}

LABELLED_LATE: Final = ("CallFailed", "CallRefused", "RetriesExhausted")
"""Facts with labels that nobody knows before, of which an alert must see the first one, too."""

PROCESS: Final[Mapping[str, str]] = {
    "cores": "Cores in use by a process, over the last two seconds.",
    "loop_lag_seconds": "How late a process' loop usually was in the last two seconds.",
    "resident_memory_bytes": "Resident memory of a process.",
    "open_fds": "Open file descriptors of a process.",
    "sent_bytes": "Bytes that the machine's network interfaces have sent.",
    "received_bytes": "Bytes that the machine's network interfaces have received.",
    "event_queue_entries": "Facts that wait for the slowest of those who listen.",
    "lost_events": "Facts that somebody who listens was too slow for, of a process.",
}
"""What a process says of itself, by the name behind `holdline_process_`."""


class Meters:
    """The metrics of one process; in a house they add up over all of them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._local: Collection[str] = ()
        self._make_calls()
        self._make_turns()
        self._make_attempts()
        self._make_ladders()
        self._make_beside()
        self._make_house()
        self._make_telling()
        self.process = {
            name: Gauge(
                f"holdline_process_{name}", says, registry=registry, multiprocess_mode="liveall"
            )
            for name, says in PROCESS.items()
        }

    def begin(self, ladders: Mapping[str, Sequence[str]], local: Collection[str] = ()) -> None:
        """Show what is known before anything happens, as nothing.

        A series that appears with its first event has grown by nothing as far as Prometheus knows,
        and a rung that is not shown is none of those that are well.

        Args:
            ladders: The rungs' names by stage.
            local: The names of those that run on this machine.
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
        for fact in LABELLED_LATE:
            self.facts.labels(fact)

    def show_breaker(self, stage: str, name: str, state: str) -> None:
        """Show how a rung's breaker is.

        A local one hardly ever opens: an alert that asks whether all providers are away must be
        able to leave it out.
        """
        local = "true" if name in self._local else "false"
        self.breaker.labels(stage, name, local).set(BREAKER[state])

    def _make_calls(self) -> None:
        self.calls_started = self._counter("calls_started", "Calls answered.", "transport")
        self.calls_ended = self._counter("calls_ended", "Calls that ended.", "reason")
        self.calls_refused = self._counter(
            "calls_refused", "Calls that were not taken.", "transport", "reason"
        )
        self.calls_failed = self._counter(
            "calls_failed", "Calls that a mistake of ours ended.", "where"
        )
        self.legs_ended = self._counter(
            "legs_ended", "Legs by how the carrier says they ended.", "outcome"
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
        self.part = self._histogram("turn_part_seconds", "Where that time went.", PART_S, "part")
        self.over_budget = self._counter(
            "turns_over_budget", "Answers later than latency.budget_s, by what took most.", "most"
        )
        self.turns = self._counter(
            "turns_ended", "Answers that ended, or were cut short by the caller.", "interrupted"
        )
        self.barge_ins = self._counter("barge_ins", "Times a caller spoke over the agent.")
        self.fillers = self._counter(
            "held_the_line", "Times something was said in place of a late answer.", "utterance"
        )
        self.early = self._counter(
            "early_answers", "Answers asked for before the turn was decided.", "outcome"
        )
        self.tokens = self._counter("tokens", "Tokens billed.", "provider", "kind")
        self.characters = self._counter("characters", "Characters spoken.", "provider")
        self.audio = self._counter("audio_seconds", "Sound recognised.", "provider")
        self.cost = self._counter("cost", "In the price table's currency.", "provider")
        self.unpriced = self._counter("unpriced", "Uses whose price is not known.", "provider")

    def _make_attempts(self) -> None:
        rung = ("stage", "provider")
        self.failures = self._counter(
            "failures", "Failed attempts; kind error: what failed outside one.", *rung, "kind"
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
            "failovers", "Times another rung took over.", "stage", "before", "after"
        )
        self.hedges = self._counter(
            "hedges", "Second rungs asked before the first was late.", *rung
        )
        self.limits = self._counter("limit_reached", "Attempts that our own limits held up.", *rung)
        self.retries = self._counter("retries", "Retries outside a turn.", *rung, "kind")
        self.exhausted_retries = self._counter(
            "retries_exhausted", "Work outside a turn that was given up.", *rung
        )
        self.exhausted = self._counter(
            "stage_exhausted", "Pieces of work for which a stage had no rung left.", "stage"
        )
        self.stage_down = self._counter(
            "stage_down_seconds", "How long calls went without, of those it came back for.", "stage"
        )
        self.breaker_moves = self._counter("breaker_moves", "Breakers' moves.", *rung, "to")
        self.breaker_open = self._counter(
            "breaker_open_seconds", "Time spent open, counted when it is over.", *rung
        )
        self.breaker = Gauge(
            "holdline_breaker_state",
            "0 closed, 1 half-open, 2 open; in a house the worst of any process.",
            (*rung, "local"),
            registry=self._registry,
            multiprocess_mode="livemax",
        )
        self.recovery = self._histogram(
            "provider_recovery_seconds", "From the first failure to well again.", OUTAGE_S, *rung
        )

    def _make_beside(self) -> None:
        self.incidents = self._counter("incidents", "Incidents that began.", "severity")
        self.probes = self._counter(
            "probes", "Synthetic requests to a rung.", "stage", "provider", "ok"
        )
        self.tools = self._counter("tool_calls", "Uses of a tool by the model.", "outcome")
        self.wishes = self._counter(
            "wishes", "Callers who want a person, a callback, or left a message.", "wish"
        )
        self.handovers = self._counter("handovers", "Calls that were to be handed on.", "outcome")
        self.line_restored = self._histogram(
            "line_restored_seconds", "Lines that were lost and came back.", GAP_S
        )
        self.refusals = self._counter(
            "input_refused", "What strangers and carriers sent in vain.", "transport", "reason"
        )
        self.lagged = self._histogram("lag_seconds", "How late we were ourselves.", LAG_S, "where")

    def _make_house(self) -> None:
        self.workers_started = self._counter(
            "workers_started", "Workers that were ready for calls, by why.", "cause"
        )
        self.workers_lost = self._counter("workers_lost", "Workers that died.")
        self.worker_calls_lost = self._counter("worker_calls_lost", "Calls that ended with them.")
        self.calls_interrupted = self._counter(
            "calls_interrupted", "Calls of the record whose process died under them."
        )
        self.reloads = self._counter(
            "reloads", "Times the configuration was read anew, by what came of it.", "outcome"
        )
        self.clips = self._counter("clips_rendered", "Clips that a voice has spoken.")
        self.clips_failed = self._counter("clips_failed", "Clips that no voice could speak.")
        self.alerts_sent = self._counter(
            "alerts_sent",
            "Messages about incidents that a channel took, changes included.",
            *("channel", "severity"),
        )
        self.share_lost = self._counter(
            "share_lost", "Times the other processes' word on the providers could not be read."
        )
        self.record_halted = self._counter(
            "record_halted", "Times the database took no more of the record."
        )

    def _make_telling(self) -> None:
        self.facts = self._counter("facts", "Facts that were told, by their name.", "fact")
        self.telling_lost = self._counter(
            "telemetry_lost", "Facts that one who listens was too slow for.", "listener"
        )
        self.telling_failed = self._counter(
            "telemetry_failed", "Facts at which one who listens raised.", "listener"
        )
        self.telling_waits = Gauge(
            "holdline_telemetry_waiting_entries",
            "Facts that wait for one who listens, of all processes.",
            ("listener",),
            registry=self._registry,
            multiprocess_mode="livesum",
        )

    def _counter(self, name: str, says: str, *labels: str) -> Counter:
        return Counter(f"holdline_{name}", says, labels, registry=self._registry)

    def _histogram(self, name: str, says: str, buckets: Sequence[float], *labels: str) -> Histogram:
        return Histogram(f"holdline_{name}", says, labels, buckets=buckets, registry=self._registry)
