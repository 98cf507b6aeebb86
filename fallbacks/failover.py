"""The decision of one piece of work: a turn's answer, an utterance's voice, an utterance's words.

One rung is asked. If it fails, the next is asked at once. If it is late, it becomes suspect and the
next is asked as well, if the stage's allowance has room for a race: the late one is not killed
until another speaks, the first to give content wins, and the loser is called off. Without room the
late one is replaced when its patience is over. When nobody new is left the same rung may be asked
again, if what happened is transient and the deadline allows; then the work is exhausted. Every
attempt ends: by its own word, by another's, or by the deadline.

Output counts by attempt number: what comes from another attempt than `winner` is late, and dropped.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from fallbacks.attempts import (
    Action,
    AttemptEvent,
    Done,
    Exhausted,
    Failed,
    Finished,
    Idled,
    Owed,
    Progressed,
    Start,
    Suspect,
    Win,
)
from fallbacks.deadline import Deadline
from fallbacks.failure import Failure, Kind, Scope
from fallbacks.health import Standing
from fallbacks.ladder import Allowance, Pace, late_after_s, may_ask_again, rank
from fallbacks.run import Run

Standings = Callable[[float], Sequence[Standing]]
"""The stage's ladder as it stands at a moment, such as `Roster.standings` with its stage given."""

NO_ACTIONS: Final[tuple[Action, ...]] = ()


class Failover:
    """Which rung answers, and until when."""

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
        self._standings = standings
        self._pace = pace
        self._allowance = allowance
        self._numbers = numbers
        self._hedges = hedges
        self._stay_with = stay_with
        self._until = Deadline(at=0.0)
        self._running: dict[int, Run] = {}
        self._starts: dict[str, int] = {}
        self._failures: dict[str, Failure | None] = {}
        self._mended: dict[str, bool] = {}  # whose payload was wrong, and whether it was mended
        self._again: tuple[float, str, bool] | None = None  # when to ask whom again, and if extra
        self.winner: int | None = None
        self.over = False

    @property
    def attempts(self) -> int:
        """How many attempts were started."""
        return sum(self._starts.values())

    @property
    def wake_at(self) -> float | None:
        """The moment at which `tick` has something to do, or None."""
        if self.over:
            return None
        moments = [
            moment
            for run in self._running.values()
            for moment in run.moments(self._pace, self._until)
        ]
        if self._again is not None:
            moments.append(self._again[0])
        return min(moments, default=None)

    def standbys(self, now: float) -> tuple[Standing, ...]:
        """Return the rungs that may be asked and have not been, for this work."""
        standings = self._standings(now)
        return tuple(
            each for each in standings if each.usable and each.provider not in self._starts
        )

    def start(self, until: Deadline, *, now: float) -> tuple[Action, ...]:
        """Ask the first rung."""
        self._until = until
        if self._hedges is not None:
            self._hedges.note()
        return self._next(now)

    def move(self, until: Deadline) -> None:
        """Take in a new deadline: audio was queued, or something was said to hold the line."""
        self._until = until

    def handle(self, event: AttemptEvent, *, now: float) -> tuple[Action, ...]:
        """Take in what happened to an attempt; what comes of an ended one is late and ignored."""
        run = self._running.get(event.attempt)
        if run is None or self.over:
            return ()
        match event:
            case Progressed():
                return self._progressed(run, now)
            case Failed():
                return self._failed(run, event.failure, now=now)
            case Finished():
                return self._finished(run, now)
            case Idled():
                run.owes = run.late = run.replaceable = False
            case Owed():
                run.owed(now)
        return ()

    def cancel(self, because: str) -> tuple[Action, ...]:
        """Call everything off: the caller spoke, or hung up."""
        self.over = True
        return self._call_off(because)

    def tick(self, now: float) -> tuple[Action, ...]:
        """Do what is due by the passing of time."""
        actions: list[Action] = []
        while not self.over and (at := self.wake_at) is not None and at <= now:
            actions += self._due(now)
        return tuple(actions)

    def _due(self, now: float) -> tuple[Action, ...]:
        if self._again is not None and self._again[0] <= now:
            (_, provider, extra), self._again = self._again, None
            usable = provider in self._ranked(now)  # it may have been taken out meanwhile
            return self._start(provider, now, extra=extra) if usable else self._next(now)
        run = next(
            run
            for run in self._running.values()
            if any(at <= now for at in run.moments(self._pace, self._until))
        )
        if run.late:
            return self._give_up(run, now)
        if now < run.late_at(self._pace):
            run.hedge_at = None
            return self._race(now, allowance=self._hedges, hedge=True)
        run.late, run.hedge_at = True, None
        suspect = Suspect(attempt=run.attempt, provider=run.provider, kind=run.kind)
        raced = self._race(now, allowance=self._allowance)
        alone = len(self._running) == 1
        run.replaceable = alone and self._fresh(now) is not None
        return (suspect, *raced)

    def _progressed(self, run: Run, now: float) -> tuple[Action, ...]:
        others = [each for each in self._running.values() if each is not run]
        run.spoke, run.last = True, now
        run.late, run.replaceable, run.hedge_at = False, False, None
        self._again = None
        ended: list[Action] = [self._lost(each, now) for each in others]
        self._running = {run.attempt: run}
        if self.winner == run.attempt:
            return tuple(ended)
        self.winner = run.attempt
        return (Win(attempt=run.attempt, provider=run.provider), *ended)

    def _lost(self, run: Run, now: float) -> Action:
        if run.late:
            self._failures[run.provider] = None
            return run.abandoned(now=now)
        return run.cancelled("outrun")

    def _finished(self, run: Run, now: float) -> tuple[Action, ...]:
        if not run.spoke and not self._pace.silent_end_ok:
            return (run.abandoned(Kind.SILENT, now=now), *self._without(run, now, None))
        del self._running[run.attempt]
        self.winner, self.over = run.attempt, True
        return (Done(attempt=run.attempt, provider=run.provider), *self._call_off("outrun"))

    def _failed(self, run: Run, failure: Failure, *, now: float) -> tuple[Action, ...]:
        if failure.scope is Scope.PAYLOAD:
            self._mended.setdefault(run.provider, False)
        return self._without(run, now, failure)

    def _give_up(self, run: Run, now: float) -> tuple[Action, ...]:
        return (run.abandoned(now=now), *self._without(run, now, None))

    def _without(self, run: Run, now: float, failure: Failure | None) -> tuple[Action, ...]:
        """Go on without an attempt that failed; None: by our own watch."""
        self._forget(run)
        self._failures[run.provider] = failure
        if any(not each.late for each in self._running.values()):
            return ()  # a rung that is not late is already asked
        return self._next(now)

    def _forget(self, run: Run) -> None:
        del self._running[run.attempt]
        if self.winner == run.attempt:
            self.winner = None

    def _next(self, now: float) -> tuple[Action, ...]:
        """Ask the next rung; free of the allowance, for nobody else is being asked in vain."""
        for provider in self._ranked(now):
            if self._mended.get(provider) is False:  # the rung is well: it was our payload
                self._mended[provider] = True
                return self._start(provider, now, extra=False, mended=True)
        fresh = self._fresh(now)
        if fresh is not None:
            return self._start(fresh, now, extra=False)
        return () if self._running else self._same_rung(now)

    def _race(
        self, now: float, *, allowance: Allowance | None, hedge: bool = False
    ) -> tuple[Action, ...]:
        """Ask another rung as well, or the same once more if it is the only one left."""
        if len(self._running) > 1 or allowance is None:
            return ()
        second = self._fresh(now) or next(
            (each for each, wait_s in self._again_after(now) if wait_s == 0), None
        )
        if second is None or not allowance.take():
            return ()
        return self._start(second, now, extra=True, hedge=hedge)

    def _same_rung(self, now: float) -> tuple[Action, ...]:
        """Nobody new is left: ask one again, at once or in a moment, or give the work up.

        Who said that he failed costs nothing while he is asked again, and his breaker bounds how
        often that is done. Who only let everybody wait may still be at work: that is paid for.
        """
        several = len(self._ranked(now)) > 1
        for provider, wait_s in self._again_after(now):
            failure = self._failures.get(provider)
            waited = failure is None or failure.kind is Kind.TIMEOUT
            extra = several and waited
            if extra and not self._allowance.take():
                continue
            if wait_s > 0:
                self._again = (now + wait_s, provider, extra)
                return ()
            return self._start(provider, now, extra=extra)
        self.over = True
        return (Exhausted(attempts=self.attempts),)

    def _again_after(self, now: float) -> Iterator[tuple[str, float]]:
        """The rungs that may be asked again, and in how many seconds."""
        for provider in self._ranked(now):
            failure = self._failures.get(provider)
            tries = self._starts.get(provider, 0) - 1
            wait_s = may_ask_again(failure, self._until, now=now, tries=tries)
            if wait_s is not None:
                yield provider, wait_s

    def _start(
        self,
        provider: str,
        now: float,
        *,
        extra: bool,
        mended: bool = False,
        hedge: bool = False,
    ) -> tuple[Action, ...]:
        if not extra:
            self._allowance.note()
        standing = next((s for s in self._standings(now) if s.provider == provider), None)
        attempt = next(self._numbers)
        self._starts[provider] = self._starts.get(provider, 0) + 1
        hedges = self._hedges is not None and standing is not None and not extra
        self._running[attempt] = Run(
            attempt=attempt,
            provider=provider,
            started=now,
            last=now,
            patience_s=late_after_s(standing, self._pace),
            hedge_at=now + standing.p95_s if hedges and standing is not None else None,
        )
        start = Start(
            attempt=attempt,
            provider=provider,
            until=self._until,
            extra=extra,
            mended=mended,
            hedge=hedge,
        )
        return (start,)

    def _ranked(self, now: float) -> tuple[str, ...]:
        return rank(self._standings(now), self._until, now=now, stay_with=self._stay_with)

    def _fresh(self, now: float) -> str | None:
        """Return the best rung that was not asked yet, or that was only outrun when it was."""
        asked = {run.provider for run in self._running.values()} | self._failures.keys()
        free = [each for each in self._ranked(now) if each not in asked]
        return next((each for each in free if each not in self._starts), next(iter(free), None))

    def _call_off(self, because: str) -> tuple[Action, ...]:
        runs, self._running, self._again = self._running, {}, None
        return tuple(run.cancelled(because) for run in runs.values())
