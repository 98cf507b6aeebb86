"""Voice stages whose first voice breaks, with a warm or a cold standby."""

import asyncio
import gc
import os
import resource
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from pipecat.frames.frames import (
    EndFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.workers.runner import WorkerRunner

from benchmarks.relay import relay
from bot.health.policies import build_policies
from calls.turn import Turn
from configuration.rungs import rung_of
from configuration.settings import Settings
from fallbacks.events import AttemptFailed, AttemptWon
from lab.control import LabControl
from lab.process import RunningLab, with_lab
from operations.telemetry import logs
from processors.speaking.stage import TtsStage
from providers.catalog import provider
from runtime import clock

RATE_HZ: Final = 8000
FIRST: Final = "cartesia"
SECOND: Final = "elevenlabs"
CUT: Final = {"fault": "cut", "after_words": 3, "how": "reset"}
TEXT: Final = "From Monday to Friday we are here until six in the evening."
SETTLE_S: Final = 1.5  # until all connections are made
IDLE_S: Final = 10.0
GIVE_UP_S: Final = 8.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CallCost:
    """The cost of one call while it is silent."""

    rss_mb: float
    cpu_share: float  # of a core
    sockets: float


@dataclass(slots=True)
class _Voice:
    worker: PipelineWorker
    turn: Turn
    events: list[tuple[float, Any]] = field(default_factory=list[tuple[float, Any]])

    def time_of(self, kind: type, name: str) -> float | None:
        found = (
            at for at, event in self.events if isinstance(event, kind) and event.provider == name
        )
        return next(found, None)


async def failovers(
    lab: RunningLab, folder: Path, *, cold: bool, times: int, away_s: float
) -> list[float]:
    """Return the delays from the first voice's death to the second one's audio, in ascending order.

    Args:
        lab: The lab with both voices.
        folder: For the files of the calls.
        cold: Whether the standby is cold.
        times: The number of failovers.
        away_s: The network delay to the second voice, one way.
    """
    settings: Any = with_lab(lab, {"logs": {"dir": folder}})
    took_s: list[float] = []
    async with LabControl(lab) as control, AsyncExitStack() as ways:
        if away_s:
            settings = await _behind_relay(settings, ways, away_s=away_s)
        await control.set_faults(FIRST, [CUT])
        for _ in range(times):
            async with _open_voice(settings, cold=cold) as voice:
                await asyncio.sleep(SETTLE_S)
                took_s.append(await _fail_over(voice))
        await control.mend_all()
    return sorted(took_s)


def measure_call_cost(lab: RunningLab, folder: Path, *, cold: bool, calls: int) -> CallCost:
    """Return the cost of a call in this process, which should be a fresh one."""
    logs.set_up(level="ERROR", folder=None)
    return asyncio.run(_measure_call_cost(lab, folder, cold=cold, calls=calls))


async def _measure_call_cost(lab: RunningLab, folder: Path, *, cold: bool, calls: int) -> CallCost:
    settings: Any = with_lab(lab, {"logs": {"dir": folder}})
    async with _open_voice(
        settings, cold=cold
    ):  # loads modules and data that are not part of a call's cost
        await asyncio.sleep(SETTLE_S)
    async with AsyncExitStack() as voices:
        rss_before, sockets_before = _rss_mb(), _sockets()
        for _ in range(calls):
            await voices.enter_async_context(_open_voice(settings, cold=cold))
        await asyncio.sleep(SETTLE_S)
        began, began_cpu_s = time.monotonic(), _cpu_s()
        await asyncio.sleep(IDLE_S)
        cpu_share = (_cpu_s() - began_cpu_s) / (time.monotonic() - began)
        return CallCost(
            rss_mb=(_rss_mb() - rss_before) / calls,
            cpu_share=cpu_share / calls,
            sockets=(_sockets() - sockets_before) / calls,
        )


async def _fail_over(voice: _Voice) -> float:
    """Speak a text; return the time from the first voice's failure to the second one's audio."""
    voice.turn.caller_stopped(clock.monotonic())
    for frame in (LLMFullResponseStartFrame(), LLMTextFrame(TEXT), LLMFullResponseEndFrame()):
        await voice.worker.queue_frame(frame)
    async with asyncio.timeout(GIVE_UP_S):
        while voice.time_of(AttemptWon, SECOND) is None:  # noqa: ASYNC110 - an event says when
            await asyncio.sleep(0.005)
    died, heard = voice.time_of(AttemptFailed, FIRST), voice.time_of(AttemptWon, SECOND)
    assert died is not None and heard is not None  # noqa: PT018, S101 - it was waited for
    return heard - died


@asynccontextmanager
async def _open_voice(settings: Settings, *, cold: bool) -> AsyncIterator[_Voice]:
    """Run a stage with both voices in a pipeline during the block."""
    policy = build_policies(settings, clock.monotonic())["tts"]
    turn = Turn(budget_s=settings.latency.budget_s)
    events: list[tuple[float, Any]] = []
    stage = TtsStage(
        {
            item.name: provider("tts", item.kind).build(
                rung_of(item, "tts", agent=settings.agent, sample_rate_hz=RATE_HZ)
            )
            for item in settings.stages.tts
            if item.name in (FIRST, SECOND)
        },
        policy=replace(policy, cold=frozenset({SECOND}) if cold else frozenset()),
        emit=lambda event: events.append((clock.monotonic(), event)),
        clock=clock.monotonic,
        turn=turn,
    )
    worker = PipelineWorker(
        Pipeline([stage]),
        params=PipelineParams(audio_out_sample_rate=RATE_HZ),
        cancel_on_idle_timeout=False,
        enable_rtvi=False,
    )
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(runner.run())
        yield _Voice(worker, turn, events)
        await worker.queue_frame(EndFrame())


async def _behind_relay(settings: Settings, ways: AsyncExitStack, *, away_s: float) -> Settings:
    """Return settings in which the second voice is behind a relay with a delay of `away_s`."""
    rungs = []
    for item in settings.stages.tts:
        if item.name == SECOND:
            port = urlsplit(item.url).port or 0
            near = await ways.enter_async_context(relay(port, away_s=away_s))
            rungs.append(item.model_copy(update={"url": f"ws://127.0.0.1:{near}"}))
        else:
            rungs.append(item)
    stages = settings.stages.model_copy(update={"tts": tuple(rungs)})
    return settings.model_copy(update={"stages": stages})


def _rss_mb() -> float:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _sockets() -> int:
    links = (str(file.readlink()) for file in _open_files())
    return sum(link.startswith("socket:") for link in links)


def _open_files() -> list[Path]:
    return [path for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
