"""A call with Holdline, and one with bare Pipecat; each has a caller who speaks on demand."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, cast

import numpy as np
from numpy.typing import NDArray
from pipecat.audio.turn.base_turn_analyzer import BaseTurnAnalyzer
from pipecat.workers.runner import WorkerRunner

from benchmarks.accounting import BusyPeriod, Moments
from benchmarks.bare_pipecat import bare_worker
from benchmarks.ear import Ear
from bot.call.models import VoiceModels
from bot.workers.process import Process
from calls.entry import Emit
from configuration.settings import Settings, TurnSettings
from processors.turn.detector import TurnDetector, TurnJudges
from processors.turn.voice_activity import SharedSilero
from runtime import clock
from transports.leg import Clock
from transports.loopback.leg import LoopbackLeg

RATE_HZ: Final = 16_000
START_S: Final = 10.0
GREETING_S: Final = 10.0
ANSWER_S: Final = 6.0


@dataclass(frozen=True, slots=True)
class WatchedModels(VoiceModels):
    """Keeps the turn detectors that it creates, so that they can be timed."""

    made: list[TurnDetector] = field(default_factory=list[TurnDetector])

    def turn_detector(
        self,
        turn: TurnSettings,
        vad: SharedSilero,
        *,
        judges: TurnJudges,
        clock: Clock,
        emit: Emit,
    ) -> TurnDetector:
        """Return an end-of-turn detector for one call."""
        made = VoiceModels.turn_detector(self, turn, vad, judges=judges, clock=clock, emit=emit)
        self.made.append(made)
        return made


def load() -> WatchedModels:
    """Load the models, which takes a few tenths of a second."""
    return cast(WatchedModels, WatchedModels.load())


class Side:
    """One call in progress."""

    def __init__(self, leg: LoopbackLeg) -> None:
        self._leg = leg
        self._ear = Ear(clock.monotonic)

    async def ask(self, phrase: NDArray[np.int16]) -> tuple[Moments, tuple[BusyPeriod, ...]]:
        """Say a phrase; return the moments of the answer once its first sound is heard.

        Raises:
            UnhealthyTurnError: There was no answer, or it is not that of a healthy turn.
        """
        self._ear.expect()
        await self._leg.say(phrase)
        return await self._ear.wait_for_answer(within_s=ANSWER_S)

    async def wait_until_quiet(self) -> None:
        """Wait until the agent has stopped speaking.

        Raises:
            UnhealthyTurnError: It did not stop in time.
        """
        await self._ear.wait_until_quiet(within_s=GREETING_S)

    async def wait_for_greeting(self, analyzer: BaseTurnAnalyzer) -> None:
        """Attach the ear, and wait until the agent has greeted."""
        self._ear.attach(self._leg, analyzer)
        await self.wait_until_quiet()


@asynccontextmanager
async def holdline(process: Process, models: WatchedModels) -> AsyncIterator[Side]:
    """Run a call with Holdline during the block."""
    leg = _leg()
    call = process.call(leg)
    async with _running(process.switchboard.answer(leg, call), leg) as side:
        await side.wait_for_greeting(models.made[-1])
        yield side
        await call.cancel("caller_hung_up")


@asynccontextmanager
async def bare(settings: Settings, models: VoiceModels) -> AsyncIterator[Side]:
    """Run a call with bare Pipecat during the block."""
    leg = _leg()
    worker, analyzer = bare_worker(settings, models, leg)
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    async with _running(runner.run(), leg) as side:
        await side.wait_for_greeting(analyzer)
        yield side
        await worker.cancel()


@asynccontextmanager
async def _running(call: Awaitable[None], leg: LoopbackLeg) -> AsyncIterator[Side]:
    """Run a call during the block; yield its caller when the line has started."""
    async with asyncio.TaskGroup() as group:

        async def run() -> None:
            await call

        task = group.create_task(run())
        try:
            async with asyncio.timeout(START_S):
                while leg.line.started_at_s is None:  # noqa: ASYNC110 - the line has no event
                    await asyncio.sleep(0.005)
            yield Side(leg)
        except BaseException:
            task.cancel()
            raise


def _leg() -> LoopbackLeg:
    return LoopbackLeg(
        np.zeros(0, dtype=np.int16),
        sample_rate_hz=RATE_HZ,
        linger_s=float("inf"),
        clock=clock.monotonic,
    )
