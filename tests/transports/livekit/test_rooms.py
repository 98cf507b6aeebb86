"""A media server's answers to a transfer, and their meaning for the caller."""

import asyncio
from collections.abc import AsyncIterator
from typing import NamedTuple

import pytest
import pytest_asyncio
from livekit import api
from loguru import logger
from pydantic import SecretStr

from calls.handover import Destination, Handover
from tests.transports.exchange import SECRET, Exchange
from transports.livekit import rooms as livekit_rooms
from transports.livekit.rooms import AGENT, SERVER, LivekitRooms, RoomsError

DESK = Destination(name="desk", number="+15550123")
ONGOING = api.SIPTransferStatus.STS_TRANSFER_ONGOING
FAILED = api.SIPTransferStatus.STS_TRANSFER_FAILED
SUCCESSFUL = api.SIPTransferStatus.STS_TRANSFER_SUCCESSFUL
RANG_OUT = api.SIPTransferReason.STR_RINGING_TIMEOUT
Answer = api.TransferSIPParticipantResponse


@pytest_asyncio.fixture
async def rooms(exchange: Exchange) -> AsyncIterator[LivekitRooms]:
    rooms = LivekitRooms(
        url=exchange.url, api_key=SecretStr("key"), api_secret=SecretStr(SECRET), server_id="ours"
    )
    yield rooms
    await rooms.close()


@pytest.mark.parametrize(
    ("answer", "handover"),
    [
        (Answer(), "connected"),
        (Answer(transfer_id="T_1", status=SUCCESSFUL), "connected"),
        (Answer(transfer_id="T_1", status=FAILED, sip_status={"code": 486}), "busy"),
        (Answer(transfer_id="T_1", status=FAILED, sip_status={"code": 603}), "declined"),
        (Answer(transfer_id="T_1", status=FAILED, reason=RANG_OUT), "no_answer"),
        (Answer(transfer_id="T_1", status=FAILED), "failed"),
        (Answer(status=FAILED), "failed"),
        (Answer(transfer_id="T_1", status=ONGOING), "failed"),
    ],
    ids=[
        "says nothing, as servers up to v1.13.5",
        "successful",
        "busy",
        "declined",
        "rang out",
        "failed",
        "failed, without an id",
        "not known yet",
    ],
)
async def test_a_transfer_is_judged_by_its_answer_and_not_by_the_lack_of_an_error(
    exchange: Exchange, rooms: LivekitRooms, answer: Answer, handover: Handover
) -> None:
    exchange.transferred = answer

    assert await rooms.transfer("sip_1", room="call-1", to=DESK, ring_s=20.0) == handover


async def test_a_refused_transfer_has_its_reason(exchange: Exchange, rooms: LivekitRooms) -> None:
    exchange.refuses["TransferSIPParticipant"] = ("resource_exhausted", "sip status 486")
    exchange.meta = {"sip_status_code": "486", "sip_status": "Busy here"}

    assert await rooms.transfer("sip_1", room="call-1", to=DESK, ring_s=20.0) == "busy"


@pytest.mark.parametrize("code", ["canceled", "deadline_exceeded"])
@pytest.mark.parametrize(
    ("meta", "handover"), [({}, "no_answer"), ({"sip_status_code": "486"}, "busy")]
)
async def test_a_person_who_lets_it_ring_gives_no_answer(
    exchange: Exchange, rooms: LivekitRooms, code: str, meta: dict[str, str], handover: Handover
) -> None:
    exchange.refuses["TransferSIPParticipant"] = (code, "the ringing time is over")
    exchange.meta = meta

    assert await rooms.transfer("sip_1", room="call-1", to=DESK, ring_s=20.0) == handover


async def test_a_transfer_that_failed_is_not_requested_again(
    exchange: Exchange, rooms: LivekitRooms, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library repeats long requests to LiveKit Cloud; the person could be rung twice."""
    monkeypatch.setattr("livekit.api._failover.is_cloud", lambda _: True)
    exchange.instead = (502, b'"no upstream"')

    assert await rooms.transfer("sip_1", room="call-1", to=DESK, ring_s=20.0) == "failed"
    assert exchange.asked == ["TransferSIPParticipant"]


@pytest.mark.parametrize("instead", [(200, b"<title>Soon back</title>"), (502, b'"no upstream"')])
async def test_a_server_that_is_not_livekit_gives_no_answer(
    exchange: Exchange, rooms: LivekitRooms, instead: tuple[int, bytes]
) -> None:
    exchange.instead = instead

    with pytest.raises(RoomsError):
        await rooms.delete("call-1")
    assert await rooms.transfer("sip_1", room="call-1", to=DESK, ring_s=20.0) == "failed"


class Found(NamedTuple):
    """The participants of a room, and whether it is free."""

    who: str = ""
    pool: str | None = None
    claimed: bool = False
    free: bool = True


@pytest.mark.parametrize(
    "found",
    [
        pytest.param(Found(), id="empty"),
        pytest.param(Found("sip_1"), id="a telephone"),
        pytest.param(Found(AGENT, "ours"), id="our agent, whose worker is gone"),
        pytest.param(Found(AGENT, "theirs", claimed=True), id="another machine's dead agent"),
        pytest.param(Found(AGENT, "theirs", free=False), id="another server's agent"),
        pytest.param(Found(AGENT, None, free=False), id="an agent of an older version"),
    ],
)
async def test_a_room_is_free_unless_the_agent_of_a_server_without_our_store_is_in_it(
    exchange: Exchange, rooms: LivekitRooms, found: Found
) -> None:
    exchange.there = [found.who] if found.who else []
    exchange.attributes = {} if found.pool is None else {SERVER: found.pool}

    assert await rooms.is_free("call-1", claimed=found.claimed) is found.free


async def test_our_agent_names_its_server_in_the_room(rooms: LivekitRooms) -> None:
    claims = api.TokenVerifier("key", SECRET).verify(rooms.token("call-1"))

    assert claims.attributes == {SERVER: "ours"}


async def test_a_room_that_the_server_never_closes_is_left_and_the_log_names_it(
    exchange: Exchange, rooms: LivekitRooms, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(livekit_rooms, "DELETE_AGAIN_S", 0.01)
    monkeypatch.setattr(livekit_rooms, "DELETE_FOR_S", 0.5)
    exchange.refuses["DeleteRoom"] = ("unavailable", "starting")
    lines: list[str] = []
    sink = logger.add(lines.append, level="WARNING", format="{message}")
    rooms.delete_later("call-1")
    async with asyncio.timeout(60):
        while not lines:  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.01)
    logger.remove(sink)

    assert lines == ["call-1 was not closed within 0.5 s, and is left\n"]
    assert "DeleteRoom" in exchange.asked


async def test_a_room_whose_caller_has_an_agent_again_is_not_closed_later(
    exchange: Exchange, rooms: LivekitRooms, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(livekit_rooms, "DELETE_AGAIN_S", 0.01)
    exchange.there = [AGENT]
    rooms.delete_later("call-1")
    async with asyncio.timeout(60):
        while exchange.asked.count("ListParticipants") < 3:  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.01)
        taken_up = list(exchange.deleted)
        exchange.there = ["sip_1"]
        while not exchange.deleted:  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.01)

    assert (taken_up, exchange.deleted) == ([], ["call-1"])
