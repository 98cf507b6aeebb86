"""A whole campaign in this process: real calls, simulated providers and callees."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from calls.events import Event
from lab.demo.staged import StagedContact, StagedServer, StagePlan, staged_server
from lab.simulators.schedule import Window
from tests.kit.near import Notes, near_lab


@dataclass(kw_only=True)
class StagedRun:
    """A campaign in progress."""

    staged: StagedServer
    notes: Notes

    def of(self, kind: type[Event]) -> list[Any]:
        return self.notes.of(kind)


@asynccontextmanager
async def staged_run(
    folder: Path,
    contacts: Sequence[StagedContact],
    *,
    faults: Mapping[str, Sequence[Window]] | None = None,
    campaign: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> AsyncIterator[StagedRun]:
    """Call these people during the block."""
    notes = Notes()
    plan = StagePlan(contacts=contacts, folder=folder, campaign=campaign or {}, listeners=[notes])
    async with (
        near_lab(faults=faults, seed=seed) as lab,
        staged_server(lab, plan) as staged,
    ):
        yield StagedRun(staged=staged, notes=notes)
