"""The decision of one piece of work: a turn's answer, an utterance's voice, an utterance's words.

One rung is asked. If it fails, the next is asked at once. If it is late, it becomes suspect and the
next is asked as well, if the stage's allowance has room for a race: the late one is not killed
until another speaks, the first to give content wins, and the loser is called off. Without room the
late one is replaced when its patience is over. When nobody new is left the same rung may be asked
again, if what happened is transient and the deadline allows; then the work is exhausted. Every
attempt ends: by its own word, by another's, or by the deadline.

Output counts by attempt number: what comes from another attempt than `winner` is late, and dropped.
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
    """Which rung answers, and until when.

        failover = Failover(standings, pace=Pace(), allowance=Allowance(), numbers=count(1))
        failover.start(until, now)                       # Start(attempt=1, provider="a", ...)
        failover.handle(Progressed(attempt=1), now)      # Win(attempt=1, provider="a")
        failover.tick(now)                               # when `wake_at` has come

    Attributes:
        choice: Who was asked, and who may be.
        until: The deadline; it moves when sound of the answer is queued, not when the line is held.
        winner: The attempt that is heard.
        over: Whether nothing more will happen.
        lag: How long we stalled ourselves, which makes nobody late; shared by all calls.
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
        """Prepare for one piece of work.

        Args:
            standings: The stage's ladder.
            pace: How patient to be.
            allowance: The stage's room for extra attempts, shared by all calls.
            numbers: Gives attempt numbers; one for a call, so that no two attempts share one.
            hedges: The room for a second rung started before the first is late; None: never.
            stay_with: The rung that the caller knows.
        """
        self.choice = RungChoice(standings, allowance=allowance, stay_with=stay_with)
        self.until: Deadline  # from the start on
        self.winner: int | None = None
        self.over = False
        self.lag = Lag()
        self._pace = pace
        self._numbers = numbers
        self._hedges = hedges
        self._running: dict[int, Run] = {}
        self._again: tuple[float, NextRung] | None = None  # when to ask whom again

    @property
    def wake_at(self) -> float | None:
        """The moment at which `tick` has something to do, or None."""
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
        """Decide on what happened to an attempt; what comes of an ended one is ignored."""
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
                # Our own stall has cost it the time to answer: it is asked again.
                del self._running[run.attempt]
                self.winner = None if self.winner == run.attempt else self.winner
                self.choice.take_back(run.provider)
                actions = () if self._running else self._next(now)
            case Owed():
                run.owed(self.lag.provider_s(now))
        return actions

    def cancel(self, because: CancelReason) -> tuple[Action, ...]:
        """Call everything off: the caller spoke, or hung up."""
        runs, self._running, self._again, self.over = self._running, {}, None, True
        return tuple(run.cancelled(because) for run in runs.values())

    def tick(self, now: float) -> tuple[Action, ...]:
        """Do what is due by the passing of time; our own stall is known before anybody is late."""
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
        if now < lag.moment_of(run.late_at(self._pace)):  # nobody is late: it is time for a hedge
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
        others = [text for text in self._running.values() if text is not run]
        now_s = self.lag.provider_s(now)
        run.spoke, run.last = True, now_s
        run.late, run.replaceable, run.hedge_at = False, False, None
        self._again = None
        for text in others:
            if text.late:
                self.choice.note_failure(text.provider, None)
        ended = tuple(
            text.abandoned(now_s=now_s) if text.late else text.cancelled("outrun")
            for text in others
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
        """Go on without an attempt that failed; None: by our own watch."""
        del self._running[run.attempt]
        self.winner = None if self.winner == run.attempt else self.winner
        self.choice.note_failure(run.provider, failure)
        if any(not text.late for text in self._running.values()):
            return ()  # a rung that is not late is already asked
        return self._next(now)

    def _next(self, now: float) -> tuple[Action, ...]:
        """Ask the next rung, or give the work up if nobody is left."""
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
        """Ask a rung as well as those that are asked; None: nobody is to be."""
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
