"""Telephone calls through each carrier's door, to a server that knows it from a YAML alone."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lab.process import RunningLab, lab_process
from lab.simulators.carrier.carrier import Carrier
from lab.simulators.carrier.exotel import ExotelManner, exotel_call
from lab.simulators.carrier.plivo import PlivoAccount, PlivoManner, plivo_call
from lab.simulators.carrier.telnyx import TelnyxAccount, TelnyxManner, telnyx_call
from lab.simulators.carrier.webhook import NotConnectedError
from tests.bot.call.test_phone_calls import GREETING, caller_says, ends_in, requests_of, said_in
from tests.bot.serving import Served, serving

pytestmark = pytest.mark.slow

CARRIERS = ("telnyx", "plivo", "exotel")
KEY, TOKEN = "an-exotel-key", "an-exotel-token"


@dataclass(frozen=True, kw_only=True)
class Line:
    """A server with every carrier's door open, and its callers."""

    served: Served
    lab: RunningLab
    telnyx: TelnyxAccount
    plivo: PlivoAccount
    logs: Path

    def caller(self, carrier: str) -> Carrier:
        """Return a call that rings when it is entered."""
        match carrier:
            case "telnyx":
                phone, manner = telnyx_call(), TelnyxManner(self.telnyx)
            case "plivo":
                phone, manner = plivo_call(), PlivoManner(self.plivo)
            case _:
                phone, manner = exotel_call(), ExotelManner(key=KEY, token=TOKEN)
        call = Carrier(self.served.url, "", phone=phone, manner=manner)
        self.telnyx.know(call)
        self.plivo.know(call)
        return call


@asynccontextmanager
async def line(
    folder: Path, *, returns_within_s: float = 30.0, **changes: Any
) -> AsyncIterator[Line]:
    async with (
        asyncio.timeout(180),
        lab_process() as lab,
        TelnyxAccount() as telnyx,
        PlivoAccount() as plivo,
    ):
        usual = {"enabled": True, "returns_within_s": returns_within_s}
        transports = {
            "twilio": {"enabled": False},
            "telnyx": usual | {"api_url": telnyx.url},
            "plivo": usual | {"api_url": plivo.url},
            "exotel": {"enabled": True},
        }
        environment = {
            "TELNYX_API_KEY": telnyx.api_key,
            "TELNYX_PUBLIC_KEY": telnyx.public_key,
            "PLIVO_AUTH_ID": plivo.auth_id,
            "PLIVO_AUTH_TOKEN": plivo.auth_token,
            "EXOTEL_API_KEY": KEY,
            "EXOTEL_API_TOKEN": TOKEN,
        }
        changes = {"transports": transports} | changes
        async with serving(lab, folder, changes=changes, environment=environment) as served:
            yield Line(served=served, lab=lab, telnyx=telnyx, plivo=plivo, logs=folder / "logs")


def entries(it: Line) -> list[dict[str, Any]]:
    """Return the events of the calls, from their own records."""
    files = sorted((it.logs / "calls").glob("*.jsonl"))
    return [json.loads(text) for file in files for text in file.read_text().splitlines()]


async def ended(it: Line, calls: int) -> list[str]:
    """Wait until this many calls have ended; return the reasons."""
    async with asyncio.timeout(20):
        while len(ends_in(it.logs / "calls")) < calls:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.05)
    return ends_in(it.logs / "calls")


async def answering(call: Carrier, bursts: int) -> None:
    """Wait until the agent has spoken this many times."""
    async with asyncio.timeout(20):
        while len(call.ear.bursts) < bursts:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.02)


async def whole_conversation(call: Carrier) -> float:
    """Ask, press a key and say goodbye; return how long the greeting was."""
    async with call:
        greeting = await call.listen(within_s=20)
        await call.say(await caller_says("What are your opening hours?"))
        await call.listen(within_s=20)
        await call.press("5")
        await call.say(await caller_says("Where are you?"))
        await call.listen(within_s=20)
        await call.say(await caller_says("Goodbye."))
        await asyncio.wait_for(call.ended.wait(), 20)
    return greeting.size / call.rate_hz


async def greeted_only(call: Carrier, *, vanishes: bool = False) -> None:
    """Hear the greeting and hang up, or be cut off."""
    async with call:
        await call.listen(within_s=20)
        if vanishes:
            call.vanish()
        else:
            await call.hang_up()


async def every_way_to_end(it: Line, carrier: str) -> list[Carrier]:
    """Make three calls by one carrier: a whole one, one hung up by the caller, one cut off."""
    call, second, third = (it.caller(carrier) for _ in range(3))
    greeting_s = await whole_conversation(call)
    await greeted_only(second)
    await greeted_only(third, vanishes=True)

    assert greeting_s > 1.0
    assert call.ended_by == "agent"
    return [call, third]  # a caller who hung up is not hung up on


async def test_a_whole_call_and_every_way_to_end_it_by_each_carrier(tmp_path: Path) -> None:
    async with line(tmp_path, returns_within_s=0) as it:
        ended_here = await asyncio.gather(*(every_way_to_end(it, carrier) for carrier in CARRIERS))
        reasons = await ended(it, 3 * len(CARRIERS))
        requests = await requests_of(it.lab)

    ends = ("agent_hung_up", "caller_hung_up", "connection_lost")
    assert sorted(reasons) == sorted(ends * len(CARRIERS))
    facts = entries(it)
    assert [fact["key"] for fact in facts if fact["event"] == "KeyPressed"] == ["*"] * 3  # masked
    whole = [item for item in said_in(it.logs / "calls").values() if len(item) > 1]
    assert len(whole) == len(CARRIERS)
    for said in whole:
        assert said[0] == GREETING
        assert "nine" in said[1]
        assert "oodbye" in said[-1]
    told = [row for rows in requests.values() for row in rows]
    assert all(request["ok_auth"] and request["well_formed"] for request in told), told
    telnyx, plivo, _ = ([call.phone.call_sid for call in calls] for calls in ended_here)
    assert [ref for ref, action, _ in it.telnyx.commands if action == "hangup"] == telnyx
    assert [ref for method, ref, _ in it.plivo.requests if method == "DELETE"] == plivo


async def cut_in_mid_call(it: Line, carrier: str) -> None:
    """Ask, lose the stream while the answer is spoken, hear the rest and ask again."""
    async with it.caller(carrier) as call:
        await call.listen(within_s=20)
        await call.say(await caller_says("What are your opening hours?"))
        await answering(call, 2)
        await call.break_off()
        await call.listen(within_s=20)
        await call.say(await caller_says("Where are you?"))
        await call.listen(within_s=20)
        await call.hang_up()
    assert len(call.lost_at) == 1


async def test_a_stream_that_dies_in_mid_call_is_followed_by_another(tmp_path: Path) -> None:
    async with line(tmp_path) as it:
        await asyncio.gather(*(cut_in_mid_call(it, name) for name in ("telnyx", "plivo")))
        reasons = await ended(it, 2)

    said = list(said_in(it.logs / "calls").values())
    assert len(said) == 2
    assert all("nine" in item[1] and "Street" in item[2] for item in said), said
    assert reasons == ["caller_hung_up", "caller_hung_up"]


async def test_a_caller_beyond_the_limit_hears_the_busy_tone(tmp_path: Path) -> None:
    async with line(tmp_path, server={"max_calls": 1}) as it, it.caller("exotel") as call:
        await call.listen(within_s=20)
        for carrier, said in (("telnyx", "USER_BUSY"), ("plivo", "busy")):
            with pytest.raises(NotConnectedError) as refused:
                async with it.caller(carrier):
                    pass
            assert refused.value.said == said

        assert not call.ended.is_set()
