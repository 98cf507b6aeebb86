"""A campaign over a real SIP service: one phone answers, one is busy, one only rings."""

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
from livekit import api
from pydantic import SecretStr

from calls.outbound import Claim, DialOutcome
from campaigns.call_verdict import CallVerdict
from campaigns.model import Campaign
from tests.campaigns.dialing import Dialing, dialing
from tests.peers.conftest import NewPhone
from tests.peers.media_server import KEY, NUMBER, SECRET, MediaServer
from tests.peers.sip_phone import SipPhone
from tests.peers.test_peers import TONE_HZ, loud_s, participant
from transports.dialling import DialRequest, FoundCall
from transports.livekit.dialling import LivekitCarrier, open_exchange

ANSWERS, BUSY, NEVER = "+15005550401", "+15005550402", "+15005550403"
MAX_S = 90.0


@dataclass
class ByNumber:
    """A carrier for each number: on this machine each phone has an address of its own."""

    carriers: Mapping[str, LivekitCarrier]
    record: list[str] = field(default_factory=list)

    async def dial(self, request: DialRequest) -> str:
        self.record.append(request.to)
        return await self.carriers[request.to].dial(request)

    async def find(self, dial_id: str, to: str, since_s: float) -> FoundCall | None:
        return await self.carriers[to].find(dial_id, to, since_s)


@dataclass
class HummingAgents:
    """Our side: a humming agent is in the room before the callee is."""

    media_server: MediaServer
    stack: AsyncExitStack
    room_of: Mapping[str, LivekitCarrier]

    async def prepare(self, campaign: Campaign, claim: Claim) -> None:
        room = self.room_of[claim.dial.number].room_of(claim.dial.id)
        await self.stack.enter_async_context(participant(self.media_server, room))

    async def verdict(self, dial_id: str) -> CallVerdict | None:
        return CallVerdict(over=True, length_s=1.0)

    async def wait(self, dial_id: str, within_s: float) -> None:
        await asyncio.sleep(min(within_s, 0.2))

    def forget(self, dial_id: str) -> None:
        pass


async def trunk_to(lk: api.LiveKitAPI, phone: SipPhone, name: str) -> None:
    trunk = api.SIPOutboundTrunkInfo(
        name=f"{name} outbound", address=phone.address, numbers=[NUMBER]
    )
    await lk.sip.create_outbound_trunk(api.CreateSIPOutboundTrunkRequest(trunk=trunk))


async def dialled(it: Dialing, calls: HummingAgents, carrier: ByNumber) -> None:
    it.carrier, it.calls = carrier, calls
    dialer = it.dialer()
    async with asyncio.timeout(MAX_S), asyncio.TaskGroup() as tasks:
        task = tasks.create_task(dialer.run())
        await it.done()
        task.cancel()


@pytest.mark.slow
async def test_three_phones_have_the_outcomes_of_their_reactions(
    media_server: MediaServer, new_phone: NewPhone, tmp_path: Path
) -> None:
    phones = {
        ANSWERS: await new_phone("answers"),
        BUSY: await new_phone("busy", answer="busy"),
        NEVER: await new_phone("never", answer="never"),
    }
    exchange = partial(open_exchange, media_server.url, KEY, SecretStr(SECRET))
    async with exchange() as lk, AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
        for number, phone in phones.items():
            await trunk_to(lk, phone, number)
        carriers = {
            number: LivekitCarrier(
                open_exchange=exchange,
                trunk=number,
                room_prefix="call-",
                tasks=tasks,
                to_number=lambda _: "phone",  # baresip answers to its own name
            )
            for number in phones
        }

        async def hang_up_soon() -> None:
            await phones[ANSWERS].until_heard(lambda sound: loud_s(sound, TONE_HZ) > 0.5)
            await phones[ANSWERS].hang_up()

        tasks.create_task(hang_up_soon())
        async with dialing(tmp_path, ANSWERS, BUSY, NEVER, attempts=1) as it:
            carrier = ByNumber(carriers)
            await dialled(it, HummingAgents(media_server, stack, carriers), carrier)
            last = {dial.number: dial.outcome for dial in await it.ledger()}
        await media_server.remove_all()

    assert last == {
        ANSWERS: DialOutcome.COMPLETED,
        BUSY: DialOutcome.BUSY,
        NEVER: DialOutcome.NO_ANSWER,
    }
    assert sorted(carrier.record) == [ANSWERS, BUSY, NEVER]
    assert len(phones[ANSWERS].told("CALL_ESTABLISHED")) == 1
