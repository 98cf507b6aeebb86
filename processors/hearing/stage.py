"""The recognisers' stage: what the caller says is written down once, whichever rungs write it.

One recogniser hears the caller live. `CallerHearing` keeps the sound of the utterance in progress,
so that another can hear all of it when the first dies, is refused or stays mute.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from itertools import islice
from typing import Final, TypeAlias

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
from pipecat.metrics.metrics import MetricsData, STTUsageMetricsData
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor, FrameProcessorSetup
from pipecat.services.stt_service import STTService
from pipecat.utils.time import time_now_iso8601

from calls.entry import Tell
from calls.turn import Turn
from fallbacks.attempts import TellFact
from fallbacks.work import StagePolicy, Work
from processors.hearing.attempt_rules import (
    AskForWords,
    AskRecogniser,
    FeedSound,
    FlushWords,
    HearingAction,
    KeepTurnOpen,
    MarkSpeech,
    PassOn,
    RecogniserConnected,
    RecogniserFailed,
    Reconnect,
    ResultCame,
    SoundHeard,
    SpeechBegan,
    SpeechPaused,
    SpeechStopped,
)
from processors.hearing.decision import CallerHearing
from processors.hearing.replay_rules import SoundRing
from processors.hearing.rung import (
    RecogniserNews,
    RecogniserRung,
    Transcript,
    failure_of,
    reading_of,
)
from processors.ladder.rung_pipeline import Seat
from processors.ladder.stage import Stage
from processors.turn.ending import PauseBegan
from processors.turn.sound_path import SoundPath

WARM: Final = 2  # rungs at most that are connected from the start; others when they are needed

SpeechNews: TypeAlias = SpeechBegan | SpeechPaused | SpeechStopped
"""What the call's own detector says of the caller."""


class SttStage(SoundPath, Stage[RecogniserNews]):
    """A ladder of recognisers in the place of one."""

    _passed_on: Transcript | None = None  # the latest result

    def __init__(
        self,
        rungs: Mapping[str, FrameProcessor],
        *,
        policy: StagePolicy,
        tell: Tell,
        clock: Callable[[], float],
        turn: Turn,
    ) -> None:
        """Listen with these recognisers in one call.

        Args:
            rungs: By name, the preferred one first.
            policy: What all calls share about this stage.
            tell: Takes the facts.
            clock: Monotonic, in seconds.
            turn: The turn in progress.
        """
        super().__init__(clock=clock)
        self._services = tuple(rungs.values())
        seats = {name: Seat(policy.gates.get(name)) for name in rungs}

        def is_offered(name: str) -> bool:
            return seats[name].offered

        def may_reconnect(name: str) -> bool:
            return self._hearing.feeds[name].waits or _usable(policy, name, clock())

        self._rungs = {
            name: RecogniserRung(
                name, each, stage=self, allowed=partial(may_reconnect, name), seat=seats[name]
            )
            for name, each in rungs.items()
        }
        self._policy = policy
        self._tell = tell
        ours = {name: each.reconnector is not None for name, each in self._rungs.items()}
        begin_work = partial(Work, policy, numbers=turn.attempts, offered=is_offered)
        self._hearing = CallerHearing(ours, policy=policy, turn=turn, begin_work=begin_work)
        self._marks: dict[type[SpeechNews], Frame] = {}  # the latest that said so

    @property
    def wake_at(self) -> float | None:
        """When `tick` has something to do."""
        return self._hearing.wake_at

    @property
    def writer(self) -> str:
        """The name of the rung that writes for the caller now."""
        return self._hearing.writer.provider

    def words_owed(self) -> bool:
        """Say whether the caller has stopped, and words of theirs are still to come."""
        utterance = self._hearing.utterance
        return utterance is not None and utterance.owed(self.now())

    def processors_with_metrics(self) -> list[FrameProcessor]:
        """Return the services: they measure, not the stage."""
        return [service for service in self._services if service.can_generate_metrics()]

    async def setup(self, setup: FrameProcessorSetup) -> None:
        """Begin to set the first rungs up; the call waits for none of them."""
        await super().setup(setup)
        self._hearing.sound = SoundRing(bytes_a_second=2 * setup.audio_in_sample_rate)
        for rung in self._rungs.values():
            rung.setup(self, setup)
        warm = (rung for name, rung in self._rungs.items() if name not in self._policy.cold)
        opened = (event for rung in warm if (event := rung.open_first()))
        for event in islice(opened, WARM):
            self._hearing.handle(event, self.now())
        self.watch()

    async def cleanup(self) -> None:
        """Let every connection go, none longer than its time."""
        await super().cleanup()
        await self.stop_watching()
        await asyncio.gather(*(rung.close() for rung in self._rungs.values()))

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Pass everything on; let the recognisers hear what concerns them."""
        await super().process_frame(frame, direction)
        if isinstance(frame, InputAudioRawFrame):
            await self.hear_sound(frame)
            return
        if _is_for(self._services, frame):
            await _send_to_all(self._rungs.values(), frame)
            return
        _end(self._rungs.values(), frame)
        await self.push_frame(frame, direction)
        match frame:
            case StartFrame():
                for rung in self._rungs.values():
                    rung.start(frame)
                await _broadcast_timing(self, self._services[0])
            case UserStoppedSpeakingFrame():
                await _send_to_all(self._rungs.values(), frame)
            case _ if news := _speech_news(frame):
                async with self.working():
                    self._marks[type(news)] = frame
                    await self._do(self._hearing.handle(news, self.now()))
            case _:
                pass  # an interruption among them: it must not mute a recogniser

    async def hear_sound(self, frame: InputAudioRawFrame) -> None:
        """Hand a piece on, and let the recognisers hear it."""
        await self.hand_on(frame)
        async with self.lock:  # 50 a second, and none of them brings `wake_at` on
            await self._do(self._hearing.handle(SoundHeard(frame.audio), self.now()))

    async def handle(self, report: RecogniserNews, now: float) -> None:
        """Decide on what a recogniser pushed, and do it."""
        rung, frame = report
        match frame:
            case TranscriptionFrame() | InterimTranscriptionFrame():
                frame.metadata["rung"] = rung.name
                result = ResultCame(provider=rung.name, reading=reading_of(frame))
                await self._do(self._hearing.handle(result, now), frame)
            case ErrorFrame():
                failure = failure_of(frame, rung.name)
                rung.seat.learn(failure)
                failed = RecogniserFailed(provider=rung.name, failure=failure)
                await self._do(self._hearing.handle(failed, now))
            case MetricsFrame():
                frame.data = _billed(frame.data, rung.name, heard=rung.name == self.writer)
                if frame.data:
                    await self.push_frame(frame)
            case _ if rung.connected:
                rung.note_connected()
                await self._do(self._hearing.handle(RecogniserConnected(rung.name), now))
            case _:
                pass  # it is set up, and could not connect; or it is gone already

    async def tick(self, now: float) -> None:
        """Do what is due."""
        await self._do(self._hearing.tick(now))

    async def _do(self, actions: Iterable[HearingAction], result: Transcript | None = None) -> None:
        """Do it, in order.

        Args:
            actions: What is to be done.
            result: What they are about, if it is a result.
        """
        for action in actions:
            match action:
                case TellFact():
                    self._tell(action.fact)
                case PassOn() if frame := _final_of(self._passed_on) if action.guess else result:
                    frame.text = frame.text if action.new_text is None else action.new_text
                    self._passed_on = frame
                    await self.push_frame(frame)
                case KeepTurnOpen():  # an interim without words does
                    await self.push_frame(InterimTranscriptionFrame("", "", time_now_iso8601()))
                case MarkSpeech():
                    mark = self._marks[SpeechBegan if action.speaking else SpeechStopped]
                    await self._rungs[action.provider].pipe.send(mark)
                case AskRecogniser() | Reconnect() | FeedSound() | FlushWords() | AskForWords():
                    event = await self._rungs[action.provider].carry_out(action)
                    if event:
                        await self._do(self._hearing.handle(event, self.now()))
                case _:
                    pass


def _final_of(guess: Transcript | None) -> TranscriptionFrame | None:
    """Return the final transcript that an interim one stands in for."""
    if guess is None:
        return None
    final = TranscriptionFrame(
        guess.text, guess.user_id, guess.timestamp, guess.language, guess.result
    )
    final.metadata |= guess.metadata
    return final


async def _send_to_all(rungs: Iterable[RecogniserRung], frame: Frame) -> None:
    for rung in rungs:
        await rung.pipe.send(frame)


def _usable(policy: StagePolicy, name: str, now: float) -> bool:
    return policy.roster.health(policy.stage, name).standing(now).usable


def _speech_news(frame: Frame) -> SpeechNews | None:
    """Return what a frame says of the caller's speech; None: nothing."""
    match frame:
        case VADUserStartedSpeakingFrame():
            return SpeechBegan(frame.start_secs)
        case PauseBegan():
            return SpeechPaused()
        case VADUserStoppedSpeakingFrame():
            return SpeechStopped(frame.stop_secs)
        case _:
            return None


def _end(rungs: Iterable[RecogniserRung], frame: Frame) -> None:
    """Have the rungs close their connections if this is the end of the call."""
    if isinstance(frame, EndFrame | CancelFrame):
        for rung in rungs:
            rung.pipe.end(frame)


def _is_for(services: Iterable[FrameProcessor], frame: Frame) -> bool:
    """Say whether a frame has settings for recognisers of ours."""
    if not isinstance(frame, STTMuteFrame | STTUpdateSettingsFrame):
        return False
    meant = getattr(frame, "service", None)
    return meant is None or meant in services


async def _broadcast_timing(stage: FrameProcessor, service: FrameProcessor) -> None:
    """Broadcast what one recogniser says of the turn's timing: the first one speaks for all."""
    if isinstance(service, STTService):
        await stage.broadcast_frame_instance(service.service_metadata_frame())


def _billed(measured: Iterable[MetricsData], name: str, *, heard: bool) -> list[MetricsData]:
    """Return what was billed, by whomever, and what else the rung that is heard measures."""
    return [
        metrics_data.model_copy(update={"processor": name})
        for metrics_data in measured
        if heard or isinstance(metrics_data, STTUsageMetricsData)
    ]
