"""Decides which rung is asked next, and when, for work that no caller waits for on the line.

A failure moves the work down the ladder at once: a healthy standby need not wait for the preferred
rung's retry. A rung that may be asked again becomes due after its wait, and of those that are due
the highest is asked. The work is given up when none will ever be due.
"""

from collections.abc import Sequence

from fallbacks.health import Standing


class Rounds:
    """The order of the rungs in one piece of work.

    rounds.choose(standings, now)  # "deepgram": ask it
    rounds.fail("deepgram", again_at=now + 5.0)
    rounds.choose(standings, now)  # "deepgram-b"
    rounds.fail("deepgram-b", again_at=None)
    rounds.choose(standings, now)  # None: none is due
    rounds.wake_at(standings)  # when "deepgram" is
    """

    def __init__(self) -> None:
        self._due_at: dict[str, float | None] = {}  # `None` if not again in this work

    def choose(self, standings: Sequence[Standing], now: float) -> str | None:
        """Return the rung to ask now; `None` if none is due."""
        due = [
            standing
            for standing in standings
            if standing.usable and self._is_due(standing.provider, now)
        ]
        due.sort(key=_is_suspect)  # a stable sort: the preferred one stays first
        return due[0].provider if due else None

    def fail(self, provider: str, *, again_at: float | None) -> None:
        """Record a failure, and when the rung may be asked again; `None` if never."""
        self._due_at[provider] = again_at

    def wake_at(self, standings: Sequence[Standing]) -> float | None:
        """Return when the next rung is due; `None` if none will be, and the work is given up."""
        usable = {standing.provider for standing in standings if standing.usable}
        waits = [at for name, at in self._due_at.items() if at is not None and name in usable]
        return min(waits, default=None)

    def _is_due(self, provider: str, now: float) -> bool:
        at = self._due_at.get(provider, now)
        return at is not None and now >= at


def _is_suspect(standing: Standing) -> bool:
    return standing.suspect
