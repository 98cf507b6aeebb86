"""What our own lag is told as: one fact for an incident, not one for each beat that came late."""

from dataclasses import dataclass, field
from typing import Final

from calls.events import LagPlace, ProcessLagged

TOLD_S: Final = 0.25  # shorter than a caller notices, even behind what is queued on the line
QUIET_S: Final = 10.0  # between two facts of one place


@dataclass(slots=True)
class _Incident:
    """What came since the last fact of one place."""

    told_at: float
    longest_s: float = 0.0
    step: str = ""
    times: int = 0


@dataclass(slots=True)
class Lagging:
    """Reads how late we were, and where; says when that is to be told.

        lagging = Lagging()
        lagging.note("loop", 1.2, step="Toolbox.run (bot/tools/toolbox.py)", now=now)  # told
        lagging.note("loop", 0.8, step="", now=now + 1)  # kept
        lagging.tick(now + 10)  # told, with the longest of what was kept

    Moments are monotonic, in seconds.
    """

    _open: dict[LagPlace, _Incident] = field(default_factory=dict[LagPlace, _Incident])

    def note(
        self, where: LagPlace, lag_s: float, *, step: str, now: float
    ) -> tuple[ProcessLagged, ...]:
        """Note that something of ours was so late; the first one in a while is told at once."""
        if lag_s < TOLD_S:
            return ()
        incident = self._open.get(where)
        if incident is None:
            self._open[where] = _Incident(told_at=now)
            return (ProcessLagged(where=where, lag_s=lag_s, step=step, times=1),)
        incident.times += 1
        if lag_s > incident.longest_s:
            incident.longest_s, incident.step = lag_s, step
        return ()

    def tick(self, now: float) -> tuple[ProcessLagged, ...]:
        """Tell what was kept, and close what has been quiet for long enough."""
        facts: list[ProcessLagged] = []
        for where, incident in tuple(self._open.items()):
            if now < incident.told_at + QUIET_S:
                continue
            if not incident.times:
                del self._open[where]
                continue
            facts.append(
                ProcessLagged(
                    where=where,
                    lag_s=incident.longest_s,
                    step=incident.step,
                    times=incident.times,
                )
            )
            self._open[where] = _Incident(told_at=now)
        return tuple(facts)
