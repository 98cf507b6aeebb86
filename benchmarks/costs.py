"""Measures the cost of calls: servers, callers who ask at fixed moments, and a table."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks import phrases
from benchmarks.own_time import Used, used_by, with_children
from lab.callers import Carrier, hiss
from lab.drill.servers import AUTH_TOKEN, OURS, run_agent
from lab.process import LabOptions, lab_process

RATE_HZ: Final = 8000
ASKS_EVERY_S: Final = 7.0  # a caller asks, hears the answer, and is silent for a while
GREETED_S: Final = 20.0
SETTLED_S: Final = 4.0  # by this time the greeting has ended and the call costs its steady amount
TARGET_CORES: Final = 0.10
TARGET_MIB: Final = 15.0
TARGET_SET_UP_S: Final = 0.030


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be measured."""

    calls: int
    seconds_s: float
    rounds: int
    sides: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one round of calls cost one side's server.

    Attributes:
        side: Whose server.
        cores: Processor seconds of the whole process for each second of each call.
        loop: The same of the thread with the event loop alone.
        set_up_s: The loop's own time from the ring to the open media stream, of each call.
        greeting_s: The loop's own time from then to the greeting's first sound, of each call.
        memory_mib: Growth of the process with each call but the first.
        heard_s: Of the agent's speech, for each second of each call.
    """

    side: str
    cores: float
    loop: float
    set_up_s: tuple[float, ...]
    greeting_s: tuple[float, ...]
    memory_mib: float
    heard_s: float

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON takes it."""
        return asdict(self)


class Server:
    """One side's server, from outside."""

    def __init__(self, side: str, url: str, pids: Sequence[int]) -> None:
        self.side = side
        self._url = url
        self._pids = pids

    def used(self) -> Used:
        """Return what it has used so far."""
        return used_by(self._pids)

    def ring(self) -> Carrier:
        """Return a call that has not rung yet."""
        return Carrier(self._url, AUTH_TOKEN)


async def measure(plan: Plan, *, folder: Path) -> list[Cost]:
    """Measure each side in turn, `rounds` times; each has its own lab and one call to warm up."""
    said = [hiss(item) for item in await asyncio.to_thread(phrases.spoken, RATE_HZ)]
    async with AsyncExitStack() as stack:
        servers = [
            await stack.enter_async_context(_server(side, folder=folder / side))
            for side in plan.sides
        ]
        for server in servers:
            await _round(server, said, plan=Plan(calls=1, seconds_s=8, rounds=1, sides=()))
        return [
            await _round(server, said, plan=plan) for _ in range(plan.rounds) for server in servers
        ]


@asynccontextmanager
async def _server(side: str, *, folder: Path) -> AsyncIterator[Server]:
    options = LabOptions(steady=True)
    async with lab_process(options=options) as lab, run_agent(lab, side, folder=folder) as url:
        config = str((folder / "holdline.yaml").resolve())
        yield Server(side, url, with_children(config))


async def _round(server: Server, said: Sequence[NDArray[np.int16]], *, plan: Plan) -> Cost:
    set_ups: list[float] = []
    greetings: list[float] = []
    resident: list[float] = []
    async with AsyncExitStack() as stack:
        calls: list[Carrier] = []
        for _ in range(plan.calls):
            before = server.used()
            calls.append(await stack.enter_async_context(server.ring()))
            await asyncio.sleep(0.02)  # until the stream's `start` was read
            opened = server.used()
            await _begun(calls[-1])
            greeted = server.used()
            set_ups.append(opened.loop_s - before.loop_s)
            greetings.append(greeted.loop_s - opened.loop_s)
            await asyncio.sleep(SETTLED_S)
            resident.append(server.used().memory_mib)
        began = server.used(), [_heard_s(call) for call in calls]
        await asyncio.gather(
            *(
                _ask(call, said, after_s=n * ASKS_EVERY_S / plan.calls, seconds_s=plan.seconds_s)
                for n, call in enumerate(calls)
            )
        )
        used = server.used().since(began[0])
        heard = fmean(_heard_s(each) - was for each, was in zip(calls, began[1], strict=True))
    return Cost(
        side=server.side,
        cores=used.cpu_s / plan.seconds_s / plan.calls,
        loop=used.loop_s / plan.seconds_s / plan.calls,
        set_up_s=tuple(set_ups),
        greeting_s=tuple(greetings),
        memory_mib=(resident[-1] - resident[0]) / max(1, plan.calls - 1),
        heard_s=heard / plan.seconds_s,
    )


async def _begun(call: Carrier) -> None:
    async with asyncio.timeout(GREETED_S):
        while not call.ear.bursts:  # noqa: ASYNC110 - the ear has no event
            await asyncio.sleep(0.01)


async def _ask(
    call: Carrier, said: Sequence[NDArray[np.int16]], *, after_s: float, seconds_s: float
) -> None:
    """Ask one phrase after the other at fixed moments, for `seconds_s`."""
    loop = asyncio.get_running_loop()
    began, number = loop.time(), 0
    while after_s + number * ASKS_EVERY_S < seconds_s:
        await asyncio.sleep(began + after_s + number * ASKS_EVERY_S - loop.time())
        call.begin(said[number % len(said)])
        number += 1
    await asyncio.sleep(began + seconds_s - loop.time())


def _heard_s(call: Carrier) -> float:
    return sum(burst.end - burst.start for burst in call.ear.bursts) / RATE_HZ


def show(console: Console, found: Sequence[Cost]) -> None:
    """Print a row for each side, and the spread of its values."""
    table = Table("", "cores a call", "loop's", "MiB a call", "set-up, ms", "greeting, ms", "heard")
    for side in dict.fromkeys(cost.side for cost in found):
        of_it = [cost for cost in found if cost.side == side]
        table.add_row(
            side,
            _mean_and_range([cost.cores for cost in of_it], digits=3),
            _mean_and_range([cost.loop for cost in of_it], digits=3),
            _mean_and_range([cost.memory_mib for cost in of_it], digits=1),
            f"{median(1000 * s for cost in of_it for s in cost.set_up_s):.0f}",
            f"{median(1000 * s for cost in of_it for s in cost.greeting_s):.0f}",
            f"{fmean(cost.heard_s for cost in of_it):.2f}",
        )
    console.print(table)


def _mean_and_range(values: Sequence[float], *, digits: int) -> str:
    text = f"{fmean(values):.{digits}f}"
    if len(values) > 1:
        text += f" ({min(values):.{digits}f} to {max(values):.{digits}f})"
    return text


def within_target(found: Sequence[Cost]) -> bool:
    """Return whether our side met its targets; without our side there are none to miss."""
    ours = [cost for cost in found if cost.side == OURS]
    return not ours or (
        fmean(cost.cores for cost in ours) <= TARGET_CORES
        and fmean(cost.memory_mib for cost in ours) <= TARGET_MIB
        and median(s for cost in ours for s in cost.set_up_s) <= TARGET_SET_UP_S
    )
