"""A machine of its own process, whose callers send requests to a provider with a limit."""

import asyncio
import sys
from contextlib import suppress

import aiohttp

from bot.health.policies import build_policies
from bot.workers.pool_client import SharedLimits
from bot.workers.shared_shares import SharedShares
from bot.workers.shared_values import RedisLink
from fallbacks.deadline import Deadline
from tests.bot.workers.lines import lines
from tests.bot.workers.test_pool_client import settings_with

REPORT_S = 0.1


async def run(url: str, provider: str, name: str, *, callers: int, limit: int) -> None:
    settings = settings_with(concurrent=limit)
    link = RedisLink(url)
    async with lines(settings, workers=1, shares=SharedShares(link, holder=name)) as it:
        policies = build_policies(settings, 0.0)
        gate, limits = policies["llm"].gates["mind"], SharedLimits(it.joined[0], policies.values())
        await it.open()

        async def call(session: aiohttp.ClientSession, number: int) -> None:
            while True:
                until = Deadline(at=asyncio.get_running_loop().time() + 60)
                ticket = await gate.enter(number, until=until)
                if ticket is None:
                    continue
                with suppress(aiohttp.ClientError):
                    await session.get(f"{provider}/{name}")
                gate.leave(ticket)

        async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as calls:
            for number in range(callers):
                calls.create_task(call(session, number))
            while True:
                it.office.broadcast_state()
                limits.report()
                await asyncio.sleep(REPORT_S)


if __name__ == "__main__":
    arguments = sys.argv[1:4]
    asyncio.run(run(*arguments, callers=int(sys.argv[4]), limit=int(sys.argv[5])))
