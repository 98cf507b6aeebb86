"""A server of several workers in tests: its processes and its records."""

import asyncio
import json
import re
from collections.abc import Callable
from typing import Any

from tests.bot.serving import Served

TWO = {"server": {"workers": 2}, "hold": {"render": False}}
WITHIN_S = 40.0  # a worker loads in some seconds; a busy machine takes longer
READY = re.compile(r"worker (w\d+) is ready, as process (\d+)")


def log_of(served: Served) -> str:
    return (served.logs / "holdline.log").read_text()


def workers_of(served: Served) -> dict[str, int]:
    """Return the processes of all workers that were ever ready, by name."""
    return {name: int(pid) for name, pid in READY.findall(log_of(served))}


async def becomes(fact: Callable[[], bool], *, within_s: float = WITHIN_S) -> None:
    async with asyncio.timeout(within_s):
        while not fact():  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.1)


def entries_of(served: Served) -> list[dict[str, Any]]:
    """Return every entry of every call, from the calls' own records."""
    lines = [path.read_text().splitlines() for path in (served.logs / "calls").glob("*.jsonl")]
    return [json.loads(line) for item in lines for line in item if line.endswith("}")]


def told(served: Served, name: str) -> list[dict[str, Any]]:
    return [entry for entry in entries_of(served) if entry["event"] == name]
