"""A fresh lab and a fresh server for each run, so that runs do not affect each other."""

import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fallbacks.breaker import State
from lab.callers import Carrier, LineEcho
from lab.control import LabControl
from lab.drill.conversation import Conversation, Hook
from lab.drill.matching import TELEPHONE, EarPath
from lab.drill.rows import Break, Row, When
from lab.drill.servers import AUTH_TOKEN, GREETING, loopback_settings, run_agent
from lab.drill.telephones import CarrierTelephone, Telephone
from lab.process import LabOptions, RunningLab, lab_process

FAILURES: Final = ("ProviderFailed", "AttemptFailed")  # events that count against a provider
CALLER_BEGAN: Final = "CallerStarted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rig:
    """A running lab and a server against it.

    Attributes:
        row: The row to play here.
        lab: The lab with the providers.
        control: For breaking them.
        ring: Creates a telephone that has not rung yet.
        calls: The folder of the server's call records, if any.
        path: The line's effect on the voices' sound.
    """

    row: Row
    lab: RunningLab
    control: LabControl
    ring: Callable[[], Telephone]
    calls: Path
    path: EarPath = TELEPHONE

    def call(self) -> Conversation:
        """Return a call to make."""
        return Conversation(self.ring(), self.lab, greeting=GREETING, path=self.path)

    async def break_now(self, when: When) -> None:
        """Start the faults of a moment."""
        await self._begin(item for item in self.row.breaks if item.when is when)

    def timed(self) -> tuple[tuple[float | None, Hook], ...]:
        """Return the faults that start within a turn, as `Conversation.ask` takes them."""
        return tuple(
            (item.after_s if item.when is When.SPOKEN else None, self._hook(item))
            for item in self.row.breaks
            if item.when in (When.SPOKEN, When.AT_STOP)
        )

    def failures(self) -> list[dict[str, Any]]:
        """Return the providers' failures in the server's call records."""
        return [entry for entry in self._entries() if entry.get("event") in FAILURES]

    def failures_since_spoken_to(self) -> list[dict[str, Any]]:
        """Return the failures after a caller last began to speak."""
        entries = self._entries()
        began = [at for at, entry in enumerate(entries) if entry.get("event") == CALLER_BEGAN]
        later = entries[began[-1] :] if began else entries
        return [entry for entry in later if entry.get("event") in FAILURES]

    def barge_ins(self) -> int:
        """Return how often a sound interrupted the agent."""
        return sum(entry.get("event") == "BargedIn" for entry in self._entries())

    def closed_breakers(self) -> int:
        """Return how many breakers were closed by a caller's own success."""
        moved = [entry for entry in self._entries() if entry.get("event") == "BreakerMoved"]
        return sum(entry["after"] == State.CLOSED for entry in moved)

    def _entries(self) -> list[dict[str, Any]]:
        return [
            json.loads(line)
            for path in sorted(self.calls.glob("*.jsonl"))
            for line in path.read_text(encoding="utf-8").splitlines()
        ]

    def _hook(self, fault: Break) -> Hook:
        async def begin() -> None:
            await self._begin([fault])

        return begin

    async def _begin(self, breaks: Iterable[Break]) -> None:
        for item in breaks:
            await self.control.set_faults(item.provider, [item.window])


@asynccontextmanager
async def open_rig(row: Row, side: str, *, run: int, folder: Path) -> AsyncIterator[Rig]:
    """Start a lab and a server, and stop both when the block ends.

    Args:
        row: The row to play.
        side: The server's side.
        run: The number of the run, which seeds the lab's random numbers.
        folder: For the server's files.
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
    """Run the agent during the block, and yield a function that rings it."""
    if row.leg == "loopback":
        # Both load Pipecat, which no other row needs in this process.
        from bot.workers.process import open_process  # noqa: PLC0415
        from lab.drill.loopback_telephone import LoopbackTelephone  # noqa: PLC0415

        settings = loopback_settings(lab, folder / "logs")
        async with open_process(settings, words=False) as process:
            yield lambda: LoopbackTelephone(process)
        return
    async with run_agent(lab, side, folder=folder, clips=row.clips) as url:

        def ring() -> CarrierTelephone:
            carrier = Carrier(url, AUTH_TOKEN)
            if row.echo_db is not None:
                carrier.echo = LineEcho(level_db=row.echo_db)
            return CarrierTelephone(url, carrier=carrier)

        yield ring
