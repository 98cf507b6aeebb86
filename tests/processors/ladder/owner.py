"""A task owner for parts that need one, in place of a processor."""

import asyncio
from collections.abc import Coroutine
from typing import Any


class Owner:
    """Owns tasks, as a processor does."""

    name = "owner"
    task: asyncio.Task[None]  # the latest one

    def create_task(self, coroutine: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        self.task = asyncio.create_task(coroutine, name=name)
        return self.task

    async def cancel_task(self, task: asyncio.Task[None]) -> None:
        task.cancel()
