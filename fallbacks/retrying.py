"""The waits before retries of work outside a live turn.

Dials, the owner's systems, alerts, sheets, probes. Never a caller's turn: a caller does not wait.
"""

import math
from dataclasses import dataclass
from typing import Final

from fallbacks.failure import Failure

AGAIN_S: Final = 60.0  # after a first failed sequence; twice that after the next
LONGEST_REST_S: Final = 900.0  # the upper bound of that, and the rest where a person must act first
JITTER: Final = 0.1  # a tenth either way, so that many do not retry in the same instant


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrySettings:
    """The retries of one sequence: 5, 10, 20 s after the first try, unless configured otherwise."""

    initial_s: float = 5.0
    factor: float = 2.0
    attempts: int = 3  # after the first try
    within_s: float = math.inf  # after the first try: the user of the result gives up then


def wait_s(
    settings: RetrySettings, retry: int, *, failure: Failure, chance: float, spent_s: float = 0.0
) -> float | None:
    """Return how long to wait before a retry; `None` if there is none.

    `None` for a transient failure means that the sequence is exhausted. That opens the breaker at
    once, while the tries inside the sequence do not count towards its consecutive failures.

    Args:
        settings: The sequence.
        retry: 1 for the first retry.
        failure: Of the previous try; a longer wait that it asks for is honoured.
        chance: 0 to 1; spreads the waits.
        spent_s: Since the first try began.
    """
    if failure.permanent or not failure.same_rung or retry > settings.attempts:
        return None
    planned_s = settings.initial_s * settings.factor ** (retry - 1)
    spread_s = planned_s * (1 - JITTER + 2 * JITTER * chance)
    waited_s = max(spread_s, failure.retry_after_s or 0.0)
    return waited_s if spent_s + waited_s <= settings.within_s else None


def rest_s(sequences: int) -> float:
    """Return the rest after failed sequences, for work that is never given up.

    Args:
        sequences: Failed in a row; 1 for the first.
    """
    return min(LONGEST_REST_S, AGAIN_S * 2.0 ** min(10, sequences - 1))
