"""Measures a recogniser: whether it finishes on request, sends interim results, bears silence."""

import asyncio
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

from pipecat.frames.frames import (
    ErrorFrame,
    InputAudioRawFrame,
    InterimTranscriptionFrame,
    TranscriptionFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)

from bot.doctor.trial import CheckLine, Trial, alone, now_s
from engines.espeak import UnknownVoiceError
from fallbacks.failure import error_of
from processors.hearing.rung import recogniser_failure_of
from providers.adapter.lone_service import LoneService
from providers.local_tts import Manner, names, speak
from providers.provider import RungSpec

NUMBERS: Final = "1 2 3 4 5 6 7 8"  # espeak-ng says numbers in every language
ASKED_S: Final = 0.5  # of speech before a request to finish
PIECE_S: Final = 0.02
WAIT_S: Final = 3.0  # for a final result
SETTLE_S: Final = 1.0  # until results of earlier speech have come
SILENCE_S: Final = 15.0
DONE_S: Final = 1.0  # for the answer to a request; with a slower one, an answer takes over 1.5 s
SPARE_S: Final = 5.0  # for a busy machine, in each step
DIFFERS_S: Final = 0.15  # a request hastens the final result by more than this


class Result(NamedTuple):
    """A result with words, or the answer to a request."""

    at_s: float
    final: bool
    words: bool


class Line:
    """A line to a recogniser alone, in real time.

    Attributes:
        results: Its results since the latest speech began.
    """

    def __init__(self, rung: RungSpec, lone: LoneService, service: Any) -> None:
        self.results = list[Result]()
        self._rung, self._lone = rung, lone
        self._size = 2 * round(rung.sample_rate_hz * PIECE_S)
        reader = getattr(service, "reader", None)
        self._answers = reader is None or reader.counts  # an empty final result answers a request

    async def mark_speech(self) -> None:
        """Tell it that the caller speaks."""
        self.results = []
        await self._lone.send(VADUserStartedSpeakingFrame(start_secs=0.0))

    async def ask(self) -> None:
        """Ask it to finish."""
        await self._lone.send(VADUserStoppedSpeakingFrame(stop_secs=PIECE_S))

    async def hear(self, pcm: bytes) -> float:
        """Send audio in real time, and read the results; return when it has ended (loop's time).

        Raises:
            ServiceError: The recogniser failed.
        """
        for first in range(0, len(pcm), self._size):
            piece = pcm[first : first + self._size]
            await self._lone.send(InputAudioRawFrame(piece, self._rung.sample_rate_hz, 1))
            await asyncio.sleep(PIECE_S)
            self._read_results()
        return now_s()

    async def wait(self, seconds: float, *, since_s: float = math.inf) -> float:
        """Send silence for `seconds`, or until a final result since `since_s`; return its end."""
        for _ in range(round(seconds / PIECE_S)):
            if any(item.final and item.at_s >= since_s for item in self.results):
                break
            await self.hear(bytes(self._size))
        return now_s()

    def _read_results(self) -> None:
        """Add the results that have arrived; raise `ServiceError` if the recogniser failed."""
        while not self._lone.out.empty():
            frame = self._lone.out.get_nowait()
            if isinstance(frame, ErrorFrame):
                raise error_of(recogniser_failure_of(frame, self._rung.name))
            if isinstance(frame, TranscriptionFrame | InterimTranscriptionFrame):
                words, final = bool(frame.text.strip()), isinstance(frame, TranscriptionFrame)
                answers = self._answers and getattr(frame, "finalized", False)
                if words or answers:
                    self.results.append(Result(at_s=now_s(), final=final, words=words))


class HeardSpeech(NamedTuple):
    """The results of a piece of speech."""

    interim: bool  # words while it went on
    final: bool  # a final result while it went on, after `ASKED_S`
    final_s: float | None  # from its end to the next final result


async def check_recogniser(trial: Trial, rung: RungSpec) -> None:
    """Measure a recogniser over one connection."""
    rung = replace(rung, facts=replace(rung.facts, finalises=True, interim=True))
    pcm = await asyncio.to_thread(numbers_in, rung.language, rung.sample_rate_hz)
    size = 2 * round(ASKED_S * rung.sample_rate_hz)
    limit_s = len(pcm) / size * ASKED_S + WAIT_S + SETTLE_S + SPARE_S

    def supervise(service: Any) -> None:
        service.supervised = True

    async with alone(trial, rung, prepare=supervise) as started:
        line, heard = Line(rung, *started), list[HeardSpeech]()
        for about, part, asks in (
            ("speech", pcm, False),
            ("a request in speech", pcm, True),
            ("half a second", pcm[:size], True),
        ):
            work = _hear_speech(line, part, size=size, asks=asks)
            heard.append(await trial.step(about, work, within_s=limit_s))
            if len(heard) == 1:
                await _bear_silence(trial, line)
    _tell_results(trial, heard, in_segments=getattr(started[1], "in_segments", False))


async def _hear_speech(line: Line, pcm: bytes, *, size: int, asks: bool) -> HeardSpeech:
    """Let it hear speech and then silence; `asks`: with a request to finish after `size` bytes."""
    await line.mark_speech()
    asked_at = await line.hear(pcm[:size])
    if asks:
        await line.ask()
    ended_at = await line.hear(pcm[size:])
    interim = any(item.words for item in line.results)
    await line.wait(WAIT_S, since_s=ended_at)
    finals = [item.at_s for item in line.results if item.final]
    if not asks:
        await line.ask()
    await line.wait(SETTLE_S)
    return HeardSpeech(
        interim=interim,
        final=any(asked_at <= at_s < ended_at for at_s in finals),
        final_s=next((at_s - ended_at for at_s in finals if at_s >= ended_at), None),
    )


async def _bear_silence(trial: Trial, line: Line) -> None:
    """Send silence, in which it must hear no words and must not close."""
    about, line.results = f"{SILENCE_S:.0f} s of silence", []
    await trial.step(about, line.wait(SILENCE_S), within_s=SILENCE_S + SPARE_S)
    invented = sum(item.words for item in line.results)
    text = f"{invented} results with words" if invented else "no words, and no close"
    trial.tell(CheckLine(about, text, ok=not invented))


def _tell_results(trial: Trial, heard: Sequence[HeardSpeech], *, in_segments: bool) -> None:
    """Tell what follows from three pieces of speech: without a request, with one, a short one."""
    free, asked, short = heard
    interim = free.interim  # after a request, words are its answer
    if not (interim or free.final_s or asked.final_s or short.final_s):
        trial.tell(CheckLine("results", "it understood no word", ok=False))
        return
    text = f"{'some' if interim else 'none'} while the caller speaks"
    trial.tell(CheckLine("sends interim results", text, fact="interim", value=interim))
    after_s, alone_s = short.final_s, free.final_s
    texts = ["not answered" if after_s is None else f"answered after {after_s:.2f} s"]
    texts += ["without one no final result" if alone_s is None else f"without one {alone_s:.2f} s"]
    soon = after_s is not None and after_s <= DONE_S
    if after_s is None or in_segments:
        value = False
    elif asked.final:  # in the middle of speech, unless it divides speech by itself
        value = None if free.final else soon
    else:
        value = soon and (alone_s is None or after_s + DIFFERS_S < alone_s)
    texts += ["each piece of speech is a request of its own"] if in_segments else []
    text = ", ".join(texts)
    trial.tell(CheckLine("finishes on request", text, fact="finalises", value=value))


def numbers_in(language: str, rate_hz: int) -> bytes:
    """Return spoken numbers as PCM, in English if espeak-ng does not know the language."""
    try:
        voices = names("", language)
        spoken = speak(NUMBERS, voices, manner=Manner(), rate_hz=rate_hz)
    except UnknownVoiceError:
        spoken = speak(NUMBERS, names("", "en"), manner=Manner(), rate_hz=rate_hz)
    return spoken.samples.tobytes()
