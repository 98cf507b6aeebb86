"""What one worker does for the whole house: the first one to claim it, for as long as it lives."""

from collections.abc import Mapping
from typing import Any, Final

from bot.workers.wire import Wire

MOST: Final = 10_000  # rooms of a day; what was not asked for longest gives way


class Claims:
    """Things that one worker alone does, such as answering a call that all were told of."""

    def __init__(self, *, most: int = MOST) -> None:
        self._most = most
        self._holders: dict[str, str] = {}

    def claim(self, what: str, *, holder: str) -> bool:
        """Return whether it is the holder's to do; nobody is told so twice."""
        if what in self._holders:
            # Rooms of calls that go on are found every second: theirs is never the oldest.
            self._holders[what] = self._holders.pop(what)
            return False
        while len(self._holders) >= self._most:
            del self._holders[next(iter(self._holders))]
        self._holders[what] = holder
        return True

    def give_back(self, what: str, *, holder: str) -> None:
        """Let anybody claim it again, the holder too; harmless where it is another's."""
        if self._holders.get(what) == holder:
            del self._holders[what]

    def serve(self, wire: Wire, *, holder: str) -> None:
        """Say whether it is the holder's to do when it asks, at the other end of a line."""

        async def claim(said: Mapping[str, Any]) -> bool:
            return self.claim(said["what"], holder=holder)

        # Whoever had no answer in time thinks that it is not theirs, and nobody would do it.
        wire.answer("claim", claim, revocable=True)
        wire.on("give_back", lambda said: self.give_back(said["what"], holder=holder))

    def lose(self, holder: str) -> None:
        """Let others claim what somebody who is gone had claimed."""
        self._holders = {what: who for what, who in self._holders.items() if who != holder}
