"""A task owner for parts that need one, in place of a processor."""

import asyncio
from collections.abc import Coroutine
from typing import Any


class Owner:
    """Owns tasks, as a processor does."""

    name = "owner"

    def create_task(self, coroutine: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        return asyncio.create_task(coroutine, name=name)

    async def cancel_task(self, task: asyncio.Task[None]) -> None:
        task.cancel()
