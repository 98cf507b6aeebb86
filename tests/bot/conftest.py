"""Servers through which processes share state; models and a lab for all tests of a worker."""

import gc
import sys
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from tests.kit.lab import lab, shared_lab
from tests.share_servers import postgres, redis_server

__all__ = ["lab", "models_once", "postgres", "redis_server", "shared_lab"]


class ModelsOnce:
    """Loads and warms up what all servers of this process use."""

    def __init__(self, load: Callable[[], Any], warm_up: Callable[[Any], Awaitable[None]]) -> None:
        self._load, self._warm_up = load, warm_up
        self._loaded: Any = None
        self._warm: Any = None

    def load(self) -> Any:
        """Return the models."""
        self._loaded = self._loaded or self._load()
        return self._loaded

    async def warm_up(self, models: Any) -> None:
        """Use them once."""
        if models is not self._warm:
            await self._warm_up(models)
        self._warm = models


@pytest.fixture(scope="session", autouse=True)
def models_once() -> Iterator[None]:
    """Let each server that a test runs in this process use the models of the first one.

    To load and try them takes 0.7 s of a processor, and a round of the garbage collector 0.3 s, in
    each of some hundreds of tests. A server in a process of its own does all of it.
    """
    opening: Any = sys.modules.get("bot.workers.process")
    if not opening:  # none of the chosen tests runs one
        yield
        return
    once = ModelsOnce(opening.VoiceModels.load, opening.warm_up)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(opening, "VoiceModels", once)
        patch.setattr(opening, "warm_up", once.warm_up)
        patch.setattr(opening, "freeze_loaded_objects", gc.freeze)
        yield
