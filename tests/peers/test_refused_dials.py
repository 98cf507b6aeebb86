"""A server whose dials a real SIP service refused stops as fast as one without calls."""

import asyncio
from pathlib import Path

import aiohttp
import pytest
from livekit import api

from tests.peers.agent import answering
from tests.peers.conftest import proven
from tests.peers.media_server import NUMBER, MediaServer
from tests.peers.refusing_phone import refusing_phone

DIALS = 3
GUARD_S = 12.0  # a call whose start was overtaken by its end took 20 s


@pytest.mark.slow
async def test_a_server_stops_soon_after_refused_dials(
    media_server: MediaServer, tmp_path: Path
) -> None:
    with proven(refusing_phone(tmp_path / "phone", "603 Decline")) as address:
        trunk = api.SIPOutboundTrunkInfo(
            name="holdline outbound", address=address, numbers=[NUMBER]
        )
        async with media_server.api() as lk:
            await lk.sip.create_outbound_trunk(api.CreateSIPOutboundTrunkRequest(trunk=trunk))
        livekit = {
            "enabled": True,
            "url": media_server.websocket_url,
            "sip": {"server": address, "number": NUMBER},
        }
        changes = {"transports": {"twilio": {"enabled": False}, "livekit": livekit}}
        async with answering(media_server, tmp_path, changes=changes) as served:
            outcomes = [await dialled(served.url, f"+1555010{n}123") for n in range(DIALS)]
            served.process.terminate()
            async with asyncio.timeout(GUARD_S):
                await served.process.wait()
        await media_server.remove_all()

    assert outcomes == ["declined"] * DIALS
    assert served.process.returncode == 0


async def dialled(url: str, number: str) -> str:
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{url}/api/dials", json={"number": number}) as answer,
    ):
        return str((await answer.json())["outcome"])
