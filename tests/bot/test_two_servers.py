"""Two servers of one machine, each a process of its own, that share what they know."""

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from bot.lab import lab_process
from bot.lab_control import LabControl
from tests.bot.serving import Served, serving

pytestmark = [pytest.mark.slow, pytest.mark.long]

REFUSED = {"fault": "http", "status": 401}
WITHIN_S = 20.0


async def rung(session: aiohttp.ClientSession, server: Served, name: str) -> dict[str, Any]:
    async with session.get(f"{server.url}/api/providers") as answer:
        found = await answer.json()
    return next(each for each in found if each["name"] == name)


async def becomes(session: aiohttp.ClientSession, servers: list[Served], state: str) -> None:
    async with asyncio.timeout(WITHIN_S):
        while {(await rung(session, each, "cartesia"))["state"] for each in servers} != {state}:  # noqa: ASYNC110 - nothing tells us
            await asyncio.sleep(0.1)


async def test_one_server_probes_for_both_and_a_reset_at_either_reaches_the_other(
    tmp_path: Path,
) -> None:
    resilience = {
        "share": f"sqlite:///{tmp_path}/board.db",
        "probe": {"interval_s": 1.0, "timeout_s": 2.0},
    }
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    async with (
        lab_process() as lab,
        LabControl(lab) as control,
        aiohttp.ClientSession() as session,
        serving(
            lab, tmp_path / "a", changes={"resilience": resilience, "hold": {"render": False}}
        ) as here,
        serving(
            lab, tmp_path / "b", changes={"resilience": resilience, "hold": {"render": False}}
        ) as there,
    ):
        await asyncio.sleep(3.0)  # both know who probes
        before = len(await control.requests("cartesia"))
        await asyncio.sleep(4.0)
        asked = len(await control.requests("cartesia")) - before
        assert 2 <= asked <= 4  # once a second, not twice

        await control.set_faults("cartesia", [REFUSED])
        await becomes(session, [here, there], "open")
        assert (await rung(session, there, "cartesia"))["retired"]
        await control.mend_all()
        async with session.post(f"{there.url}/api/providers/cartesia/reset") as answer:
            assert answer.status == 200

        await becomes(session, [here, there], "closed")
        elevenlabs = await rung(session, here, "elevenlabs")
        assert (elevenlabs["state"], elevenlabs["suspect"]) == ("closed", False)
