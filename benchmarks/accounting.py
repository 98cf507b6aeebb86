"""Splits the time of one answer into our own time and the time of other parts.

Time in which another part worked (the silence that the VAD waits for, the turn detector, a
provider) belongs to that part; the rest of an answer's time is ours. Time in which two parts work
at once, such as the recogniser and the turn detector, is subtracted only once.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from calls.outcome import Spread, spread

PARTS: Final = ("vad_s", "transcript_s", "decision_s", "llm_s", "tts_s", "transport_s")
TARGET: Final = Spread(p50_s=0.040, p95_s=0.090)  # for our own time, on an otherwise idle machine


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """Moments of one answer, in seconds on the monotonic clock."""

    began_s: float  # the VAD detected the beginning of the caller's speech
    stopped_s: float  # the caller's last voiced sample, by the VAD
    noticed_s: float  # the VAD was sure that the caller had stopped
    transcript_s: float  # the final transcript left the recogniser's service
    decided_s: float  # the turn was decided: the request left for the language model's service
    first_token_s: float
    first_speech_s: float  # the first synthesised audio left the voice's service
    played_s: float  # the first chunk of it was written to the line
    heard_s: float  # the first audible chunk was written

    @property
    def v2v_s(self) -> float:
        """Seconds from the caller's last voiced sample to our first audible sample."""
        return self.heard_s - self.stopped_s

    def spans(self) -> dict[str, tuple[float, float]]:
        """Return the start and end of each part; a part that was ready early takes no time."""
        marks = [self.stopped_s]
        for item in (
            self.noticed_s,
            self.transcript_s,
            self.decided_s,
            self.first_token_s,
            self.first_speech_s,
            self.heard_s,
        ):
            marks.append(min(self.heard_s, max(marks[-1], item)))
        return dict(zip(PARTS, itertools.pairwise(marks), strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class BusyPeriod:
    """A period in which another part worked on this turn."""

    who: str
    begin_s: float
    end_s: float
    excused: bool = True  # False: shown separately, but counted as our own time


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The split time of one turn."""

    v2v_s: float
    parts: Mapping[str, float]  # the length of each span of the answer; their sum is `v2v_s`
    own: Mapping[str, float]  # our own time in each span
    others: Mapping[str, float]  # how long each other part worked
    moments: Moments
    busy: Sequence[BusyPeriod]

    @property
    def own_s(self) -> float:
        """Our own overhead in this turn."""
        return sum(self.own.values())

    @property
    def unwaited_s(self) -> float:
        """Our own overhead without waits for more output of a provider: shown, not judged."""
        waits = (busy for busy in self.busy if not busy.excused)
        return self.own_s - sum(wait.end_s - wait.begin_s for wait in waits)


def split_time(moments: Moments, busy: Iterable[BusyPeriod]) -> Account:
    """Return how the time of an answer is split."""
    busy = tuple(busy)
    spans = moments.spans()
    others: dict[str, float] = {}
    for item in busy:
        begin_s, end_s = clip(item, moments.stopped_s, moments.heard_s)
        others[item.who] = others.get(item.who, 0.0) + end_s - begin_s
    return Account(
        v2v_s=moments.v2v_s,
        parts={name: end_s - begin_s for name, (begin_s, end_s) in spans.items()},
        own={name: span[1] - span[0] - covered_s(busy, *span) for name, span in spans.items()},
        others=others,
        moments=moments,
        busy=busy,
    )


def covered_s(busy: Iterable[BusyPeriod], begin_s: float, end_s: float) -> float:
    """Return how many seconds of a span at least one part was busy; overlaps count once."""
    covered, until_s = 0.0, begin_s
    for from_s, to_s in sorted(clip(period, begin_s, end_s) for period in busy if period.excused):
        covered += max(0.0, to_s - max(from_s, until_s))
        until_s = max(until_s, to_s)
    return covered


def clip(busy: BusyPeriod, begin_s: float, end_s: float) -> tuple[float, float]:
    """Return the part of a busy period inside a span; it may be empty."""
    from_s = min(max(busy.begin_s, begin_s), end_s)
    return from_s, max(from_s, min(busy.end_s, end_s))


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Our overhead compared with the other side's, over turns that were asked in pairs."""

    ours: Spread
    theirs: Spread
    ratio: float  # of the medians
    difference: Spread  # ours minus theirs, pair by pair

    @property
    def within_target(self) -> bool:
        """Whether our overhead meets its target."""
        return self.ours.p50_s <= TARGET.p50_s and self.ours.p95_s <= TARGET.p95_s


def compare(ours: Sequence[Account], theirs: Sequence[Account]) -> Comparison:
    """Return the comparison; both sequences have the pairs in the same order."""
    our_s, their_s = [turn.own_s for turn in ours], [turn.own_s for turn in theirs]
    our_spread, their_spread = spread(our_s), spread(their_s)
    return Comparison(
        ours=our_spread,
        theirs=their_spread,
        ratio=our_spread.p50_s / their_spread.p50_s if their_spread.p50_s else float("inf"),
        difference=spread([a - b for a, b in zip(our_s, their_s, strict=True)]),
    )
