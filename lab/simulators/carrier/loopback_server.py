"""A carrier's REST interface, on a free port of loopback."""

import asyncio
from typing import Any, Self

from aiohttp import web


class LoopbackServer:
    """Serves an application during the block.

    Attributes:
        url: Its address.
        app: The interface.
    """

    def __init__(self) -> None:
        self.url = ""
        self.app = web.Application()
        self._runner = web.AppRunner(self.app)
        self._tasks = asyncio.TaskGroup()
        self._running: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        """Listen on a free port."""
        await self._tasks.__aenter__()
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *raised: Any) -> None:
        """Stop listening, and cancel the calls in progress."""
        await self._runner.cleanup()
        for task in self._running:
            task.cancel()
        await self._tasks.__aexit__(*raised)
