"""A listener that also receives incidents, as the emitter produces them."""

from dataclasses import replace
from datetime import datetime

from calls.entry import Entry
from operations.notify.incident_rules import Incidents
from operations.telemetry.emitter import Listener


class IncidentFeed:
    """Passes each entry on, followed by its incidents."""

    def __init__(self, listener: Listener, incidents: Incidents) -> None:
        self._listener = listener
        self._incidents = incidents

    async def hear(self, entry: Entry) -> None:
        at_s = datetime.fromisoformat(entry.at).timestamp()
        await self._listener.hear(entry)
        for fact in self._incidents.handle(entry.event, at_s):
            await self._listener.hear(replace(entry, event=fact))
