"""A caller over Plivo who asks for a person is transferred, or hears why not."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from bot.server.server import Extras, bind_socket, run_server
from calls.entry import Entry
from calls.events import AgentSaid, CallEnded, Event, HandedOver
from lab.callers import caller_says
from lab.process import RunningLab, with_lab
from lab.simulators.carrier.callee import Callee
from lab.simulators.carrier.carrier import Carrier
from lab.simulators.carrier.plivo import PlivoAccount, PlivoManner, plivo_call
from lab.simulators.instance import Core
from lab.simulators.lab import Lab
from tests.bot.call.transfer_bench import NOBODY, OFFER, WISH
from tests.lab.simulators.near_ears import bring_near

pytestmark = [
    pytest.mark.virtual_time,
    pytest.mark.slow,
    pytest.mark.usefixtures("quiet_log"),
]

BILLING = "+15550123"


class Notes:
    """The events that were told."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    async def hear(self, entry: Entry) -> None:
        self.entries.append(entry)

    def events(self, kind: type[Event]) -> list[Any]:
        return [entry.event for entry in self.entries if isinstance(entry.event, kind)]


@dataclass(frozen=True, kw_only=True)
class Line:
    """A caller in a call, the carrier's account, and the events."""

    caller: Carrier
    account: PlivoAccount
    notes: Notes

    async def until(self, fact: Callable[[], object]) -> None:
        async with asyncio.timeout(90):
            while not fact():  # noqa: ASYNC110 - what is waited for are other objects' states
                await asyncio.sleep(0.2)

    async def asks(self) -> None:
        """Let the caller ask for a person."""
        await self.caller.listen(quiet_s=1.0, within_s=20)
        await self.caller.say(caller_says(WISH))

    def says(self) -> list[str]:
        """Return all that the caller has heard."""
        return [event.text for event in self.notes.events(AgentSaid)]

    @property
    def outcomes(self) -> list[str]:
        return [event.outcome for event in self.notes.events(HandedOver)]


@asynccontextmanager
async def line(folder: Path, person: Callee) -> AsyncIterator[Line]:
    notes, listener = Notes(), bind_socket("127.0.0.1", 0)
    port = listener.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    lab = bring_near(Lab(core=Core(steady=True), speed=1.25, keep_audio=True))
    async with lab, PlivoAccount() as account:
        account.switch.people[BILLING] = person
        tree: dict[str, Any] = {
            "server": {"port": port, "public_url": url},
            "agent": {"destinations": {"billing": {"number": BILLING, "ring_s": 20}}},
            "transports": {
                "plivo": {
                    "enabled": True,
                    "auth_id": SecretStr(account.auth_id),
                    "auth_token": SecretStr(account.auth_token),
                    "api_url": account.url,
                }
            },
            "logs": {"dir": folder / "logs"},
            "storage": {"url": f"sqlite+aiosqlite:///{folder}/holdline.db"},
            "hold": {"render": False},
        }
        instances = lab.describe()["instances"]
        settings = with_lab(RunningLab(control_url="", control_token="", instances=instances), tree)
        async with run_server(settings, [listener], extras=Extras(listeners=[notes])) as server:
            await server.ready.wait()
            caller = Carrier(url, "", phone=plivo_call(), manner=PlivoManner(account))
            account.know(caller)
            async with asyncio.timeout(600), caller:
                yield Line(caller=caller, account=account, notes=notes)


async def test_a_caller_who_asks_for_a_person_talks_with_them(tmp_path: Path) -> None:
    async with line(tmp_path, Callee(talk_s=10.0)) as there:
        await there.asks()
        await there.until(lambda: there.notes.events(CallEnded))

        assert there.outcomes == ["connected"]
        assert there.notes.events(CallEnded)[0].reason == "transfer"
        assert [item.number for item in there.account.switch.dialled] == [BILLING]
        assert not there.caller.ended.is_set()  # the caller continues with the person


async def test_a_caller_without_an_answering_person_hears_so_from_the_agent(tmp_path: Path) -> None:
    async with line(tmp_path, Callee(fate="busy")) as there:
        await there.asks()
        await there.until(lambda: OFFER in there.says())

        assert there.outcomes == ["busy"]
        assert NOBODY in there.says()
        assert not there.caller.ended.is_set()
