"""The STT stage: each word of the caller is transcribed once, whichever rungs do it.

One recogniser gets the caller's audio live. `CallerHearing` keeps the audio of the utterance in
progress, so that another recogniser can get all of it if the first one fails or becomes mute.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from itertools import islice
from typing import Final

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

from calls.entry import Emit
from calls.turn import Turn
from fallbacks.attempt_events import Ask, EmitEvent
from fallbacks.ladder import StagePolicy
from processors.hearing.decision import CallerHearing, HearingAction, KeepTurnOpen, PassOn
from processors.hearing.feed_rules import AskForWords, FeedSound, FlushWords, MarkSpeech, Reconnect
from processors.hearing.mute import CallerMute, SpeechReport
from processors.hearing.replay_rules import SoundRing
from processors.hearing.rung import (
    RecogniserEvent,
    RecogniserRung,
    Transcript,
    heard_in,
    recogniser_failure_of,
)
from processors.ladder.gate import Seat
from processors.ladder.stage import Stage
from processors.turn.ending import PauseBegan
from processors.turn.sound_path import SoundPath

WARM: Final = 2  # rungs that connect at the start, at most; others connect when needed


class SttStage(SoundPath, Stage[RecogniserEvent]):
    """A ladder of recognisers in place of one service."""

    _passed_on: Transcript | None = None  # the result that was passed on last
    _user_id = ""  # of the latest audio, if the transport names its users

    def __init__(
        self,
        rungs: Mapping[str, FrameProcessor],
        *,
        policy: StagePolicy,
        emit: Emit,
        clock: Callable[[], float],
        turn: Turn,
    ) -> None:
        """Listen with these recognisers in one call.

        Args:
            rungs: By name, the preferred one first.
            policy: The stage's settings and state, shared by all calls.
            emit: Publishes events.
            clock: Monotonic, in seconds.
            turn: The turn in progress.
        """
        super().__init__(clock=clock)
        self._services = tuple(rungs.values())
        seats = {name: Seat(policy.gates.get(name)) for name in rungs}

        def may_reconnect(name: str) -> bool:
            return self._hearing.feeds[name].waits or _is_usable(policy, name, clock())

        self._rungs = {
            name: RecogniserRung(
                name, service, stage=self, allowed=partial(may_reconnect, name), seat=seats[name]
            )
            for name, service in rungs.items()
        }
        self._policy, self._emit = policy, emit
        ours = {name: rung.reconnector is not None for name, rung in self._rungs.items()}
        self._hearing = CallerHearing(
            ours, policy=policy, turn=turn, offered=lambda name: seats[name].offered
        )
        self._mute = CallerMute()
        self._marks: dict[bool, Frame] = {}  # the VAD's latest frame, by whether the caller speaks

    @property
    def wake_at(self) -> float | None:
        """When to call `tick`, or `None`."""
        return self._hearing.wake_at

    @property
    def writer(self) -> str:
        """The name of the rung whose words are used now."""
        return self._hearing.writer.provider

    def listens(self) -> bool:
        """Return whether a recogniser has lately sent a result for the latest utterance.

        That is within `WORD_GAP_S`, with words or without.
        """
        utterance = self._hearing.utterance
        return utterance is not None and utterance.listens(self.now())

    def awaits_words(self) -> bool:
        """Return whether the caller has stopped, and some of their words are pending."""
        utterance = self._hearing.utterance
        return utterance is not None and utterance.awaits_words(self.now())

    def has_all_words(self) -> bool:
        """Return whether the caller has stopped, and a recogniser has transcribed all of it."""
        utterance = self._hearing.utterance
        return utterance is not None and utterance.is_transcribed

    def processors_with_metrics(self) -> list[FrameProcessor]:
        """Return the services that have metrics; the stage itself has none."""
        return [service for service in self._services if service.can_generate_metrics()]

    async def setup(self, setup: FrameProcessorSetup) -> None:
        """Begin to set up the first rungs; the call waits for none of them.

        Those are up to `WARM` rungs that are no cold standbys. Also starts the stage's own task.
        """
        await super().setup(setup)
        self._hearing.sound = SoundRing(bytes_a_second=2 * setup.audio_in_sample_rate)  # 16-bit
        for rung in self._rungs.values():
            rung.setup(self, setup)
        warm = (rung for name, rung in self._rungs.items() if name not in self._policy.cold)
        for rung in islice((rung for rung in warm if rung.open()), WARM):
            self._hearing.opened(rung.name, self.now())
        self.watch()

    async def cleanup(self) -> None:
        """End the attempts in progress; close every connection, each within its time limit."""
        await super().cleanup()
        await self.stop_watching()
        if utterance := self._hearing.utterance:
            for action in utterance.attempting.cancel("caller"):
                if isinstance(action, EmitEvent):
                    self._emit(action.fact)
        await asyncio.gather(*(rung.close() for rung in self._rungs.values()))

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Pass frames on, and give the VAD's reports to the decision.

        Audio goes to `hear_sound`; settings for the recognisers and requests to mute the caller are
        carried out and not passed on.
        """
        await super().process_frame(frame, direction)
        if isinstance(frame, InputAudioRawFrame):
            await self.hear_sound(frame)
            return
        if isinstance(frame, STTMuteFrame):
            await self._on_vad_report(self._mute.set(mute=frame.mute))
            return  # the services get silence; muted, they would look as if they had failed
        if _is_for(self._services, frame):
            await _send_to_all(self._rungs.values(), frame, settles=True)
            return
        _end_rungs_at_call_end(self._rungs.values(), frame)
        await self.push_frame(frame, direction)
        match frame:
            case StartFrame():
                for rung in self._rungs.values():
                    rung.start(frame)
                await _broadcast_timing(self, self._services[0])
            case UserStoppedSpeakingFrame():
                await _send_to_all(self._rungs.values(), frame)
            case VADUserStartedSpeakingFrame() | PauseBegan() | VADUserStoppedSpeakingFrame():
                await self._on_vad_report(self._mute.report(frame))
            case _:
                pass  # including interruptions, which must not stop a recogniser

    async def _on_vad_report(self, report: SpeechReport | None) -> None:
        """Give a report of the call's VAD to the decision, and carry out what follows.

        `None` does nothing. A start or a stop is kept, because recognisers get it with their audio.
        """
        if report is None:
            return
        async with self.working():
            match report:
                case VADUserStartedSpeakingFrame():
                    self._marks[True] = report
                    await self._carry_out(self._hearing.begin_speech(report.start_secs, self.now()))
                case VADUserStoppedSpeakingFrame():
                    self._marks[False] = report
                    await self._carry_out(self._hearing.stop_speech(report.stop_secs, self.now()))
                case PauseBegan():
                    await self._carry_out(self._hearing.pause_speech())

    async def hear_sound(self, frame: InputAudioRawFrame) -> None:
        """Pass a piece of audio on, and feed the recognisers.

        While the caller is muted, the recognisers get silence.
        """
        await self.hand_on(frame)
        self._user_id = getattr(frame, "user_id", "")
        sound = bytes(len(frame.audio)) if self._mute.muted else frame.audio
        async with self.lock:  # not `working`: fifty pieces a second never make `wake_at` earlier
            await self._carry_out(self._hearing.hear(sound, self.now()))

    async def handle(self, report: RecogniserEvent, now: float) -> None:
        """Pass a recogniser's event to the decision, and carry out the actions.

        An error also limits the rung's seat; measurements are pushed under the rung's name.
        """
        rung, frame = report
        match frame:
            case TranscriptionFrame() | InterimTranscriptionFrame():
                frame.metadata["rung"] = rung.name
                result = self._hearing.read_result(rung.name, heard_in(frame), now)
                await self._carry_out(result, frame)
            case ErrorFrame():
                failure = recogniser_failure_of(frame, rung.name)
                rung.seat.learn(failure)
                await self._carry_out(self._hearing.fail(rung.name, failure, now))
            case MetricsFrame():
                frame.data = _relabelled(frame.data, rung.name, in_use=rung.name == self.writer)
                if frame.data:
                    await self.push_frame(frame)
            case _ if rung.connected:
                rung.note_connected()
                await self._carry_out(self._hearing.connected(rung.name, now))
            case _:
                pass  # it is set up but not connected, or has lost the connection again

    async def tick(self, now: float) -> None:
        """Do what is due by now."""
        await self._carry_out(self._hearing.tick(now))

    async def _carry_out(
        self, actions: Iterable[HearingAction], result: Transcript | None = None
    ) -> None:
        """Carry out the actions in order: emit events, pass words on, feed and connect rungs.

        Args:
            actions: The actions.
            result: The result that led to the actions, if any.
        """
        for action in actions:
            match action:
                case EmitEvent():
                    self._emit(action.fact)
                case PassOn():
                    await self._pass_on(action, result)
                case KeepTurnOpen():  # Pipecat waits again after an interim result without words
                    await self.push_frame(InterimTranscriptionFrame("", "", time_now_iso8601()))
                case Ask() | Reconnect():
                    await self._connect_or_reconnect(action)
                case MarkSpeech() | FeedSound() | FlushWords() | AskForWords():
                    await self._send_to_rung(action)

    async def _pass_on(self, action: PassOn, result: Transcript | None) -> None:
        """Push a result with its new text; for a guess, push the last pushed result as a final one.

        Recognisers do not learn whose audio they get, so the user is named here. Without a result,
        nothing is pushed.
        """
        frame = _final_of(self._passed_on) if action.guess else result
        if frame is None:
            return
        if action.new_text is not None:
            frame.text = action.new_text
        frame.user_id = self._user_id
        self._passed_on = frame
        await self.push_frame(frame)

    async def _send_to_rung(
        self, action: MarkSpeech | FeedSound | FlushWords | AskForWords
    ) -> None:
        """Send a rung audio or a report, or make it finalise its words.

        A stop of the VAD does that.
        """
        rung = self._rungs[action.provider]
        match action:
            case FeedSound():
                await rung.feed(action.sound)
            case MarkSpeech():
                await rung.pipe.send(self._marks[action.speaking])
            case FlushWords():
                await rung.pipe.send(VADUserStoppedSpeakingFrame())
            case AskForWords():
                rung.ask_for_words()

    async def _connect_or_reconnect(self, action: Ask | Reconnect) -> None:
        """Reconnect a rung, at once if it is asked, or connect it for the first time.

        Without a free place for a first connection, the attempt ends.
        """
        rung = self._rungs[action.provider]
        if rung.opened:
            rung.reconnect(hurry=isinstance(action, Ask))
        elif rung.open():
            self._hearing.opened(rung.name, self.now())
        elif isinstance(action, Ask):
            await self._carry_out(self._hearing.no_place(action.attempt, self.now()))


def _final_of(guess: Transcript | None) -> TranscriptionFrame | None:
    """Return an interim transcript as a final one; `None` if there is none."""
    if guess is None:
        return None
    final = TranscriptionFrame(
        guess.text, guess.user_id, guess.timestamp, guess.language, guess.result
    )
    final.metadata |= guess.metadata
    return final


async def _send_to_all(
    rungs: Iterable[RecogniserRung], frame: Frame, *, settles: bool = False
) -> None:
    """Send a frame to each rung; with `settles`, as settings, which a rung may apply later."""
    for rung in rungs:
        await (rung.pipe.settle(frame) if settles else rung.pipe.send(frame))


def _is_usable(policy: StagePolicy, name: str, now: float) -> bool:
    """Return whether a rung may be asked now."""
    return policy.availability.of(policy.stage, name).at(now).usable


def _end_rungs_at_call_end(rungs: Iterable[RecogniserRung], frame: Frame) -> None:
    """End the rungs' pipelines if this frame ends the call."""
    if isinstance(frame, EndFrame | CancelFrame):
        for rung in rungs:
            rung.pipe.end(frame)


def _is_for(services: Iterable[FrameProcessor], frame: Frame) -> bool:
    """Return whether a frame has settings for our recognisers."""
    if not isinstance(frame, STTUpdateSettingsFrame):
        return False
    target = getattr(frame, "service", None)
    return target is None or target in services


async def _broadcast_timing(stage: FrameProcessor, service: FrameProcessor) -> None:
    """Broadcast a recogniser's expected delay; that of the first one is used for all rungs.

    A service that ends turns itself recommends to leave that to it. The aggregator must not: the
    stage passes on words alone, whichever rung they come from.
    """
    if isinstance(service, STTService):
        timing = service.service_metadata_frame()
        timing.user_turn_strategies = None
        await stage.broadcast_frame_instance(timing)


def _relabelled(measured: Iterable[MetricsData], name: str, *, in_use: bool) -> list[MetricsData]:
    """Return a rung's measurements under its own name; only what is billed if it is not in use."""
    return [
        metrics_data.model_copy(update={"processor": name})
        for metrics_data in measured
        if in_use or isinstance(metrics_data, STTUsageMetricsData)
    ]
