"""Local text to speech: espeak-ng in this process, with no network and no key."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any, Final

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

from calls.voice import ATTEMPT, VoiceEar
from engines.espeak import UnknownVoiceError
from providers.espeak_words import Manner, SpokenSentence, espeak, names, pieces, speak
from providers.playout import Playout
from providers.provider import ProbeFailedError, Rung

MODEL: Final = "espeak-ng"
VOICE: Final = "f2"  # chosen: one of the timbres that the wheel brings
CHUNK_S: Final = 0.1  # of audio a frame: an interruption drops the rest


class LocalTTSService(TTSService):
    """Speaks at once and says when each word is heard."""

    def __init__(
        self, *, rung_name: str, settings: TTSSettings, manner: Manner, sample_rate_hz: int
    ) -> None:
        super().__init__(
            name=rung_name,  # what it measures is told under this name
            push_text_frames=False,  # words come with their times
            push_start_frame=True,
            push_stop_frames=True,
            sample_rate=sample_rate_hz,
            settings=settings,
        )
        self._manner = manner
        self._playout = Playout()
        self._begins_ns: dict[str, int] = {}  # when each open context's audio begins
        self._ear: VoiceEar | None = None
        self._attempt = 0
        self._told_s = 0.0  # of the attempt's sound

    def listen(self, ear: VoiceEar) -> None:
        """Tell `ear` from now on."""
        self._ear = ear

    async def revive(self) -> None:
        """Do nothing: there is no connection."""

    async def setup(self, setup: FrameProcessorSetup) -> None:
        """Be of use at once."""
        await super().setup(setup)
        if self._ear:
            await self._ear.connected()

    def can_generate_metrics(self) -> bool:
        """Return True: what it speaks is counted, though it costs nothing."""
        return True

    async def run_tts(self, text: str, context_id: str) -> AsyncGenerator[Frame, None]:
        """Yield the audio of `text`; its words go to Pipecat beside it."""
        await self.start_tts_usage_metrics(text)
        for sentence in pieces(text):
            piece = await asyncio.to_thread(self._speak, sentence)
            await self._tell(piece)
            begins_s = self._begins_s(context_id, piece)
            words = [(word, begins_s + start_s) for word, start_s in piece.words]
            async for frame in self._frames(piece, words, context_id):
                yield frame

    async def on_turn_context_completed(self) -> None:
        """Tell that everything was spoken."""
        await super().on_turn_context_completed()
        if self._ear:
            await self._ear.spoken(self._attempt)

    async def start_word_timestamps(self) -> None:
        """Count words from where their audio begins, not from the last word spoken before it."""
        tracker = self._word_timestamp_tracker
        begins_ns = self._begins_ns.get(self.get_active_audio_context_id() or "", 0)
        tracker.last_pts = max(tracker.last_pts, begins_ns)
        await super().start_word_timestamps()

    async def on_audio_context_completed(self, context_id: str) -> None:
        """Forget a context that was spoken to its end."""
        self._begins_ns.pop(context_id, None)

    async def on_audio_context_interrupted(self, context_id: str) -> None:
        """Forget a context that was interrupted."""
        self._begins_ns.pop(context_id, None)

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Forget, on an interruption, what was still to be played; note whom a reply is for."""
        if isinstance(frame, InterruptionFrame):
            self._playout.clear()
        elif isinstance(frame, LLMFullResponseStartFrame):
            self._attempt, self._told_s = frame.metadata.get(ATTEMPT, 0), 0.0
        await super().process_frame(frame, direction)

    async def _update_settings(self, delta: TTSSettings) -> dict[str, Any]:
        """Take a new voice or language, or keep the old one when there is no such."""
        voice = delta.voice if is_given(delta.voice) else self._settings.voice
        language = delta.language if is_given(delta.language) else self._settings.language
        try:
            await asyncio.to_thread(_find, str(voice), str(language))
        except UnknownVoiceError as unknown:
            await self.push_error(str(unknown), category=ErrorCategory.APPLICATION)
            return {}
        return await super()._update_settings(delta)

    def _speak(self, sentence: str) -> SpokenSentence:
        settings = self._settings
        voices = names(str(settings.voice), str(settings.language))
        return speak(sentence, voices, manner=self._manner, rate_hz=self.sample_rate)

    async def _tell(self, piece: SpokenSentence) -> None:
        if self._ear is None:
            return
        ends_s = [start_s for _, start_s in piece.words[1:]] + [piece.duration_s]
        for (word, start_s), end_s in zip(piece.words, ends_s, strict=False):
            await self._ear.word(
                self._attempt, word, start_s=self._told_s + start_s, end_s=self._told_s + end_s
            )
        self._told_s += piece.duration_s
        await self._ear.sound(self._attempt, piece.samples.tobytes())

    def _begins_s(self, context_id: str, piece: SpokenSentence) -> float:
        """Return where in its context's time a piece will be heard, in seconds."""
        begins_ns = self._playout.add(self.get_clock().get_time(), duration_s=piece.duration_s)
        return (begins_ns - self._begins_ns.setdefault(context_id, begins_ns)) / 1e9

    async def _frames(
        self, piece: SpokenSentence, words: list[tuple[str, float]], context_id: str
    ) -> AsyncGenerator[Frame, None]:
        step = round(CHUNK_S * self.sample_rate)
        for at in range(0, len(piece.samples), step):
            yield self._audio(piece.samples[at : at + step].tobytes(), context_id)
            if at == 0:
                await self.add_word_timestamps(words, context_id)

    def _audio(self, audio: bytes, context_id: str) -> TTSAudioRawFrame:
        return TTSAudioRawFrame(audio, self.sample_rate, 1, context_id=context_id)


def build(rung: Rung) -> LocalTTSService:
    """Return a voice that speaks on this machine at the leg's own rate.

    Raises:
        UnknownVoiceError: espeak-ng has no such voice or language.
    """
    voice = rung.voice or VOICE
    _find(voice, rung.language)
    return LocalTTSService(
        rung_name=rung.name,
        settings=TTSSettings(model=rung.model or MODEL, voice=voice, language=rung.language),
        manner=Manner(**rung.options),
        sample_rate_hz=rung.sample_rate_hz,
    )


async def probe(rung: Rung, *, timeout_s: float) -> None:
    """Look for the voice; nothing is asked of anybody."""
    del timeout_s
    try:
        await asyncio.to_thread(_find, rung.voice or VOICE, rung.language)
    except (UnknownVoiceError, RuntimeError) as missing:
        raise ProbeFailedError(str(missing)) from missing


def _find(voice: str, language: str) -> None:
    espeak().find(names(voice, language))
