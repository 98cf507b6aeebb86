"""A whole campaign in this process: real calls, simulated providers and callees."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from calls.entry import Entry
from calls.events import Event
from lab.demo.staged import StagedContact, StagedServer, StagePlan, staged_server
from lab.process import RunningLab
from lab.simulators.instance import Core
from lab.simulators.lab import Lab
from lab.simulators.schedule import Window
from tests.lab.simulators.near_ears import bring_near


class Notes:
    """Keeps all events."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    async def hear(self, entry: Entry) -> None:
        self.entries.append(entry)


@dataclass(kw_only=True)
class StagedRun:
    """A campaign in progress."""

    staged: StagedServer
    notes: Notes

    def of(self, kind: type[Event]) -> list[Any]:
        return [entry.event for entry in self.notes.entries if isinstance(entry.event, kind)]


@asynccontextmanager
async def near_lab(
    *, faults: Mapping[str, Sequence[Window]] | None = None, seed: int = 0
) -> AsyncIterator[RunningLab]:
    """Run a lab in this process."""
    lab = bring_near(Lab(core=Core(steady=True), speed=1.25, schedule=faults or {}, seed=seed))
    async with lab:
        told = lab.describe()
        yield RunningLab(
            control_url=lab.control_url,
            control_token=told["control"]["token"],
            instances=told["instances"],
        )


@asynccontextmanager
async def staged_run(
    folder: Path,
    contacts: Sequence[StagedContact],
    *,
    faults: Mapping[str, Sequence[Window]] | None = None,
    campaign: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> AsyncIterator[StagedRun]:
    """Call these people while the block runs."""
    notes = Notes()
    plan = StagePlan(contacts=contacts, folder=folder, campaign=campaign or {}, listeners=[notes])
    async with (
        near_lab(faults=faults, seed=seed) as lab,
        staged_server(lab, plan) as staged,
    ):
        yield StagedRun(staged=staged, notes=notes)
