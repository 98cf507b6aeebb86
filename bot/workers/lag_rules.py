"""Limits the lag events: one per incident, not one for each late beat."""

from dataclasses import dataclass, field
from typing import Final

from calls.events import LagPlace, ProcessLagged

MIN_LAG_S: Final = 0.25  # shorter lag is not reported: callers do not notice it
SAME_PLACE_S: Final = 10.0  # between two events about one place


@dataclass(slots=True)
class _Incident:
    """The lag of one place since its last event."""

    reported_at: float  # the time of that event
    longest_s: float = 0.0
    step: str = ""  # what ran during the longest lag
    times: int = 0


@dataclass(slots=True)
class Lagging:
    """Decides when to report measured lag.

        lagging = Lagging()
        lagging.note("loop", 1.2, step="Toolbox.run (bot/tools/toolbox.py)", now=now)  # an event
        lagging.note("loop", 0.8, step="", now=now + 1)  # no event yet
        lagging.tick(now + 10)  # an event with the longest lag since the last one

    Times are monotonic, in seconds.
    """

    _incidents: dict[LagPlace, _Incident] = field(default_factory=dict[LagPlace, _Incident])

    def note(
        self, where: LagPlace, lag_s: float, *, step: str, now: float
    ) -> tuple[ProcessLagged, ...]:
        """Record a lag from `MIN_LAG_S` on; return an event if this place has no open incident."""
        if lag_s < MIN_LAG_S:
            return ()
        incident = self._incidents.get(where)
        if incident is None:
            self._incidents[where] = _Incident(reported_at=now)
            return (ProcessLagged(where=where, lag_s=lag_s, step=step, times=1),)
        incident.times += 1
        if lag_s > incident.longest_s:
            incident.longest_s, incident.step = lag_s, step
        return ()

    def tick(self, now: float) -> tuple[ProcessLagged, ...]:
        """`SAME_PLACE_S` after an incident's last event, report the lag since or close it."""
        events: list[ProcessLagged] = []
        for where, incident in tuple(self._incidents.items()):
            if now < incident.reported_at + SAME_PLACE_S:
                continue
            if not incident.times:
                del self._incidents[where]
                continue
            events.append(
                ProcessLagged(
                    where=where,
                    lag_s=incident.longest_s,
                    step=incident.step,
                    times=incident.times,
                )
            )
            self._incidents[where] = _Incident(reported_at=now)
        return tuple(events)
