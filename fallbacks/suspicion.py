"""Whether a rung is suspect: it failed or was late in a live call, so others ask it last.

The first failure of a live attempt raises the suspicion at once, in every call, long before the
breaker has counted to three; a success clears it.
"""

import math
from typing import TypeAlias

from fallbacks.breaker import BreakerSettings
from fallbacks.facts import Suspected, SuspicionCleared
from fallbacks.failure import Kind

SuspicionFact: TypeAlias = Suspected | SuspicionCleared


class Suspicion:
    """The suspicion of one rung.

    Attributes:
        since: When it was raised; None: there is none.
    """

    def __init__(self, stage: str, provider: str) -> None:
        self.since: float | None = None
        self._stage = stage
        self._provider = provider
        self._judged_at = -math.inf  # when it came or went last

    def stands(self, now: float, settings: BreakerSettings) -> bool:
        """Say whether it still does; without probes only time and callers can lift it."""
        if self.since is None:
            return False
        return settings.probing or now < self.since + settings.open_s

    def begin(self, kind: Kind, now: float) -> tuple[SuspicionFact, ...]:
        """Mark the rung suspect; other calls ask it last."""
        if self.since is not None:
            return ()
        self.since = self._judged_at = now
        return (Suspected(stage=self._stage, provider=self._provider, kind=kind),)

    def clear(self, now: float) -> tuple[SuspicionFact, ...]:
        """Trust the rung again."""
        if self.since is None:
            return ()
        after_s, self.since = max(0.0, now - self.since), None
        self._judged_at = now
        return (SuspicionCleared(stage=self._stage, provider=self._provider, after_s=after_s),)

    def follow(
        self, kind: Kind | None, *, since: float, now: float, may_clear: bool
    ) -> tuple[SuspicionFact, ...]:
        """Take over what another process knows, unless this one has judged since then.

        Args:
            kind: What it is suspected of there; None: it was cleared.
            since: The moment of that, on our clock.
            now: Monotonic, in seconds.
            may_clear: Whether nothing else speaks against the rung here.
        """
        if since <= self._judged_at:
            return ()
        at = min(now, since)
        if kind is not None:
            return self.begin(kind, at)
        return self.clear(at) if may_clear else ()
