"""Diallers that are killed at any moment, checked against the carrier's own record."""

import asyncio
import contextlib
import json
import os
import random
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from campaigns.store.figures import CampaignStanding
from tests.campaigns.recording_carrier import RecordingCarrier, carrier_running
from tests.campaigns.store.campaign_queue import NOON, new_contacts, open_queue

PROGRAM = Path(__file__).with_name("dialling_program.py")
ROOT = Path(__file__).parents[2]
STEPS = (
    "before the intent",
    "after the intent",
    "before the question",
    "after the answer",
    "after it was placed",
    "before it is given back",
    "before the outcome",
    "after the outcome",
)
GUARD_S = 3600.0  # for the whole test: nothing waits for a clock, and a machine may be busy


@asynccontextmanager
async def nursery() -> AsyncIterator[Process]:
    """Run the program that starts diallers."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, PROGRAM, stdin=PIPE, stdout=PIPE, cwd=ROOT, env=environment
    )
    ended = False
    try:
        yield process
        ended = True
    finally:
        if not ended:
            process.kill()  # its dialler ends with it
        assert process.stdin
        process.stdin.close()
        await process.wait()


async def dialler(process: Process, order: dict[str, Any], *, killed_after_s: float | None) -> int:
    """Start one dialler; return how it ended."""
    assert process.stdin
    assert process.stdout
    process.stdin.write(json.dumps(order).encode() + b"\n")
    pid = int(await process.stdout.readline())
    if killed_after_s is not None:
        await asyncio.sleep(killed_after_s)
        with contextlib.suppress(ProcessLookupError):  # it has finished before
            os.kill(pid, signal.SIGKILL)
    return int(await process.stdout.readline())


async def kill_and_finish(url: str, carrier: RecordingCarrier, *, kills: int, seed: int) -> int:
    """Kill one dialler after the other, at every step and at any moment; let the last one finish.

    Returns:
        How many were killed.
    """
    chance = random.Random(seed)  # noqa: S311 - repeatable
    killed = 0
    async with asyncio.timeout(GUARD_S), nursery() as process:
        for index in range(kills):
            order: dict[str, Any] = {
                "url": url,
                "carrier": carrier.url,
                "holder": f"dialler-{index}",
                "now": NOON + 100.0 * index,
            }
            by_itself = index % 2 == 0
            if by_itself:
                order |= {"die_at": STEPS[index // 2 % len(STEPS)], "die_on": chance.randint(1, 3)}
            after_s = None if by_itself else chance.random() * 0.15
            ended = await dialler(process, order, killed_after_s=after_s)
            assert ended in (0, -signal.SIGKILL)
            killed += ended == -signal.SIGKILL
        order = {"url": url, "carrier": carrier.url, "holder": "last", "now": NOON + 100.0 * kills}
        assert await dialler(process, order, killed_after_s=None) == 0
    return killed


async def finish(process: Process, order: dict[str, Any]) -> None:
    assert await dialler(process, order, killed_after_s=None) == 0


async def standing_of(url: str) -> CampaignStanding:
    queue = open_queue(url, "judge")
    try:
        return await queue.standing()
    finally:
        await queue.close()


def judge(carrier: RecordingCarrier, standing: CampaignStanding, contacts: int) -> None:
    """Compare the telephones that rang with the expected ones, and with the ledger."""
    rang = Counter(to for _, to in carrier.record)
    numbers = [new_contact.number for new_contact in new_contacts(contacts)]
    expected = {number: 2 if number.endswith("7") else 1 for number in numbers}

    assert rang == expected  # no contact twice for one attempt, and none lost
    assert len({dial for dial, _ in carrier.record}) == len(carrier.record)
    assert standing.contacts == {"done": contacts}
    assert standing.outcomes == Counter(carrier.outcomes.values())
    assert standing.calls_now == 0


async def fill(url: str, contacts: int) -> None:
    queue = open_queue(url, "filler")
    try:
        await queue.fill(new_contacts(contacts))
    finally:
        await queue.close()


@pytest.mark.slow
class TestKilledDiallers:
    async def try_kills(self, url: str, *, kills: int, contacts: int, seed: int) -> None:
        await fill(url, contacts)
        async with carrier_running(seed) as carrier:
            killed = await kill_and_finish(url, carrier, kills=kills, seed=seed)

            judge(carrier, await standing_of(url), contacts)
        assert killed > kills // 3  # else nothing was tested

    @pytest.mark.parametrize(
        ("kills", "contacts", "seed"),
        [
            pytest.param(25, 30, 3, id="25 kills"),
            pytest.param(200, 300, 4, id="200 kills", marks=pytest.mark.hours),
        ],
    )
    async def test_each_contact_rang_once_for_each_attempt(
        self, url: str, kills: int, contacts: int, seed: int
    ) -> None:
        await self.try_kills(url, kills=kills, contacts=contacts, seed=seed)

    async def try_four(self, url: str, *, contacts: int) -> None:
        await fill(url, contacts)
        async with (
            asyncio.timeout(GUARD_S),
            carrier_running(5, faulty=False) as carrier,
            AsyncExitStack() as stack,
        ):
            programs = [await stack.enter_async_context(nursery()) for _ in range(4)]
            orders = [
                {"url": url, "carrier": carrier.url, "holder": f"dialler-{index}", "now": NOON}
                for index in range(4)
            ]
            async with (
                asyncio.TaskGroup() as tasks
            ):  # else three would wait for the one that failed
                for program, order in zip(programs, orders, strict=True):
                    tasks.create_task(finish(program, order))

            judge(carrier, await standing_of(url), contacts)

    @pytest.mark.parametrize(
        "contacts",
        [
            pytest.param(100, id="100 contacts"),
            pytest.param(10_000, id="10,000 contacts", marks=pytest.mark.hours),
        ],
    )
    async def test_four_processes_call_no_contact_twice(self, url: str, contacts: int) -> None:
        await self.try_four(url, contacts=contacts)
