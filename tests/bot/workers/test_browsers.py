"""Browsers at a server of two workers: a request at either finds its call."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiortc import RTCPeerConnection
from aiortc.mediastreams import AudioStreamTrack

from lab.process import RunningLab
from tests.bot.server.peer import on_loopback, peer
from tests.bot.serving import serving
from tests.bot.test_root_bot import BrowserPage
from tests.bot.workers.multi_worker import TWO, becomes, told, workers_of

__all__ = ["on_loopback"]

pytestmark = [pytest.mark.slow, pytest.mark.long]

CANDIDATE = {
    "candidate": "candidate:1 1 udp 2130706431 127.0.0.1 9 typ host",
    "sdp_mid": "0",
    "sdp_mline_index": 0,
}


async def test_candidates_offers_and_views_find_the_call_from_any_worker(
    tmp_path: Path, lab: RunningLab
) -> None:
    async with (
        serving(lab, tmp_path, changes=TWO) as served,
        aiohttp.ClientSession() as session,
    ):
        await becomes(lambda: len(workers_of(served)) == 2)
        page = BrowserPage()
        await page.call(served.url)
        async with asyncio.timeout(30):
            await page.heard.wait()
        seen = await watch(session, served.url)
        ids = [await offer(session, served.url) for _ in range(4)]
        patched = [await patch(session, served.url, id_) for id_ in ids for _ in range(4)]
        unknown = [await patch(session, served.url, name) for name in ("w1.x", "w2.x", "w9.x", "x")]
        rungs = await (await session.get(f"{served.url}/api/providers")).json()
        async with session.post(f"{served.url}/api/providers/cartesia/reset") as answer:
            reset = await answer.json()
        await page.hang_up()
        await becomes(lambda: len(told(served, "CallEnded")) >= 1)

    assert {id_.partition(".")[0] for id_ in ids} <= {"w1", "w2"}
    assert set(patched) == {200}
    assert unknown == [404] * 4
    assert [rung["name"] for rung in rungs].count("cartesia") == 1
    assert [item["name"] for item in reset] == ["cartesia"]
    assert "CallStarted" in seen


async def offer(session: aiohttp.ClientSession, url: str) -> str:
    """Offer a call that never connects, and return its connection's id."""
    line = RTCPeerConnection()
    line.addTrack(AudioStreamTrack())
    await line.setLocalDescription(await line.createOffer())
    mine = line.localDescription
    async with session.post(
        f"{url}/api/offer", json={"sdp": mine.sdp, "type": mine.type}
    ) as answer:
        said: dict[str, Any] = await answer.json()
    await line.close()
    return said["pc_id"]


async def patch(session: aiohttp.ClientSession, url: str, pc_id: str) -> int:
    async with session.patch(
        f"{url}/api/offer", json={"pc_id": pc_id, "candidates": [CANDIDATE]}
    ) as answer:
        return answer.status


async def watch(session: aiohttp.ClientSession, url: str) -> str:
    """Return the live view up to the call's start, at whichever worker."""
    seen = ""
    async with asyncio.timeout(30), session.get(f"{url}/api/live") as answer:
        async for line in answer.content:
            seen += line.decode()
            if "CallStarted" in seen:
                break
    return seen


async def test_a_page_whose_worker_is_killed_finds_its_call_at_another(
    tmp_path: Path, on_loopback: None, lab: RunningLab
) -> None:
    del on_loopback
    async with (
        serving(lab, tmp_path, changes=TWO) as served,
        peer(served.url) as first,
        peer(served.url) as second,
    ):
        await becomes(lambda: len(workers_of(served)) == 2)
        await first.call()
        about = await first.until_told("call")
        await first.until_told("said")
        for pid in tuple(workers_of(served).values()):  # whichever worker has it
            os.kill(pid, signal.SIGKILL)
        first.vanish()
        await becomes(lambda: len(workers_of(served)) == 4)
        await second.call(request_data={"resume_token": about["resume_token"]})
        back = await second.until_told("call")
        said = await second.until_told("said")

    assert (back["call_id"], back["remembers"]) == (about["call_id"], True)
    assert "Hello" not in said["text"]


async def test_a_page_whose_worker_is_killed_gets_a_seat_before_new_callers_do(
    tmp_path: Path, on_loopback: None, lab: RunningLab
) -> None:
    del on_loopback
    one_seat = {**TWO, "server": {"workers": 2, "max_calls": 1, "admission": "seats"}}
    async with (
        serving(lab, tmp_path, changes=one_seat) as served,
        peer(served.url) as first,
        peer(served.url) as stranger,
        peer(served.url) as second,
    ):
        await becomes(lambda: len(workers_of(served)) == 2)
        await first.call()
        about = await first.until_told("call")
        await first.until_told("said")
        os.kill(workers_of(served)[first.pc_id.partition(".")[0]], signal.SIGKILL)
        first.vanish()
        await asyncio.sleep(0.5)  # the supervisor has noticed
        refused, _ = await stranger.offer()
        await second.call(request_data={"resume_token": about["resume_token"]})
        back = await second.until_told("call")

    assert refused == 503
    assert (back["call_id"], back["remembers"]) == (about["call_id"], True)
