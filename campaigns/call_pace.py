"""So many calls a second, evenly: what an account may place."""

import asyncio
from dataclasses import dataclass, field


@dataclass(slots=True, kw_only=True)
class CallPace:
    """Of one account."""

    calls_per_s: float
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    _free_at: float = 0.0  # on the loop's clock: when the account may place the next call

    async def keep(self) -> None:
        """Wait for our turn: evenly, without a burst."""
        loop = asyncio.get_running_loop()
        async with self._turn:
            await asyncio.sleep(max(0.0, self._free_at - loop.time()))
            self._free_at = loop.time() + 1 / self.calls_per_s
