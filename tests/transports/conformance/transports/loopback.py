"""No network at all: the leg of recorded callers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
from pipecat.audio.dtmf.types import KeypadEntry
from pipecat.frames.frames import InputDTMFFrame

from runtime import clock
from tests.transports.conformance.server import WorkerPool
from tests.transports.conformance.transport import ELSEWHERE, RATE_HZ, Sound, audible_s
from transports.loopback.leg import LoopbackLeg

NO_WIRE = "there is no network"
CANNOT: Final = {
    "keys_out": "a recording cannot receive DTMF",
    "transfer": "a recording has no other line",
}
VOID: Final[dict[str, str]] = {"vanish": NO_WIRE, "gap": NO_WIRE, "reconnect": NO_WIRE}


class LoopbackCaller:
    def __init__(self, leg: LoopbackLeg) -> None:
        self._leg = leg

    async def say(self, sound: Sound) -> None:
        await self._leg.say(sound)

    def heard_s(self) -> float:
        return audible_s(self._leg.line.heard(), RATE_HZ)

    async def press(self, key: str) -> None:
        await self._leg.input().push_frame(InputDTMFFrame(button=KeypadEntry(key)))

    def keys_heard(self) -> str:
        return ""

    async def hang_up(self) -> None:
        await self._leg._hung_up()

    async def vanish(self) -> None:
        raise NotImplementedError(NO_WIRE)

    async def keep_still(self, length_s: float) -> None:
        raise NotImplementedError(NO_WIRE)

    async def reset_line(self) -> None:
        raise NotImplementedError(NO_WIRE)

    @property
    def ended(self) -> bool:
        return self._leg.line.closed


class Loopback:
    name = "loopback"
    peer = "recorded callers, no network"
    cannot = CANNOT
    void = VOID
    unproven: Final[dict[str, str]] = {}
    elsewhere = ELSEWHERE

    @asynccontextmanager
    async def prepare(self, folder: Path) -> AsyncIterator[dict[str, Any]]:
        del folder
        yield {}

    @asynccontextmanager
    async def call(self, pool: WorkerPool) -> AsyncIterator[LoopbackCaller]:
        nothing = np.zeros(0, np.int16)
        leg = LoopbackLeg(
            nothing, sample_rate_hz=RATE_HZ, linger_s=float("inf"), clock=clock.monotonic
        )
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(pool.switchboard.answer(leg))
            await pool.notes.until("CallStarted")
            try:
                yield LoopbackCaller(leg)
            finally:
                await leg._hung_up()


TRANSPORT = Loopback()
