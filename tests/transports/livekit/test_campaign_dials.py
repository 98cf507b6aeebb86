"""LiveKit as a campaign's carrier, before anything rings; real calls are tested in tests/peers."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Self

import pytest
from livekit import api
from livekit.protocol import sip
from pydantic import SecretStr

from calls.dialled import judge_dial
from calls.outbound import DialOutcome
from tests.campaigns.placing import ended, request, withdrawn
from tests.transports.exchange import SECRET, running_exchange
from tests.transports.exchange import Exchange as Telephones
from transports.dialling import CarrierError, DialWithdrawnError
from transports.livekit.dialling import LivekitCarrier, open_exchange


@dataclass
class Exchange:
    """Has a trunk, and records the rooms that it is asked to create."""

    made: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    rings_s: float = 600.0
    declines: bool = False
    tidies_s: float = 0.0
    leaves_s: float = 0.0
    loses: int = 0  # this many more answers to the creation or the close of a room
    callees: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.sip = self.room = self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.sleep(self.leaves_s)

    async def list_outbound_trunk(self, _: object) -> Any:
        return SimpleNamespace(items=[SimpleNamespace(name="t outbound", sip_trunk_id="ST_1")])

    update_outbound_trunk = list_outbound_trunk  # is not asked

    async def create_room(self, request: Any) -> None:
        self.made.append(request.name)
        self._lose()

    async def list_participants(self, _: object) -> Any:
        callees = [SimpleNamespace(identity=name, attributes={}) for name in self.callees]
        return SimpleNamespace(participants=callees)

    async def create_sip_participant(self, *_: object, **__: object) -> Any:
        await asyncio.sleep(self.rings_s)
        if self.declines:
            said = {"sip_status_code": "603", "sip_status": "Decline"}
            raise api.SipCallError("permission_denied", "declined", status=403, metadata=said)
        return SimpleNamespace(sip_call_id="SCL_1")

    async def remove_participant(self, callee: Any) -> None:
        await asyncio.sleep(self.tidies_s)
        self.removed.append(callee.room)

    async def delete_room(self, request: Any) -> None:
        await asyncio.sleep(self.tidies_s)
        self.deleted.append(request.room)
        self._lose()

    async def list_rooms(self, _: object) -> Any:
        return SimpleNamespace(rooms=[name for name in self.made if name not in self.deleted])

    def _lose(self) -> None:
        if self.loses:
            self.loses -= 1
            raise TimeoutError


def carrier_of(opened: Callable[[], Any], tasks: asyncio.TaskGroup) -> LivekitCarrier:
    return LivekitCarrier(open_exchange=opened, trunk="t", room_prefix="holdline-", tasks=tasks)


async def test_no_room_is_created_for_a_dial_withdrawn_while_it_waits() -> None:
    exchange: Any = Exchange()
    async with asyncio.TaskGroup() as tasks:
        carrier = carrier_of(lambda: exchange, tasks)
        with pytest.raises(DialWithdrawnError):
            await carrier.dial(withdrawn("d-1"))

    assert exchange.made == []


@pytest.mark.parametrize("loses", [1, 2], ids=["its creation", "its creation and its close"])
async def test_a_dial_that_never_rang_because_its_rooms_creation_got_no_answer_was_not_placed(
    loses: int,
) -> None:
    exchange: Any = Exchange(loses=loses)
    async with asyncio.TaskGroup() as tasks:
        carrier = carrier_of(lambda: exchange, tasks)
        with pytest.raises(CarrierError):
            await carrier.dial(request("d-1"))
        while exchange.loses:
            with pytest.raises(CarrierError):
                await carrier.find("d-1", "+15550142", 0.0)

        assert await carrier.find("d-1", "+15550142", 0.0) is None
    assert exchange.deleted == exchange.made


async def test_the_room_of_a_dial_that_another_process_rings_is_not_closed() -> None:
    exchange: Any = Exchange(loses=1, callees=["callee"])
    async with asyncio.TaskGroup() as tasks:
        carrier = carrier_of(lambda: exchange, tasks)
        with pytest.raises(CarrierError):
            await carrier.dial(request("d-1"))
        found = await carrier.find("d-1", "+15550142", 0.0)

    assert (found and found.outcome, exchange.deleted) == (None, [])


@pytest.mark.virtual_time
async def test_a_dial_that_rang_after_its_room_was_requested_twice_was_placed() -> None:
    exchange: Any = Exchange(loses=1, rings_s=1.0)
    async with asyncio.TaskGroup() as tasks:
        carrier = carrier_of(lambda: exchange, tasks)
        with pytest.raises(CarrierError):
            await carrier.dial(request("d-1"))
        await carrier.dial(request("d-1"))
        await asyncio.sleep(2.0)
        found = await carrier.find("d-1", "+15550142", 0.0)

    assert found is not None
    assert found.outcome is DialOutcome.COMPLETED


async def test_a_server_that_is_not_livekit_gives_no_result_of_a_dial() -> None:
    with running_exchange() as exchange:
        exchange.instead = 200, b"<title>Soon back</title>"
        async with asyncio.TaskGroup() as tasks:
            carrier = carrier_of(
                lambda: open_exchange(exchange.url, "key", SecretStr(SECRET)), tasks
            )
            with pytest.raises(CarrierError):
                await carrier.find("d-1", "+15550142", 0.0)


async def dialled(exchange: Telephones) -> LivekitCarrier:
    """Make one dial, until it ends or was answered."""
    trunk = sip.SIPOutboundTrunkInfo(name="t outbound", sip_trunk_id="ST_1")
    exchange.objects["SIPOutboundTrunk"]["ST_1"] = trunk
    async with asyncio.TaskGroup() as tasks:
        carrier = carrier_of(lambda: open_exchange(exchange.url, "key", SecretStr(SECRET)), tasks)
        await carrier.dial(request("d-1"))
    return carrier


@pytest.mark.parametrize("sip_code", [404, 603])
async def test_a_statuss_meaning_for_number_and_trunk_is_kept_with_the_call(
    sip_code: int,
) -> None:
    with running_exchange() as exchange:
        exchange.refuses["CreateSIPParticipant"] = ("failed_precondition", "refused")
        exchange.meta = {"sip_status_code": str(sip_code), "sip_status": "No"}
        found = await ended(await dialled(exchange), "d-1")

    assert found.verdict == judge_dial(sip_code)


@pytest.mark.parametrize("code", ["unavailable", "unknown"])
async def test_a_gateway_that_cannot_dial_does_not_count_against_the_contact(code: str) -> None:
    with running_exchange() as exchange:
        exchange.refuses["CreateSIPParticipant"] = (code, "cpu exhausted")
        found = await ended(await dialled(exchange), "d-1")

    assert found.outcome is DialOutcome.FAILED
    assert found.verdict is not None
    assert (found.verdict.again, found.verdict.trunk) == ("later", "strained")


@pytest.mark.parametrize("code", ["unavailable", "canceled"])
async def test_the_agent_leaves_the_room_of_an_unanswered_dial(code: str) -> None:
    with running_exchange() as exchange:
        exchange.refuses["CreateSIPParticipant"] = (code, "sip request timed out")
        await dialled(exchange)

    assert exchange.deleted == ["holdline-dial-d-1"]


async def test_a_failed_close_of_the_room_does_not_hide_the_dials_result() -> None:
    with running_exchange() as exchange:
        exchange.refuses["CreateSIPParticipant"] = ("canceled", "sip request timed out")
        exchange.refuses["DeleteRoom"] = ("not_found", "no such room")
        found = await ended(await dialled(exchange), "d-1")

    assert found.outcome is DialOutcome.NO_ANSWER


async def test_the_room_of_an_answered_dial_stays_open() -> None:
    with running_exchange() as exchange:
        await dialled(exchange)

    assert exchange.deleted == []


@pytest.mark.virtual_time
async def test_a_ringing_dial_is_cancelled() -> None:
    exchange: Any = Exchange()
    async with asyncio.TaskGroup() as tasks:
        carrier = carrier_of(lambda: exchange, tasks)
        room = await carrier.dial(request("d-1"))
        await asyncio.sleep(3.0)
        await carrier.cancel("d-1", room)
        found = await ended(carrier, "d-1")

    assert found.outcome is DialOutcome.CANCELLED
    assert exchange.removed == [room]


@pytest.mark.virtual_time
@pytest.mark.parametrize(
    "after_s", [2.0, 5.0], ids=["while the callee is removed", "while the room is closed"]
)
async def test_the_callees_status_is_found_although_the_dial_was_cancelled_afterwards(
    after_s: float,
) -> None:
    exchange: Any = Exchange(rings_s=1.0, declines=True, tidies_s=3.0)
    async with asyncio.TaskGroup() as tasks:
        carrier = carrier_of(lambda: exchange, tasks)
        room = await carrier.dial(request("d-1"))
        await asyncio.sleep(after_s)
        await carrier.cancel("d-1", room)
        found = await ended(carrier, "d-1")

    assert found.verdict == judge_dial(603)
    assert exchange.deleted == [room]  # an agent who waits there would hold a seat


@pytest.mark.virtual_time
async def test_an_answered_contact_was_talked_to_although_the_dial_is_cancelled() -> None:
    exchange: Any = Exchange(rings_s=1.0, leaves_s=1.0)
    async with asyncio.TaskGroup() as tasks:
        carrier = carrier_of(lambda: exchange, tasks)
        room = await carrier.dial(request("d-1"))
        await asyncio.sleep(1.5)
        await carrier.cancel("d-1", room)
        found = await ended(carrier, "d-1")

    assert found.answered
    assert exchange.removed == []
