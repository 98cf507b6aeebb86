"""Local text to speech: espeak-ng in this process, without a network or a key."""

import asyncio
import functools
import re
import threading
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import soxr
from pipecat.frames.frames import (
    Frame,
    InterruptionFrame,
    LLMFullResponseStartFrame,
    TTSAudioRawFrame,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessorSetup
from pipecat.services.settings import TTSSettings
from pipecat.services.tts_service import TTSService
from pipecat.utils.errors import ErrorCategory
from pipecat.utils.types import is_given

from calls.languages.sentence_rules import sentences_of
from calls.voice import ATTEMPT, VoiceEar
from engines.espeak import Espeak, Samples, UnknownVoiceError, voice_names, word_samples
from fallbacks.classification import classify_symptom
from fallbacks.failure import Kind, failed
from fallbacks.symptoms import Symptom
from providers.batch import rung_error
from providers.probing import WORDS
from providers.provider import ProbeFailedError, RungSpec
from providers.sockets import Playout

WORD: Final = re.compile(r"\S*\w\S*(?:\s+[^\s\w]+(?=\s|$))*")

_load_lock: Final = threading.Lock()


def espeak() -> Espeak:
    """Return this process's only espeak-ng, loaded at the first call (about 10 ms).

    Concurrent threads get the same object: the library has a single callback, and a second object
    would take all audio away from the first.

    Raises:
        RuntimeError: Its data files cannot be read.
    """
    with _load_lock:
        return _load_espeak()


@functools.cache
def _load_espeak() -> Espeak:
    return Espeak()


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """A rung's `options`: speed and pitch of the voice.

    Attributes:
        words_per_minute: 80 to 450.
        pitch: 0 to 100; 50 is the voice's own.
    """

    words_per_minute: int = 165
    pitch: int = 50


OPTIONS: Final = Manner
"""The class of a rung's `options`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpokenSentence:
    """A synthesised sentence: mono 16-bit samples, and each word with its start in seconds."""

    samples: Samples
    rate_hz: int
    words: tuple[tuple[str, float], ...]

    @property
    def duration_s(self) -> float:
        """Seconds of audio."""
        return len(self.samples) / self.rate_hz


def names(voice: str, language: str) -> tuple[str, ...]:
    """Return espeak-ng's names for a rung's voice, the best one first.

    Args:
        voice: A timbre (`f2`, `Annie`), a voice (`en-gb-x-rp`) or both (`en-gb-x-rp+m3`).
        language: A tag such as `en`, `en-GB`, `es-MX`; used when the voice names none.
    """
    spoken, plus, timbre = voice.partition("+")
    if not plus and espeak().has_timbre(voice):
        spoken, timbre = "", voice
    if spoken:
        return (voice,)
    return voice_names(language, timbre)


def pieces(text: str, language: str = "") -> Iterator[str]:
    """Yield a text's sentences, so that the first plays while the next is synthesised."""
    yield from sentences_of(text, language)


def speak(text: str, voices: Sequence[str], *, manner: Manner, rate_hz: int) -> SpokenSentence:
    """Synthesise one piece of text at `rate_hz`; blocks for a few milliseconds.

    Raises:
        UnknownVoiceError: None of the voices exists.
    """
    engine = espeak()
    samples, events = engine.speak(
        text, voices, words_per_minute=manner.words_per_minute, pitch=manner.pitch
    )
    words = _words_with_samples(text, events, total=len(samples))
    if rate_hz != engine.rate_hz and len(samples):
        samples = soxr.resample(samples, engine.rate_hz, rate_hz)
    return SpokenSentence(
        samples=samples.astype("<i2"),
        rate_hz=rate_hz,
        words=tuple((word, sample / engine.rate_hz) for word, sample in words),
    )


def _words_with_samples(
    text: str, events: Sequence[tuple[int, int]], *, total: int
) -> list[tuple[str, float]]:
    """Return each blank-separated word and its first sample, of `total` in the sound.

    Punctuation alone belongs to the word before it, because it is not spoken. `events` are
    espeak-ng's places in the text and their samples.
    """
    tokens = [(match.start(), match.group()) for match in WORD.finditer(text)]
    if not tokens:
        return []
    samples = word_samples(text, [start for start, _ in tokens], events, total=total)
    return [(token, sample) for (_, token), sample in zip(tokens, samples, strict=True)]


MODEL: Final = "espeak-ng"
VOICE: Final = "f2"  # chosen among the timbres in the wheel
CHUNK_S: Final = 0.1  # of audio per frame; an interruption drops the frames that wait


class ContextTimes:
    """The playing times of each open context."""

    def __init__(self) -> None:
        self._playout = Playout()
        self._begins_ns: dict[str, int] = {}

    def begins_ns(self, context_id: str | None) -> int:
        """Return when a context's audio begins to play; 0 if it has none."""
        return self._begins_ns.get(context_id or "", 0)

    def add(self, context_id: str, now_ns: int, *, duration_s: float) -> float:
        """Queue a piece; return when it plays, in seconds from the start of its context."""
        begins_ns = self._playout.add(now_ns, duration_s=duration_s)
        return (begins_ns - self._begins_ns.setdefault(context_id, begins_ns)) / 1e9

    def forget(self, context_id: str) -> None:
        """Forget a context that is over."""
        self._begins_ns.pop(context_id, None)

    def interrupt(self) -> None:
        """Forget the queued audio: the next piece plays at once."""
        self._playout.clear()


class VoiceReports:
    """Reports words and audio of each attempt to the stage, if there is one.

    Attributes:
        ear: The stage's listener; `None` without a stage.
    """

    def __init__(self) -> None:
        self.ear: VoiceEar | None = None
        self._attempt = 0
        self._reported_s = 0.0  # the seconds of the attempt's audio that were reported

    def start_attempt(self, attempt: int) -> None:
        """Begin another attempt, whose times count from 0."""
        self._attempt, self._reported_s = attempt, 0.0

    async def connected(self) -> None:
        """Report that the voice can speak."""
        if self.ear:
            await self.ear.connected()

    async def done(self) -> None:
        """Report that everything was spoken."""
        if self.ear:
            await self.ear.spoken(self._attempt)

    async def report(self, piece: SpokenSentence) -> None:
        """Report a sentence's words with their times, and its audio, if there is a listener."""
        if self.ear is None:
            return
        ends_s = [start_s for _, start_s in piece.words[1:]] + [piece.duration_s]
        for (word, start_s), end_s in zip(piece.words, ends_s, strict=False):
            await self.ear.word(
                self._attempt,
                word,
                start_s=self._reported_s + start_s,
                end_s=self._reported_s + end_s,
            )
        self._reported_s += piece.duration_s
        await self.ear.sound(self._attempt, piece.samples.tobytes())


class LocalTTSService(TTSService):
    """Synthesises immediately, and reports the time of each word."""

    def __init__(
        self, *, rung_name: str, settings: TTSSettings, manner: Manner, sample_rate_hz: int
    ) -> None:
        super().__init__(
            name=rung_name,  # metrics carry this name
            push_text_frames=False,  # words are sent with their times
            push_start_frame=True,
            push_stop_frames=True,
            sample_rate=sample_rate_hz,
            settings=settings,
        )
        self._manner = manner
        self._times = ContextTimes()
        self._reports = VoiceReports()

    def listen(self, ear: VoiceEar) -> None:
        """Report to `ear` from now on."""
        self._reports.ear = ear

    async def revive(self) -> None:
        """Report that the voice is ready; it has no connection to restore."""
        await self.set_usable(True)
        await self._reports.connected()

    async def setup(self, setup: FrameProcessorSetup) -> None:
        """Report that the voice is ready."""
        await super().setup(setup)
        await self._reports.connected()

    def can_generate_metrics(self) -> bool:
        """Return True: spoken text is counted, though it costs nothing."""
        return True

    async def run_tts(self, text: str, context_id: str) -> AsyncGenerator[Frame, None]:
        """Yield the audio of `text` by sentences; report its words to Pipecat and the listener."""
        await self.start_tts_usage_metrics(text)
        for sentence in pieces(text, str(self._settings.language or "")):
            piece = await asyncio.to_thread(
                _speak_with_settings,
                sentence,
                self._settings,
                manner=self._manner,
                rate_hz=self.sample_rate,
            )
            await self._reports.report(piece)
            now_ns = self.get_clock().get_time()
            begins_s = self._times.add(context_id, now_ns, duration_s=piece.duration_s)
            words = [(word, begins_s + start_s) for word, start_s in piece.words]
            step = round(CHUNK_S * self.sample_rate)
            for first in range(0, len(piece.samples), step):
                audio = piece.samples[first : first + step].tobytes()
                yield TTSAudioRawFrame(audio, self.sample_rate, 1, context_id=context_id)
                if first == 0:
                    await self.add_word_timestamps(words, context_id)

    async def on_turn_context_completed(self) -> None:
        """Report that everything was spoken."""
        await super().on_turn_context_completed()
        await self._reports.done()

    async def start_word_timestamps(self) -> None:
        """Time words from the start of their audio, not from the last word before it."""
        tracker = self._word_timestamp_tracker
        begins_ns = self._times.begins_ns(self.get_active_audio_context_id())
        tracker.last_pts = max(tracker.last_pts, begins_ns)
        await super().start_word_timestamps()

    async def on_audio_context_completed(self, context_id: str) -> None:
        """Forget a context that was spoken to its end."""
        self._times.forget(context_id)

    async def on_audio_context_interrupted(self, context_id: str) -> None:
        """Forget a context that was interrupted."""
        self._times.forget(context_id)

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Drop pending audio on an interruption; remember the attempt of a reply."""
        if isinstance(frame, InterruptionFrame):
            self._times.interrupt()
        elif isinstance(frame, LLMFullResponseStartFrame):
            self._reports.start_attempt(frame.metadata.get(ATTEMPT, 0))
        await super().process_frame(frame, direction)

    async def _update_settings(self, delta: TTSSettings) -> dict[str, Any]:
        """Change the voice or language; return the changed settings, as Pipecat's method.

        If espeak-ng lacks the voice, that is reported as an error, and the old one stays.
        """
        voice = delta.voice if is_given(delta.voice) else self._settings.voice
        language = delta.language if is_given(delta.language) else self._settings.language
        try:
            await asyncio.to_thread(_check_voice, str(voice), str(language))
        except UnknownVoiceError as error:
            await self.push_error(str(error), category=ErrorCategory.APPLICATION)
            return {}
        return await super()._update_settings(delta)


def _speak_with_settings(
    sentence: str, settings: TTSSettings, *, manner: Manner, rate_hz: int
) -> SpokenSentence:
    """Return a sentence in the voice of these settings; blocks for a few milliseconds."""
    voices = names(str(settings.voice), str(settings.language))
    return speak(sentence, voices, manner=manner, rate_hz=rate_hz)


def build(rung: RungSpec) -> LocalTTSService:
    """Return a voice that speaks on this machine at the leg's own rate.

    Raises:
        UnknownVoiceError: espeak-ng has no such voice or language.
    """
    voice = rung.voice or VOICE
    _check_voice(voice, rung.language)
    return LocalTTSService(
        rung_name=rung.name,
        settings=TTSSettings(model=rung.model or MODEL, voice=voice, language=rung.language),
        manner=Manner(**rung.options),
        sample_rate_hz=rung.sample_rate_hz,
    )


async def probe(rung: RungSpec, *, timeout_s: float) -> None:
    """Check that the voice exists, without any request.

    Raises:
        ProbeFailedError: The voice does not exist, or its library is missing.
    """
    del timeout_s
    try:
        await asyncio.to_thread(_check_voice, rung.voice or VOICE, rung.language)
    except (UnknownVoiceError, RuntimeError) as error:
        raise ProbeFailedError(str(error)) from error


def _check_voice(voice: str, language: str) -> None:
    """Raise `UnknownVoiceError` if espeak-ng has no such voice or language."""
    espeak().find(names(voice, language))


async def probe_real(rung: RungSpec, *, timeout_s: float) -> None:
    """Synthesise two words.

    Raises:
        ProbeFailedError: The voice does not exist, hangs, or produces no sound.
    """
    try:
        async with asyncio.timeout(timeout_s):
            has_sound = await asyncio.to_thread(_makes_sound, rung)
    except (TimeoutError, UnknownVoiceError, RuntimeError) as error:
        raise ProbeFailedError(f"{rung.name}: {error or 'the voice hangs'}") from error
    if not has_sound:
        found = failed(classify_symptom(Symptom.ZERO_AUDIO), "tts", provider=rung.name)
        raise ProbeFailedError(f"{rung.name}: the voice produces no sound", failure=found)


def _makes_sound(rung: RungSpec) -> bool:
    """Return whether two words in the rung's voice have sound; blocks for a few milliseconds."""
    voices = names(rung.voice or VOICE, rung.language)
    manner = Manner(**rung.options)
    return bool(speak(WORDS, voices, manner=manner, rate_hz=rung.sample_rate_hz).samples.any())


async def synthesise(rung: RungSpec, text: str) -> bytes:
    """Return a text as linear 16-bit samples at the rung's rate.

    Raises:
        ServiceError: There is no such voice, or it is silent; holds the failure.
    """
    try:
        pcm = await asyncio.to_thread(_speak_all, rung, text)
    except (UnknownVoiceError, RuntimeError) as error:
        raise rung_error(Kind.NOT_FOUND, rung, str(error)) from error
    if not any(pcm):
        raise rung_error(Symptom.ZERO_AUDIO, rung, "silence")
    return pcm


def _speak_all(rung: RungSpec, text: str) -> bytes:
    """Return a text as 16-bit audio in the rung's voice; blocks for some ms a sentence."""
    voices, manner = names(rung.voice or VOICE, rung.language), Manner(**rung.options)
    spoken = (
        speak(piece, voices, manner=manner, rate_hz=rung.sample_rate_hz)
        for piece in pieces(text, rung.language)
    )
    return b"".join(item.samples.tobytes() for item in spoken)


SPARE_LANGUAGE: Final = "en"  # used for languages that espeak-ng lacks


def say_locally(text: str, language: str, *, rate_hz: int, like: RungSpec | None = None) -> bytes:
    """Return a text as 16-bit mono audio; blocks for a few milliseconds per sentence.

    If espeak-ng lacks the voice or the language, the default voice speaks in English. Empty if
    there is nothing to say.

    Args:
        text: The text to speak.
        language: A tag such as `es-MX`.
        rate_hz: The sample rate.
        like: The local rung whose voice, speed and pitch to use; `None` for the defaults.
    """
    manner = Manner(**like.options) if like else Manner()
    voice = (like.voice if like else None) or VOICE
    sentences = list(pieces(text, language))
    try:
        spoken = [
            _samples_of_sentence(piece, voice, language, manner, rate_hz) for piece in sentences
        ]
    except UnknownVoiceError:
        spoken = [
            _samples_of_sentence(piece, VOICE, SPARE_LANGUAGE, manner, rate_hz)
            for piece in sentences
        ]
    return np.concatenate(spoken).astype("<i2").tobytes() if spoken else b""


def _samples_of_sentence(
    sentence: str, voice: str, language: str, manner: Manner, rate_hz: int
) -> Samples:
    """Return a sentence as samples at `rate_hz`; blocks for a few milliseconds.

    Raises:
        UnknownVoiceError: espeak-ng lacks the voice or the language.
    """
    return speak(sentence, names(voice, language), manner=manner, rate_hz=rate_hz).samples
