"""Where a run takes place: a fresh lab and a fresh server, so that no run knows of another."""

import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fallbacks.breaker import State
from lab.control import LabControl
from lab.drill.conversation import Conversation, Hook
from lab.drill.matching import TELEPHONE, EarPath
from lab.drill.rows import Break, Row, When
from lab.drill.servers import GREETING, loopback_settings, run_agent
from lab.drill.telephones import CarrierTelephone, Telephone
from lab.process import LabOptions, RunningLab, lab_process

FAILURES: Final = ("ProviderFailed", "AttemptFailed")  # the facts of a call that count against one
CALLER_BEGAN: Final = "CallerStarted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rig:
    """A running lab and a server against it.

    Attributes:
        row: What is to be done here.
        lab: Where the providers are.
        control: How they are broken.
        ring: Makes a telephone that has not rung yet.
        calls: Where the server writes what it knows of its calls, if it does.
        path: What becomes of the voices' sound on its way to the telephone.
    """

    row: Row
    lab: RunningLab
    control: LabControl
    ring: Callable[[], Telephone]
    calls: Path
    path: EarPath = TELEPHONE

    def call(self) -> Conversation:
        """Return a call to be made."""
        return Conversation(self.ring(), self.lab, greeting=GREETING, path=self.path)

    async def break_now(self, when: When) -> None:
        """Begin the faults of a moment."""
        await self._begin(item for item in self.row.breaks if item.when is when)

    def timed(self) -> tuple[tuple[float | None, Hook], ...]:
        """Return the faults that begin within a turn, as `Conversation.ask` takes them."""
        return tuple(
            (item.after_s if item.when is When.SPOKEN else None, self._hook(item))
            for item in self.row.breaks
            if item.when in (When.SPOKEN, When.AT_STOP)
        )

    def failures(self) -> list[dict[str, Any]]:
        """Return the failures of providers that the server told of in its calls' records."""
        return [entry for entry in self._entries() if entry.get("event") in FAILURES]

    def failures_since_spoken_to(self) -> list[dict[str, Any]]:
        """Return those that came after a caller last began to speak."""
        entries = self._entries()
        began = [at for at, entry in enumerate(entries) if entry.get("event") == CALLER_BEGAN]
        later = entries[began[-1] :] if began else entries
        return [entry for entry in later if entry.get("event") in FAILURES]

    def closed_breakers(self) -> int:
        """Return how many breakers calls have closed, by a caller's own success."""
        moved = [entry for entry in self._entries() if entry.get("event") == "BreakerMoved"]
        return sum(entry["after"] == State.CLOSED for entry in moved)

    def _entries(self) -> list[dict[str, Any]]:
        return [
            json.loads(line)
            for path in sorted(self.calls.glob("*.jsonl"))
            for line in path.read_text(encoding="utf-8").splitlines()
        ]

    def _hook(self, each: Break) -> Hook:
        async def begin() -> None:
            await self._begin([each])

        return begin

    async def _begin(self, breaks: Iterable[Break]) -> None:
        for item in breaks:
            await self.control.set_faults(item.provider, [item.window])


@asynccontextmanager
async def open_rig(row: Row, side: str, *, run: int, folder: Path) -> AsyncIterator[Rig]:
    """Start a lab and a server, and stop both when the block ends.

    Args:
        row: What is to be done.
        side: Whose server.
        run: The number of the run, which seeds the lab's dice.
        folder: Where the server's files go.
    """
    options = LabOptions(seed=run, steady=row.steady, keep_audio=True, uncapped=row.uncapped)
    async with (
        lab_process(options=options) as lab,
        LabControl(lab) as control,
        _ringing(row, side, lab, folder=folder) as ring,
    ):
        calls = folder / "logs" / "calls"
        yield Rig(row=row, lab=lab, control=control, ring=ring, calls=calls)


@asynccontextmanager
async def _ringing(
    row: Row, side: str, lab: RunningLab, *, folder: Path
) -> AsyncIterator[Callable[[], Telephone]]:
    """Have the agent ready while the block runs, and yield what rings there."""
    if row.leg == "loopback":
        # Both load Pipecat, which no other row needs in this process.
        from bot.workers.process import open_process  # noqa: PLC0415
        from lab.drill.loopback_telephone import LoopbackTelephone  # noqa: PLC0415

        settings = loopback_settings(lab, folder / "logs")
        async with open_process(settings, words=False) as process:
            yield lambda: LoopbackTelephone(process)
        return
    async with run_agent(lab, side, folder=folder, clips=row.clips) as url:
        yield lambda: CarrierTelephone(url)
