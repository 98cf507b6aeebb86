"""Runs a real pipeline in a test, and a bench that keeps all output of a single service."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from pipecat.frames.frames import (
    EndFrame,
    ErrorFrame,
    Frame,
    InputAudioRawFrame,
    MetricsFrame,
)
from pipecat.observers.base_observer import BaseObserver
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.workers.runner import WorkerRunner

from providers.catalog import provider
from providers.provider import RungSpec, Stage

TIMEOUT_S = 10.0  # far longer than anything healthy takes, even on a busy machine
QUIET_S = 0.2  # after which everything in transit at the lab's speed has arrived

F = TypeVar("F", bound=Frame)


class Tap(FrameProcessor):
    """Keeps the frames that pass in one direction."""

    def __init__(self, kept: list[Frame], direction: FrameDirection) -> None:
        super().__init__(enable_direct_mode=True)
        self._kept = kept
        self._direction = direction
        self.passed = asyncio.Event()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if direction is self._direction:
            self._kept.append(frame)
            self.passed.set()
        await self.push_frame(frame, direction)


class Bench:
    """A service in a running pipeline, driven by a test."""

    def __init__(self, service: FrameProcessor, *, rate_hz: int) -> None:
        self.service: Any = service
        self.out: list[Frame] = []  # downstream of the service, and its errors, in order
        self._above = Tap(self.out, FrameDirection.UPSTREAM)
        self._below = Tap(self.out, FrameDirection.DOWNSTREAM)
        self._below.passed = self._above.passed
        self.worker = worker_of(self._above, service, self._below, rate_hz=rate_hz)

    async def put(self, *frames: Frame) -> None:
        """Queue frames in front of the service."""
        for frame in frames:
            await self.worker.queue_frame(frame)

    async def until(self, met: Callable[[], object], *, limit_s: float = TIMEOUT_S) -> None:
        """Wait until the output meets a condition."""
        try:
            async with asyncio.timeout(limit_s):
                while not met():
                    self._above.passed.clear()
                    await self._above.passed.wait()
        except TimeoutError:
            seen = [str(frame) for frame in self.out if not isinstance(frame, InputAudioRawFrame)]
            raise AssertionError(f"not within {limit_s} s; the latest: {seen[-12:]}") from None

    async def first(self, kind: type[F], *, since: int = 0) -> F:
        """Wait for a frame of this kind among those from the index `since` on."""
        await self.until(lambda: self.all(kind, since=since))
        return self.all(kind, since=since)[0]

    def all(self, kind: type[F], *, since: int = 0) -> list[F]:
        """Return the frames of this kind so far."""
        return [frame for frame in self.out[since:] if isinstance(frame, kind)]

    def index(self, kind: type[Frame], *, since: int = 0) -> int:
        """Return the index of the first frame of this kind."""
        return next(i for i in range(since, len(self.out)) if isinstance(self.out[i], kind))

    def errors(self) -> list[str]:
        """Return the service's errors."""
        return [frame.error for frame in self.all(ErrorFrame)]

    def measured(self, kind: type[Any]) -> list[Any]:
        """Return the measurements of this kind."""
        return [
            value for frame in self.all(MetricsFrame) for value in frame.data if type(value) is kind
        ]


def rung_spec(stage: Stage, kind: str, url: str = "", **more: Any) -> RungSpec:
    """Return a rung with a key; `url` is the address of its server on loopback."""
    entry = provider(stage, kind, more.get("service", ""))
    given = {"name": "it", "api_key": "KEY", "sample_rate_hz": 8000}
    given |= {"facts": entry.facts, "service": entry.service, **more}
    return RungSpec(stage=stage, kind=kind, url=url, **given)


def worker_of(
    *processors: FrameProcessor, rate_hz: int, observers: Sequence[BaseObserver] = ()
) -> PipelineWorker:
    """Return a pipeline worker with metrics enabled and without an idle timeout."""
    return PipelineWorker(
        Pipeline([*processors]),
        params=PipelineParams(
            audio_in_sample_rate=rate_hz,
            audio_out_sample_rate=rate_hz,
            enable_metrics=True,
            enable_usage_metrics=True,
        ),
        observers=[*observers],
        cancel_on_idle_timeout=False,
        enable_rtvi=False,
    )


@asynccontextmanager
async def at_work(
    worker: PipelineWorker, *, limit_s: float = 6 * TIMEOUT_S
) -> AsyncIterator[asyncio.Task[None]]:
    """Run a pipeline during the block, then end it with an `EndFrame`; yield the running task."""
    started = asyncio.Event()

    @worker.event_handler("on_pipeline_started")
    async def _started(*_: object) -> None:
        started.set()

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    async with asyncio.timeout(limit_s), asyncio.TaskGroup() as tasks:
        run = tasks.create_task(runner.run())
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await started.wait()
            yield run
            if not run.done():
                await worker.queue_frame(EndFrame())
            async with asyncio.timeout(TIMEOUT_S):
                await asyncio.shield(run)
        finally:
            if not run.done():
                await worker.cancel()


@asynccontextmanager
async def running(
    service: FrameProcessor, *, rate_hz: int = 16_000, limit_s: float = 6 * TIMEOUT_S
) -> AsyncIterator[Bench]:
    """Run a service during the block, then end it as a call ends; yield its bench."""
    bench = Bench(service, rate_hz=rate_hz)
    async with at_work(bench.worker, limit_s=limit_s):
        yield bench


def text_of(frames: Iterable[Any]) -> str:
    """Return the words of text frames, separated by single spaces."""
    return " ".join(" ".join(frame.text for frame in frames).split())
