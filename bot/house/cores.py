"""How many processes this machine is good for."""

import os

from bot.config.settings import Settings


def own_cores() -> int:
    """Return how many cores this process may use, at least one."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def processes(settings: Settings) -> int:
    """Return how many workers there are to be, at least one."""
    return settings.server.workers or own_cores()
