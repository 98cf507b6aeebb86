"""Any recogniser of Pipecat's as a rung of the STT stage.

Transcripts get our own result (`Heard`). A service that finishes on request answers when the caller
has stopped; of another, the first final result after that is the answer.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final, cast

from loguru import logger
from pipecat.frames.frames import (
    CancelFrame,
    EndFrame,
    Frame,
    InputAudioRawFrame,
    InterimTranscriptionFrame,
    OutputAudioRawFrame,
    TextFrame,
    TranscriptionFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.processors.frame_processor import FrameCallback, FrameDirection
from pipecat.transcriptions.language import Language
from pipecat.utils.time import time_now_iso8601

from calls.transcript import Heard
from fallbacks.classification import classify_symptom
from fallbacks.failure import Kind, finding
from fallbacks.symptoms import Symptom
from providers.adapter.building import build_service
from providers.adapter.recogniser_connection import ConnectedPart, now_s
from providers.adapter.recogniser_messages import READERS, PlainReader
from providers.adapter.recogniser_stream import wrong_times
from providers.adapter.service_class import UnusableServiceError, load_class
from providers.provider import RungSpec

SEND_S: Final = 5.0  # Pipecat's own bound for a websocket's send; a healthy one takes microseconds
SETTLE_MAX_S: Final = 2.0  # the longest wait for a final result that may not come (chosen)
LANGUAGES: Final = frozenset(Language)


@dataclass
class DirectSound(InputAudioRawFrame):
    """Audio from `send_at_once`."""


@dataclass
class WordsWanted(VADUserStoppedSpeakingFrame):
    """Asks for the words so far, as if the caller had stopped."""


class HearingPart(ConnectedPart):
    """Stands in front of the class of Pipecat's service."""

    def __init__(self, *, rung: RungSpec, **kwargs: Any) -> None:
        self._queued = 0  # pieces of audio in our queue
        self._billed = False  # the audio being sent was counted before
        self._settling: asyncio.Task[None] | None = None
        self._end_frame: Frame | None = None  # tells it that the call ends
        super().__init__(rung=rung, **kwargs)

    def can_generate_metrics(self) -> bool:
        """Return True: the audio is counted, whatever the service says."""
        return True

    def send_at_once(self, sound: bytes) -> bool:
        """Queue audio for sending now, and count it for the bill.

        Return False, and do neither, if it has to wait or cannot be sent.
        """
        if self.in_segments or not self._is_free():
            return False
        leg_hz = self.rung.sample_rate_hz
        # A sample has 2 bytes; counted is what the service gets, at its own rate.
        samples = round(len(sound) // 2 * self.sample_rate / leg_hz)
        super()._record_stt_audio_usage(bytes(2 * samples))
        self._queue_now(DirectSound(sound, leg_hz, 1))
        return True

    def ask_for_words(self) -> None:
        """Ask for the words so far, if the service finishes on request."""
        if self.rung.facts.finalises and not self.in_segments and self._is_free():
            self._queue_now(WordsWanted(stop_secs=0.0))

    def _is_free(self) -> bool:
        return self.connected and not (self._queued or self._muted)

    def _queue_now(self, frame: Frame) -> None:
        """Put a frame into our queue without waiting: the queue has no bound.

        The frame is not counted as queued, so it does not hold back what follows.
        """
        work = super().queue_frame(frame)
        with suppress(StopIteration):
            work.send(None)

    async def queue_frame(
        self,
        frame: Frame,
        direction: FrameDirection = FrameDirection.DOWNSTREAM,
        callback: FrameCallback | None = None,
    ) -> None:
        """Queue a frame as Pipecat does, and count audio, which later audio must not overtake."""
        self._queued += isinstance(frame, InputAudioRawFrame)
        await super().queue_frame(frame, direction, callback)

    def _record_stt_audio_usage(self, audio: bytes | bytearray) -> None:
        """Count audio for the bill, unless `send_at_once` has counted it."""
        if not self._billed:
            super()._record_stt_audio_usage(audio)

    async def process_audio_frame(
        self, frame: InputAudioRawFrame, direction: FrameDirection
    ) -> None:
        """Send audio at the service's rate, and count it as no longer queued."""
        self._billed = isinstance(frame, DirectSound)
        try:
            await self._send_audio(self.resampler.take(frame.audio, frame.sample_rate), direction)
        finally:
            self._queued -= not self._billed
            self._billed = False

    async def _send_audio(self, sound: bytes, direction: FrameDirection) -> None:
        """Send audio at the service's rate, unless the connection is over.

        A service that blocks for `SEND_S`, or cancels its own work, has failed, which is reported.
        """
        if not sound or self.over:
            return
        self.stream.send(len(sound) / 2 / self.sample_rate)  # 2 bytes for each sample
        piece = InputAudioRawFrame(sound, self.sample_rate, 1)
        try:
            async with asyncio.timeout(SEND_S):
                await super().process_audio_frame(piece, direction)
        except TimeoutError:
            await self.report(finding(Kind.TIMEOUT), "it takes no audio")
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) and task.cancelling():
                raise
            await self._report_error(ConnectionError("it cancelled its own work"))
        except SystemExit as error:  # of one rung: it must not end all calls
            await self._report_error(error)

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Record what the caller does, and that the call ends, before the service gets the frame.

        At the end of speech, audio that was held back is sent first.
        """
        match frame:
            case VADUserStartedSpeakingFrame():
                self.stream.note_utterance()
                self._stop_settling()
            case VADUserStoppedSpeakingFrame():
                await self._send_audio(self.resampler.drain(), direction)
                self._note_request(frame)
            case EndFrame() | CancelFrame():
                self.over, self._end_frame = True, frame
                self._stop_settling()
            case _:
                pass
        await super().process_frame(frame, direction)

    def _note_request(self, frame: VADUserStoppedSpeakingFrame) -> None:
        """Record a request to finish; if it may stay without an answer, wait only for a while.

        A cancellation is not recorded if the service cannot finish on request.
        """
        cancelled = not frame.stop_secs and not isinstance(frame, WordsWanted)
        if cancelled and not (self.rung.facts.finalises or self.in_segments):
            return
        self.stream.note_request(cancelled=cancelled and self.supervised)
        if not self.reader.counts and frame.stop_secs:
            self._stop_settling()
            self._settling = self.create_task(self._report_end_of_words(), "settle")

    def _stop_settling(self) -> None:
        """Stop waiting for further words."""
        if self._settling is not None:
            self._settling.cancel()

    async def _report_end_of_words(self) -> None:
        """After the usual time for a final result, report that there are no further words."""
        usual_s = self.service_metadata_frame().ttfs_p99_latency
        await asyncio.sleep(min(usual_s or SETTLE_MAX_S, SETTLE_MAX_S))
        if self.stream.may_settle(now_s()):
            await self.push_frame(TranscriptionFrame("", self._user_id, time_now_iso8601()))

    async def push_frame(
        self, frame: Frame, direction: FrameDirection = FrameDirection.DOWNSTREAM
    ) -> None:
        """Push a frame; put our own result into a transcript, and drop one that is not wanted.

        What no recogniser pushes, such as audio, is reported as a failure instead.
        """
        match frame:
            case TranscriptionFrame() | InterimTranscriptionFrame():
                if self.over or not await self._annotate(frame):
                    return
            case EndFrame() | CancelFrame() if frame is self._end_frame:
                pass
            case TextFrame() | OutputAudioRawFrame() | EndFrame() | CancelFrame():
                await self.report(classify_symptom(Symptom.GARBAGE), "not a recogniser's frame")
                return
            case _:
                pass
        await super().push_frame(frame, direction)

    async def _annotate(self, frame: TranscriptionFrame | InterimTranscriptionFrame) -> bool:
        """Put our own result into a transcript; return whether the transcript is wanted.

        It is not if it belongs to audio that is not wanted any more, or is impossible, which is
        reported as a failure. A final one may answer our request to finish. With a final one, the
        usage so far is reported.
        """
        self.pushed = True
        try:
            heard = self._heard_in(frame)
        except (TypeError, ValueError, KeyError, AttributeError):
            await self.report(classify_symptom(Symptom.GARBAGE), "an impossible transcript")
            return False
        has_words = bool(frame.text.strip())
        if has_words:
            self.stream.flowing = True
            self.stream.hears(now_s())
        if isinstance(frame, InterimTranscriptionFrame):
            self.stream.open_words |= has_words
            frame.result = heard
            return True
        may_answer = self.note.answers or self.in_segments or not self.reader.counts
        answer = self.stream.finish(answers=may_answer)
        frame.finalized = answer.complete
        frame.result = replace(
            heard, final=True, end_s=heard.end_s if answer.end_s is None else answer.end_s
        )
        await self.emit_stt_usage_metrics()
        return not answer.late

    def _heard_in(self, frame: TranscriptionFrame | InterimTranscriptionFrame) -> Heard:
        """Return the result in a transcript, and correct the language that it names.

        Raises:
            TypeError, ValueError, KeyError, AttributeError: It is not a possible result.
        """
        if not isinstance(frame.text, str):  # pyright: ignore[reportUnnecessaryIsInstance] - the service's
            raise TypeError
        result = frame.result
        words = () if result is None else self.reader.words(result)
        if wrong_times(words, sent_s=self.stream.sent_s - self.stream.base_s):
            raise ValueError
        tag: str | None = self.rung.language
        if tag in ("", "multi"):
            named = str(frame.language) if frame.language else None
            tag = self.reader.language(result, named)
        frame.language = Language(tag) if tag in LANGUAGES else None
        base_s, end_s = self.stream.base_s, self.note.end_s
        return Heard(
            end_s=None if end_s is None else end_s + base_s,
            words=tuple(
                replace(word, start_s=word.start_s + base_s, end_s=word.end_s + base_s)
                for word in words
            ),
        )


class SharedModels:
    """What a service loads in its constructor; all calls share it.

    Attributes:
        loaded: The attributes that its `_load` sets, by name.
        problem: Why they could not be loaded; empty if they were.
    """

    def __init__(self, loaded: dict[str, Any], *, problem: str = "") -> None:
        self.loaded, self.problem = loaded, problem

    async def close(self) -> None:
        """Forget the models, so that their memory can be freed."""
        self.loaded = {}


class LoadingPart(HearingPart):
    """Takes the models that all calls share, instead of loading them again."""

    def _load(self) -> Any:
        """Load the models and keep what that sets, for `share`; or use what is shared already.

        Raises:
            UnusableServiceError: They could not be loaded. Another try would block the event loop,
                and so every call of the process.
        """
        before = dict(vars(self))
        if self.rung.shared is None:
            result = cast("Any", super())._load()  # noqa: SLF001
            own = {name: item for name, item in vars(self).items() if item is not before.get(name)}
            self.loaded = {**own, RESULT: result}
            return result
        if self.rung.shared.problem:
            raise UnusableServiceError(self.rung.shared.problem)
        vars(self).update(self.rung.shared.loaded)
        return vars(self).pop(RESULT)


RESULT: Final = "_loaded_result"  # what `_load` returned, which Moonshine's constructor keeps


def build(rung: RungSpec) -> HearingPart:
    """Return a recogniser that speaks to this rung.

    Raises:
        UnusableServiceError, TypeError, ValueError: The service cannot be built.
    """
    loads = hasattr(load_class(rung.service, "stt"), "_load")
    own = READERS.get(rung.service, PlainReader).settings(rung.language)
    rung = replace(rung, options={**own, **rung.options})
    return build_service(rung, LoadingPart if loads else HearingPart)


def share(rung: RungSpec) -> SharedModels | None:
    """Return the models that a service loads in its constructor; `None` if it loads none.

    A constructor that raises is logged, and the rung is out in every call.
    """
    if not hasattr(load_class(rung.service, "stt"), "_load"):
        return None
    try:
        service = build(replace(rung, shared=None))
    except Exception as error:  # noqa: BLE001 - a call reports it when it builds the service
        logger.warning("{}: its constructor raised {}", rung.name, type(error).__name__)
        return SharedModels({}, problem=f"its models were not loaded: {type(error).__name__}")
    return SharedModels(getattr(service, "loaded", {}))
