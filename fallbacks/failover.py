"""Failover for one request: a turn's answer, an utterance's voice, an utterance's words.

One rung is asked. If it fails, the next is asked at once. If it is late, it becomes suspect and the
next is asked as well, provided the stage's allowance has room for a race. The late one keeps
running until another produces output: the first to give content wins, and the loser is cancelled.
Without room, the late one is replaced when its patience is over. When no new rung is left, the same
rung may be asked again, if the failure is transient and the deadline allows. Then the request is
exhausted. Every attempt ends: by itself, by another's success, or at the deadline.

Output counts by attempt number: whatever comes from an attempt other than `winner` is late, and is
dropped.
"""

from collections.abc import Iterator
from dataclasses import replace

from fallbacks.attempts import (
    Action,
    AttemptEvent,
    CancelReason,
    Done,
    Exhausted,
    Failed,
    Finished,
    Idled,
    Lapsed,
    Owed,
    Progressed,
    Start,
    Suspect,
    Win,
)
from fallbacks.deadline import Deadline
from fallbacks.failure import Failure, Kind
from fallbacks.ladder import Allowance, NextRung, Pace, RungChoice, Standings, late_after_s
from fallbacks.lag import Lag
from fallbacks.run import Run


class Failover:
    """Decides which rung answers, and until when.

        failover = Failover(standings, pace=Pace(), allowance=Allowance(), numbers=count(1))
        failover.start(until, now)                       # Start(attempt=1, provider="a", ...)
        failover.handle(Progressed(attempt=1), now)      # Win(attempt=1, provider="a")
        failover.tick(now)                               # at `wake_at`

    Attributes:
        choice: The rungs asked so far, and those that may be asked.
        until: The deadline; it moves when audio of the answer is queued, not when a filler is.
        winner: The attempt whose output is used.
        over: Whether nothing more will happen.
        lag: Our own stalls, which make no rung late; shared by all calls.
    """

    def __init__(
        self,
        standings: Standings,
        *,
        pace: Pace,
        allowance: Allowance,
        numbers: Iterator[int],
        hedges: Allowance | None = None,
        stay_with: str | None = None,
    ) -> None:
        """Prepare for one request.

        Args:
            standings: The stage's ladder.
            pace: How patient to be.
            allowance: The stage's room for extra attempts, shared by all calls.
            numbers: Gives attempt numbers; one iterator a call, so that no two attempts share one.
            hedges: The room for a second rung before the first is late; `None` if never.
            stay_with: The rung that the caller knows.
        """
        self.choice = RungChoice(standings, allowance=allowance, stay_with=stay_with)
        self.until: Deadline  # set by `start`
        self.winner: int | None = None
        self.over = False
        self.lag = Lag()
        self._pace = pace
        self._numbers = numbers
        self._hedges = hedges
        self._running: dict[int, Run] = {}
        self._again: tuple[float, NextRung] | None = None  # when to ask which rung again

    @property
    def wake_at(self) -> float | None:
        """When to call `tick`, or `None`."""
        if self.over:
            return None
        runs = self._running.values()
        moments = [at for run in runs for at in run.moments(self._pace, self.until, self.lag)]
        if self._again is not None:
            moments.append(self._again[0])
        return min(moments, default=None)

    def start(self, until: Deadline, now: float) -> tuple[Action, ...]:
        """Ask the first rung."""
        self.until = until
        if self._hedges is not None:
            self._hedges.note()
        return self._next(now)

    def handle(self, event: AttemptEvent, now: float) -> tuple[Action, ...]:
        """Decide on an event of an attempt; events of an ended attempt are ignored."""
        run = self._running.get(event.attempt)
        if run is None or self.over:
            return ()
        actions: tuple[Action, ...] = ()
        match event:
            case Progressed():
                actions = self._progressed(run, now)
            case Failed():
                actions = self._without(run, event.failure, now)
            case Finished():
                actions = self._finished(run, now)
            case Idled():
                run.owes = run.late = run.replaceable = False
            case Lapsed():
                # Our own stall used up its time to answer: it is asked again.
                del self._running[run.attempt]
                self.winner = None if self.winner == run.attempt else self.winner
                self.choice.take_back(run.provider)
                actions = () if self._running else self._next(now)
            case Owed():
                run.owed(self.lag.provider_s(now))
        return actions

    def cancel(self, because: CancelReason) -> tuple[Action, ...]:
        """Cancel everything: the caller spoke, or hung up."""
        runs, self._running, self._again, self.over = self._running, {}, None, True
        return tuple(run.cancelled(because) for run in runs.values())

    def tick(self, now: float) -> tuple[Action, ...]:
        """Do what is due by now; our own stalls are counted before any rung is called late."""
        self.lag.see(now)
        actions: list[Action] = []
        while not self.over and (at := self.wake_at) is not None and at <= now:
            actions += self._due(now)
        return tuple(actions)

    def _due(self, now: float) -> tuple[Action, ...]:
        if self._again is not None and self._again[0] <= now:
            (_, again), self._again = self._again, None
            usable = again.provider in self.choice.ranked(self.until, now)
            return self._start(again, now) if usable else self._next(now)
        runs = self._running.values()
        lag, until, now_s = self.lag, self.until, self.lag.provider_s(now)
        run = next(
            run for run in runs if any(at <= now for at in run.moments(self._pace, until, lag))
        )
        if run.late:
            return (run.abandoned(now_s=now_s), *self._without(run, None, now))
        if now < lag.moment_of(run.late_at(self._pace)):  # not late yet: it is time for a hedge
            run.hedge_at = None
            second = self.choice.find_second(until, runs, now, allowance=self._hedges, hedge=True)
            return self._start(second, now)
        run.late, run.hedge_at = True, None
        suspect = Suspect(attempt=run.attempt, provider=run.provider, kind=run.kind)
        raced = self._start(self.choice.find_second(until, runs, now), now)
        if len(self._running) == 1:
            fresh = self.choice.find_fresh(self.until, self._running.values(), now)
            run.replaceable = fresh is not None
        return (suspect, *raced)

    def _progressed(self, run: Run, now: float) -> tuple[Action, ...]:
        others = [other for other in self._running.values() if other is not run]
        now_s = self.lag.provider_s(now)
        run.spoke, run.last = True, now_s
        run.late, run.replaceable, run.hedge_at = False, False, None
        self._again = None
        for other in others:
            if other.late:
                self.choice.note_failure(other.provider, None)
        ended = tuple(
            other.abandoned(now_s=now_s) if other.late else other.cancelled("outrun")
            for other in others
        )
        self._running = {run.attempt: run}
        if self.winner == run.attempt:
            return ended
        self.winner = run.attempt
        return (Win(attempt=run.attempt, provider=run.provider), *ended)

    def _finished(self, run: Run, now: float) -> tuple[Action, ...]:
        if not run.spoke and not self._pace.silent_end_ok:
            silent = run.abandoned(Kind.SILENT, now_s=self.lag.provider_s(now))
            return (silent, *self._without(run, None, now))
        del self._running[run.attempt]
        self.winner = run.attempt
        done = Done(attempt=run.attempt, provider=run.provider)
        return (done, *self.cancel("outrun"))

    def _without(self, run: Run, failure: Failure | None, now: float) -> tuple[Action, ...]:
        """Continue without an attempt that failed; `failure` is `None` if we gave it up as late."""
        del self._running[run.attempt]
        self.winner = None if self.winner == run.attempt else self.winner
        self.choice.note_failure(run.provider, failure)
        if any(not other.late for other in self._running.values()):
            return ()  # a rung that is not late is already asked
        return self._next(now)

    def _next(self, now: float) -> tuple[Action, ...]:
        """Ask the next rung, or give up if none is left."""
        found = self.choice.find_next(self.until, self._running.values(), now)
        if found is not None and found.wait_s > 0:
            self._again = (now + found.wait_s, replace(found, wait_s=0.0))
            return ()
        if found is not None:
            return self._start(found, now)
        if self._running:
            return ()
        self.over = True
        return (Exhausted(attempts=self.choice.attempts),)

    def _start(self, candidate: NextRung | None, now: float) -> tuple[Action, ...]:
        """Start an attempt beside those in progress, unless `candidate` is `None`."""
        if candidate is None:
            return ()
        provider, attempt = candidate.provider, next(self._numbers)
        standing = self.choice.note_start(candidate)
        now_s = self.lag.provider_s(now)
        hedged = self._hedges is not None and not candidate.extra
        self._running[attempt] = Run(
            attempt=attempt,
            provider=provider,
            started=now_s,
            last=now_s,
            patience_s=late_after_s(standing, self._pace),
            hedge_at=now_s + standing.p95_s if hedged and standing is not None else None,
        )
        start = Start(
            attempt=attempt,
            provider=provider,
            until=self.until,
            extra=candidate.extra,
            mended=candidate.mended,
            hedge=candidate.hedge,
        )
        return (start,)
