"""The local recogniser for whole recordings."""

import asyncio
import io
from dataclasses import replace
from typing import Final

import numpy as np
import soundfile
import soxr

from calls.transcript import Transcript
from fallbacks.failure import Kind, Scope, finding
from providers.batch.post import trouble
from providers.local_stt import ear_of
from providers.provider import RungSpec, WholeRecording
from providers.sphinx_ear import SphinxResult
from providers.sphinx_process import SphinxProcess
from providers.sphinx_worker import Command

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
