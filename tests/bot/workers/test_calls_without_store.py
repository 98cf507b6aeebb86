"""A call that begins while the machines' store is away is marked as not kept until it is stored."""

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from lab.process import RunningLab
from lab.simulators.carrier.carrier import Carrier
from tests.bot.serving import AUTH_TOKEN, Served, serving
from tests.bot.workers.multi_worker import becomes, log_of, told
from tests.share_servers import running_redis

pytestmark = [pytest.mark.slow, pytest.mark.long]


async def live(served: Served) -> dict[str, bool]:
    """Return by id whether each call in progress is kept, as the console shows it."""
    async with aiohttp.ClientSession() as http, http.get(f"{served.url}/api/calls") as answer:
        calls: dict[str, Any] = await answer.json()
    return {call["id"]: call["kept"] for call in calls["live"]}


def ids(served: Served, name: str) -> set[str]:
    """Return the calls with this event."""
    return {entry["call_id"] for entry in told(served, name)}


async def test_a_call_is_marked_until_the_store_has_it(lab: RunningLab, tmp_path: Path) -> None:
    changes = {"server": {"machine": "a"}, "agent": {"silence": {"prompt_after_s": 600}}}
    with running_redis() as store:
        environment = {"HOLDLINE__SERVER__STORE": store.url}
        async with (
            serving(lab, tmp_path, changes=changes, environment=environment) as served,
            asyncio.timeout(180),
            Carrier(served.url, AUTH_TOKEN) as before,
        ):
            assert (await before.listen(within_s=20)).size
            await becomes(lambda: len(told(served, "CallStarted")) == 1)
            (first,) = ids(served, "CallStarted")
            store.pause()
            async with Carrier(served.url, AUTH_TOKEN) as meanwhile:
                assert (await meanwhile.listen(within_s=20)).size
                await becomes(lambda: bool(told(served, "CallNotKept")))
                (second,) = ids(served, "CallStarted") - {first}
                assert ids(served, "CallNotKept") == {second}
                assert await live(served) == {first: True, second: False}

                store.resume()
                await becomes(lambda: bool(told(served, "CallKept")))
                assert ids(served, "CallKept") == {second}
                assert await live(served) == {first: True, second: True}
    assert "CallNotKept" in log_of(served)
