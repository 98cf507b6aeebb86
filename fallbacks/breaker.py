"""Whether a rung may be tried: the breaker, as a table.

CLOSED lets everything through. So many consecutive failures, or one that says it all, OPEN it:
nothing is let through but probes. When it has rested, or a probe went well before that, it is
HALF_OPEN: one trial at a time, by a probe, or by one live attempt where probing is switched off.
In both states a caller who has no other rung may try it, also while a probe is under way. Enough
good probes close it, or one success of a caller; one failure opens it again.

A request needs a permit, and its result is reported by it. A permit is of the state in which it was
given: what began before the breaker opened can neither close it nor open it anew. Cancelled work
counts as nothing, and a trial that never reports expires.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from fallbacks.facts import BreakerMoved
from fallbacks.failure import Severity


class State(StrEnum):
    """What the breaker does with an attempt."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Input(StrEnum):
    """What can happen to a breaker."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    FAILURES = "failures"  # the last of so many in a row
    TRIPPED = "tripped"  # one failure that says it all, or an exhausted sequence of tries
    RESTED = "rested"
    PROBED = "probe"  # a probe went well
    PROVEN = "proven"  # the last of so many successes
    RESET = "reset"  # an operator's word


_C, _O, _H = State.CLOSED, State.OPEN, State.HALF_OPEN
TRANSITIONS: Final[Mapping[State, Mapping[Input, State]]] = {
    _C: {
        Input.SUCCEEDED: _C,
        Input.FAILED: _C,
        Input.FAILURES: _O,
        Input.TRIPPED: _O,
        Input.RESTED: _C,
        Input.PROBED: _C,
        Input.PROVEN: _C,
        Input.RESET: _C,
    },
    _O: {
        Input.SUCCEEDED: _O,
        Input.FAILED: _O,
        Input.FAILURES: _O,
        Input.TRIPPED: _O,
        Input.RESTED: _H,
        Input.PROBED: _H,
        Input.PROVEN: _O,
        Input.RESET: _H,  # a person may be wrong, too: the next trial decides
    },
    _H: {
        Input.SUCCEEDED: _H,
        Input.FAILED: _O,
        Input.FAILURES: _O,
        Input.TRIPPED: _O,
        Input.RESTED: _H,
        Input.PROBED: _H,
        Input.PROVEN: _C,
        Input.RESET: _H,
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerSettings:
    """When a rung is left alone, and when it is trusted again."""

    failures: int = 3  # consecutive
    open_s: float = 30.0
    successes: int = 2
    # Rest of what only a person can mend: a key, credit, a name. Longer than between two probes.
    slow_s: float = 90.0
    trial_s: float = 15.0  # a trial that has not reported by then is forgotten
    probing: bool = True  # False: half-open admits one live attempt instead of a probe


@dataclass(frozen=True, slots=True, kw_only=True)
class Permit:
    """Leave to ask a rung once; handed back with the result."""

    number: int
    era: int  # of the breaker's state; it changes with every move but the end of a rest
    probe: bool


class Breaker:
    """The breaker of one rung."""

    def __init__(
        self, stage: str, provider: str, *, now: float, settings: BreakerSettings | None = None
    ) -> None:
        self.stage = stage
        self.provider = provider
        self.settings = settings or BreakerSettings()
        self.state = State.CLOSED
        self.failures = 0  # consecutive, while closed
        self.successes = 0  # while half-open
        self.promising = False  # half-open, and what it was asked last went well
        self.wake_at: float | None = None  # when an open breaker has rested
        self.since = now  # when it came to be in this state
        self._spent_s = dict.fromkeys(State, 0.0)
        self._era = 0
        self._permits = 0
        self._trial: tuple[Permit, float] | None = None  # out on trial, and its end

    def permit(
        self, now: float, *, probe: bool = False, last_resort: bool = False, hears: bool = False
    ) -> Permit | None:
        """Return leave to ask the rung, or None: it is not to be touched now.

        Args:
            now: Monotonic, in seconds.
            probe: No caller waits for the answer.
            last_resort: A caller does, and has no other rung: it may be asked in any state.
            hears: It hears the caller already, on a stream that stood before: whatever becomes of
                that says nothing of a breaker that is not closed.
        """
        permit = Permit(number=self._permits + 1, era=self._era, probe=probe)
        if self.state is not State.CLOSED and not hears:
            in_turn = self.state is State.HALF_OPEN and not self.settings.probing
            if not (probe or last_resort or in_turn):
                return None
            if self.on_trial(now, by_probe=probe):
                return None
            self._trial = (permit, now + self.settings.trial_s)
        self._permits += 1
        return permit

    def on_trial(self, now: float, *, by_probe: bool = True) -> bool:
        """Return whether the one trial is under way; a caller need not wait for a probe's."""
        if self._trial is None or now >= self._trial[1]:
            return False
        return by_probe or not self._trial[0].probe

    def succeeded(self, permit: Permit, now: float) -> tuple[BreakerMoved, ...]:
        """Note that the rung did what it was asked."""
        if not self.take_back(permit):
            return ()
        if self.state is not State.CLOSED and not permit.probe:
            return (*self._move(Input.PROBED, now), *self._move(Input.PROVEN, now))
        if self.state is State.OPEN:
            return self._move(Input.PROBED, now)
        self.failures = 0
        if self.state is State.HALF_OPEN:
            self.successes += 1
            self.promising = True
            if self.successes >= self.settings.successes:
                return self._move(Input.PROVEN, now)
        return self._move(Input.SUCCEEDED, now)

    def failed(
        self, permit: Permit, now: float, *, trip: bool = False, rest_s: float | None = None
    ) -> tuple[BreakerMoved, ...]:
        """Note that the rung failed.

        Args:
            permit: The leave that the attempt was made by.
            now: Monotonic, in seconds.
            trip: Open at once, however many failed before.
            rest_s: Rest for this long instead of `open_s`.
        """
        if not self.take_back(permit):
            return ()
        if trip:
            return self.trip(now, rest_s=rest_s)
        self.failures += self.state is State.CLOSED
        full = self.failures >= self.settings.failures
        return self._move(Input.FAILURES if full else Input.FAILED, now, rest_s=rest_s)

    def take_back(self, permit: Permit) -> bool:
        """Release a permit; say whether its result is of the present state.

        Of an attempt that was called off by us this is all: nothing is learnt from it.
        """
        if permit.era != self._era:
            return False
        if self.state is State.CLOSED:
            return True
        if self._trial is None or self._trial[0] != permit:
            return False  # expired, and another went out since, or it was never a trial
        self._trial = None
        return True

    def trip(self, now: float, *, rest_s: float | None = None) -> tuple[BreakerMoved, ...]:
        """Open at once: the failure says it all, or a rung that shares the key met it."""
        if self.state is State.OPEN:
            self.wake_at = max(self.wake_at or now, now + (rest_s or self.settings.open_s))
        return self._move(Input.TRIPPED, now, rest_s=rest_s)

    def reset(self, now: float) -> tuple[BreakerMoved, ...]:
        """Let the rung be tried at once, on an operator's word."""
        self.failures = 0
        return self._move(Input.RESET, now)

    def follow(
        self, state: State, *, since: float, now: float, rest_s: float
    ) -> tuple[BreakerMoved, ...]:
        """Adopt what another process knows, unless this one has learnt something since then.

        Args:
            state: What its breaker of the same rung is.
            since: The moment since which it is, on our clock.
            now: Monotonic, in seconds.
            rest_s: What is left of its rest; for an open one.
        """
        if self._era > 0 and since <= self.since:
            return ()
        at = min(now, max(since, self.since))  # the next word may be older than this moment
        match state:
            case State.OPEN:
                return self.trip(at, rest_s=now - at + rest_s) if rest_s > 0 else ()
            case State.HALF_OPEN:
                return self._move(Input.PROBED, at)
            case State.CLOSED:
                return (*self._move(Input.PROBED, at), *self._move(Input.PROVEN, at))

    def tick(self, now: float) -> tuple[BreakerMoved, ...]:
        """Move on the passing of time alone: from open to half-open, nowhere else."""
        rested = self.wake_at is not None and now >= self.wake_at
        return self._move(Input.RESTED, now) if rested else ()

    def spent_s(self, now: float) -> Mapping[State, float]:
        """Return the seconds spent in each state since the breaker was made."""
        return self._spent_s | {self.state: self._spent_s[self.state] + now - self.since}

    def _move(
        self, happened: Input, now: float, *, rest_s: float | None = None
    ) -> tuple[BreakerMoved, ...]:
        before, after = self.state, TRANSITIONS[self.state][happened]
        if after is before:
            return ()
        after_s = now - self.since
        self._spent_s[before] += after_s
        self.state, self.since = after, now
        if happened is not Input.RESTED:  # time alone says nothing of what is under way
            self._era, self._trial = self._era + 1, None
        self.failures = self.successes = 0
        self.promising = after is State.HALF_OPEN and happened is Input.PROBED
        self.wake_at = now + (rest_s or self.settings.open_s) if after is State.OPEN else None
        return (
            BreakerMoved(
                stage=self.stage,
                provider=self.provider,
                before=before,
                after=after,
                cause=happened,
                after_s=after_s,
                severity=Severity.MEDIUM if after is State.OPEN else Severity.LOW,
            ),
        )
