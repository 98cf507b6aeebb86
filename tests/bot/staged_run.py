"""A whole campaign in this process: real calls, simulated providers and callees."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bot.http.server import Extras, bind_socket, run_server
from bot.lab.callers import CarrierRest
from bot.lab.process import RunningLab, with_lab
from bot.outbound.staged import NAME, StagedContact, fill_queue, staged_carrier, staged_tree
from calls.entry import Entry
from calls.events import Event
from calls.outbound import Dial
from campaigns.dialer_parts import DialerSettings
from faultlab.instance import Core
from faultlab.lab import Lab
from faultlab.schedule import Window
from storage.campaign_office import CampaignOffice, CampaignStanding
from storage.dial_reader import DialReader
from tests.faultlab.near_ears import bring_near

RING_S = 6.0


class Notes:
    """Keeps everything that is told."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    async def hear(self, entry: Entry) -> None:
        self.entries.append(entry)


@dataclass(kw_only=True)
class StagedRun:
    """A campaign in progress."""

    url: str
    storage: str
    lab: Lab
    carrier: CarrierRest
    notes: Notes
    dials: list[Dial] = field(default_factory=list)

    def events(self) -> list[Event]:
        return [each.event for each in self.notes.entries]

    def of(self, kind: type) -> list:
        return [each for each in self.events() if isinstance(each, kind)]

    async def done(self) -> CampaignStanding:
        """Wait until every contact has its outcome."""
        office, reader = CampaignOffice(self.storage), DialReader(self.storage)
        try:
            while (  # noqa: ASYNC110 - a table tells nobody
                found := await _standing(office)
            ).state != "done":
                await asyncio.sleep(1.0)
            self.dials = list(await reader.of_campaign(NAME))
            return found
        finally:
            await office.close()
            await reader.close()


async def _standing(office: CampaignOffice) -> CampaignStanding:
    found = await office.standing(NAME, now=0.0)
    assert found
    return found


@asynccontextmanager
async def staged_run(
    folder: Path,
    contacts: Sequence[StagedContact],
    *,
    faults: Mapping[str, Sequence[Window]] | None = None,
    campaign: Mapping[str, Any] | None = None,
    changes: Mapping[str, Any] | None = None,
    rungs: Sequence[str] = (),
) -> AsyncIterator[StagedRun]:
    """Have these people called while the block runs."""
    notes, listener = Notes(), bind_socket("127.0.0.1", 0)
    port = listener.getsockname()[1]
    lab = bring_near(Lab(core=Core(steady=True), speed=1.25, schedule=faults or {}))
    async with lab, staged_carrier(port, contacts) as carrier:
        tree = staged_tree(port, carrier.url, folder, **(campaign or {}))
        for section, change in (changes or {}).items():
            tree[section] = {**tree.get(section, {}), **change}
        instances = [
            each for each in lab.describe()["instances"] if not rungs or each["name"] in rungs
        ]
        settings = with_lab(RunningLab(control_url="", control_token="", instances=instances), tree)
        await fill_queue(settings.storage.url, contacts)
        extras = Extras(listeners=[notes], dialing=DialerSettings(ring_s=RING_S))
        async with run_server(settings, [listener], extras=extras) as server:
            await server.ready.wait()
            yield StagedRun(
                url=f"http://127.0.0.1:{port}",
                storage=settings.storage.url,
                lab=lab,
                carrier=carrier,
                notes=notes,
            )
