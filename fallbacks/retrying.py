"""How long to wait before asking again, for work outside a live turn.

Dials, the owner's systems, alerts, sheets, probes. Never a caller's turn: callers are not made to
wait.
"""

import math
from dataclasses import dataclass
from typing import Final

from fallbacks.failure import Failure

AGAIN_S: Final = 60.0  # behind a first sequence that came to nothing; twice that behind the next
LONGEST_REST_S: Final = 900.0  # the same at most, and where a person has to act first
JITTER: Final = 0.1  # a tenth either way, so that many do not come back in the same instant


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrySettings:
    """5, 10, 20 s after the first try, unless configured otherwise."""

    initial_s: float = 5.0
    factor: float = 2.0
    attempts: int = 3  # after the first try
    within_s: float = math.inf  # after the first try: whoever asks must have let go by then


def wait_s(
    settings: RetrySettings, retry: int, *, failure: Failure, chance: float, spent_s: float = 0.0
) -> float | None:
    """Return how long to wait before a retry, or None: do not ask again.

    After None for a transient failure the sequence is exhausted: that opens the breaker at once,
    while the tries inside the sequence do not count towards its consecutive failures.

    Args:
        settings: The sequence.
        retry: 1 for the first after the first try.
        failure: What the try before came to; what it asks for is honoured where it is longer.
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
    """Return how long what is never given up rests behind so many sequences that came to nothing.

    Args:
        sequences: In a row; 1 for the first.
    """
    return min(LONGEST_REST_S, AGAIN_S * 2.0 ** min(10, sequences - 1))
