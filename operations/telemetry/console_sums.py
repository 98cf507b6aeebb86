"""What the console shows of now, summed up as one listener: calls in progress, rungs lately."""

from calls.entry import Entry
from operations.telemetry.live_calls import LiveCalls
from operations.telemetry.recent_work import RecentWork


class ConsoleSums:
    """Hears every entry once, for both: a listener has a queue and a task of its own."""

    def __init__(self) -> None:
        self.calls = LiveCalls()
        self.recent = RecentWork()

    async def hear(self, entry: Entry) -> None:
        """Fold one entry in."""
        await self.calls.hear(entry)
        await self.recent.hear(entry)
