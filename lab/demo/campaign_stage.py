"""A server whose campaign dials simulated callees: for the demo, the drill and tests."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bot import clock
from bot.call.models import VoiceModels
from bot.server.lab_routes import lab_router
from bot.server.server import Extras, bind_socket, run_server
from calls.outbound import Dial
from campaigns.dialer_parts import DialerSettings
from campaigns.store.dials import Ledger
from campaigns.store.figures import CampaignStanding, Figures
from lab.callers import CarrierRest
from lab.demo.staged import NAME, StagedContact, fill_queue, staged_carrier, staged_tree
from lab.process import RunningLab, with_lab
from operations.database.database import Database
from operations.telemetry.emitter import Listener

HOST = "127.0.0.1"
LOOK_S = 0.5
NEVER = 1_000_000
RING_S = 6.0  # chosen: callees here either answer at once or never


@dataclass(frozen=True, slots=True, kw_only=True)
class StagePlan:
    """What to set up.

    Attributes:
        contacts: The people to call.
        folder: For the database, the log and the calls' own records.
        port: The server's port; 0 for any.
        campaign: Changes to the campaign's section of the configuration.
        changes: Changes to other sections.
        listeners: Get every entry.
        models: Already loaded; `None` to load them now.
    """

    contacts: Sequence[StagedContact]
    folder: Path
    port: int = 0
    campaign: Mapping[str, Any] = field(default_factory=dict[str, Any])
    changes: Mapping[str, Any] = field(default_factory=dict[str, Any])
    listeners: Sequence[Listener] = ()
    models: VoiceModels | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedServer:
    """A campaign in progress."""

    url: str
    storage: str
    carrier: CarrierRest

    async def dials(self) -> Sequence[Dial]:
        """Return the ledger."""
        async with Database(self.storage) as database:
            return await Ledger(database).of_campaign(NAME)

    async def ended(self) -> tuple[CampaignStanding, Sequence[Dial]]:
        """Wait until no contact is being dialled; return the standing and the ledger."""
        async with Database(self.storage) as database:
            while True:
                standing = await Figures(database).standing(NAME, now=clock.utc_s())
                if standing is not None and standing.state in ("done", "paused"):
                    return standing, await Ledger(database).of_campaign(NAME)
                await asyncio.sleep(LOOK_S)


@asynccontextmanager
async def staged_server(lab: RunningLab, plan: StagePlan) -> AsyncIterator[StagedServer]:
    """Call these people during the block.

    Raises:
        UsageError: The port is taken.
    """
    listener = bind_socket(HOST, plan.port)
    port = listener.getsockname()[1]
    async with staged_carrier(port, plan.contacts) as carrier:
        tree = staged_tree(port, carrier.url, plan.folder, **plan.campaign)
        for section, change in plan.changes.items():
            tree[section] = {**tree.get(section, {}), **change}
        settings = with_lab(lab, tree)
        await fill_queue(settings.storage.url, plan.contacts)
        extras = Extras(
            words=True,
            listeners=plan.listeners,
            routers=[lab_router(lab)],
            models=plan.models,
            # Failures here are intended: they are no reason to wait for an operator.
            dialing=DialerSettings(ring_s=RING_S, look_s=LOOK_S, failures=NEVER),
        )
        async with run_server(settings, [listener], extras=extras) as server:
            await server.ready.wait()
            yield StagedServer(
                url=f"http://{HOST}:{port}", storage=settings.storage.url, carrier=carrier
            )
