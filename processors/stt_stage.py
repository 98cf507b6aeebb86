"""The recognisers' stage: what the caller says is written down once, whoever writes it.

One recogniser hears the caller live. The stage keeps the sound of the utterance in progress, so
that another can hear all of it when the first dies, is refused or stays mute. What recognisers push
waits in a queue for the stage's own task: so no task of a provider's, which may be cancelled at any
time, ever runs the stage's work.
"""

import asyncio
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Final, TypeAlias

from loguru import logger
from pipecat.frames.frames import (
    CancelFrame,
    EndFrame,
    ErrorFrame,
    Frame,
    InputAudioRawFrame,
    InterimTranscriptionFrame,
    MetricsFrame,
    StartFrame,
    STTMuteFrame,
    STTUpdateSettingsFrame,
    TranscriptionFrame,
    UserStoppedSpeakingFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.metrics.metrics import STTUsageMetricsData
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor, FrameProcessorSetup
from pipecat.services.stt_service import STTService
from pipecat.utils.time import time_now_iso8601

from calls.entry import Tell
from calls.turn import Turn
from fallbacks.work import StagePolicy
from processors.rung_pipeline import RungPipeline
from processors.seat import Seat
from processors.stt_ladder import SttLadder
from processors.stt_rung import SttRung

WARM: Final = 2  # rungs at most that are connected from the start; others when they are needed
NEWS: Final = 1000  # frames of recognisers that wait; three a second is usual
TURN_HELD_S: Final = 1.0  # Pipecat ends a turn, even an empty one, that is quiet for 2.5 s

News: TypeAlias = tuple[SttRung, Frame | None] | None
"""What a recogniser pushed; no frame: it is connected; None: look at the clock again."""


class SttStage(FrameProcessor):
    """Stands where a recogniser stands in a pipeline."""

    def __init__(
        self,
        rungs: Mapping[str, FrameProcessor],
        *,
        policy: StagePolicy,
        tell: Tell,
        clock: Callable[[], float],
        turn: Turn,
    ) -> None:
        """Take the rungs.

        Args:
            rungs: By name, the preferred one first.
            policy: What all calls share about this stage.
            tell: Takes the facts.
            clock: Monotonic, in seconds.
            turn: The turn in progress.
        """
        super().__init__()
        self._services = tuple(rungs.values())
        self._rungs = {
            name: SttRung(
                RungPipeline(name, service, output=self._pushed, on_ready=self._ready),
                clock=clock,
                up=lambda rung: self._put((rung, None)),
                seat=Seat(policy.gates.get(name)),
            )
            for name, service in rungs.items()
        }
        self._policy = policy
        self._now = clock
        self._ladder = SttLadder(
            self._rungs, policy=policy, tell=tell, clock=clock, turn=turn, revive=self._revive
        )
        self._lock = asyncio.Lock()
        self._news: asyncio.Queue[News] = asyncio.Queue(NEWS)
        self._following: asyncio.Task[None] | None = None
        self._given: FrameProcessorSetup | None = None
        self._start_frame: StartFrame | None = None
        self._said_at = 0.0  # when anything of the caller's words was last passed on

    @property
    def writer(self) -> str:
        """The name of the rung that writes for the caller now."""
        return self._ladder.current.name

    def words_owed(self) -> bool:
        """Say whether the caller has stopped, and words of theirs are still to come."""
        return self._ladder.owed

    def processors_with_metrics(self) -> list[FrameProcessor]:
        """Return the services: they measure, not the stage."""
        return [each for each in self._services if each.can_generate_metrics()]

    async def setup(self, setup: FrameProcessorSetup) -> None:
        """Begin to set the first rungs up; the call waits for none of them."""
        await super().setup(setup)
        self._given = setup
        self._ladder.setup(setup.audio_in_sample_rate)
        warm = (rung for name, rung in self._rungs.items() if name not in self._policy.cold)
        opened = (rung for rung in warm if rung.setup(self, setup))
        for _ in islice(opened, WARM):
            pass
        self._following = self.create_task(self._follow(), "recognisers")

    async def cleanup(self) -> None:
        """Let every connection go, none longer than its time."""
        await super().cleanup()
        if self._following:
            await self.cancel_task(self._following)
        async with asyncio.TaskGroup() as tasks:
            for rung in self._rungs.values():
                tasks.create_task(rung.close(self), name=f"close {rung.name}")

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Pass everything on; let the recognisers hear what concerns them."""
        await super().process_frame(frame, direction)
        if isinstance(frame, STTMuteFrame | STTUpdateSettingsFrame) and self._for_us(frame):
            await self._to_all(frame)
            return
        if isinstance(frame, EndFrame | CancelFrame):
            for rung in self._rungs.values():
                rung.pipe.end(frame)
        await self.push_frame(frame, direction)
        await self._read(frame)

    async def _read(self, frame: Frame) -> None:
        match frame:
            case StartFrame():
                await self._started(frame)
            case InputAudioRawFrame():
                async with self._lock:
                    await self._ladder.hear(frame)
            case VADUserStartedSpeakingFrame() | VADUserStoppedSpeakingFrame():
                await self._speech(frame)
            case UserStoppedSpeakingFrame():
                await self._to_all(frame)
            case _:
                pass  # an interruption among them: it must not mute a recogniser

    def _for_us(self, frame: STTMuteFrame | STTUpdateSettingsFrame) -> bool:
        meant = getattr(frame, "service", None)
        return meant is None or meant in self._services

    async def _started(self, frame: StartFrame) -> None:
        self._start_frame = frame
        for rung in self._rungs.values():
            if rung.set_up:
                rung.pipe.start(frame)
        first = self._services[0]
        if isinstance(first, STTService):  # of the turn's timing only the first rung speaks
            await self.broadcast_frame_instance(first.service_metadata_frame())

    async def _speech(
        self, frame: VADUserStartedSpeakingFrame | VADUserStoppedSpeakingFrame
    ) -> None:
        async with self._lock:
            if isinstance(frame, VADUserStartedSpeakingFrame):
                await self._ladder.started(frame)
            else:
                self._said_at = self._now()
                await self._ladder.stopped(frame)
        self._put(None)

    async def _to_all(self, frame: Frame) -> None:
        for rung in self._rungs.values():
            await rung.pipe.send(frame)

    async def _ready(self, pipe: RungPipeline) -> None:
        self._put((self._rungs[pipe.name], None))

    async def _pushed(self, pipe: RungPipeline, frame: Frame, _direction: FrameDirection) -> None:
        if isinstance(
            frame, TranscriptionFrame | InterimTranscriptionFrame | ErrorFrame | MetricsFrame
        ):
            self._put((self._rungs[pipe.name], frame))

    def _put(self, news: News) -> None:
        try:
            self._news.put_nowait(news)
        except asyncio.QueueFull:
            logger.warning("recognisers push faster than they are followed; a frame is lost")

    def _revive(self, rung: SttRung) -> None:
        if not rung.set_up and self._given and self._start_frame:
            if rung.setup(self, self._given):
                rung.pipe.start(self._start_frame)
        else:
            # Who waits for it has leave to ask; where only callers try a half-open rung, that leave
            # is the one there is.
            rung.revive(self, allowed=lambda: rung.waits or self._usable(rung.name))

    def _usable(self, name: str) -> bool:
        health = self._policy.roster.health(self._policy.stage, name)
        return health.standing(self._now()).usable

    async def _follow(self) -> None:
        """Do what follows from recognisers' frames and from the passing of time."""
        while True:
            news = await self._soonest()
            async with self._lock:
                await self._take(news)

    async def _soonest(self) -> News:
        wake_at = self._ladder.wake_at
        wait_s = None if wake_at is None else max(0.0, wake_at - self._now())
        if self._ladder.owed:
            wait_s = TURN_HELD_S if wait_s is None else min(wait_s, TURN_HELD_S)
        try:
            async with asyncio.timeout(wait_s):
                return await self._news.get()
        except TimeoutError:
            return None

    async def _take(self, news: News) -> None:
        match news:
            case (rung, TranscriptionFrame() | InterimTranscriptionFrame() as frame):
                new = await self._ladder.result(rung, frame)
                if new:
                    await self._say(new)
            case (rung, ErrorFrame() as frame):
                await self._ladder.lost(rung, frame)
            case (rung, MetricsFrame() as frame):
                await self._measured(rung, frame)
            case (rung, _) if rung.connected:
                await self._ladder.up(rung)
            case _:
                await self._look()

    async def _look(self) -> None:
        wake_at = self._ladder.wake_at
        if wake_at is not None and wake_at <= self._now():
            await self._ladder.tick(max(wake_at, self._now()))
        if self._ladder.owed and self._now() - self._said_at >= TURN_HELD_S / 2:
            # An interim without words keeps the turn open until they come.
            await self._say(InterimTranscriptionFrame("", "", time_now_iso8601()))

    async def _say(self, frame: Frame) -> None:
        self._said_at = self._now()
        await self.push_frame(frame)

    async def _measured(self, rung: SttRung, frame: MetricsFrame) -> None:
        """Pass on what was billed, by whomever, and what else the one that is heard measures."""
        heard = rung is self._ladder.current
        frame.data = [
            each.model_copy(update={"processor": rung.name})
            for each in frame.data
            if heard or isinstance(each, STTUsageMetricsData)
        ]
        if frame.data:
            await self.push_frame(frame)
