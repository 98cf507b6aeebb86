"""How many processes this machine is good for."""

import os
from typing import Final

from bot.config.settings import Settings

LEAST: Final = 2  # chosen: the calls of a worker that dies wait 6 s for one that must be started


def own_cores() -> int:
    """Return how many cores this process may use, at least one."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def processes(settings: Settings) -> int:
    """Return how many workers there are to be, at least one."""
    return settings.server.workers or max(LEAST, own_cores())
