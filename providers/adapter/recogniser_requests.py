"""A recogniser of Pipecat's outside calls: the real probe, and whole recordings."""

import asyncio
import io
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from dataclasses import replace
from typing import Final, TypeAlias, cast
from urllib.parse import urlsplit

import numpy as np
import soundfile
import soxr
from pipecat.frames.frames import (
    ErrorFrame,
    InputAudioRawFrame,
    InterimTranscriptionFrame,
    TranscriptionFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)

from calls.transcript import Heard, Transcript
from engines.espeak import UnknownVoiceError
from fallbacks.classification import classify_symptom
from fallbacks.failure import Failure, Kind, Scope, ServiceError, failed, finding
from fallbacks.symptoms import Symptom
from providers.adapter.lone_service import LoneService
from providers.adapter.recogniser import HearingPart, build
from providers.batch import rung_error
from providers.local_tts import Manner, names, speak
from providers.probing import STATUS_MEANINGS, speech
from providers.provider import ProbeFailedError, RungSpec, WholeRecording

Result: TypeAlias = TranscriptionFrame | InterimTranscriptionFrame

RATE_HZ: Final = 16_000
PIECE_S: Final = 0.02
SILENCE: Final = bytes(2 * int(RATE_HZ * PIECE_S))
WORDS: Final = "1 2"  # espeak-ng says numbers in every language, in half a second
HASTE: Final = 4.0  # how much faster than it was spoken a recording is sent (chosen)


async def probe_real(rung: RungSpec, *, timeout_s: float) -> None:
    """Let the service hear half a second of speech; words, or its answer to our request, pass.

    Raises:
        ProbeFailedError: It cannot be reached, fails, or does not answer in time.
    """
    host = urlsplit(rung.url).netloc or rung.service.rpartition(":")[2]
    sound = await asyncio.to_thread(_speech_in, rung.language or "en")
    service = build(replace(rung, sample_rate_hz=RATE_HZ))
    results = _results_for(service, sound)
    try:
        async with asyncio.timeout(timeout_s), aclosing(results):
            async for result in results:
                if result.text.strip() or getattr(result, "finalized", False):
                    return
    except TimeoutError as error:
        symptom = Symptom.NO_RESULTS if service.stream.sent_s else Symptom.NO_ANSWER
        failure = failed(classify_symptom(symptom), "stt", provider=rung.name)
        text = f"{host} did not answer within {timeout_s:g} s"
        raise ProbeFailedError(text, failure=failure) from error
    except ServiceError as error:
        raise ProbeFailedError(
            f"{host} {_words_for_failure(error.failure)}", failure=error.failure
        ) from error


def _words_for_failure(failure: Failure) -> str:
    """Return what happened, for a sentence: a status and its meaning, or else the reason."""
    status = next((int(word) for word in failure.reason.split() if word.isdecimal()), 0)
    return f"answered {status}{STATUS_MEANINGS.get(status, '')}" if status else failure.reason


def _speech_in(language: str) -> bytes:
    """Return half a second of speech in a language, or English if espeak-ng does not know it."""
    try:
        spoken = speak(WORDS, names("", language), manner=Manner(), rate_hz=RATE_HZ)
    except UnknownVoiceError:
        return speech()[0]
    return spoken.samples.tobytes()


async def transcribe(rung: RungSpec, recording: WholeRecording) -> Transcript:
    """Return what a recording says, as one text and as words with times.

    The audio is sent faster than real time; the limit is twice its length and the rung's time-out.

    Raises:
        ServiceError: The file is unreadable, or the recogniser fails or is too slow.
    """
    try:
        sound = await asyncio.to_thread(_decode_recording, recording.content)
    except soundfile.LibsndfileError as error:
        unreadable = finding(Kind.BAD_REQUEST, Scope.PAYLOAD)
        raise rung_error(unreadable, rung, "the recording cannot be read") from error
    spec = replace(rung, language=recording.language or rung.language)
    length_s = len(sound) / 2 / RATE_HZ  # 2 bytes for each sample
    results = _results_for(build(replace(spec, sample_rate_hz=RATE_HZ)), sound)
    finals: list[Result] = []
    try:
        async with asyncio.timeout(rung.timeout_s + 2 * length_s), aclosing(results):
            async for result in results:
                finals += [result] if isinstance(result, TranscriptionFrame) else []
                if getattr(result, "finalized", False):
                    break
    except TimeoutError as error:
        raise rung_error(Kind.TIMEOUT, rung, "the recogniser does not keep up") from error
    heard = [cast("Heard", final.result) for final in finals]
    return Transcript(
        text=" ".join(final.text.strip() for final in finals if final.text.strip()),
        provider=rung.name,
        language=spec.language,
        language_confidence=None,
        confidence=None,
        duration_s=length_s,
        words=tuple(word for item in heard for word in item.words),
    )


def _decode_recording(content: bytes) -> bytes:
    """Return a sound file as 16-bit mono samples at `RATE_HZ`."""
    samples, rate_hz = soundfile.read(io.BytesIO(content), dtype="float32", always_2d=True)
    mono = samples.mean(axis=1)
    if rate_hz != RATE_HZ and mono.size:
        mono = soxr.resample(mono, rate_hz, RATE_HZ)
    return np.clip(mono * 32768.0, -32768, 32767).astype("<i2").tobytes()


async def _results_for(service: HearingPart, sound: bytes) -> AsyncGenerator[Result]:
    """Yield the results for a piece of audio as they come, without an end.

    Closing the generator ends the service.

    Raises:
        ServiceError: The recogniser failed.
    """
    service.supervised = True
    async with LoneService(service, rate_hz=RATE_HZ) as alone:
        work = _send_as_line(alone, sound)
        sending = asyncio.get_running_loop().create_task(work, name="send audio")
        try:
            while True:
                frame = await alone.out.get()
                if isinstance(frame, ErrorFrame) and isinstance(frame.exception, ServiceError):
                    raise frame.exception
                if isinstance(frame, Result):
                    yield frame
        finally:
            sending.cancel()


async def _send_as_line(alone: LoneService, sound: bytes) -> None:
    """Send audio, then silence without end, as a line does: some need it to finish."""
    await alone.send(VADUserStartedSpeakingFrame(start_secs=0.0))
    for piece in _pieces_of(sound):
        await alone.send(InputAudioRawFrame(piece, RATE_HZ, 1))
        await asyncio.sleep(PIECE_S / HASTE)
    await alone.send(VADUserStoppedSpeakingFrame(stop_secs=PIECE_S))
    while True:
        await alone.send(InputAudioRawFrame(SILENCE, RATE_HZ, 1))
        await asyncio.sleep(PIECE_S)


def _pieces_of(sound: bytes) -> Iterator[bytes]:
    """Yield audio in pieces of `PIECE_S`; the last one may be shorter."""
    for start in range(0, len(sound), len(SILENCE)):
        yield sound[start : start + len(SILENCE)]
