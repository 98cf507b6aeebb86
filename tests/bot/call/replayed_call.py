"""One recorded caller, answered by our whole process on virtual time."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bot.programs.recording import read
from bot.workers.process import open_process
from calls.entry import Entry
from calls.events import AgentSaid, AnswerHeard
from lab.process import RunningLab, with_lab
from lab.simulators.instance import Core
from lab.simulators.lab import Lab
from operations.telemetry.emitter import Listener
from tests.lab.simulators.near_ears import bring_near
from transports.loopback.leg import LoopbackLeg

CALLER = Path(__file__).parents[2] / "fixtures" / "callers" / "03_booking.wav"


@dataclass
class ToldOfCall:
    entries: list[Entry] = field(default_factory=list)

    async def hear(self, entry: Entry) -> None:
        self.entries.append(entry)

    @property
    def v2v_s(self) -> list[float]:
        return [entry.event.v2v_s for entry in self.entries if isinstance(entry.event, AnswerHeard)]

    @property
    def said(self) -> list[str]:
        return [entry.event.text for entry in self.entries if isinstance(entry.event, AgentSaid)]


async def replay_call(folder: Path, *others: Listener) -> tuple[ToldOfCall, dict[str, int]]:
    """Replay a caller; return the events of the call, and how much each listener lost."""
    caller = read(CALLER)
    told = ToldOfCall()
    listeners: Sequence[Listener] = [*others, told]
    async with bring_near(Lab(core=Core(steady=True), speed=1.25)) as lab:
        running = RunningLab(
            control_url="", control_token="", instances=lab.describe()["instances"]
        )
        settings = with_lab(running, {"logs": {"dir": folder}})
        async with open_process(settings, words=True, listeners=listeners) as process:
            leg = LoopbackLeg(
                caller.samples,
                sample_rate_hz=caller.rate_hz,
                linger_s=10.0,
                content_s=4.0,
                clock=time.monotonic,
            )
            await process.switchboard.answer(leg, process.call(leg))
    return told, dict(process.emitter.counts().lost)
