"""A page that reconnects before our slow server has noticed the lost line."""

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from calls.events import CallEnded, CallFailed
from calls.resume import RETURN_S
from lab.simulators.lab import Lab
from tests.bot.judged_call import listening
from tests.bot.server.peer import on_loopback, peer

__all__ = ["on_loopback"]

pytestmark = [
    pytest.mark.virtual_time,
    pytest.mark.slow,
    pytest.mark.usefixtures("on_loopback", "quiet_log"),
]

RECOGNISERS = ("deepgram", "deepgram-b")


async def test_a_page_keeps_its_conversation_while_its_old_call_ends_slowly(
    tmp_path: Path,
) -> None:
    """After a network cut a recogniser does not close either: that takes two seconds."""
    async with (
        listening(tmp_path, {}, None) as beside,
        peer(beside.url) as first,
        peer(beside.url) as second,
        peer(beside.url) as third,
    ):
        await first.call()
        token = (await first.until_told("call"))["resume_token"]
        await first.until_told("said")
        for recogniser in RECOGNISERS:
            cut(beside.lab, recogniser)
        first.vanish()
        await second.call(request_data={"resume_token": token})
        back = await second.until_told("call")
        await second.until_told("said")
        await asyncio.sleep(3)
        ended = [event.reason for event in beside.events if isinstance(event, CallEnded)]
        seats = beside.seats()
        second.vanish()
        await third.call(request_data={"resume_token": back["resume_token"]})
        again = await third.until_told("call")
        failed = [event for event in beside.events if isinstance(event, CallFailed)]

    assert (back["remembers"], again["remembers"]) == (True, True)
    assert (ended, seats, failed) == ([], 1, [])


@pytest.mark.parametrize(
    ("returns_after_s", "judged"),
    [
        ([], {"lost": 1}),
        ([0.0, 10.0], {"degraded": 1}),
        ([RETURN_S + 20.0], {"lost": 1, "served": 1}),
    ],
)
async def test_a_call_that_returned_is_counted_once(
    tmp_path: Path, returns_after_s: list[float], judged: dict[str, int]
) -> None:
    token = ""
    async with listening(tmp_path, {}, None) as beside, AsyncExitStack() as pages:
        for number, after_s in enumerate([0.0, *returns_after_s]):
            await asyncio.sleep(after_s)
            page = await pages.enter_async_context(peer(beside.url))
            await page.call(request_data={"resume_token": token})
            token = (await page.until_told("call"))["resume_token"]
            await page.until_told("said")
            await asyncio.sleep(2)
            if number and number == len(returns_after_s):
                await page.leave()
            else:
                page.vanish()
        await asyncio.sleep(RETURN_S + 30.0)
        metrics, calls = await said(beside.url, "/metrics"), await said(beside.url, "/api/calls")
        ended = [item.call_id for item in beside.told if isinstance(item.event, CallEnded)]

    samples = {
        sample.name + "".join(sample.labels.values()): sample.value
        for family in text_string_to_metric_families(metrics)
        for sample in family.samples
    }
    counted = {
        name: samples["holdline_calls_judged_total" + name]
        for name in ("served", "degraded", "hurt", "lost")
    }
    assert +Counter(counted) == judged
    assert Counter(call["verdict"] for call in calls["recent"]) == judged
    assert {call["state"] for call in calls["recent"]} == {"ended"}
    assert len(ended) == len(set(ended)) == sum(judged.values())
    assert samples["holdline_call_length_seconds_count"] == len(ended)
    assert samples["holdline_calls_started_totalwebrtc"] == len(ended)
    assert samples["holdline_calls_active"] == 0
    assert calls["live"] == []


async def said(url: str, path: str) -> Any:
    async with aiohttp.ClientSession() as session, session.get(f"{url}{path}") as answer:
        assert answer.status == 200, path
        return await (answer.text() if path == "/metrics" else answer.json())


def cut(lab: Lab, name: str) -> None:
    """Drop everything that is sent to a provider on the existing connections."""
    runner = lab.instance(name).server._runner
    assert runner is not None
    assert runner.server is not None
    for connection in runner.server.connections:
        assert connection.transport is not None
        connection.transport.pause_reading()  # type: ignore[attr-defined]
