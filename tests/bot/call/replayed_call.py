"""Replays one recorded caller against our whole process, on virtual time."""

import time
from pathlib import Path

from calls.events import AgentSaid, AnswerHeard
from lab.recording import read_recording
from operations.telemetry.emitter import Listener
from tests.kit.near import Notes, near_process
from transports.loopback.leg import LoopbackLeg

CALLER = Path(__file__).parents[2] / "fixtures" / "callers" / "03_booking.wav"


class ToldOfCall(Notes):
    """The events of the call."""

    @property
    def v2v_s(self) -> list[float]:
        return [event.v2v_s for event in self.of(AnswerHeard)]

    @property
    def said(self) -> list[str]:
        return [event.text for event in self.of(AgentSaid)]


async def replay_call(folder: Path, *others: Listener) -> tuple[ToldOfCall, dict[str, int]]:
    """Replay a caller; return the events of the call, and how many events each listener lost."""
    caller, told = read_recording(CALLER), ToldOfCall()
    async with near_process(folder, *others, told) as process:
        leg = LoopbackLeg(
            caller.samples,
            sample_rate_hz=caller.rate_hz,
            linger_s=10.0,
            content_s=4.0,
            clock=time.monotonic,
        )
        await process.switchboard.answer(leg, process.call(leg))
    return told, dict(process.emitter.counts().lost)
