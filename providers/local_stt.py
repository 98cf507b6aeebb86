"""Local speech to text: pocketsphinx in its own process, without a network or a key."""

import asyncio
import io
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import soundfile
import soxr
from pipecat.frames.frames import (
    CancelFrame,
    EndFrame,
    Frame,
    InterimTranscriptionFrame,
    TranscriptionFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessorSetup
from pipecat.services.settings import STTSettings
from pipecat.services.stt_service import STTService
from pipecat.transcriptions.language import Language
from pipecat.utils.time import time_now_iso8601

from calls.transcript import Heard, OtherReading, Transcript
from fallbacks.failure import Kind, Scope, finding
from providers.batch import rung_error
from providers.probing import speech
from providers.provider import ProbeFailedError, RungSpec, WholeRecording
from providers.sphinx_ear import Ear, SphinxResult
from providers.sphinx_process import SphinxProcess
from providers.sphinx_worker import Command

MODEL: Final = "pocketsphinx"
# Chosen: the VAD's 0.2 s, then 0.01 to 0.37 s, measured on a busy machine with two cores.
TTFS_P99_S: Final = 0.6
ENGLISH: Final = ("en", "multi")  # languages of the wheel's model; `multi` does not detect others

OPTIONS: Final = Ear
"""The class of a rung's `options`."""
MAX_ENDS: Final = 3  # of the process in a row, without a result; then it is not restarted


class PendingResults:
    """Counts the results that the recogniser still has to deliver, and those no longer wanted.

    When another recogniser has delivered an utterance, the stage cancels it here by finishing it.
    This recogniser may still be decoding earlier audio. Its results have no times that would
    identify late words, but they come in the order of the requests. If an utterance begins after a
    cancelled one without audio in between, all results pending at that moment are late: the stage
    sends the audio that it still wants again.
    """

    def __init__(self) -> None:
        self._pending = 0
        self._late = 0  # how many of these are late; they come first
        self._is_cancelled = False  # the last request was cancelled, and no audio was sent since

    @property
    def pending(self) -> int:
        """How many results the recogniser still has to deliver."""
        return self._pending

    def note_request(self, *, cancelled: bool) -> None:
        """Record a request to finish; `cancelled` means that its result is not wanted."""
        self._pending += 1
        self._is_cancelled = cancelled

    def note_audio(self) -> None:
        """Record that audio is sent: the last request's result may still be wanted."""
        self._is_cancelled = False

    def note_utterance(self) -> None:
        """Record that an utterance begins: after a cancellation, all pending results are late."""
        if self._is_cancelled:
            self._late = self._pending
        self._is_cancelled = False

    def note_result(self, result: SphinxResult) -> bool:
        """Record a result; return whether it is late, and so unwanted."""
        is_late = self._late > 0
        if result.finished:
            self._pending, self._late = self._pending - 1, self._late - is_late
        return is_late


class LocalSTTService(STTService):
    """Follows the pipeline's VAD: an utterance lasts from its start to its stop.

    Attributes:
        supervised: Whether an utterance without words is reported, too, as a frame without text.
    """

    def __init__(self, *, settings: STTSettings, ear: Ear) -> None:
        super().__init__(sample_rate=ear.rate_hz, ttfs_p99_latency=TTFS_P99_S, settings=settings)
        self.supervised = False
        self._ear = ear
        self._process = SphinxProcess(ear)
        self._answers = PendingResults()
        self._results_task: asyncio.Task[None] | None = None
        self._audio_lost = False  # whether the last piece of audio was dropped
        self._ready = False  # whether the models are loaded
        self._ends_in_a_row = 0  # of processes, without a final result

    def can_generate_metrics(self) -> bool:
        """Return True: recognised audio is counted, though it costs nothing."""
        return True

    async def setup(self, setup: FrameProcessorSetup) -> None:
        """Start the recogniser; the call does not wait for its models.

        An `OSError` is raised if its process cannot be started.
        """
        await super().setup(setup)
        await self._process.start()
        self._results_task = self.create_task(self._keep_process_running(), "local recogniser")

    async def stop(self, frame: EndFrame) -> None:
        """End the recogniser."""
        await super().stop(frame)
        await self._stop_results_and_process()

    async def cancel(self, frame: CancelFrame) -> None:
        """End the recogniser."""
        await super().cancel(frame)
        await self._stop_results_and_process()

    async def cleanup(self) -> None:
        """End the recogniser if it still runs."""
        await super().cleanup()
        await self._stop_results_and_process()

    async def run_stt(self, audio: bytes) -> AsyncGenerator[Frame | None, None]:
        """Pass audio to the recogniser; results arrive separately. A gap is reported once."""
        self._answers.note_audio()
        sent = self._process.send(Command.AUDIO, audio)
        if not sent and not self._audio_lost:
            await self.push_error("the local recogniser does not keep up; audio is lost")
        self._audio_lost = not sent
        yield None

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Pass frames on; begin and finish utterances with the VAD's reports."""
        await super().process_frame(frame, direction)
        match frame:
            case VADUserStartedSpeakingFrame():
                self._answers.note_utterance()
                self._process.send(Command.BEGIN)
            case VADUserStoppedSpeakingFrame():
                self.request_finalize()
                if self._process.send(Command.FINISH):
                    # A stop without a detected silence comes from the stage: it cancels.
                    self._answers.note_request(cancelled=self.supervised and not frame.stop_secs)
            case _:
                pass

    async def _keep_process_running(self) -> None:
        """Pass results on, and restart the process whenever it ends.

        The loop ends, and the service reports a permanent error, if the process ended before its
        models were loaded, ended `MAX_ENDS` times in a row without a final result, or cannot be
        started. The ended process takes with it the audio that it had not transcribed and the
        results that were requested: in an utterance, the new process gets only the audio from now
        on. Each restart is reported as an error, so a stage can send the audio again or ask another
        rung.
        """
        while await self._pass_results():
            await self._process.close()
            self._answers = PendingResults()
            try:
                await self._process.start()
            except OSError as error:  # the process limit is reached, or our files were replaced
                reason = f"the local recogniser cannot be started again: {type(error).__name__}"
                await self.push_error(reason, exception=error, force_treat_as_permanent=True)
                return
            if self._user_speaking:
                self._process.send(Command.BEGIN)
            await self.push_error("the local recogniser ended; a new one was started")

    async def _pass_results(self) -> bool:
        """Pass results on until the process ends; return whether to start another.

        If not, a permanent error is reported.
        """
        self._ready, reason = False, "it ended too often"
        async for result in self._process.results():
            match result.what:
                case "ready":
                    self._ready = True
                case "interim" | "final" if self._answers.note_result(result):
                    pass
                case "interim":
                    await self.push_frame(_interim_frame(result, self._user_id, self._settings))
                case "final":
                    await self._push_final(result)
                case _:
                    reason = result.text
        self._ends_in_a_row += 1
        may_restart = self._ready and self._ends_in_a_row < MAX_ENDS
        if not may_restart:
            await self.push_error(f"local recogniser: {reason}", force_treat_as_permanent=True)
        return may_restart

    async def _push_final(self, result: SphinxResult) -> None:
        """Push a final result; one without words only to a supervising stage.

        Any final result resets the count of processes that ended in a row.
        """
        self._ends_in_a_row = 0
        if not result.text:
            await self.cancel_ttfb_metrics()
        if not result.text and not self.supervised:
            return
        if result.finished and not self._answers.pending:
            self.confirm_finalize()
        await self.emit_stt_usage_metrics()
        await self.push_frame(_final_frame(result, self._user_id, self._settings))

    async def _stop_results_and_process(self) -> None:
        """Stop passing results on, and end the recogniser's process."""
        task, self._results_task = self._results_task, None
        if task is not None:
            await self.cancel_task(task)
        await self._process.close()


def _interim_frame(result: SphinxResult, user_id: str, settings: STTSettings) -> Frame:
    """Return an interim result as a transcript."""
    return InterimTranscriptionFrame(
        result.text, user_id, time_now_iso8601(), _language_of_settings(settings)
    )


def _final_frame(result: SphinxResult, user_id: str, settings: STTSettings) -> Frame:
    """Return a final result as a transcript, with its other readings."""
    others = (OtherReading(text=alternative) for alternative in result.alternatives)
    return TranscriptionFrame(
        result.text,
        user_id,
        time_now_iso8601(),
        _language_of_settings(settings),
        result=Heard(final=True, confidence=result.confidence, others=tuple(others)),
    )


def _language_of_settings(settings: STTSettings) -> Language | None:
    """Return the language to name in transcripts; `None` if Pipecat does not know it.

    The recogniser hears English if the call's language is `multi`.
    """
    spoken = str(settings.language)
    if spoken == "multi":
        return Language.EN
    return Language(spoken) if spoken in set(Language) else None


def build(rung: RungSpec) -> LocalSTTService:
    """Return a recogniser that runs on this machine.

    Raises:
        ValueError: The language needs models that the rung does not name, or a file is missing.
    """
    return LocalSTTService(
        settings=STTSettings(model=rung.model or MODEL, language=rung.language), ear=ear_of(rung)
    )


async def probe(rung: RungSpec, *, timeout_s: float) -> None:
    """Check that the model files exist, without any request.

    Raises:
        ProbeFailedError: The language needs models that the rung does not name, or a file is
            missing.
    """
    del timeout_s
    try:
        await asyncio.to_thread(ear_of, rung)
    except ValueError as error:
        raise ProbeFailedError(str(error)) from error


def ear_of(rung: RungSpec) -> Ear:
    """Return the settings of a rung's recogniser.

    Raises:
        ValueError: The language needs models that the rung does not name, or a file is missing.
    """
    options: dict[str, Any] = dict(rung.options)
    if rung.language.partition("-")[0].lower() not in ENGLISH and not {"hmm", "dict"} <= {*options}:
        raise ValueError(
            f"{rung.name}: the local recogniser includes only English models; "
            f"for {rung.language} set options.hmm and options.dict"
        )
    missing = [f"options.{key}: {path}" for key, path in options.items() if not Path(path).exists()]
    if missing:
        raise ValueError(f"{rung.name}: there is no such file: {', '.join(missing)}")
    return Ear(rate_hz=rung.sample_rate_hz, **options)


async def probe_real(rung: RungSpec, *, timeout_s: float) -> None:
    """Recognise half a second of speech; any result will do, whatever the language.

    Raises:
        ProbeFailedError: The recogniser does not start, fails, or does not answer in time.
    """
    samples, rate_hz = speech()
    process = SphinxProcess(Ear(**{**rung.options, "rate_hz": rate_hz}))
    try:
        async with asyncio.timeout(timeout_s):
            await process.start()
            process.send(Command.BEGIN)
            process.send(Command.AUDIO, samples)
            process.send(Command.FINISH)
            problem = await _problem_of(process)
    except TimeoutError as error:
        raise ProbeFailedError(f"{rung.name}: the recogniser does not answer") from error
    except OSError as error:
        raise ProbeFailedError(f"{rung.name}: the recogniser cannot be started") from error
    finally:
        await process.close()
    if problem:
        raise ProbeFailedError(f"{rung.name}: {problem}")


async def _problem_of(process: SphinxProcess) -> str:
    """Return what went wrong; empty if the process answered."""
    async for result in process.results():
        if result.what == "final":
            return ""
        if result.what == "failed":
            return result.text
    return "the recogniser ended"


RATE_HZ: Final = 16_000  # the model's rate
PIECE_S: Final = 1.0
# The longest time for a recording, as a multiple of its length; a busy machine needs half of that
# (measured).
MAX_SLOWNESS: Final = 2.0
UNREADABLE: Final = finding(Kind.BAD_REQUEST, Scope.PAYLOAD)


async def transcribe(rung: RungSpec, recording: WholeRecording) -> Transcript:
    """Return what a recording says, without word times.

    Raises:
        ServiceError: The file is unreadable, or the recogniser fails or is too slow; holds the
            failure.
    """
    spec = replace(rung, sample_rate_hz=RATE_HZ, language=recording.language or rung.language)
    try:
        samples = await asyncio.to_thread(_decode_file, recording.content)
        process = SphinxProcess(ear_of(spec))
    except soundfile.LibsndfileError as error:
        raise rung_error(UNREADABLE, rung, "the recording cannot be read") from error
    except ValueError as error:
        raise rung_error(Kind.NOT_FOUND, rung, str(error)) from error
    duration_s = samples.size / RATE_HZ
    try:
        async with asyncio.timeout(rung.timeout_s + MAX_SLOWNESS * duration_s):
            finals = await _recognise_utterance(process, samples.tobytes(), rung)
    except TimeoutError as error:
        raise rung_error(Kind.TIMEOUT, rung, "the recogniser does not keep up") from error
    except OSError as error:
        raise rung_error(Kind.NETWORK, rung, "the recogniser cannot be started") from error
    finally:
        await process.close()
    return _join_results(finals, spec, duration_s=duration_s)


def _decode_file(content: bytes) -> "np.ndarray[tuple[int], np.dtype[np.int16]]":
    """Return a sound file as 16-bit mono samples at `RATE_HZ`."""
    samples, rate_hz = soundfile.read(io.BytesIO(content), dtype="float32", always_2d=True)
    mono = samples.mean(axis=1)
    if rate_hz != RATE_HZ and mono.size:
        mono = soxr.resample(mono, rate_hz, RATE_HZ)
    return np.clip(mono * 32768.0, -32768, 32767).astype("<i2")


async def _recognise_utterance(
    process: SphinxProcess, pcm: bytes, rung: RungSpec
) -> list[SphinxResult]:
    """Return the final results; they are read while audio is sent, or the process would block."""
    await process.start()
    finals, _ = await asyncio.gather(_collect_finals(process, rung), _send_utterance(process, pcm))
    return finals


async def _collect_finals(process: SphinxProcess, rung: RungSpec) -> list[SphinxResult]:
    """Return the final results up to the answer to `FINISH`; raise `ServiceError` without one."""
    finals: list[SphinxResult] = []
    async for result in process.results():
        if result.what == "failed":
            raise rung_error(Kind.NOT_FOUND, rung, result.text)
        if result.what == "final":
            finals.append(result)
        if result.finished:
            return finals
    raise rung_error(Kind.NETWORK, rung, "the recogniser ended")


async def _send_utterance(process: SphinxProcess, pcm: bytes) -> None:
    """Send an utterance's commands and audio, and wait after each piece until most of it is read.

    Raises:
        OSError: The process has ended.
    """
    process.send(Command.BEGIN)
    piece = round(RATE_HZ * PIECE_S) * 2  # bytes: 2 for each sample
    for start in range(0, len(pcm), piece):
        process.send(Command.AUDIO, pcm[start : start + piece])
        await process.drain()
    process.send(Command.FINISH)


def _join_results(finals: list[SphinxResult], rung: RungSpec, *, duration_s: float) -> Transcript:
    """Return the results as one transcript; its confidence is their mean, `None` without words."""
    spoken = [final for final in finals if final.text]
    confidences = [final.confidence for final in spoken]
    return Transcript(
        text=" ".join(final.text for final in spoken),
        provider=rung.name,
        language=rung.language,
        language_confidence=None,
        duration_s=duration_s,
        confidence=sum(confidences) / len(confidences) if confidences else None,
    )
