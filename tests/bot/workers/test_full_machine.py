"""A call that reaches a full machine is answered by another one that has room."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from bot.workers.agent_check import serve_checks
from bot.workers.listener import bind_socket
from lab.process import RunningLab
from lab.simulators.carrier.carrier import Carrier
from tests.bot.workers.carrier_lines import ExotelLine
from tests.bot.workers.multi_worker import becomes, log_of, told
from tests.bot.workers.test_lost_machine import two_machines
from tests.kit.haproxy import MACHINES

pytestmark = [pytest.mark.slow, pytest.mark.long]

CALLS = 3


async def test_exotels_streams_that_reach_a_full_machine_go_to_one_that_has_room(
    lab: RunningLab, tmp_path: Path
) -> None:
    line = ExotelLine()
    async with AsyncExitStack() as stack, asyncio.timeout(180):
        checks = dict[str, int]()
        for name in MACHINES:  # the balancer does not know yet that one is full
            listener = bind_socket("127.0.0.1", 0)
            checks[name] = listener.getsockname()[1]
            server = await serve_checks(listener, lambda: b"ready up 100%\n")
            await stack.enter_async_context(server)
        there = two_machines(lab, tmp_path, line, seats={"a": 1}, checks=checks)
        url, servers = await stack.enter_async_context(there)
        full, roomy = servers["a"], servers["b"]
        callers: list[Carrier] = [await stack.enter_async_context(line.carrier(full.url))]
        await becomes(lambda: len(told(full, "CallStarted")) == 1)
        await asyncio.sleep(2.5)  # the machines learn each other's room every second
        callers += [await stack.enter_async_context(line.carrier(url)) for _ in range(CALLS)]
        await becomes(lambda: len(told(roomy, "CallStarted")) == CALLS)

        assert len(told(full, "CallStarted")) == 1
        assert "CallRefused" not in log_of(full)
        assert not any(caller.ended.is_set() for caller in callers)
