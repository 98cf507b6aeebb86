"""Local speech to text: pocketsphinx in its own process, with no network and no key."""

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
from providers.batch import trouble
from providers.probing import speech
from providers.provider import ProbeFailedError, RungSpec, WholeRecording
from providers.sphinx_ear import Ear, SphinxResult
from providers.sphinx_process import SphinxProcess
from providers.sphinx_worker import Command

MODEL: Final = "pocketsphinx"
# Chosen: the VAD's 0.2 s, and after it 0.01 to 0.37 s, measured on a busy machine of two cores.
TTFS_P99_S: Final = 0.6
ENGLISH: Final = ("en", "multi")  # languages of the wheel's model; `multi` detects no others

ENDS: Final = 3  # in a row, after which the recogniser is not restarted


class OwedAnswers:
    """The results that the recogniser still has to deliver, some of them no longer wanted.

    When another recogniser has delivered the utterance, the stage cancels this one, which asks it
    for the rest. It may lag far behind then, and its results carry no times that would identify
    late words. But it answers in order. If the next command begins an utterance, the wanted audio
    is fed again from there.
    """

    def __init__(self) -> None:
        self._owed = 0
        self._late = 0  # how many of these are late
        self._called_off = False  # and no audio was sent since

    def ask(self, *, called_off: bool) -> None:
        """Record a request for the rest; `called_off` means that no more audio follows."""
        self._owed += 1
        self._called_off = called_off

    def hear(self) -> None:
        """Record that audio is sent: earlier requests may be of use again."""
        self._called_off = False

    def begin(self) -> None:
        """Record that an utterance begins."""
        self._late = self._owed if self._called_off else self._late
        self._called_off = False

    def comes_late(self, heard: SphinxResult) -> bool:
        """Record a result; return whether it is late and unwanted."""
        late = self._late > 0
        if heard.finished:
            self._owed, self._late = self._owed - 1, self._late - late
        return late


class LocalSTTService(STTService):
    """Follows the pipeline's VAD: an utterance lies between its start and its stop.

    Attributes:
        supervised: Also report an utterance without words, as a frame without text.
    """

    def __init__(self, *, settings: STTSettings, ear: Ear) -> None:
        super().__init__(sample_rate=ear.rate_hz, ttfs_p99_latency=TTFS_P99_S, settings=settings)
        self.supervised = False
        self._ear = ear
        self._process = SphinxProcess(ear)
        self._answers = OwedAnswers()
        self._listening: asyncio.Task[None] | None = None
        self._behind = False
        self._ready = False  # the models are loaded
        self._ended = 0  # recognisers in a row that ended without a result

    def can_generate_metrics(self) -> bool:
        """Return True: recognised audio is counted, though it costs nothing."""
        return True

    async def setup(self, setup: FrameProcessorSetup) -> None:
        """Start the recogniser; the call does not wait for its models."""
        await super().setup(setup)
        await self._process.start()
        self._listening = self.create_task(self._listen(), "local recogniser")

    async def stop(self, frame: EndFrame) -> None:
        """End the recogniser."""
        await super().stop(frame)
        await self._close()

    async def cancel(self, frame: CancelFrame) -> None:
        """End the recogniser."""
        await super().cancel(frame)
        await self._close()

    async def cleanup(self) -> None:
        """End the recogniser if it still runs."""
        await super().cleanup()
        await self._close()

    async def run_stt(self, audio: bytes) -> AsyncGenerator[Frame | None, None]:
        """Pass audio to the recogniser; results arrive separately."""
        self._answers.hear()
        taken = self._process.send(Command.AUDIO, audio)
        if not taken and not self._behind:
            await self.push_error("the local recogniser does not keep up; audio is lost")
        self._behind = not taken
        yield None

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Begin and finish utterances with the VAD."""
        await super().process_frame(frame, direction)
        match frame:
            case VADUserStartedSpeakingFrame():
                self._answers.begin()
                self._process.send(Command.BEGIN)
            case VADUserStoppedSpeakingFrame():
                self.request_finalize()
                if self._process.send(Command.FINISH):
                    # No detector has heard a silence: the stage ends the audio.
                    self._answers.ask(called_off=self.supervised and not frame.stop_secs)
            case _:
                pass

    async def _listen(self) -> None:
        """Pass results on; replace a recogniser that died."""
        while await self._hear_out():
            await self._process.close()
            self._answers = OwedAnswers()
            try:
                await self._process.start()
            except OSError as wrong:  # the process limit is reached, or our files were replaced
                why = f"the local recogniser cannot be started again: {type(wrong).__name__}"
                await self.push_error(why, exception=wrong, force_treat_as_permanent=True)
                return
            if self._user_speaking:
                self._process.send(Command.BEGIN)
            await self.push_error("the local recogniser ended; a new one was started")

    async def _hear_out(self) -> bool:
        """Return, after the recogniser has ended, whether to start another."""
        self._ready, why = False, "it ended too often"
        async for heard in self._process.results():
            match heard.what:
                case "ready":
                    self._ready = True
                case "interim" | "final" if self._answers.comes_late(heard):
                    pass
                case "interim":
                    await self.push_frame(_interim(heard, self._user_id, self._settings))
                case "final":
                    await self._push_final(heard)
                case _:
                    why = heard.text
        self._ended += 1
        again = self._ready and self._ended < ENDS
        if not again:
            await self.push_error(f"local recogniser: {why}", force_treat_as_permanent=True)
        return again

    async def _push_final(self, heard: SphinxResult) -> None:
        self._ended = 0
        if not heard.text:
            await self.cancel_ttfb_metrics()
        if not heard.text and not self.supervised:
            return
        if heard.finished:
            self.confirm_finalize()
        await self.emit_stt_usage_metrics()
        await self.push_frame(_final(heard, self._user_id, self._settings))

    async def _close(self) -> None:
        listening, self._listening = self._listening, None
        if listening is not None:
            await self.cancel_task(listening)
        await self._process.close()


def _interim(heard: SphinxResult, user_id: str, settings: STTSettings) -> Frame:
    return InterimTranscriptionFrame(heard.text, user_id, time_now_iso8601(), _language(settings))


def _final(heard: SphinxResult, user_id: str, settings: STTSettings) -> Frame:
    others = (OtherReading(text=alternative) for alternative in heard.alternatives)
    return TranscriptionFrame(
        heard.text,
        user_id,
        time_now_iso8601(),
        _language(settings),
        result=Heard(final=True, confidence=heard.confidence, others=tuple(others)),
    )


def _language(settings: STTSettings) -> Language | None:
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
    """Check that the model files exist, without any request."""
    del timeout_s
    try:
        await asyncio.to_thread(ear_of, rung)
    except ValueError as wrong:
        raise ProbeFailedError(str(wrong)) from wrong


def ear_of(rung: RungSpec) -> Ear:
    """Return the settings of a rung's recogniser.

    Raises:
        ValueError: The language needs models that the rung does not name, or a file is missing.
    """
    options: dict[str, Any] = dict(rung.options)
    if rung.language.partition("-")[0].lower() not in ENGLISH and not {"hmm", "dict"} <= {*options}:
        raise ValueError(
            f"{rung.name}: the local recogniser brings English only; "
            f"for {rung.language} name its models: options.hmm and options.dict"
        )
    missing = [f"options.{key}: {path}" for key, path in options.items() if not Path(path).exists()]
    if missing:
        raise ValueError(f"{rung.name}: there is no such file: {', '.join(missing)}")
    return Ear(rate_hz=rung.sample_rate_hz, **options)


async def probe_real(rung: RungSpec, *, timeout_s: float) -> None:
    """Recognise half a second of speech, in whatever language.

    Raises:
        ProbeFailedError: The recogniser does not start, or does not answer.
    """
    samples, rate_hz = speech()
    process = SphinxProcess(Ear(**{**rung.options, "rate_hz": rate_hz}))
    try:
        async with asyncio.timeout(timeout_s):
            await process.start()
            process.send(Command.BEGIN)
            process.send(Command.AUDIO, samples)
            process.send(Command.FINISH)
            trouble = await _trouble_of(process)
    except (TimeoutError, OSError) as wrong:
        raise ProbeFailedError(f"{rung.name}: the recogniser does not answer") from wrong
    finally:
        await process.close()
    if trouble:
        raise ProbeFailedError(f"{rung.name}: {trouble}")


async def _trouble_of(process: SphinxProcess) -> str:
    """Return what went wrong; empty if it answered."""
    async for heard in process.results():
        if heard.what == "final":
            return ""
        if heard.what == "failed":
            return heard.text
    return "the recogniser ended"


RATE_HZ: Final = 16_000  # the model's rate
PIECE_S: Final = 1.0
SLOWEST: Final = 2.0  # times the recording's length; a busy machine takes half of it (measured)
UNREADABLE: Final = finding(Kind.BAD_REQUEST, Scope.PAYLOAD)


async def transcribe(rung: RungSpec, recording: WholeRecording) -> Transcript:
    """Return what a recording says, without word times.

    Raises:
        ServiceError: The file is unreadable or the recogniser fails; holds the failure.
    """
    asked = replace(rung, sample_rate_hz=RATE_HZ, language=recording.language or rung.language)
    try:
        samples = await asyncio.to_thread(_decode, recording.content)
        process = SphinxProcess(ear_of(asked))
    except soundfile.LibsndfileError as wrong:
        raise trouble(UNREADABLE, rung, "the recording cannot be read") from wrong
    except ValueError as wrong:
        raise trouble(Kind.NOT_FOUND, rung, str(wrong)) from wrong
    duration_s = samples.size / RATE_HZ
    try:
        async with asyncio.timeout(rung.timeout_s + SLOWEST * duration_s):
            finals = await _hear(process, samples.tobytes(), rung)
    except TimeoutError as slow:
        raise trouble(Kind.TIMEOUT, rung, "the recogniser does not keep up") from slow
    except OSError as broken:
        raise trouble(Kind.NETWORK, rung, "the recogniser cannot be started") from broken
    finally:
        await process.close()
    return _transcript(finals, asked, duration_s=duration_s)


def _decode(content: bytes) -> "np.ndarray[tuple[int], np.dtype[np.int16]]":
    samples, rate_hz = soundfile.read(io.BytesIO(content), dtype="float32", always_2d=True)
    mono = samples.mean(axis=1)
    if rate_hz != RATE_HZ and mono.size:
        mono = soxr.resample(mono, rate_hz, RATE_HZ)
    return np.clip(mono * 32768.0, -32768, 32767).astype("<i2")


async def _hear(process: SphinxProcess, pcm: bytes, rung: RungSpec) -> list[SphinxResult]:
    """Return the results. They are read while audio is sent, or the process would block."""
    await process.start()
    finals, _ = await asyncio.gather(_finals(process, rung), _send(process, pcm))
    return finals


async def _finals(process: SphinxProcess, rung: RungSpec) -> list[SphinxResult]:
    finals: list[SphinxResult] = []
    async for heard in process.results():
        if heard.what == "failed":
            raise trouble(Kind.NOT_FOUND, rung, heard.text)
        if heard.what == "final":
            finals.append(heard)
        if heard.finished:
            return finals
    raise trouble(Kind.NETWORK, rung, "the recogniser ended")


async def _send(process: SphinxProcess, pcm: bytes) -> None:
    process.send(Command.BEGIN)
    piece = round(RATE_HZ * PIECE_S) * 2
    for at in range(0, len(pcm), piece):
        process.send(Command.AUDIO, pcm[at : at + piece])
        await process.drain()
    process.send(Command.FINISH)


def _transcript(finals: list[SphinxResult], rung: RungSpec, *, duration_s: float) -> Transcript:
    spoken = [final for final in finals if final.text]
    sure = [sphinx_result.confidence for sphinx_result in spoken]
    return Transcript(
        text=" ".join(sphinx_result.text for sphinx_result in spoken),
        provider=rung.name,
        language=rung.language,
        language_confidence=None,
        duration_s=duration_s,
        confidence=sum(sure) / len(sure) if sure else None,
    )
