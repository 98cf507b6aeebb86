"""An ElevenLabs account's limits, and its use."""

import asyncio
from dataclasses import dataclass
from typing import Final

QUEUED_S: Final = 0.05  # the wait of requests above the plan's limit before they fail, about


@dataclass(slots=True, kw_only=True)
class ElevenLabsAccount:
    """An account's limits, and its use.

    Attributes:
        concurrent: Generations at once (30 for flash models on the plan Scale).
        character_limit: Characters in a month (Scale: 2 million credits).
        idle_s: Seconds without any message after which the server closes a socket.
    """

    concurrent: int = 30
    character_limit: int = 2_000_000
    idle_s: float = 180.0
    generating: int = 0
    character_count: int = 0

    async def begin(self, characters: int) -> str | None:
        """Start a generation; return the error's code if the plan does not allow it now."""
        if self.character_count + characters > self.character_limit:
            return "quota_exceeded"
        if self.generating >= self.concurrent:
            await asyncio.sleep(QUEUED_S)
        if self.generating >= self.concurrent:
            return "too_many_concurrent_requests"
        self.generating += 1
        self.character_count += characters
        return None

    def end(self) -> None:
        """Record the end of a generation."""
        self.generating -= 1
