"""Decides when to report that the store of several machines is away, and that it is back."""

from typing import Final

REPORT_S: Final = 2.0  # a shorter absence is not an incident (chosen)


class StoreWatch:
    """Decides when to report that the store is away: not for one slow answer."""

    def __init__(self) -> None:
        self._away_since: float | None = None
        self._reported = False

    def look(self, *, is_away: bool, now: float) -> float | None:
        """Return how long the store has been away when that is to be reported; else `None`.

        It is reported once after `REPORT_S`, and then once, with the whole time, when the store is
        back. `now` is monotonic, in seconds; to be called in every round.
        """
        since = self._away_since if self._away_since is not None else now
        away_s, was_reported = now - since, self._reported
        self._away_since = since if is_away else None
        self._reported = is_away and (was_reported or away_s >= REPORT_S)
        return away_s if self._reported != was_reported else None
