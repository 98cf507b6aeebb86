"""A server of several workers in tests: its processes and its records."""

import re
from collections.abc import Callable
from typing import Any

from tests.bot.serving import Served
from tests.kit.journal import entries_in
from tests.kit.waiting import until

PATIENT = {"silence": {"prompt_after_s": 60}}  # a caller waits silently until workers have started
TWO = {"server": {"workers": 2}, "hold": {"render": False}, "agent": PATIENT}
WITHIN_S = 120.0  # a worker loads in some seconds; a busy machine takes longer
READY = re.compile(r"worker (w\d+) is ready, as process (\d+)")


def log_of(served: Served) -> str:
    return (served.logs / "holdline.log").read_text()


def workers_of(served: Served) -> dict[str, int]:
    """Return the processes of all workers that were ever ready, by name."""
    return {name: int(pid) for name, pid in READY.findall(log_of(served))}


async def becomes(fact: Callable[[], bool], *, within_s: float = WITHIN_S) -> None:
    await until(fact, within_s=within_s, every_s=0.1)


def entries_of(served: Served) -> list[dict[str, Any]]:
    """Return every entry of every call, from the calls' own records."""
    return entries_in(served.logs / "calls")


def told(served: Served, name: str) -> list[dict[str, Any]]:
    return [entry for entry in entries_of(served) if entry["event"] == name]
