"""The live view: passes every entry to those who watch, and sums up recent work."""

import asyncio
import math
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from calls.entry import Entry
from calls.events import AnswerHeard, BargedIn
from calls.known_calls import KnownCalls
from calls.sentences import CHOICES, Vendors, event_sentence, explain, phrase, vendor_at
from calls.state import STAGES, CallState, failed_provider
from fallbacks.events import AttemptFailed, AttemptWon, RungChosen
from operations.masking import ending, mask_number, without_words

NO_VENDORS: Final[Vendors] = {}


def live_json(call: CallState, vendors: Vendors) -> dict[str, Any]:
    """Return a call in progress as JSON values, with masked numbers."""
    started, last = call.started, call.last_failure
    other_number = (started.called if call.outbound else started.caller) if started else ""
    return {
        "id": call.call_id,
        "agent": started.agent if started else "",
        "transport": started.transport if started else "",
        "caller": mask_number(started.caller if started else ""),
        "called": mask_number(started.called if started else ""),
        "direction": "outbound" if call.outbound else "inbound",
        "ending": ending(other_number),  # the last digits of the other party's number
        "started_at": call.began_at,
        "state": call.phase or "listening",  # listening, processing, speaking
        "providers": dict(call.providers),  # stage: its rung
        "turn": call.turn,
        "v2v_s": call.v2v_s[-1] if call.v2v_s else None,  # of the last answer
        "slowest_s": max(call.v2v_s, default=None),
        "failures": call.failures.total(),
        "failovers": call.counts[RungChosen],
        "barge_ins": call.counts[BargedIn],
        "down": list(call.down),  # stages without a usable rung
        "step": call.step,  # what the call does while a stage is down
        "kept": call.kept,  # whether another machine could go on with it
        "verdict": call.verdict,  # what its caller got at worst, so far
        "step_says": phrase(CHOICES, call.step) if call.step else "",
        "last": f"{last.provider}: {last.kind}" if last else "",
        "last_says": _explain_failed(last, vendors) if last else "",
    }


def _explain_failed(failed: AttemptFailed, vendors: Vendors) -> str:
    vendor = vendor_at(vendors, failed.stage, failed.provider)
    return explain(failed.kind, failed.reason, vendor)


WINDOW_S: Final = 900.0
SLICE_S: Final = 60.0
BUCKET_RATIO: Final = 1.05  # ratio of one bucket to the next
MIN_S: Final = 0.001  # shorter delays count as this
MAX_TURNS: Final = 600  # chosen: as many as a chart shows without slowing a browser


@dataclass(slots=True)
class RungMinute:
    """One rung's work in one minute."""

    at_s: float  # its start, seconds since 1970
    answers: Counter[int] = field(default_factory=Counter[int])  # by bucket of delay
    failures: int = 0
    failovers: int = 0  # away from it


@dataclass(slots=True)
class RungWindow:
    """The minutes of one rung, and its last failure."""

    minutes: deque[RungMinute] = field(default_factory=deque[RungMinute])
    last_failure: dict[str, str] | None = None

    def minute(self, at_s: float) -> RungMinute:
        """Return the minute in which to count a moment, and drop the minutes before the window.

        A moment before the latest minute counts in that one: moments increase, or nearly so.
        """
        begin = at_s - at_s % SLICE_S
        if not self.minutes or self.minutes[-1].at_s < begin:
            self.minutes.append(RungMinute(begin))
        self.forget(at_s)
        return self.minutes[-1]

    def kept(self, now: float) -> Sequence[RungMinute]:
        """Drop the minutes before the window; return the others, the oldest first."""
        self.forget(now)
        return self.minutes

    def forget(self, now: float) -> None:
        """Drop the minutes before the window."""
        while self.minutes and self.minutes[0].at_s + SLICE_S <= now - WINDOW_S:
            self.minutes.popleft()


class RecentWork:
    """Counts the attempts in a process's calls within the last `WINDOW_S`.

    Attempts outside calls, such as probes, are not counted, but a failed one is the last failure.
    Each minute has its own counts, so that old ones are dropped minute by minute. Delays of answers
    are counted in buckets that grow by 5 %: counts from several processes add up exactly, and a
    percentile is accurate to one bucket.
    """

    def __init__(self, vendors: Vendors = NO_VENDORS) -> None:
        self._vendors = vendors
        self._rungs: dict[tuple[str, str], RungWindow] = {}
        self._turns: deque[tuple[float, float, str]] = deque(maxlen=MAX_TURNS)

    def add(self, entry: Entry) -> None:
        """Count one entry."""
        match entry.event:
            case AttemptWon() as won if entry.call_id and won.stage in STAGES:
                self._minute_of_entry(won.stage, won.provider, entry).answers[
                    bucket_of(won.after_s)
                ] += 1
            case AttemptFailed() as failed if failed.stage in STAGES:
                self._count_failure(failed, entry)
            case RungChosen() as moved if entry.call_id:
                self._minute_of_entry(moved.stage, moved.before, entry).failovers += 1
            case AnswerHeard() as answer:
                self._turns.append((seconds_of(entry.at), answer.v2v_s, entry.call_id))
            case _:
                pass

    def rungs(self, now: float) -> list[dict[str, Any]]:
        """Return the rungs' counts as JSON values, for `merge_recent`; `began` is by `bucket_of`.

        `now` is in seconds since 1970.
        """
        return [
            {"stage": stage, "name": name} | _window_as_json(window, now)
            for (stage, name), window in self._rungs.items()
        ]

    def turns(self, now: float) -> list[tuple[float, float, str]]:
        """Return the answers within the window: seconds since 1970, delay in seconds, call id."""
        return [turn for turn in self._turns if turn[0] > now - WINDOW_S]

    def _minute_of_entry(self, stage: str, provider: str, entry: Entry) -> RungMinute:
        window = self._rungs.setdefault((stage, provider), RungWindow())
        return window.minute(seconds_of(entry.at))

    def _count_failure(self, failed: AttemptFailed, entry: Entry) -> None:
        """Count a failure in a call, if the rung is its cause; remember every failure as the last.

        Also one of a probe, or of a request that every rung would reject.
        """
        minute = self._minute_of_entry(failed.stage, failed.provider, entry)
        if entry.call_id and failed_provider(failed):
            minute.failures += 1
        failure = {
            "at": entry.at,
            "kind": str(failed.kind),
            "reason": failed.reason,
            "says": _explain_failed(failed, self._vendors),
        }
        self._rungs[failed.stage, failed.provider].last_failure = failure


def _window_as_json(window: RungWindow, now: float) -> dict[str, Any]:
    """Return a rung's recent attempts, failures and failovers, by `now`."""
    minutes = window.kept(now)
    answers = sum((minute.answers for minute in minutes), Counter[int]())
    return {
        "began": {str(bucket): times for bucket, times in answers.items()},
        "failures": sum(minute.failures for minute in minutes),
        "failovers": sum(minute.failovers for minute in minutes),
        "last_failure": window.last_failure,
    }


NO_ATTEMPTS: Final[Mapping[str, Any]] = {
    "answers": 0,
    "p50_s": None,
    "p95_s": None,
    "failures": 0,
    "failovers": 0,
    "last_failure": None,
}


def merge_recent(views: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Merge one rung's counts from all processes; each call is in one process only.

    The result has the keys of `NO_ATTEMPTS`; delays are `None` without answers.
    """
    counts = list(views)
    if not counts:
        return dict(NO_ATTEMPTS)
    answers = Counter[int]()
    for rung in counts:
        answers.update({int(bucket): times for bucket, times in rung["began"].items()})
    last = [rung["last_failure"] for rung in counts if rung["last_failure"]]
    return {
        "answers": answers.total(),
        "p50_s": percentile(answers, 0.5),
        "p95_s": percentile(answers, 0.95),
        "failures": sum(rung["failures"] for rung in counts),
        "failovers": sum(rung["failovers"] for rung in counts),
        "last_failure": max(last, key=lambda failure: failure["at"], default=None),
    }


def merge_turns(views: Sequence[Sequence[Sequence[Any]]]) -> list[list[Any]]:
    """Merge all processes' answers in order; return the newest `MAX_TURNS`."""
    every = sorted(list(item) for view in views for item in view)
    return every[-MAX_TURNS:]


def bucket_of(after_s: float) -> int:
    """Return the bucket of a delay, on a logarithmic scale."""
    return round(math.log(max(after_s, MIN_S) / MIN_S, BUCKET_RATIO))


def percentile(answers: Mapping[int, int], share: float) -> float | None:
    """Return the delay that this share of the answers did not exceed; `None` without answers.

    Args:
        answers: The number of answers by bucket of delay, as in `bucket_of`.
        share: From 0 to 1.
    """
    remaining = math.ceil(share * sum(answers.values()))
    for bucket in sorted(answers):
        remaining -= answers[bucket]
        if remaining <= 0:
            return round(MIN_S * BUCKET_RATIO**bucket, 3)
    return None


def seconds_of(at: str) -> float:
    """Return an entry's moment in seconds since 1970."""
    return datetime.fromisoformat(at).timestamp()


class ConsoleSums:
    """The calls in progress and the rungs' recent work, for the console.

    Attributes:
        recent: The rungs' recent work.
        vendors: Named in the sentences about failures.
    """

    def __init__(self, vendors: Vendors = NO_VENDORS) -> None:
        self.recent = RecentWork(vendors)
        self.vendors = vendors
        self._calls = KnownCalls()

    async def hear(self, entry: Entry) -> None:
        """Update the calls in progress and the rungs' recent work with one entry."""
        self._calls.add(entry)
        self.recent.add(entry)

    def live(self) -> list[dict[str, Any]]:
        """Return the calls in progress as JSON values, the oldest first."""
        calls = self._calls.live.values()
        return [live_json(call, self.vendors) for call in calls if call.in_progress]


WATCHER_ENTRIES: Final = 1_000  # that wait for a slow browser; then the oldest are dropped
RECENT_ENTRIES: Final = 500  # shown first to a page that opens during a call


class Live:
    """Passes entries to watchers; a slow watcher loses the oldest ones, and never slows a call."""

    def __init__(self, *, words: bool, vendors: Vendors = NO_VENDORS) -> None:
        self._vendors = vendors
        self._words = words  # if False, watchers get no words and no numbers
        self._watchers: set[asyncio.Queue[Entry]] = set()
        # Entries, not their JSON: that is larger, and only needed for watchers.
        self._recent: deque[Entry] = deque(maxlen=RECENT_ENTRIES)

    async def hear(self, entry: Entry) -> None:
        """Pass one entry to all watchers, and keep it for later watchers."""
        shown = entry if self._words else without_words(entry)
        self._recent.append(shown)
        for queue in self._watchers:
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(shown)

    async def watch(self) -> AsyncIterator[dict[str, Any]]:
        """Yield the recent entries, then each new one, until the iterator is closed.

        Entries with codes have a sentence for people under `says`.
        """
        with self._watcher_queue() as queue:
            for shown in tuple(self._recent):
                yield self._as_json(shown)
            while True:
                yield self._as_json(await queue.get())

    def _as_json(self, shown: Entry) -> dict[str, Any]:
        fields = shown.as_json()
        says = event_sentence(fields["event"], fields, self._vendors)
        return fields | {"says": says} if says else fields

    @contextmanager
    def _watcher_queue(self) -> Iterator[asyncio.Queue[Entry]]:
        """Receive entries in a queue while the context is open."""
        queue: asyncio.Queue[Entry] = asyncio.Queue(WATCHER_ENTRIES)
        self._watchers.add(queue)
        try:
            yield queue
        finally:
            self._watchers.discard(queue)
