"""An outage that another process has told operators of: whoever writes next says that it is over.

Who tells of an outage may be gone before its end. The next one never failed, so that nothing of its
own ends, and the alert would stay open until nobody had spoken of it for long.
"""

from collections.abc import Iterable

from calls.entry import Tell
from calls.incident import IncidentEnded
from operations.notify.alert import Alert
from operations.sheets.refusal import GOOGLE, SHEETS


class InheritedOutage:
    """Of one process, for as long as it leads its house."""

    def __init__(self, tell: Tell) -> None:
        """Begin without one."""
        self._tell = tell
        self._looked = False
        self._alert: Alert | None = None

    def look(self, alerts: Iterable[Alert]) -> None:
        """Learn, when the house begins to be led from here, whether one is under way."""
        if self._looked:
            return
        self._looked = True
        open_now = (each for each in alerts if each.ended_s is None)
        ours = (each for each in open_now if (each.stage, each.rung) == (SHEETS, GOOGLE))
        self._alert = next(ours, None)

    def leave(self) -> None:
        """Lead no more: what comes until we lead again is told by others."""
        self._looked, self._alert = False, None

    def take(self) -> None:
        """Note that this process has told it, too: it is one of its own, and ends as such."""
        self._alert = None

    def end(self, now_s: float) -> None:
        """Tell that it is over, if there is one."""
        alert, self._alert = self._alert, None
        if alert is None:
            return
        self._tell(
            IncidentEnded(
                stage=alert.stage,
                rung=alert.rung,
                kind=alert.kind,
                lasted_s=round(now_s - alert.open_s, 1),
                failures=0,
            )
        )
