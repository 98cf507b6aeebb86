"""A voice that speaks alone, outside calls: its real probe, and whole texts."""

import asyncio
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

from pipecat.frames.frames import (
    AggregatedTextFrame,
    Frame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
)
from pipecat.utils.text.base_text_aggregator import TextType

from calls.voice import ATTEMPT
from fallbacks.classification import classify_symptom
from fallbacks.failure import Failure, Kind, ServiceError, error_of, failed
from fallbacks.symptoms import Symptom
from providers.adapter.lone_service import LoneService
from providers.probing import MAX_REASON, STATUS_MEANINGS, WORDS
from providers.provider import ProbeFailedError, RungSpec

SILENT_END_S: Final = 3.0  # a voice that reports no end has ended after this time without sound

Make = Callable[[], Any]


class KeepingEar:
    """Keeps the sound and the words of the latest attempt, and how it ended."""

    def __init__(self) -> None:
        self.attempt = 0
        self.ready = self.lost_it = False  # whether it can be asked, or has to be revived first
        self.told = asyncio.Event()
        self.start_attempt()

    def start_attempt(self) -> int:
        """Begin another attempt, and forget what the last one sent; return its number."""
        self.attempt += 1
        self.pcm = bytearray()
        self.words = list[tuple[str, float]]()
        self.over = False
        self.failure: Failure | None = None
        return self.attempt

    async def sound(self, attempt: int, pcm: bytes) -> None:
        """Keep sound of the latest attempt; set `told` in any case."""
        self.pcm += pcm if attempt == self.attempt else b""
        self.told.set()

    async def word(
        self, attempt: int, text: str, *, start_s: float, end_s: float | None = None
    ) -> None:
        """Keep when a word of the latest attempt begins."""
        if attempt == self.attempt:
            self.words.append((text, start_s))

    async def spoken(self, attempt: int, *, more: bool = False) -> None:
        """Record the end of the latest attempt, unless `more` is to come."""
        self.over = self.over or (attempt == self.attempt and not more)
        self.told.set()

    async def failed(self, attempt: int, failure: Failure) -> None:
        """Record a failure of the latest attempt."""
        if attempt == self.attempt:
            await self.unreachable(failure)

    async def connecting(self) -> None:
        """Record that the voice cannot be asked yet."""
        self.ready = self.lost_it = False

    async def connected(self) -> None:
        """Record that the voice can be asked."""
        self.ready, self.lost_it = True, False
        self.told.set()

    async def unreachable(self, failure: Failure) -> None:
        """Record why it cannot be asked; the first reason counts."""
        self.failure = self.failure or failure
        self.told.set()

    async def lost(self, failure: Failure | None) -> None:
        """Record that the connection is lost; that is a failure unless nothing was asked of it."""
        self.ready, self.lost_it = False, True
        if failure is not None:
            await self.unreachable(failure)


async def speak_alone(
    rung: RungSpec, make: Make, text: str, *, within_s: float, enough: int = 0
) -> bytes:
    """Return the sound of a text at the rung's rate, 16-bit mono.

    Args:
        rung: The rung.
        make: Builds the service; it may take long, so it runs in a thread.
        text: The text.
        within_s: The limit for building, connecting and speaking together.
        enough: Return as soon as so many bytes have come; 0 stands for all.

    Raises:
        ServiceError: The voice failed or did not answer in time; holds the failure.
    """
    ear = KeepingEar()
    try:
        async with asyncio.timeout(within_s):
            service = await asyncio.to_thread(make)
            service.listen(ear)
            async with LoneService(service, rate_hz=rung.sample_rate_hz) as lone:
                try:
                    await ask_lone_voice(lone, ear, text)
                    await wait_for_sound(ear, enough=enough)
                finally:
                    service.listen(KeepingEar())  # the end that we cause is no failure
    except TimeoutError:
        symptom = Symptom.GAP if any(ear.pcm) else Symptom.NO_AUDIO
        symptom = symptom if ear.ready else Symptom.NO_ANSWER
        ear.failure = ear.failure or failed(classify_symptom(symptom), "tts", provider=rung.name)
    if ear.failure is not None and not (enough and len(ear.pcm) >= enough):
        raise error_of(ear.failure)
    return bytes(ear.pcm)


async def ask_lone_voice(lone: LoneService, ear: KeepingEar, text: str) -> None:
    """Wait until the voice is ready, without a limit, then send it a text.

    If it fails before, nothing is sent.
    """
    while not (ear.ready or ear.failure):
        ear.told.clear()
        await ear.told.wait()
    start = LLMFullResponseStartFrame()
    start.metadata[ATTEMPT] = ear.attempt
    spoken = AggregatedTextFrame(text, TextType.SENTENCE, raw_text=text)
    frames: tuple[Frame, ...] = (start, spoken, LLMFullResponseEndFrame())
    for frame in () if ear.failure else frames:
        await lone.send(frame)


async def wait_for_sound(ear: KeepingEar, *, enough: int = 0) -> None:
    """Wait until the voice has ended or failed, or has sent `enough` bytes; 0 stands for all.

    A voice that reports no end has ended when it sends nothing for `SILENT_END_S` after its sound.
    """
    while not (ear.over or ear.failure or (enough and any(ear.pcm) and len(ear.pcm) >= enough)):
        ear.told.clear()
        try:
            async with asyncio.timeout(SILENT_END_S if any(ear.pcm) else None):
                await ear.told.wait()
        except TimeoutError:
            return


async def probe_voice(rung: RungSpec, make: Make, *, timeout_s: float) -> None:
    """Speak two words; a tenth of a second of them is enough.

    Raises:
        ProbeFailedError: The voice failed, or no audible sound came in time.
    """
    enough = rung.sample_rate_hz // 10 * 2  # bytes: 2 for each sample
    try:
        pcm = await speak_alone(rung, make, WORDS, within_s=timeout_s, enough=enough)
        if any(pcm):
            return
        symptom = Symptom.ZERO_AUDIO if pcm else Symptom.NO_AUDIO
        failure = failed(classify_symptom(symptom), "tts", provider=rung.name, reason=f"{symptom}")
    except ServiceError as error:
        failure = error.failure
    raise ProbeFailedError(_sentence_for_probe(rung, failure, timeout_s), failure=failure)


def _sentence_for_probe(rung: RungSpec, failure: Failure, timeout_s: float) -> str:
    """Return why a probe failed, in one line."""
    status = next((code for code in STATUS_MEANINGS if f"{code}" in failure.reason.split()), None)
    if status is not None:
        said = f"answered {status}{STATUS_MEANINGS[status]}"
    elif failure.kind in (Kind.TIMEOUT, Kind.SILENT):
        said = f"did not answer within {timeout_s:g} s"
    else:
        said = failure.reason
    host = urlsplit(rung.url).netloc
    return f"{host}: {said}"[:MAX_REASON] if host else f"{rung.name}: {said}"[:MAX_REASON]
