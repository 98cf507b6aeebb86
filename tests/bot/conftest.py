"""Database servers, a shared lab, and models that are loaded once per pytest worker."""

import gc
import sys
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from tests.kit.lab import lab, shared_lab
from tests.kit.log_file import log_file
from tests.share_servers import postgres, redis_server

__all__ = ["lab", "log_file", "models_once", "postgres", "redis_server", "shared_lab"]


class ModelsOnce:
    """Loads and warms up the models once for all servers in this process."""

    def __init__(self, load: Callable[[], Any], warm_up: Callable[[Any], Awaitable[None]]) -> None:
        self._load, self._warm_up = load, warm_up
        self._loaded: Any = None
        self._warm: Any = None

    def load(self) -> Any:
        """Return the models, loaded at the first call."""
        self._loaded = self._loaded or self._load()
        return self._loaded

    async def warm_up(self, models: Any) -> None:
        """Warm the models up, unless they are warm."""
        if models is not self._warm:
            await self._warm_up(models)
        self._warm = models


@pytest.fixture(scope="session", autouse=True)
def models_once() -> Iterator[None]:
    """Let all servers that tests run in this process share the models of the first one.

    Loading and warming up takes 0.7 s of CPU time, and a garbage collection 0.3 s, in each of
    several hundred tests. A server in a process of its own still does all of it.
    """
    opening: Any = sys.modules.get("bot.workers.process")
    if not opening:  # none of the selected tests runs a server
        yield
        return
    once = ModelsOnce(opening.VoiceModels.load, opening.warm_up)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(opening, "VoiceModels", once)
        patch.setattr(opening, "warm_up", once.warm_up)
        patch.setattr(opening, "freeze_loaded_objects", gc.freeze)
        yield
