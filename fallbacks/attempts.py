"""One request on a stage's ladder: for an answer (LLM), for speech (TTS) or for words (STT).

One rung is asked. If it fails, the next is asked at once. If it is late, it becomes suspect, and
the next is asked as well if the stage's allowance permits a race. The first to produce content
wins, and the other is cancelled. If a race is not permitted, the late rung is replaced after its
longest permitted silence. When no new rung is left, a rung may be asked again, if its failure is
transient and the deadline permits. After that, the request is exhausted. Every attempt ends: by its
own result, when another one wins, or at the deadline.

Each attempt holds a permit of its rung. When it ends, the permit is returned, the rung's
availability is updated for all calls, and the end is published. Only then is the next rung chosen.
"""

from collections.abc import Callable, Collection, Hashable, Iterator
from dataclasses import replace
from typing import Final, Literal

from fallbacks.attempt_events import (
    Ask,
    AttemptAction,
    AttemptEvent,
    CancelReason,
    Done,
    Dropped,
    EmitEvent,
    Exhausted,
    Failed,
    Finished,
    Paused,
    Progressed,
    Resumed,
    SignOfLife,
    Stop,
    Use,
)
from fallbacks.availability import Availability, RungAvailability
from fallbacks.breaker import Permit
from fallbacks.deadline import Deadline
from fallbacks.events import (
    AttemptDropped,
    AttemptFailed,
    AttemptStarted,
    AttemptWon,
    FallbackEvent,
    HedgeStarted,
    LimitReached,
    RungChosen,
    StageExhausted,
)
from fallbacks.failure import Failure, Kind, Scope, failed
from fallbacks.ladder import NextRung, RungChoice, StagePolicy
from fallbacks.limits import may_wait_until

TIMEOUTS: Final = frozenset({Kind.TIMEOUT, Kind.STALLED})  # what a library's own time-out reports


class LiveAttempt:
    """One attempt in progress: when its silence is too long, and how its end counts.

    Silence is measured on the provider's clock, which stands still while we stall
    (`fallbacks/lag.py`).

    Attributes:
        number: Unique within the call.
        rung: The rung that is asked.
        provider: The rung's name.
        permit: The rung's permit for this attempt.
        spoke: Whether it has produced output.
        late: Whether it has been silent for too long, so that another rung may be asked as well.
        hedge_at: When another rung is asked although this one is not late, on the provider's clock.
        replaceable: Whether it is late, a rung can be asked in its place, and no race is permitted.
    """

    def __init__(
        self,
        number: int,
        rung: RungAvailability,
        permit: Permit,
        *,
        policy: StagePolicy,
        now: float,
        chosen: Availability | None,
        hedged: bool = False,
        paused: bool = False,
    ) -> None:
        """Start an attempt.

        Args:
            number: Unique within the call.
            rung: The rung that is asked.
            permit: The rung's permit for this attempt.
            policy: The stage's settings and state.
            now: Monotonic, in seconds.
            chosen: The rung's availability when it was chosen.
            hedged: Whether another rung may be asked before this one is late.
            paused: Whether it must wait for a place before it begins.
        """
        self.number = number
        self.provider = rung.provider
        self.spoke = self.late = self.replaceable = False
        self.rung = rung
        self.permit = permit
        self._policy = policy
        self._lag = policy.lag
        self._started_at = now  # after a wait for a place: when the wait ended
        self._stalled_at_start_s = policy.lag.stalled_s(now)  # the total of our own stalls
        self._silent_since = policy.lag.provider_s(now)  # on the provider's clock
        self._patience_s = policy.pace.late_after_s(chosen)  # how long its first output may take
        self._paused = paused
        self.hedge_at = self._silent_since + chosen.p95_s if hedged and chosen else None

    @property
    def silence_kind(self) -> Kind:
        """How its silence is classified if it becomes a failure."""
        return Kind.STALLED if self.spoke else Kind.TIMEOUT

    @property
    def late_at(self) -> float:
        """When it counts as late unless it sends something, on the provider's clock."""
        return self._silent_since + (self._policy.pace.gap_s if self.spoke else self._patience_s)

    def due_at(self, until: Deadline) -> float | None:
        """Return when to act if it stays silent, on our own clock; `None` while it is paused."""
        if self._paused:
            return None
        if not self.late:
            first = self.late_at if self.hedge_at is None else min(self.late_at, self.hedge_at)
            return self._lag.moment_of(first)
        # A late attempt is ended at the deadline, or sooner if another rung can replace it. The
        # caller's deadline may pass while we stall; then the sockets are read first.
        at = self._lag.moment_of(
            max(self.late_at, self._silent_since + self._policy.pace.late_max_s)
        )
        return at if self.replaceable else max(at, until.at, self._lag.ready_at)

    def took_s(self, now: float) -> float:
        """Return the time since its start, without our own stalls."""
        return now - self._started_at - (self._lag.stalled_s(now) - self._stalled_at_start_s)

    def is_our_lag(self, event: Failed, now: float) -> bool:
        """Return whether it is a library's time-out that expired only because we stalled."""
        if event.without_lag or event.failure.kind not in TIMEOUTS:
            return False
        stalled = self._lag.stalled_s(now) > self._stalled_at_start_s
        return stalled and self.took_s(now) < self._policy.pace.late_max_s

    def watch(
        self, event: Progressed | SignOfLife | Paused | Resumed, now: float
    ) -> list[FallbackEvent]:
        """Restart, pause or resume the measurement of its silence; return events to publish.

        `Progressed` and `SignOfLife` restart it, and the attempt is no longer late. `Paused` stops
        it. `Resumed` starts it again, but does not restart a measurement that is in progress; if
        the attempt `began`, its duration counts from now as well.
        """
        if isinstance(event, Progressed):
            self.spoke, self._silent_since = True, self._lag.provider_s(now)
            self.late, self.replaceable, self.hedge_at = False, False, None
            return []
        events: list[FallbackEvent] = []
        if isinstance(event, Resumed) and event.waited:
            # Before `_started_at` is moved below, because the event has the time waited.
            events.append(self.limit_reached(asked=True, now=now))
        if not isinstance(event, Resumed):  # a sign of life pauses here, and resumes below
            self._paused, self.late, self.replaceable = True, False, False
        elif event.began:
            self._started_at, self._stalled_at_start_s = now, self._lag.stalled_s(now)
        if self._paused and not isinstance(event, Paused):
            now_s = self._lag.provider_s(now)
            if self.hedge_at is not None:  # the wait before the hedge restarts, too
                self.hedge_at += now_s - self._silent_since
            self._paused = False
            if not (isinstance(event, Resumed) and event.still_silent):
                self._silent_since = now_s
        return events

    def started(
        self, chosen: NextRung, until: Deadline, now: float, *, ahead: "LiveAttempt | None"
    ) -> list[FallbackEvent]:
        """Return the events of its start; `ahead` is the oldest attempt already in progress."""
        stage, provider, number = self._policy.stage, self.provider, self.number
        events: list[FallbackEvent] = [
            AttemptStarted(
                stage=stage,
                provider=provider,
                attempt=number,
                extra=chosen.extra,
                left_s=until.left_s(now),
            )
        ]
        if chosen.hedge and ahead is not None:
            hedged = HedgeStarted(
                stage=stage,
                provider=provider,
                attempt=number,
                behind=ahead.provider,
                after_s=ahead.took_s(now),
            )
            events.append(hedged)
        return events

    def won(self, now: float, *, expected: str | None) -> list[FallbackEvent]:
        """Record the time of its first output, unless we stalled meanwhile; return the events.

        `expected` is the rung that was in use or asked first; if this is another, it is a failover.
        """
        stage, provider, after_s = self._policy.stage, self.provider, self.took_s(now)
        # After a stall, its output may have waited unread in the socket for an unknown time.
        if self._lag.stalled_s(now) == self._stalled_at_start_s:
            self.rung.latency.add(after_s)
        events: list[FallbackEvent] = [
            AttemptWon(stage=stage, provider=provider, attempt=self.number, after_s=after_s)
        ]
        if expected not in (None, provider):
            events.append(
                RungChosen(stage=stage, before=expected, after=provider, cause="failover")
            )
        return events

    def failed(
        self, failure: Failure, now: float, *, call: Hashable, heard_words: int = 0
    ) -> tuple[FallbackEvent, ...]:
        """Count a failure against its rung, for all calls; return the events to publish.

        A 403 that a call's content may have caused is a refused request: only a probe's proves that
        the key is rejected.
        """
        if failure.kind is Kind.AUTH and failure.scope is Scope.REQUEST:
            failure = replace(failure, kind=Kind.BAD_REQUEST)
        policy, after_s = self._policy, self.took_s(now)
        counted = policy.availability.failed(
            self.permit, failure, now=now, call=call, chance=policy.chance()
        )
        known = self.rung.as_known(failure)
        event = AttemptFailed.of(
            known, after_s=after_s, attempt=self.number, heard_words=heard_words
        )
        return (event, *counted)

    def dropped(self, because: CancelReason | Literal["limit", "lag", "length"]) -> AttemptDropped:
        """Give its permit back without counting a failure, and return the event of its end."""
        self.rung.breaker.take_back(self.permit)
        return AttemptDropped(
            stage=self._policy.stage, provider=self.provider, attempt=self.number, because=because
        )

    def limit_reached(self, *, asked: bool, now: float) -> LimitReached:
        """Return the event that its rung had no free place.

        `asked` is whether a place became free in time, so that the rung was asked after all.
        """
        return LimitReached(
            stage=self._policy.stage,
            provider=self.provider,
            attempt=self.number,
            waited_s=now - self._started_at,
            asked=asked,
        )


class Attempting:
    """One request on a stage's ladder.

    The stage passes in events, publishes the returned ones and performs the other actions, in
    order:

        for action in attempting.handle(Progressed(attempt=attempt), now):
            match action:
                case EmitEvent():
                    emit(action.fact)
                case Ask():
                    ask(action.provider, action.attempt)
                case Stop():
                    drop(action.attempt)
                ...

    `tick` must be called at `wake_at`. The stage drops output of attempts other than `winner`.

    Attributes:
        policy: The stage's settings and state.
        call: Identifies the call to the rungs' gates and availability.
        until: The deadline; the stage updates it. It moves when audio of the answer is queued or
            discarded. Fillers do not move it, so they give the answer no more time.
        winner: The attempt whose output is used, or `None`.
        over: Whether the request has ended.
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
        """Create a request; `start` asks the first rung.

        Args:
            policy: The stage's settings and state.
            numbers: The call's attempt numbers.
            stay_with: The rung that was used before in this call, if it is preferred.
            queues: Whether an attempt begins only when it has a place at the rung's gate.
            prompt: Returns by when the caller should hear something. It limits the wait for a
                place; if it is `None`, `until` does.
            offered: Returns whether a rung can be asked in this call.
            hears: Returns whether a rung (a recogniser) already gets this call's audio.
        """
        self.policy = policy
        self.call: Hashable = numbers
        self.until: Deadline  # set by `start`
        self.winner: int | None = None
        self.over = False
        self._numbers = numbers
        self._queues = queues
        self._prompt = prompt
        self._expected = stay_with  # the rung in use; before any output, the one asked first
        self._choice = RungChoice(
            policy, call=numbers, stay_with=stay_with, offered=offered, hears=hears
        )
        self._running: dict[int, LiveAttempt] = {}
        self._planned_ask: tuple[float, NextRung] | None = None  # when to ask which rung
        self._events: list[FallbackEvent] = []
        self._actions: list[AttemptAction] = []

    @property
    def attempts(self) -> int:
        """The number of attempts started."""
        return self._choice.attempts

    def ask_only(self, providers: Collection[str], *, once: bool = False) -> None:
        """Ask no other rungs than these, and none of them again if `once`; before `start`."""
        self._choice.offered = providers.__contains__
        self._choice.repeats = not once

    @property
    def failed_alike(self) -> bool:
        """Whether all of several rungs have failed as if the request itself were to blame."""
        return self._choice.failed_alike

    @property
    def wake_at(self) -> float | None:
        """When to call `tick`, or `None`."""
        if self.over:
            return None
        moments = [attempt.due_at(self.until) for attempt in self._running.values()]
        moments += [] if self._planned_ask is None else [self._planned_ask[0]]
        return min((moment for moment in moments if moment is not None), default=None)

    def start(self, until: Deadline, now: float) -> tuple[AttemptAction, ...]:
        """Ask the first rung, once; if none can be asked, the request is exhausted at once.

        Also counts the request, because hedges may only be a share of all requests.
        """
        self.until = until
        if self.policy.hedges is not None:
            self.policy.hedges.note()
        self._ask_next(now)
        return self._take_actions()

    def handle(self, event: AttemptEvent, now: float) -> tuple[AttemptAction, ...]:
        """Return the actions for an event of an attempt; none if the attempt has ended."""
        attempt = self._running.get(event.attempt)
        if attempt is None or self.over:
            return ()
        match event:
            case Progressed():
                self._use_output(attempt, event, now)
            case SignOfLife() | Paused() | Resumed():
                self._events += attempt.watch(event, now)
            case Finished():
                self._complete(attempt, now)
            case Failed():
                self._count_failure_and_ask_next(attempt, event, now)
            case Dropped():
                self._drop_uncounted(attempt, event.because, now)
        return self._take_actions()

    def tick(self, now: float) -> tuple[AttemptAction, ...]:
        """Return the actions that are due by now; our own stalls do not make a rung late."""
        self.policy.lag.count_stall(now)
        while not self.over and (at := self.wake_at) is not None and at <= now:
            self._act_on_due(now)
        return self._take_actions()

    def cancel(self, because: CancelReason) -> tuple[AttemptAction, ...]:
        """End the request and stop its attempts; none of them counts as failed. May be repeated."""
        running, self._running, self._planned_ask, self.over = self._running, {}, None, True
        for attempt in running.values():
            self._report_stop(attempt, because)
        return self._take_actions()

    def _act_on_due(self, now: float) -> None:
        """Ask the rung whose wait is over, or act on the silence of the first attempt due.

        An attempt that is late already ends as failed. Otherwise a second rung is asked if that is
        permitted: as a hedge before the attempt is late, or in a race when it becomes late. Only in
        the second case does the rung become suspect.
        """
        if self._planned_ask is not None and self._planned_ask[0] <= now:
            (_, planned), self._planned_ask = self._planned_ask, None
            if planned.provider in self._choice.ranked(self.until, now):
                self._start_attempt(planned, now)
            else:
                self._ask_next(now)
            return
        due = ((attempt, attempt.due_at(self.until)) for attempt in self._running.values())
        attempt = next(attempt for attempt, at in due if at is not None and at <= now)
        if attempt.late:
            self._fail_silent(attempt, attempt.silence_kind, now)
            return
        is_hedge = now < self.policy.lag.moment_of(attempt.late_at)
        running = [other.provider for other in self._running.values()]
        second = self._choice.find_second(self.until, running, now, hedge=is_hedge)
        attempt.hedge_at = None
        if not is_hedge:
            attempt.late = True
            self._events += attempt.rung.suspect(attempt.silence_kind, now)
        if second is not None:
            self._start_attempt(second, now)
        if not is_hedge and len(self._running) == 1:  # no race was permitted
            attempt.replaceable = self._choice.can_replace(self.until, running, now)

    def _use_output(self, attempt: LiveAttempt, event: Progressed, now: float) -> None:
        """Use this attempt's output from now on, and end all others: the late ones as failed.

        If it is not the rung that was expected, that is reported as a failover.
        """
        others = [other for other in self._running.values() if other is not attempt]
        attempt.watch(event, now)
        self._planned_ask = None
        if self.winner != attempt.number:
            expected, self._expected = self._expected, attempt.provider
            self.winner = attempt.number
            self._actions.append(Use(attempt=attempt.number, provider=attempt.provider))
            self._events += attempt.won(now, expected=expected)
        for other in others:
            if other.late:
                self._fail_silent(other, other.silence_kind, now)
            else:
                del self._running[other.number]
                self._report_stop(other, "outrun")

    def _count_failure_and_ask_next(self, attempt: LiveAttempt, event: Failed, now: float) -> None:
        """End an attempt that failed, count its failure for all calls, and ask the next rung.

        A time-out that our own stall has caused is not counted.
        """
        if attempt.is_our_lag(event, now):
            self._drop_uncounted(attempt, "lag", now)
            return
        self._forget_attempt(attempt)
        self._choice.note_failure(attempt.provider, event.failure)
        heard_words = event.heard_words
        self._events += attempt.failed(event.failure, now, call=self.call, heard_words=heard_words)
        self._ask_next(now)

    def _complete(self, attempt: LiveAttempt, now: float) -> None:
        """Count the attempt's success, complete the request, and stop its other attempts.

        An end without output is a failure, unless the stage permits it (`silent_end_ok`).
        """
        if not attempt.spoke and not self.policy.pace.silent_end_ok:
            self._fail_silent(attempt, Kind.SILENT, now)
            return
        del self._running[attempt.number]
        self.winner = attempt.number
        place, permit = (self.policy.stage, attempt.provider), attempt.permit
        self._events += self.policy.availability.succeeded(place, permit, now=now, call=self.call)
        self._actions.append(Done(attempt=attempt.number, provider=attempt.provider))
        # `cancel` returns the events and actions collected above together with its own.
        self._actions = [*self.cancel("outrun")]

    def _drop_uncounted(
        self, attempt: LiveAttempt, because: Literal["limit", "lag", "length"], now: float
    ) -> None:
        """End an attempt without counting a failure.

        Its rung may be asked again, unless it had no free place.
        """
        self._forget_attempt(attempt)
        if because == "limit":
            self._events.append(attempt.limit_reached(asked=False, now=now))
            full = failed(Kind.RATE_LIMITED, self.policy.stage, provider=attempt.provider)
            self._choice.note_failure(attempt.provider, full)
        else:
            self._choice.take_back(attempt.provider)
        self._events.append(attempt.dropped(because))
        if because == "limit" or not self._running:
            self._ask_next(now)

    def _fail_silent(self, attempt: LiveAttempt, kind: Kind, now: float) -> None:
        """End a silent attempt as failed, of this kind, and ask the next rung if necessary."""
        self._forget_attempt(attempt)
        number, provider = attempt.number, attempt.provider
        self._choice.note_failure(provider, None)
        failure = failed(kind, self.policy.stage, provider=provider)
        self._events += attempt.failed(failure, now, call=self.call)
        self._actions.append(Stop(attempt=number, provider=provider, because="late"))
        self._ask_next(now)

    def _report_stop(self, attempt: LiveAttempt, because: CancelReason) -> None:
        """Collect the event and the action that end an attempt which has not failed."""
        self._events.append(attempt.dropped(because))
        self._actions.append(
            Stop(attempt=attempt.number, provider=attempt.provider, because=because)
        )

    def _forget_attempt(self, attempt: LiveAttempt) -> None:
        """Remove an attempt from those in progress; if it was the winner, there is none now."""
        del self._running[attempt.number]
        self.winner = None if self.winner == attempt.number else self.winner

    def _ask_next(self, now: float) -> None:
        """Ask the next rung, at once or after its wait, if no attempt runs or all are late.

        If none runs and no rung can be asked, the request is exhausted.
        """
        if not all(attempt.late for attempt in self._running.values()):
            return
        running = [attempt.provider for attempt in self._running.values()]
        found = self._choice.find_next(self.until, running, now)
        if found is not None and found.wait_s > 0:
            self._planned_ask = (now + found.wait_s, replace(found, wait_s=0.0))
        elif found is not None:
            self._start_attempt(found, now)
        elif not self._running:
            self.over = True
            exhausted = StageExhausted(stage=self.policy.stage, attempts=self.attempts)
            self._events.append(exhausted)
            self._actions.append(Exhausted(attempts=self.attempts))

    def _start_attempt(self, chosen: NextRung, now: float) -> None:
        """Collect the request to a rung, as an attempt in progress with the next number.

        If the rung gives no permit any more, the next rung is asked instead.
        """
        policy, provider, number = self.policy, chosen.provider, next(self._numbers)
        availability = self._choice.note_start(chosen)
        rung = policy.availability.of(policy.stage, provider)
        hears = self._choice.hears(provider)
        # If its breaker is not closed, it was chosen because no usable rung is left.
        permit = rung.permit(now) or rung.permit(now, hears=hears, last_resort=not hears)
        if permit is None:
            no_permit = failed(Kind.OVERLOADED, policy.stage, provider=provider)
            self._choice.note_failure(provider, no_permit)
            self._ask_next(now)
            return
        queues = self._queues and provider in policy.gates
        attempt = LiveAttempt(
            number,
            rung,
            permit,
            policy=policy,
            now=now,
            chosen=availability,
            hedged=policy.hedges is not None and not chosen.extra,
            paused=queues,
        )
        ahead = next(iter(self._running.values()), None)
        self._events += attempt.started(chosen, self.until, now, ahead=ahead)
        self._running[number] = attempt
        self._expected = self._expected or provider
        wait_until = self._wait_until(now) if queues else None
        self._actions.append(
            Ask(attempt=number, provider=provider, mended=chosen.mended, wait_until=wait_until)
        )

    def _wait_until(self, now: float) -> Deadline:
        """Return until when an attempt may wait for a place before the next rung is asked."""
        return may_wait_until(
            self._choice.standbys(now),
            prompt=self._prompt(now) if self._prompt else self.until,
            until=self.until,
            then_s=self.policy.then_s,
        )

    def _take_actions(self) -> tuple[AttemptAction, ...]:
        """Return what was collected since the last call, events first, and forget it."""
        events, actions = self._events, self._actions
        self._events, self._actions = [], []
        return (*map(EmitEvent, events), *actions)
