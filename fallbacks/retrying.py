"""Retries outside a live turn: the waits before them, and the rung that is asked next.

They serve dialling, the owner's systems, alerts, sheets, probes and lost connections. A caller's
turn never waits for a retry.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from fallbacks.availability import Availability, RungState
from fallbacks.failure import Failure

FIRST_REST_S: Final = 60.0  # the rest after a first failed sequence; doubled after each further one
MAX_REST_S: Final = 900.0  # the longest such rest, and the rest when a person must act first
JITTER: Final = 0.1  # a tenth either way, so that clients do not all retry at the same instant

# The waits before successive tries to connect again; all chosen.
WAITS_S: Final = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
STABLE_S: Final = 5.0  # a connection that lasted less does not reset the backoff


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrySettings:
    """The retries of one sequence: 5, 10, 20 s after the first try, unless configured otherwise."""

    initial_s: float = 5.0
    factor: float = 2.0
    attempts: int = 3  # after the first try
    within_s: float = math.inf  # after the first try; a retry later than that would be useless


def wait_s(
    settings: RetrySettings, retry: int, *, failure: Failure, chance: float, spent_s: float = 0.0
) -> float | None:
    """Return how long to wait before a retry; `None` if there is none.

    If it is `None` after a transient failure, the sequence is exhausted. That opens the breaker at
    once; the single tries do not count towards its consecutive failures.

    Args:
        settings: The sequence.
        retry: 1 for the first retry.
        failure: The failure of the previous try; a longer wait that it asks for is honoured.
        chance: 0 to 1; spreads the waits.
        spent_s: Seconds since the first try began.
    """
    if failure.permanent or not failure.same_rung or retry > settings.attempts:
        return None
    planned_s = settings.initial_s * settings.factor ** (retry - 1)
    spread_s = planned_s * (1 - JITTER + 2 * JITTER * chance)
    pause_s = max(spread_s, failure.retry_after_s or 0.0)
    return pause_s if spent_s + pause_s <= settings.within_s else None


def rest_s(sequences: int) -> float:
    """Return the rest after failed sequences, for work that is never given up.

    Args:
        sequences: The number of sequences that failed in a row, from 1.
    """
    return min(MAX_REST_S, FIRST_REST_S * 2.0 ** min(10, sequences - 1))


class Rounds:
    """Decides which rung is asked next, and when, in one piece of work that no caller waits for.

    After a failure, the next rung is asked at once, because a healthy standby need not wait for the
    preferred rung's retry. A rung that may be asked again becomes due after its wait. Of the rungs
    that are due, the most preferred one is asked. When no rung will be due, the work is given up.

        rounds.choose(rungs, now)  # "deepgram": ask it
        rounds.fail("deepgram", again_at=now + 5.0)
        rounds.choose(rungs, now)  # "deepgram-b"
        rounds.fail("deepgram-b", again_at=None)
        rounds.choose(rungs, now)  # `None`: no rung is due
        rounds.wake_at(rungs)  # when "deepgram" is due
    """

    def __init__(self) -> None:
        self._due_at: dict[str, float | None] = {}  # `None` if it must not be asked again

    def choose(self, rungs: Sequence[Availability], now: float) -> str | None:
        """Return the rung to ask now; `None` if none is due.

        `rungs` begins with the preferred one.
        """
        due = [rung for rung in rungs if rung.usable and self._is_due(rung.provider, now)]
        due.sort(key=lambda rung: rung.state is RungState.SUSPECT)  # stable: preferred ones first
        return due[0].provider if due else None

    def fail(self, provider: str, *, again_at: float | None) -> None:
        """Record a failure, and when the rung may be asked again; `None` if never."""
        self._due_at[provider] = again_at

    def wake_at(self, rungs: Sequence[Availability]) -> float | None:
        """Return when the next rung is due; `None` if none will be, and the work is given up."""
        usable = {rung.provider for rung in rungs if rung.usable}
        waits = [at for name, at in self._due_at.items() if at is not None and name in usable]
        return min(waits, default=None)

    def _is_due(self, provider: str, now: float) -> bool:
        """Return whether a rung may be asked now; one that is given up may not."""
        at = self._due_at.get(provider, now)
        return at is not None and now >= at


class Backoff:
    """The waits between the tries of one connection: longer each time, until it is stable.

        backoff = Backoff()
        backoff.next_s()          # 0.0: a connection that was up for long is restored at once
        backoff.next_s()          # 0.5
        backoff.up(now=12.0)
        backoff.down(now=60.0)    # it was stable: the next wait is 0.0 again

    Moments are monotonic, in seconds.
    """

    def __init__(self, *, retries_itself: bool = False) -> None:
        """Create a backoff for a connection that has not been up yet.

        Args:
            retries_itself: Whether the service makes the first retry, at once, without us.
        """
        self._first = 1 if retries_itself else 0  # index in `WAITS_S`
        self._tries = 1  # a failed first connection is not retried at once
        self._up_at: float | None = None

    def up(self, now: float) -> None:
        """Record that the connection is up.

        Only if it lasts for `STABLE_S` do the waits begin again.
        """
        self._up_at = now

    def down(self, now: float, *, permanent: bool = False) -> None:
        """Record that the connection is gone; if it was stable, the waits begin again.

        Args:
            now: Monotonic, in seconds.
            permanent: Whether the provider refused it for a reason that only a person can resolve.
        """
        if self._up_at is not None and now - self._up_at > STABLE_S:
            self._tries = self._first
        self._up_at = None
        if permanent:
            self._tries = len(WAITS_S) - 1

    def next_s(self) -> float:
        """Return the wait before the next try, and count that try."""
        wait_s = WAITS_S[min(self._tries, len(WAITS_S) - 1)]
        self._tries += 1
        return wait_s

    def hurried(self) -> None:
        """Take back the last try: its wait was cut short, which is rare and not a failure."""
        self._tries = max(0, self._tries - 1)
