"""OpenAI's request limit: a steadily refilled bucket, and the headers that report it.

Source: platform.openai.com/docs/guides/rate-limits (the headers, and that a limit is enforced
continuously); community.openai.com t/1268905 (a sample: 5000 a minute, 4999 left, full in 12 ms).
"""

from collections.abc import Callable
from typing import Final

MINUTE_S: Final = 60.0


class RequestRate:
    """An account's available requests."""

    def __init__(self, per_minute: int, *, clock: Callable[[], float]) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._used = 0.0
        self._looked_at = clock()

    def take(self) -> bool:
        """Take a request if one is available; return whether there was one."""
        self._refill()
        if self._used + 1 > self._per_minute:
            return False
        self._used += 1
        return True

    @property
    def next_in_s(self) -> float:
        """The seconds until the next request is available."""
        self._refill()
        return max(0.0, self._used + 1 - self._per_minute) * MINUTE_S / self._per_minute

    def headers(self) -> dict[str, str]:
        """Return the limit's headers for each answer."""
        self._refill()
        full_in_ms = round(1000 * self._used * MINUTE_S / self._per_minute)
        return {
            "x-ratelimit-limit-requests": str(self._per_minute),
            "x-ratelimit-remaining-requests": str(int(self._per_minute - self._used)),
            "x-ratelimit-reset-requests": _go(full_in_ms),
        }

    def _refill(self) -> None:
        now = self._clock()
        filled = (now - self._looked_at) * self._per_minute / MINUTE_S
        self._used, self._looked_at = max(0.0, self._used - filled), now


def _go(duration_ms: int) -> str:
    """Return a duration as Go writes it: `12ms`, `1.2s`, `6m0s`."""
    if duration_ms < 1000:
        return f"{duration_ms}ms"
    minutes, seconds = divmod(duration_ms / 1000, 60.0)
    return f"{minutes:.0f}m{seconds:g}s" if minutes else f"{seconds:g}s"
