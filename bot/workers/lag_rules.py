"""How lag is reported: one event per incident, not one for each late beat."""

from dataclasses import dataclass, field
from typing import Final

from calls.events import LagPlace, ProcessLagged

TOLD_S: Final = 0.25  # less than a caller notices, even with audio queued on the line
QUIET_S: Final = 10.0  # between two events of one place


@dataclass(slots=True)
class _Incident:
    """The lag of one place since its last event."""

    told_at: float
    longest_s: float = 0.0
    step: str = ""
    times: int = 0


@dataclass(slots=True)
class Lagging:
    """Takes how late the process was and where; decides when to report it.

        lagging = Lagging()
        lagging.note("loop", 1.2, step="Toolbox.run (bot/tools/toolbox.py)", now=now)  # an event
        lagging.note("loop", 0.8, step="", now=now + 1)  # kept
        lagging.tick(now + 10)  # an event with the longest lag that was kept

    Times are monotonic, in seconds.
    """

    _open: dict[LagPlace, _Incident] = field(default_factory=dict[LagPlace, _Incident])

    def note(
        self, where: LagPlace, lag_s: float, *, step: str, now: float
    ) -> tuple[ProcessLagged, ...]:
        """Take one lag; the first one in a while is reported at once."""
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
        """Report what was kept, and close incidents that have been quiet for `QUIET_S`."""
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
