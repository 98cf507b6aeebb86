"""The circuit breaker of one rung, as a table.

CLOSED permits everything. `failures` failures in a row, or one conclusive failure, OPEN the
breaker: then only probes are permitted. When its rest is over, or a probe succeeds before that, it
is HALF_OPEN and permits one trial at a time: by a probe, or by a live attempt if probing is off.
While it is not closed, a caller without another rung may try it as well, even during a probe.
`successes` good probes close it, or one success of a caller. One failure opens it again.

A request needs a permit, and its result is reported with the permit. A permit is valid only in the
state in which it was given: a request from before the breaker opened can neither close it nor open
it again. Cancelled requests do not count, and a trial that never reports expires.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from fallbacks.events import BreakerMoved
from fallbacks.failure import Severity


class State(StrEnum):
    """The states of a breaker."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Input(StrEnum):
    """The inputs of a breaker."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    FAILURES = "failures"  # the last of `failures` in a row
    TRIPPED = "tripped"  # one conclusive failure, or exhausted retries
    RESTED = "rested"  # the rest of an open breaker is over
    PROBED = "probe"  # a probe succeeded
    PROVEN = "proven"  # the last of `successes` successes
    RESET = "reset"  # by an operator, or because the key or account works again


_C, _O, _H = State.CLOSED, State.OPEN, State.HALF_OPEN
TRANSITIONS: Final[Mapping[State, Mapping[Input, State]]] = {
    _C: {**dict.fromkeys(Input, _C), Input.FAILURES: _O, Input.TRIPPED: _O},
    _O: {
        **dict.fromkeys(Input, _O),
        Input.RESTED: _H,
        Input.PROBED: _H,
        Input.RESET: _H,  # an operator may be wrong: the next trial decides
    },
    _H: {
        **dict.fromkeys(Input, _H),
        Input.FAILED: _O,
        Input.FAILURES: _O,
        Input.TRIPPED: _O,
        Input.PROVEN: _C,
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerSettings:
    """When a breaker opens, and when it closes again."""

    failures: int = 3  # in a row
    open_s: float = 30.0  # the rest of an open breaker
    successes: int = 2  # of probes, to close a half-open breaker
    # The rest after a failure that only a person can fix: a key, credit, a name. Longer than the
    # probe interval.
    slow_s: float = 90.0
    trial_s: float = 15.0  # a trial that has not reported after this time is forgotten
    probing: bool = True  # False: half-open admits one live attempt instead of a probe


@dataclass(frozen=True, slots=True, kw_only=True)
class Permit:
    """Permission to ask a rung once; given back with the result."""

    number: int
    era: int  # the number of transitions before it was given, not counting ends of a rest
    probe: bool
    asked_at: float  # when it was given; monotonic, in seconds


class Breaker:
    """The breaker of one rung.

    Attributes:
        stage: The rung's stage.
        provider: The rung's name.
        settings: When it opens and closes.
        state: The current state.
        failures: Consecutive failures, while it is closed.
        successes: Successful probes, while it is half-open.
        probe_succeeded: Whether it is half-open and its latest probe succeeded.
        wake_at: When the rest of an open breaker ends; `None` if it is not open.
        since: When it entered this state.
        changed_at: When a request or a reset last changed its state, its rest or its successes.
    """

    def __init__(
        self, stage: str, provider: str, *, now: float, settings: BreakerSettings | None = None
    ) -> None:
        """Begin closed at `now` (monotonic, in seconds), without failures or permits."""
        self.stage = stage
        self.provider = provider
        self.settings = settings or BreakerSettings()
        self.state = State.CLOSED
        self.failures = 0
        self.successes = 0
        self.probe_succeeded = False
        self.wake_at: float | None = None
        self.since = self.changed_at = now
        self._spent_s = dict.fromkeys(State, 0.0)
        self._era = 0
        self._permits = 0
        self._trial: tuple[Permit, float] | None = None  # in progress, and when it expires

    def permit(
        self, now: float, *, probe: bool = False, last_resort: bool = False, hears: bool = False
    ) -> Permit | None:
        """Return a permit to ask the rung; `None` if it may not be asked now.

        Unless the breaker is closed, or with `hears`, this begins a trial, which ends with its
        result, with `take_back`, or after `trial_s`.

        Args:
            now: Monotonic, in seconds.
            probe: The request is a probe, so no caller waits for the answer.
            last_resort: A caller waits and has no other rung. The rung may then be asked in any
                state, unless another caller's trial is in progress.
            hears: The rung already gets the caller's audio on an open stream. It may then go on in
                any state, and the result counts only while the breaker is closed.
        """
        permit = Permit(number=self._permits + 1, era=self._era, probe=probe, asked_at=now)
        if self.state is not State.CLOSED and not hears:
            replaces_probe = self.state is State.HALF_OPEN and not self.settings.probing
            if not (probe or last_resort or replaces_probe):
                return None
            if self.on_trial(now, by_probe=probe):
                return None
            self._trial = (permit, now + self.settings.trial_s)
        self._permits += 1
        return permit

    def on_trial(self, now: float, *, by_probe: bool = True) -> bool:
        """Return whether a trial is in progress; for a caller, a probe's trial does not count."""
        if self._trial is None or now >= self._trial[1]:
            return False
        return by_probe or not self._trial[0].probe

    def succeeded(self, permit: Permit, now: float) -> tuple[BreakerMoved, ...]:
        """Record a success; return the transitions that it causes.

        A success whose permit is no longer valid changes nothing. One success of a caller closes
        the breaker. A probe makes an open breaker half-open; the last of `successes` probes closes
        it.
        """
        if not self.take_back(permit):
            return ()
        if self.state is not State.CLOSED and not permit.probe:
            # In two steps, because the table does not lead from open to closed.
            return (*self._change_state(Input.PROBED, now), *self._change_state(Input.PROVEN, now))
        if self.state is State.OPEN:
            return self._change_state(Input.PROBED, now)
        self.failures = 0
        if self.state is State.HALF_OPEN:
            self.successes += 1
            self.probe_succeeded, self.changed_at = True, now
            if self.successes >= self.settings.successes:
                return self._change_state(Input.PROVEN, now)
        return self._change_state(Input.SUCCEEDED, now)

    def failed(
        self,
        permit: Permit,
        now: float,
        *,
        trip: bool = False,
        rest_s: float | None = None,
        opens: bool = True,
    ) -> tuple[BreakerMoved, ...]:
        """Record a failure; return the transition that it causes, if any.

        A failure whose permit is no longer valid changes nothing.

        Args:
            permit: The permit of the attempt or probe.
            now: Monotonic, in seconds.
            trip: Whether to open at once, regardless of earlier failures.
            rest_s: The rest, if it is not `open_s`.
            opens: Whether it may open the breaker; if not, it counts up to the last failure before.
        """
        if not self.take_back(permit):
            return ()
        if trip:
            return self.trip(now, rest_s=rest_s)
        if not opens and self.state is State.CLOSED:
            self.failures = max(self.failures, min(self.failures + 1, self.settings.failures - 1))
            return ()
        if not opens and self.settings.probing:
            self.successes, self.probe_succeeded = 0, False  # the next probe decides
            return ()
        self.failures += self.state is State.CLOSED
        enough = self.failures >= self.settings.failures
        return self._change_state(Input.FAILURES if enough else Input.FAILED, now, rest_s=rest_s)

    def take_back(self, permit: Permit) -> bool:
        """Take a permit back, and end its trial; return whether its result counts in this state.

        For an attempt that we cancelled, only this is called: its result does not count.
        """
        if permit.era != self._era:
            return False
        if self.state is State.CLOSED:
            return True
        if self._trial is None or self._trial[0] != permit:
            return False  # the trial has expired and another one has begun, or it was no trial
        self._trial = None
        return True

    def trip(self, now: float, *, rest_s: float | None = None) -> tuple[BreakerMoved, ...]:
        """Open at once, and extend the rest if it is open: a failure is conclusive.

        The failure may also be that of another rung with the same key or account.
        """
        if self.state is State.OPEN:
            self.wake_at = max(self.wake_at or now, now + (rest_s or self.settings.open_s))
            self.changed_at = now
        return self._change_state(Input.TRIPPED, now, rest_s=rest_s)

    def reset(self, now: float) -> tuple[BreakerMoved, ...]:
        """Forget the counted failures; let an open breaker become half-open at once."""
        self.failures = 0
        return self._change_state(Input.RESET, now)

    def follow(
        self, state: State, *, since: float, now: float, rest_s: float
    ) -> tuple[BreakerMoved, ...]:
        """Adopt another process's state, unless this breaker has changed later.

        Args:
            state: The state of the other process's breaker for the same rung; half-open only if a
                probe succeeded there.
            since: When that breaker last changed, on our clock.
            now: Monotonic, in seconds.
            rest_s: The remaining rest, if it is open; 0 if a reset ended it. A longer one stays.
        """
        if self._era > 0 and since <= self.changed_at:
            return ()
        # The transition is dated as in the other process. Dated `now`, it would make the next
        # report look outdated if that process had changed its breaker again before `now`.
        at = min(now, max(since, self.since))
        match state:
            case State.OPEN if rest_s > 0:
                return self.trip(at, rest_s=now - at + rest_s)
            case State.OPEN:
                return self._change_state(Input.RESET, at)
            case State.HALF_OPEN:
                moved = self._change_state(Input.PROBED, at)
                if self.state is State.HALF_OPEN:  # perhaps before, when its rest was over
                    self.probe_succeeded, self.changed_at = True, at
                return moved
            case State.CLOSED:
                return (
                    *self._change_state(Input.PROBED, at),
                    *self._change_state(Input.PROVEN, at),
                )

    def tick(self, now: float) -> tuple[BreakerMoved, ...]:
        """Become half-open if the rest of an open breaker is over; to be called at `wake_at`."""
        rested = self.wake_at is not None and now >= self.wake_at
        return self._change_state(Input.RESTED, now) if rested else ()

    def spent_s(self, now: float) -> Mapping[State, float]:
        """Return the seconds spent in each state since the breaker was created."""
        return self._spent_s | {self.state: self._spent_s[self.state] + now - self.since}

    def _change_state(
        self, cause: Input, now: float, *, rest_s: float | None = None
    ) -> tuple[BreakerMoved, ...]:
        """Change the state as the table says; return the event, or nothing if the state stays.

        A change clears the counts, and makes all permits invalid unless only time has passed.
        """
        before, after = self.state, TRANSITIONS[self.state][cause]
        if after is before:
            return ()
        after_s = now - self.since
        self._spent_s[before] += after_s
        self.state, self.since = after, now
        if cause is not Input.RESTED:  # permits stay valid when only time has passed
            self._era, self._trial = self._era + 1, None
            self.changed_at = now
        self.failures = self.successes = 0
        self.probe_succeeded = after is State.HALF_OPEN and cause is Input.PROBED
        self.wake_at = now + (rest_s or self.settings.open_s) if after is State.OPEN else None
        return (
            BreakerMoved(
                stage=self.stage,
                provider=self.provider,
                before=before,
                after=after,
                cause=cause,
                after_s=after_s,
                severity=Severity.MEDIUM if after is State.OPEN else Severity.LOW,
            ),
        )
