"""When a tab that was not written is tried again: by sequences of tries, with rests between them.

Decided as for everything outside a turn in `fallbacks/retrying.py`. No row is ever given up: behind
the last try of a sequence, and behind what only a person can mend, the tab rests.
"""

from fallbacks.facts import AttemptFailed, AttemptWon, RetriesExhausted, RetryPlanned
from fallbacks.failure import Failure, Kind, Severity
from fallbacks.retrying import LONGEST_REST_S, rest_s, wait_s
from operations.retrying import Retries


class TabTries:
    """How often one tab has failed since it was last written, and how long it rests.

    Attributes:
        failing: Whether it could not be written the last time.
        alarming: Whether operators were told so: one failure that passes is too little for that.
    """

    def __init__(self, retries: Retries) -> None:
        """Begin with none."""
        self._retries = retries
        self._tries = 0  # of the sequence
        self._sequences = 0  # that came to nothing, in a row
        self.failing = self.alarming = False
        self._rests_until_s = 0.0

    def may(self, now_s: float) -> bool:
        """Return whether the tab may be tried now."""
        return now_s >= self._rests_until_s

    def fail(self, failure: Failure, *, now_s: float) -> float:
        """Count a try that failed, tell of it, and return how long its rows wait."""
        self.failing = True
        self.alarming |= failure.severity is not Severity.LOW
        self._tries += 1
        self._retries.tell(AttemptFailed.of(failure))
        waits_s = self._next_s(failure)
        # A request that is called bad says nothing of the next one; after all else none is made.
        if failure.kind is not Kind.BAD_REQUEST:
            self._rests_until_s = now_s + waits_s
        return waits_s

    def succeed(self, stage: str, provider: str) -> None:
        """Forget what failed before, and tell that it is over."""
        if self.failing:
            self._retries.tell(AttemptWon(stage=stage, provider=provider, attempt=1, after_s=0.0))
        self._tries = self._sequences = 0
        self.failing = self.alarming = False

    def _next_s(self, failure: Failure) -> float:
        retries, tries = self._retries, self._tries
        planned_s = wait_s(retries.settings, tries, failure=failure, chance=retries.chance())
        stage, provider, kind = failure.stage, failure.provider, failure.kind
        if planned_s is not None:
            retries.tell(
                RetryPlanned(
                    stage=stage, provider=provider, kind=kind, retry=tries, wait_s=planned_s
                )
            )
            return planned_s
        self._tries = 0
        if failure.permanent:
            return max(LONGEST_REST_S, failure.retry_after_s or 0.0)
        retries.tell(RetriesExhausted(stage=stage, provider=provider, kind=kind, tries=tries))
        self.alarming = True
        self._sequences += 1
        return max(rest_s(self._sequences), failure.retry_after_s or 0.0)
