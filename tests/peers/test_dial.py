"""Calls to real phones through a real SIP service: one answers, one is busy, one only rings."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from livekit import api
from pydantic import SecretStr

from lab.drill.sound import stretches
from tests.peers.agent import answering
from tests.peers.conftest import NewPhone, proven
from tests.peers.media_server import KEY, NUMBER, SECRET, MediaServer
from tests.peers.refusing_phone import carrier_with_login, refusing_phone
from tests.peers.sip_phone import Pcm
from tests.peers.test_peers import TONE_HZ, loud_s, participant
from transports.livekit.dialling import (
    AlreadyDiallingError,
    OutboundCall,
    dial,
    open_exchange,
    room_of,
)
from transports.livekit.trunks import (
    Credentials,
    ExchangePlan,
    InboundTrunk,
    OutboundTrunk,
    outbound_trunk_id,
    set_up,
)

GREETING_S = 1.5  # of a voice: most of the greeting


def voiced_s(sound: Pcm) -> float:
    return sum(b - a for a, b in stretches(sound))


def read_all(folder: Path) -> str:
    return "".join(path.read_text(encoding="utf-8") for path in folder.glob("*.jsonl"))


@pytest_asyncio.fixture
async def exchange(media_server: MediaServer) -> AsyncIterator[api.LiveKitAPI]:
    async with open_exchange(media_server.url, KEY, SecretStr(SECRET)) as lk:
        yield lk
    await media_server.remove_all()


async def call_to(
    lk: api.LiveKitAPI,
    media_server: MediaServer,
    address: str,
    *,
    login: Credentials | None = None,
    ring_s: float = 30.0,
) -> OutboundCall:
    """Return a call that reaches an address, whatever is dialled."""
    plan = ExchangePlan(
        name="dialling",
        room_prefix="call-",
        inbound=InboundTrunk(numbers=(NUMBER,), media_timeout_s=60.0),
        outbound=OutboundTrunk(
            address=address, numbers=(NUMBER,), transport="udp", credentials=login
        ),
    )
    await set_up(media_server.url, KEY, SecretStr(SECRET), plan)
    trunk_id = await outbound_trunk_id(lk, "dialling")
    assert trunk_id
    # baresip answers to its own name; a carrier would look the number up.
    return OutboundCall(room=room_of("test"), trunk_id=trunk_id, number="phone", ring_s=ring_s)


async def test_a_phone_that_answers_hears_the_agent(
    media_server: MediaServer, new_phone: NewPhone, exchange: api.LiveKitAPI
) -> None:
    phone = await new_phone()
    call = await call_to(exchange, media_server, phone.address)

    async with participant(media_server, call.room):
        dialled = await dial(exchange, call)
        await phone.until_heard(lambda sound: loud_s(sound, TONE_HZ) > 0.5)
        with pytest.raises(AlreadyDiallingError):
            await dial(exchange, call)
        await phone.hang_up()
        await phone.until("CALL_CLOSED")

    assert dialled.answered
    assert dialled.call_ref.startswith("SCL_")
    assert len(phone.told("CALL_ESTABLISHED")) == 1


async def test_a_busy_phone_is_busy(
    media_server: MediaServer, new_phone: NewPhone, exchange: api.LiveKitAPI
) -> None:
    phone = await new_phone(answer="busy")

    dialled = await dial(exchange, await call_to(exchange, media_server, phone.address))

    assert (dialled.verdict.outcome, dialled.sip_code) == ("busy", 486)
    assert dialled.verdict.again == "later"


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("603 Decline", ("busy", "never", "well")),
        ("503 Service Unavailable", ("failed", "later", "strained")),
    ],
)
async def test_a_status_arrives_unchanged(
    media_server: MediaServer,
    exchange: api.LiveKitAPI,
    tmp_path: Path,
    status: str,
    expected: tuple[str, str, str],
) -> None:
    with proven(refusing_phone(tmp_path / "sipp", status)) as address:
        dialled = await dial(exchange, await call_to(exchange, media_server, address))

    assert dialled.sip_code == int(status[:3])
    verdict = dialled.verdict
    assert (verdict.outcome, verdict.again, verdict.trunk) == expected


@pytest.mark.parametrize(
    ("password", "sip_code", "trunk"),
    [("outbound-password", 486, "well"), ("wrong", 403, "refusing")],
)
async def test_a_carrier_gets_the_login(
    media_server: MediaServer,
    exchange: api.LiveKitAPI,
    tmp_path: Path,
    password: str,
    sip_code: int,
    trunk: str,
) -> None:
    login = Credentials(username="us", password=SecretStr(password))
    carrier = carrier_with_login(
        tmp_path / "sipp", callee="phone", username="us", password="outbound-password"
    )
    with proven(carrier) as address:
        dialled = await dial(exchange, await call_to(exchange, media_server, address, login=login))

    assert (dialled.sip_code, dialled.verdict.trunk) == (sip_code, trunk)


async def test_an_unanswered_phone_rings_until_the_time_out(
    media_server: MediaServer, new_phone: NewPhone, exchange: api.LiveKitAPI
) -> None:
    phone = await new_phone(answer="never")

    dialled = await dial(exchange, await call_to(exchange, media_server, phone.address, ring_s=2.0))
    await phone.until("CALL_CLOSED")

    assert (dialled.verdict.outcome, dialled.verdict.reason) == ("no-answer", "rang_out")
    assert not phone.told("CALL_ESTABLISHED")


async def test_a_cancelled_dial_stops_the_ringing(
    media_server: MediaServer, new_phone: NewPhone, exchange: api.LiveKitAPI
) -> None:
    phone = await new_phone(answer="never")
    call = await call_to(exchange, media_server, phone.address)

    async with asyncio.TaskGroup() as tasks:
        dialling = tasks.create_task(dial(exchange, call))
        await phone.until("CALL_INCOMING")
        dialling.cancel()
    await phone.until("CALL_CLOSED")

    assert not phone.told("CALL_ESTABLISHED")


async def test_a_callee_who_answers_is_greeted_by_the_agent(
    media_server: MediaServer, new_phone: NewPhone, exchange: api.LiveKitAPI, tmp_path: Path
) -> None:
    phone = await new_phone()
    call = await call_to(exchange, media_server, phone.address)
    room = replace(call, room=room_of("greeting", prefix="call-"))

    async with answering(media_server, tmp_path) as served:
        dialled = await dial(exchange, room)
        await phone.until_heard(lambda sound: voiced_s(sound) > GREETING_S)
        await phone.hang_up()
        records = served.logs / "calls"
        async with asyncio.timeout(30):
            while "CallEnded" not in (told := read_all(records)):  # noqa: ASYNC110 - a file grows
                await asyncio.sleep(0.05)

    assert dialled.answered
    assert "harbour clinic" in told
