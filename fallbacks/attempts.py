"""One request on a stage's ladder: a turn's answer, an utterance's voice, an utterance's words.

One rung is asked. If it fails, the next is asked at once. If it is late, it becomes suspect and the
next is asked as well, provided the stage's allowance has room for a race. The late one keeps
running until another produces output: the first to give content wins, and the loser is cancelled.
Without room, the late one is replaced when its patience is over. When no new rung is left, the same
rung may be asked again, if the failure is transient and the deadline allows. Then the request is
exhausted. Every attempt ends: by itself, by another's success, or at the deadline.

Each attempt has a permit of its rung. Each end of an attempt returns the permit, changes the rung's
availability for all other calls, and is published; only then is the next rung chosen.
"""

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, replace
from typing import Final, Literal

from fallbacks.attempt_events import (
    Ask,
    AttemptAction,
    AttemptEvent,
    CancelReason,
    Done,
    Dropped,
    Exhausted,
    Failed,
    Finished,
    Paused,
    Progressed,
    Resumed,
    SignOfLife,
    Stop,
    TellFact,
    Use,
)
from fallbacks.availability import RungAvailability
from fallbacks.breaker import Permit
from fallbacks.deadline import Deadline
from fallbacks.facts import (
    AttemptDropped,
    AttemptFailed,
    AttemptStarted,
    AttemptWon,
    Fact,
    HedgeStarted,
    LimitReached,
    RungChosen,
    StageExhausted,
)
from fallbacks.failure import Failure, Kind, failed
from fallbacks.ladder import NextRung, Pace, RungChoice, StagePolicy
from fallbacks.lag import Lag
from fallbacks.limits import may_wait_until

LIMITS: Final = frozenset({Kind.TIMEOUT, Kind.STALLED})  # the kinds of a library's own time-out


@dataclass(slots=True, kw_only=True, eq=False)
class _LiveAttempt:
    """One attempt in progress.

    Its silence is measured on the provider's clock, which stands still while we stall
    (`fallbacks/lag.py`).
    """

    number: int
    provider: str
    permit: Permit
    started: float  # monotonic; when it really began, if it had to wait
    stalled_s: float  # our own stalls until then
    last: float  # its silence is counted from here; on the provider's clock
    patience_s: float  # how long its first output may take
    hedge_at: float | None  # when another is started although this one is not late
    spoke: bool = False
    paused: bool = False
    late: bool = False
    replaceable: bool = False  # late, with a fresh rung available and no room for a race

    @property
    def kind(self) -> Kind:
        """The kind of failure that its silence is."""
        return Kind.STALLED if self.spoke else Kind.TIMEOUT

    def late_at(self, pace: Pace) -> float:
        """Return when it counts as late, and another is asked as well."""
        return self.last + (pace.gap_s if self.spoke else self.patience_s)

    def due_at(self, pace: Pace, until: Deadline, lag: Lag) -> float | None:
        """Return when it needs an action if it stays silent; on our own clock."""
        if self.paused:
            return None
        late_at = self.late_at(pace)
        if not self.late:
            first = late_at if self.hedge_at is None else min(late_at, self.hedge_at)
            return lag.moment_of(first)
        # A late one is ended at the deadline, or sooner if another can replace it. The deadline is
        # the caller's, and it passes while we stall, too. In that case the sockets are read first.
        at = lag.moment_of(max(late_at, self.last + pace.late_max_s))
        return at if self.replaceable else max(at, until.at, lag.ready_at)

    def took_s(self, now: float, lag: Lag) -> float:
        """Return how much of its time was the provider's."""
        return now - self.started - (lag.stalled_s(now) - self.stalled_s)

    def resume(self, now_s: float) -> None:
        """Count its silence from now; if it was already counted, more work changes nothing."""
        if self.paused:
            if self.hedge_at is not None:  # it was waiting, and is asked only now
                self.hedge_at += now_s - self.last
            self.paused, self.last = False, now_s

    def pause(self) -> None:
        """Count no silence."""
        self.paused, self.late, self.replaceable = True, False, False


class Attempting:
    """One request on a stage's ladder.

    The stage passes in events, publishes the returned ones and performs the other actions, in
    order:

        for action in attempting.handle(Progressed(attempt=attempt), now):
            match action:
                case TellFact():
                    tell(action.fact)
                case Ask():
                    ask(action.provider, action.attempt)
                case Stop():
                    drop(action.attempt)
                ...

    `tick` is called at `wake_at`. Output counts by attempt number: whatever comes from an attempt
    other than `winner` is late, and is dropped.

    Attributes:
        policy: The stage.
        call: Identifies the call, where calls queue for a place.
        until: The deadline. It moves when audio of the answer is queued or discarded, not when a
            filler is, so the answer's own attempts keep their patience.
        winner: The attempt whose output is used.
        over: Whether nothing more will happen.
    """

    def __init__(
        self,
        policy: StagePolicy,
        *,
        numbers: Iterator[int],
        stay_with: str | None = None,
        queues: bool = False,
        prompt: Callable[[float], Deadline] | None = None,
        offered: Callable[[str], bool] = lambda _: True,
        hears: Callable[[str], bool] = lambda _: False,
    ) -> None:
        """Prepare.

        Args:
            policy: The stage.
            numbers: Gives attempt numbers; one for each call.
            stay_with: The rung that the caller knows.
            queues: Whether an attempt waits for a place at the rung's gate, and begins then.
            prompt: Returns when the caller should hear something; `None` if a late answer will do.
            offered: Whether a rung can be asked in this call.
            hears: Whether a recogniser already hears this call.
        """
        self.policy = policy
        self.call: Hashable = numbers
        self.until: Deadline  # set by `start`
        self.winner: int | None = None
        self.over = False
        self._lag = policy.lag
        self._numbers = numbers
        self._queues = queues
        self._prompt = prompt
        self._expected = stay_with  # the rung that the caller expects to hear
        self._choice = RungChoice(policy, stay_with=stay_with, offered=offered, hears=hears)
        self._running: dict[int, _LiveAttempt] = {}
        self._again: tuple[float, NextRung] | None = None  # when to ask which rung again
        self._facts: list[Fact] = []
        self._actions: list[AttemptAction] = []

    @property
    def attempts(self) -> int:
        """The number of attempts started."""
        return self._choice.attempts

    @property
    def wake_at(self) -> float | None:
        """When to call `tick`, or `None`."""
        if self.over:
            return None
        moments = [self._due_at(attempt) for attempt in self._running.values()]
        moments += [] if self._again is None else [self._again[0]]
        return min((moment for moment in moments if moment is not None), default=None)

    def start(self, until: Deadline, now: float) -> tuple[AttemptAction, ...]:
        """Ask the first rung."""
        self.until = until
        if self.policy.hedges is not None:
            self.policy.hedges.note()
        self._ask_next(now)
        return self._flush()

    def handle(self, event: AttemptEvent, now: float) -> tuple[AttemptAction, ...]:
        """Decide on an event of an attempt; events of an ended attempt are ignored."""
        attempt = self._running.get(event.attempt)
        if attempt is None or self.over:
            return ()
        match event:
            case Progressed():
                self._progress(attempt, now)
            case SignOfLife() | Paused() | Resumed():
                self._watch(attempt, event, now)
            case Finished():
                self._finish(attempt, now)
            case Failed():
                self._fail(attempt, event, now)
            case Dropped():
                self._drop_blameless(attempt, event.because, now)
        return self._flush()

    def tick(self, now: float) -> tuple[AttemptAction, ...]:
        """Do what is due by now; our own stalls are counted before any rung is called late."""
        self._lag.see(now)
        while not self.over and (at := self.wake_at) is not None and at <= now:
            self._do_due(now)
        return self._flush()

    def cancel(self, because: CancelReason) -> tuple[AttemptAction, ...]:
        """Cancel everything: the caller spoke, or hung up."""
        self._cancel(because)
        return self._flush()

    def _do_due(self, now: float) -> None:
        if self._again is not None and self._again[0] <= now:
            (_, again), self._again = self._again, None
            if again.provider in self._choice.ranked(self.until, now):
                self._ask(again, now)
            else:
                self._ask_next(now)
            return
        due = ((attempt, self._due_at(attempt)) for attempt in self._running.values())
        attempt = next(attempt for attempt, at in due if at is not None and at <= now)
        if attempt.late:
            self._abandon(attempt, attempt.kind, now)
            return
        early = now < self._lag.moment_of(attempt.late_at(self.policy.pace))
        second = self._choice.find_second(self.until, self._providers, now, hedge=early)
        attempt.hedge_at = None
        if not early:
            attempt.late = True
            self._facts += self._rung(attempt.provider).suspect(attempt.kind, now)
        if second is not None:
            self._ask(second, now)
        if not early and len(self._running) == 1:
            fresh = self._choice.find_fresh(self.until, self._providers, now)
            attempt.replaceable = fresh is not None

    def _progress(self, attempt: _LiveAttempt, now: float) -> None:
        others = [other for other in self._running.values() if other is not attempt]
        attempt.spoke, attempt.last = True, self._lag.provider_s(now)
        attempt.late, attempt.replaceable, attempt.hedge_at = False, False, None
        self._again = None
        self._running = {attempt.number: attempt}
        if self.winner != attempt.number:
            self._win(attempt, now)
        for other in others:
            if other.late:
                self._stop_late(other, other.kind, now)
            else:
                self._stop(other, "outrun")

    def _win(self, attempt: _LiveAttempt, now: float) -> None:
        self.winner, before, self._expected = attempt.number, self._expected, attempt.provider
        self._actions.append(Use(attempt=attempt.number, provider=attempt.provider))
        stage, provider, after_s = (
            self.policy.stage,
            attempt.provider,
            attempt.took_s(now, self._lag),
        )
        if self._lag.stalled_s(now) == attempt.stalled_s:  # else its arrival time is unknown
            self._rung(provider).latency.took(after_s)
        self._facts.append(
            AttemptWon(stage=stage, provider=provider, attempt=attempt.number, after_s=after_s)
        )
        if before not in (None, provider):
            self._facts.append(
                RungChosen(stage=stage, before=before, after=provider, cause="failover")
            )

    def _watch(
        self, attempt: _LiveAttempt, event: SignOfLife | Paused | Resumed, now: float
    ) -> None:
        """Count an attempt's silence from now, or not at all."""
        if not isinstance(event, Resumed):
            attempt.pause()
        elif event.waited:
            self._facts.append(self._limit_reached(attempt, asked=True, now=now))
        if isinstance(event, Resumed) and event.began:
            attempt.started, attempt.stalled_s = now, self._lag.stalled_s(now)
        if not isinstance(event, Paused):
            attempt.resume(self._lag.provider_s(now))

    def _fail(self, attempt: _LiveAttempt, event: Failed, now: float) -> None:
        if self._is_our_lag(attempt, event, now):
            self._drop_blameless(attempt, "lag", now)
            return
        self._remove(attempt)
        self._choice.note_failure(attempt.provider, event.failure)
        self._blame(attempt, event.failure, now, heard_words=event.heard_words)
        self._go_on(now)

    def _finish(self, attempt: _LiveAttempt, now: float) -> None:
        if not attempt.spoke and not self.policy.pace.silent_end_ok:
            self._abandon(attempt, Kind.SILENT, now)
            return
        del self._running[attempt.number]
        self.winner, place = attempt.number, (self.policy.stage, attempt.provider)
        self._facts += self.policy.availability.succeeded(place, attempt.permit, now=now)
        self._actions.append(Done(attempt=attempt.number, provider=attempt.provider))
        self._cancel("outrun")

    def _drop_blameless(
        self, attempt: _LiveAttempt, because: Literal["limit", "lag", "length"], now: float
    ) -> None:
        """End an attempt without blaming its rung, which is asked again unless it has no place."""
        self._remove(attempt)
        if because == "limit":
            self._facts.append(self._limit_reached(attempt, asked=False, now=now))
            full = failed(Kind.RATE_LIMITED, self.policy.stage, provider=attempt.provider)
            self._choice.note_failure(attempt.provider, full)
        else:
            self._choice.take_back(attempt.provider)
        self._drop(attempt, because)
        if because == "limit" or not self._running:
            self._go_on(now)

    def _abandon(self, attempt: _LiveAttempt, kind: Kind, now: float) -> None:
        """End an attempt as failed, and go on without it."""
        self._remove(attempt)
        self._stop_late(attempt, kind, now)
        self._go_on(now)

    def _go_on(self, now: float) -> None:
        """Ask the next rung, unless one that is not late is already asked."""
        if all(attempt.late for attempt in self._running.values()):
            self._ask_next(now)

    def _ask_next(self, now: float) -> None:
        """Ask the next rung, or give up if none is left."""
        found = self._choice.find_next(self.until, self._providers, now)
        if found is not None and found.wait_s > 0:
            self._again = (now + found.wait_s, replace(found, wait_s=0.0))
        elif found is not None:
            self._ask(found, now)
        elif not self._running:
            self.over = True
            exhausted = StageExhausted(stage=self.policy.stage, attempts=self.attempts)
            self._facts.append(exhausted)
            self._actions.append(Exhausted(attempts=self.attempts))

    def _ask(self, candidate: NextRung, now: float) -> None:
        """Start an attempt, beside those in progress; if another call took the permit, go on."""
        provider, number = candidate.provider, next(self._numbers)
        found, rung = self._choice.note_start(candidate), self._rung(provider)
        hears = self._choice.hears(provider)
        permit = rung.permit(now) or rung.permit(now, hears=hears, last_resort=not hears)
        if permit is None:
            taken = failed(Kind.OVERLOADED, self.policy.stage, provider=provider)
            self._choice.note_failure(provider, taken)
            self._go_on(now)
            return
        now_s, queues = self._lag.provider_s(now), self._queues and provider in self.policy.gates
        hedged = self.policy.hedges is not None and not candidate.extra
        attempt = _LiveAttempt(
            number=number,
            provider=provider,
            permit=permit,
            started=now,
            stalled_s=self._lag.stalled_s(now),
            last=now_s,
            patience_s=self.policy.pace.late_after_s(found),
            hedge_at=now_s + found.p95_s if hedged and found else None,
            paused=queues,
        )
        self._tell_start(attempt, candidate, now)
        self._running[number] = attempt
        self._expected = self._expected or provider
        wait_until = self._wait_until(now) if queues else None
        self._actions.append(
            Ask(attempt=number, provider=provider, mended=candidate.mended, wait_until=wait_until)
        )

    def _tell_start(self, attempt: _LiveAttempt, candidate: NextRung, now: float) -> None:
        stage, provider, number = self.policy.stage, attempt.provider, attempt.number
        self._facts.append(
            AttemptStarted(
                stage=stage,
                provider=provider,
                attempt=number,
                extra=candidate.extra,
                left_s=self.until.left_s(now),
            )
        )
        ahead = next(iter(self._running.values()), None)
        if candidate.hedge and ahead is not None:
            hedged = HedgeStarted(
                stage=stage,
                provider=provider,
                attempt=number,
                behind=ahead.provider,
                after_s=ahead.took_s(now, self._lag),
            )
            self._facts.append(hedged)

    def _wait_until(self, now: float) -> Deadline:
        """Return how long an attempt may wait for a place before the next rung is asked."""
        return may_wait_until(
            self._choice.standbys(now),
            prompt=self._prompt(now) if self._prompt else self.until,
            until=self.until,
            then_s=self.policy.then_s,
        )

    def _remove(self, attempt: _LiveAttempt) -> None:
        del self._running[attempt.number]
        self.winner = None if self.winner == attempt.number else self.winner

    def _cancel(self, because: CancelReason) -> None:
        running, self._running, self._again, self.over = self._running, {}, None, True
        for attempt in running.values():
            self._stop(attempt, because)

    def _stop(self, attempt: _LiveAttempt, because: CancelReason) -> None:
        self._drop(attempt, because)
        self._actions.append(
            Stop(attempt=attempt.number, provider=attempt.provider, because=because)
        )

    def _stop_late(self, attempt: _LiveAttempt, kind: Kind, now: float) -> None:
        self._choice.note_failure(attempt.provider, None)
        late = failed(kind, self.policy.stage, provider=attempt.provider)
        self._blame(attempt, late, now)
        self._actions.append(
            Stop(attempt=attempt.number, provider=attempt.provider, because="late")
        )

    def _blame(
        self, attempt: _LiveAttempt, failure: Failure, now: float, *, heard_words: int = 0
    ) -> None:
        """Publish a failure, and count it against its rung in every call."""
        self._facts.append(
            AttemptFailed.of(
                failure,
                after_s=attempt.took_s(now, self._lag),
                attempt=attempt.number,
                heard_words=heard_words,
            )
        )
        self._facts += self.policy.availability.failed(
            attempt.permit, failure, now=now, call=self.call, chance=self.policy.chance()
        )

    def _drop(
        self, attempt: _LiveAttempt, because: CancelReason | Literal["limit", "lag", "length"]
    ) -> None:
        """Return an attempt's permit without blaming its rung."""
        stage, provider = self.policy.stage, attempt.provider
        self._rung(provider).breaker.take_back(attempt.permit)
        self._facts.append(
            AttemptDropped(stage=stage, provider=provider, attempt=attempt.number, because=because)
        )

    def _limit_reached(self, attempt: _LiveAttempt, *, asked: bool, now: float) -> LimitReached:
        return LimitReached(
            stage=self.policy.stage,
            provider=attempt.provider,
            attempt=attempt.number,
            waited_s=now - attempt.started,
            asked=asked,
        )

    def _is_our_lag(self, attempt: _LiveAttempt, event: Failed, now: float) -> bool:
        """Return whether a library's time-out ran out because we stalled."""
        if event.without_lag or event.failure.kind not in LIMITS:
            return False
        stalled = self._lag.stalled_s(now) > attempt.stalled_s
        return stalled and attempt.took_s(now, self._lag) < self.policy.pace.late_max_s

    def _due_at(self, attempt: _LiveAttempt) -> float | None:
        return attempt.due_at(self.policy.pace, self.until, self._lag)

    @property
    def _providers(self) -> list[str]:
        return [attempt.provider for attempt in self._running.values()]

    def _rung(self, provider: str) -> RungAvailability:
        return self.policy.availability.of(self.policy.stage, provider)

    def _flush(self) -> tuple[AttemptAction, ...]:
        facts, actions = self._facts, self._actions
        self._facts, self._actions = [], []
        return (*map(TellFact, facts), *actions)
