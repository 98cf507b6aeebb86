"""A small server with Twilio's routes, and calls whose speech a test supplies."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import numpy as np
import uvicorn
from fastapi import FastAPI
from numpy.typing import NDArray
from pipecat.frames.frames import (
    Frame,
    InputAudioRawFrame,
    InputDTMFFrame,
    InterruptionFrame,
    TTSAudioRawFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
    TTSTextFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.workers.runner import WorkerRunner
from pydantic import SecretStr

from bot.server.limits import BoundedSocket, bounds
from bot.workers.pool import KeyValueStore, SingleProcess
from calls.events import Event
from transports.announcements import WaitingAnswers
from transports.leg import Leg
from transports.media_stream.leg import StreamLeg
from transports.media_stream.line import LinePatience
from transports.media_stream.webhooks import CarrierHost, HasBrief
from transports.pool import SwitchboardFullError
from transports.twilio.rest import TwilioRest
from transports.twilio.routes import TwilioRoutes

TOKEN = "12345"
COMMON = "https://calls.example.com"  # the name that several machines share
RATE_HZ = 8000


def tone(seconds: float, hz: float = 440.0) -> NDArray[np.int16]:
    t = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    return (8000 * np.sin(2 * np.pi * hz * t)).astype(np.int16)


async def until(fact: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not fact():  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.01)


class Ears(FrameProcessor):
    """Keeps the caller's input."""

    def __init__(self) -> None:
        super().__init__()
        self.audio = bytearray()
        self.keys: list[str] = []

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, InputAudioRawFrame):
            self.audio += frame.audio
        else:
            if isinstance(frame, InputDTMFFrame):
                self.keys.append(frame.button.value)
            await self.push_frame(frame, direction)


class Below(FrameProcessor):
    """Replaces the assistant's side of the context; keeps the words that reach its memory."""

    def __init__(self) -> None:
        super().__init__()
        self.got: list[str] = []

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        match frame:
            case TTSTextFrame():
                self.got.append(frame.text)
            case InterruptionFrame():
                self.got.append("interrupted")
            case TTSStoppedFrame():
                self.got.append("stopped")
            case _:
                pass
        await self.push_frame(frame, direction)


@dataclass
class Call:
    """One call of the server: keeps its input, and speaks what a test supplies."""

    leg: StreamLeg
    ears: Ears = field(default_factory=Ears)
    below: Below = field(default_factory=Below)
    gone_for: list[str] = field(default_factory=list)
    over: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.worker = PipelineWorker(
            Pipeline([self.leg.input(), self.ears, self.leg.output(), self.below]),
            params=PipelineParams(
                audio_in_sample_rate=self.leg.facts.sample_rate_hz,
                audio_out_sample_rate=self.leg.facts.sample_rate_hz,
            ),
            enable_rtvi=False,
            idle_timeout_secs=None,
        )
        self.leg.on_gone(self.gone)

    async def gone(self, reason: str) -> None:
        self.gone_for.append(reason)
        await self.worker.cancel(reason=reason)

    async def run(self) -> None:
        runner = WorkerRunner(handle_sigint=False)
        await runner.add_workers(self.worker)
        try:
            await runner.run()
        finally:
            self.over.set()

    async def say(self, pcm: NDArray[np.int16], *, rate_hz: int = RATE_HZ) -> None:
        """Send a whole utterance to the line at once, as a fast voice does."""
        await self.worker.queue_frame(TTSStartedFrame())
        await self.worker.queue_frame(TTSAudioRawFrame(pcm.tobytes(), rate_hz, 1))
        await self.worker.queue_frame(TTSStoppedFrame())


class WorkerPool:
    """A switchboard with as many seats as a test wants, and the server in front of it."""

    def __init__(self, store: KeyValueStore | None = None) -> None:
        self._store = store  # of several servers
        self.open = True
        self.why_closed = ""
        self._houses: list[SingleProcess] = []
        self.full = False
        self.calls: list[Call] = []
        self.told: list[Event] = []
        self.port = 0
        self.now_ahead_s = 0.0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def host(
        self, has_brief: HasBrief | None = None, *, waiting: WaitingAnswers | None = None
    ) -> CarrierHost:
        """Return the server's side of a carrier's routes."""
        return CarrierHost(
            addresses=(self.url, COMMON),
            answer=self.answer,
            emit=self.told.append,
            clock=self.clock,
            pool=self._new_process(),
            has_brief=has_brief,
            waiting=waiting,
        )

    def _new_process(self) -> SingleProcess:
        process = SingleProcess(why_closed=lambda: self.why_closed, clock=self.clock)
        process.key_values = self._store or process.key_values
        self._houses.append(process)
        return process

    @property
    def seats_taken(self) -> int:
        """The number of seats that the routes have taken for running and expected calls."""
        return sum(process.seats.taken for process in self._houses)

    def clock(self) -> float:
        return time.monotonic() + self.now_ahead_s

    def reasons(self) -> list[str]:
        return [getattr(event, "reason", "") for event in self.told]

    async def answer(self, leg: Leg) -> None:
        if self.full:
            raise SwitchboardFullError
        assert isinstance(leg, StreamLeg)
        call = Call(leg)
        self.calls.append(call)
        await call.run()

    async def call(self, number: int = 0) -> Call:
        """Return a call as soon as it has been answered."""
        async with asyncio.timeout(20):
            while len(self.calls) <= number:  # noqa: ASYNC110 - there is no event
                await asyncio.sleep(0.01)
        return self.calls[number]

    async def call_from(self, caller: str) -> Call:
        """Return one caller's call as soon as it has been answered."""
        async with asyncio.timeout(20):
            while True:
                if found := [call for call in self.calls if call.leg.facts.caller == caller]:
                    return found[0]
                await asyncio.sleep(0.01)


@asynccontextmanager
async def serving(app: FastAPI) -> AsyncIterator[int]:
    """Serve an application on a free port of loopback, with the limits of the real server."""
    config = uvicorn.Config(
        app,
        port=0,
        log_level="error",
        lifespan="off",
        ws=BoundedSocket,
        timeout_graceful_shutdown=3,
        **bounds(),
    )
    server = uvicorn.Server(config)
    async with asyncio.TaskGroup() as group:
        group.create_task(server.serve())
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.005)
        try:
            yield server.servers[0].sockets[0].getsockname()[1]
        finally:
            server.should_exit = True


@asynccontextmanager
async def pool(
    *,
    rest: TwilioRest | None = None,
    returns_within_s: float = 0.0,
    waiting: WaitingAnswers | None = None,
) -> AsyncIterator[WorkerPool]:
    """Serve Twilio's routes on a free port of loopback."""
    it, app = WorkerPool(), FastAPI()
    async with serving(app) as it.port:
        routes = TwilioRoutes(
            it.host(waiting=waiting),
            auth_token=SecretStr(TOKEN),
            rest=rest and replace(rest, public_url=it.url),
            patience=LinePatience(returns_within_s=returns_within_s),
        )
        app.include_router(routes.router)
        yield it
