"""Two server processes that share the health of providers."""

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from lab.control import LabControl
from lab.process import RunningLab
from lab.simulators.carrier.carrier import Carrier
from tests.bot.call.test_phone_calls import caller_says
from tests.bot.serving import AUTH_TOKEN, Served, serving
from tests.kit.journal import entries_in
from tests.share_servers import PASSWORD, running_redis
from tests.share_servers import Server as ShareServer

pytestmark = [pytest.mark.slow, pytest.mark.long]

REFUSED = {"fault": "http", "status": 401}
WITHIN_S = 20.0
LATE_S = 2.5  # far over the budget, for a busy machine; waiting for the share takes 2 s and more


async def rung(session: aiohttp.ClientSession, server: Served, name: str) -> dict[str, Any]:
    async with session.get(f"{server.url}/api/providers") as answer:
        found = await answer.json()
    return next(item for item in found if item["name"] == name)


async def becomes(session: aiohttp.ClientSession, servers: list[Served], state: str) -> None:
    async with asyncio.timeout(WITHIN_S):
        while {(await rung(session, server, "cartesia"))["state"] for server in servers} != {state}:  # noqa: ASYNC110 - nothing tells us
            await asyncio.sleep(0.1)


async def test_one_server_probes_for_both_and_a_reset_at_either_reaches_the_other(
    redis_server: ShareServer, tmp_path: Path, lab: RunningLab
) -> None:
    """The other boards are tested in `test_sharing.py`."""
    environment = {"HOLDLINE__RESILIENCE__SHARE": await redis_server.fresh_url()}
    probe = {"interval_s": 1.0, "timeout_s": 2.0}
    changes = {"resilience": {"probe": probe}, "hold": {"render": False}}
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    async with (
        LabControl(lab) as control,
        aiohttp.ClientSession() as session,
        serving(lab, tmp_path / "a", changes=changes, environment=environment) as here,
        serving(lab, tmp_path / "b", changes=changes, environment=environment) as there,
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


async def test_a_hanging_share_does_not_affect_a_call(
    postgres: ShareServer, tmp_path: Path, lab: RunningLab
) -> None:
    environment = {"HOLDLINE__RESILIENCE__SHARE": await postgres.fresh_url()}
    changes = {"hold": {"render": False}}
    async with (
        asyncio.timeout(120),
        aiohttp.ClientSession() as session,
        serving(lab, tmp_path, changes=changes, environment=environment) as served,
        Carrier(served.url, AUTH_TOKEN) as call,
    ):
        await call.listen(within_s=15)
        postgres.pause()
        try:
            for question in ("What are your opening hours?", "Where are you?"):
                await call.say(await caller_says(question))
                await call.listen(within_s=20)
            await logged(served, "ShareLost")
            quick = aiohttp.ClientTimeout(total=1.0)
            async with session.get(f"{served.url}/readyz", timeout=quick) as answer:
                assert answer.status == 200
        finally:
            postgres.resume()
        await logged(served, "ShareRegained")

    entries = entries_in(served.logs / "calls")
    answers_s = [entry["v2v_s"] for entry in entries if entry["event"] == "AnswerHeard"]
    assert len(answers_s) == 2
    assert max(answers_s) < LATE_S
    assert served.process.returncode == 0
    assert PASSWORD not in (served.logs / "holdline.log").read_text(encoding="utf-8")


async def test_a_hanging_store_delays_no_word_and_is_an_incident(
    tmp_path: Path, lab: RunningLab
) -> None:
    with running_redis() as store:
        environment = {"HOLDLINE__SERVER__STORE": store.url}
        changes = {"hold": {"render": False}, "server": {"machine": "a", "workers": 1}}
        async with (
            asyncio.timeout(120),
            serving(lab, tmp_path, changes=changes, environment=environment) as served,
            Carrier(served.url, AUTH_TOKEN) as call,
        ):
            await call.listen(within_s=15)
            store.pause()
            try:
                for question in ("What are your opening hours?", "Where are you?"):
                    await call.say(await caller_says(question))
                    await call.listen(within_s=20)
                await logged(served, "the store that the machines share does not answer")
            finally:
                store.resume()
            await logged(served, "over: the store that the machines share does not answer")

    entries = entries_in(served.logs / "calls")
    answers_s = [entry["v2v_s"] for entry in entries if entry["event"] == "AnswerHeard"]
    assert len(answers_s) == 2
    assert max(answers_s) < LATE_S


async def logged(served: Served, event: str) -> None:
    log = served.logs / "holdline.log"
    async with asyncio.timeout(WITHIN_S + 10.0):
        while event not in log.read_text(encoding="utf-8"):  # noqa: ASYNC110 - nothing tells us
            await asyncio.sleep(0.1)
