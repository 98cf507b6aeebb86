"""A caller over Plivo who asks for a person is transferred, or hears why not."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from bot.server.server import bind_socket
from calls.events import CallEnded
from lab.callers import caller_says
from lab.simulators.carrier.callee import Callee
from lab.simulators.carrier.carrier import Carrier
from lab.simulators.carrier.plivo import PlivoAccount, PlivoManner, plivo_call
from tests.bot.call.transfer.transfer_bench import NOBODY, OFFER, WISH, ToldCall
from tests.kit.near import Notes, near_server, steady_lab, url_of

pytestmark = [
    pytest.mark.virtual_time,
    pytest.mark.slow,
    pytest.mark.usefixtures("quiet_log"),
]

BILLING = "+15550123"


@dataclass(kw_only=True)
class PlivoLine(ToldCall):
    """A caller in a call, the carrier's account, and the events."""

    caller: Carrier
    account: PlivoAccount

    async def asks(self) -> None:
        """Let the caller ask for a person."""
        await self.caller.listen(quiet_s=1.0, within_s=20)
        await self.caller.say(caller_says(WISH))


@asynccontextmanager
async def line(folder: Path, person: Callee) -> AsyncIterator[PlivoLine]:
    notes, listener = Notes(), bind_socket("127.0.0.1", 0)
    async with steady_lab(keep_audio=True) as lab, PlivoAccount() as account:
        account.switch.people[BILLING] = person
        tree: dict[str, Any] = {
            "agent": {"destinations": {"billing": {"number": BILLING, "ring_s": 20}}},
            "transports": {
                "plivo": {
                    "enabled": True,
                    "auth_id": SecretStr(account.auth_id),
                    "auth_token": SecretStr(account.auth_token),
                    "api_url": account.url,
                }
            },
        }
        async with near_server(listener, notes, lab=lab, folder=folder, tree=tree):
            caller = Carrier(url_of(listener), "", phone=plivo_call(), manner=PlivoManner(account))
            account.register_call(caller)
            async with asyncio.timeout(600), caller:
                yield PlivoLine(caller=caller, account=account, notes=notes)


async def test_a_caller_who_asks_for_a_person_talks_with_them(tmp_path: Path) -> None:
    async with line(tmp_path, Callee(talk_s=10.0)) as there:
        await there.asks()
        await there.until(lambda: there.events(CallEnded))

        assert there.outcomes == ["connected"]
        assert there.events(CallEnded)[0].reason == "transfer"
        assert [item.number for item in there.account.switch.dialled] == [BILLING]
        assert not there.caller.ended.is_set()  # the caller continues with the person


async def test_the_agent_tells_the_caller_that_the_person_did_not_answer(tmp_path: Path) -> None:
    async with line(tmp_path, Callee(fate="busy")) as there:
        await there.asks()
        await there.until(lambda: OFFER in there.said_texts)

        assert there.outcomes == ["busy"]
        assert NOBODY in there.said_texts
        assert not there.caller.ended.is_set()
