"""Reports the output of a Pipecat voice, as events of the attempt that it belongs to.

A sound or word of another context than those of the attempt in progress is late, and is dropped.
Output that no healthy voice produces is a failure of kind `protocol`.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import soxr
from loguru import logger
from pipecat.frames.frames import AudioRawFrame, TTSAudioRawFrame, TTSStoppedFrame
from pipecat.utils.context.word_timestamp_tracker import WordTimestamp

from calls.voice import VoiceEar
from fallbacks.classification import classify_symptom
from fallbacks.failure import Failure, Finding, Kind, Scope, finding
from fallbacks.symptoms import Moment, Symptom
from providers.provider import RungSpec
from providers.tapped_voice import VoiceContext, VoiceTap

QUALITY: Final = "LQ"  # holds back 25 to 41 ms at 8 kHz, and "HQ" up to 101 ms (measured)
BACK_S: Final = 0.05  # how far a word may begin before the last one: vendors round (chosen)
BEYOND_S: Final = 0.5  # how far a word may begin after the end of the sound (chosen)
SOUND_FILE: Final = re.compile(  # how a file begins; two equal headers of MP3, which is compressed
    rb"RIFF|ID3|OggS|fLaC|(\xff[\xe2\xe3\xf2\xf3\xfa\xfb].).{21,6000}?\1", re.DOTALL
)
END_TOO_SOON: Final = finding(Kind.PROTOCOL, Scope.REQUEST)  # perhaps no voice says this text


class InvalidOutputError(Exception):
    """A voice produced what no healthy voice does."""

    def __init__(self, reason: str, found: Finding | None = None) -> None:
        super().__init__(reason)
        self.found = found or classify_symptom(Symptom.GARBAGE)


class AttemptReports(VoiceTap):
    """Reports sounds, words and the end of the attempt in progress.

    Attributes:
        ear: The stage's listener; `None` without a stage.
        expects_sound: Whether text was sent whose sound has not ended.
        is_inline: Whether `run_tts` itself yields the sound.
    """

    def __init__(self, rung: RungSpec) -> None:
        super().__init__(rung.name, kind=rung.symptoms)
        self.ear: VoiceEar | None = None
        self.expects_sound = False
        self._rung = rung
        self._begins_s: dict[str, float] = {}  # the attempt's contexts: its sound before each
        self._open: set[str] = set()  # contexts with text whose sound has not ended
        self.is_inline = False
        self._text_ended = False
        self._sound_s = self._word_s = 0.0
        self._sounds = Resampling(rung.sample_rate_hz)

    @property
    def moment(self) -> Moment:
        """What is in progress."""
        return self._current_moment

    @property
    def newest(self) -> str | None:
        """The latest context of the attempt."""
        return next(reversed(self._begins_s), None)

    def start_attempt(self, attempt: int) -> None:
        """Begin another attempt; output of the last one is late from now on."""
        self.forget()
        self.context = VoiceContext("", attempt)

    def forget(self) -> None:
        """Forget the attempt; its output is late from now on.

        Sound that the resampler holds back is lost.
        """
        self.context = None
        self._begins_s, self._open = {}, set()
        self._text_ended = False
        self._sound_s = self._word_s = 0.0
        self._sounds = Resampling(self._rung.sample_rate_hz)

    def add_context(self, name: str) -> None:
        """Count a context as one of the attempt's."""
        if self.context:
            self._begins_s.setdefault(name, self._sound_s)

    def note_text_sent(self, name: str) -> None:
        """Record that text is sent in a context."""
        self.expects_sound = True
        if name in self._begins_s:
            self._open.add(name)

    async def end_request(self, name: str) -> None:
        """Report that the sound of a text without word times has ended, if `run_tts` yields it."""
        untimed = self.is_inline and not self._rung.facts.word_times
        if untimed and not self.is_late(name) and self.context and self.ear:
            await self.ear.spoken(self.context.attempt, more=True)

    def is_late(self, name: str | None) -> bool:
        """Return whether a context is not one of the attempt in progress."""
        return self.context is None or name not in self._begins_s

    def converted(self, item: Any) -> Iterator[Any]:
        """Yield an item of a context with its sound at the leg's rate; sound is useful output.

        Raises:
            InvalidOutputError: The sound is not what a voice may send.
        """
        if isinstance(item, AudioRawFrame):
            check_sound_frame(item)
            if self.context:
                if not self.context.flowing and SOUND_FILE.match(item.audio):
                    raise InvalidOutputError("a sound file in place of 16-bit samples")
                self.context.flowing = True
            pcm = self._sounds.add(item.audio, item.sample_rate)
        elif item is None or isinstance(item, TTSStoppedFrame):
            pcm = self._sounds.end()
        else:
            pcm = b""
        if isinstance(item, TTSAudioRawFrame) and item.sample_rate == self._rung.sample_rate_hz:
            yield item
        elif pcm:
            yield TTSAudioRawFrame(pcm, self._rung.sample_rate_hz, 1)
        if not isinstance(item, AudioRawFrame):
            yield item

    async def report(self, name: str, item: Any) -> None:
        """Report an item of a context of the attempt, if there are an attempt and a listener.

        Raises:
            InvalidOutputError: Its word times are impossible, or it ends before its sound.
        """
        context, ear = self.context, self.ear
        if context is None or ear is None:
            return
        match item:
            case TTSAudioRawFrame():
                # A sample has 2 bytes.
                self._sound_s += len(item.audio) / 2 / self._rung.sample_rate_hz
                await ear.sound(context.attempt, item.audio)
            case WordTimestamp() if self._rung.facts.word_times:
                start_s = self._begins_s[name] + float(item.timestamp)
                if not self._word_s - BACK_S <= start_s:
                    raise InvalidOutputError("word times run backwards")
                self._word_s = max(start_s, self._word_s)
                await ear.word(context.attempt, str(item.word), start_s=start_s)
            case None:
                await self._end_context(name)
            case _:
                pass

    async def end_text(self) -> None:
        """Record that no text follows; if all sound has come, report the end of the attempt.

        Raises:
            InvalidOutputError: The attempt ends before its sound, or its words go beyond it.
        """
        self._text_ended = True
        self._open = set() if self.is_inline else self._open
        await self._report_end_if_over()

    async def fail(self, failure: Failure) -> None:
        """Report a failure of the attempt in progress and forget it; log one that concerns none."""
        context, ear = self.context, self.ear
        if context is None or ear is None:
            logger.info("{}: {} while idle", failure.provider, failure)
            return
        self.forget()
        await ear.failed(context.attempt, failure)

    def invalid(self, error: InvalidOutputError) -> Failure:
        """Return invalid output as a failure."""
        return self._failure_of_voice(error.found, str(error))

    async def _end_context(self, name: str) -> None:
        """End the sound of one context, and the attempt if it was the last.

        Raises:
            InvalidOutputError: It ends before any sound, or words go beyond the sound.
        """
        if name in self._open:
            self._open.discard(name)
            if self.context and not self.context.flowing and not self.is_inline:
                raise InvalidOutputError("an end before the sound", END_TOO_SOON)
        await self._report_end_if_over()

    async def _report_end_if_over(self) -> None:
        """Report the end of the attempt once its text and all of its contexts have ended.

        Raises:
            InvalidOutputError: Its words go beyond its sound.
        """
        if not self._text_ended or self._open or self.context is None or self.ear is None:
            return
        if self._word_s > self._sound_s + BEYOND_S:
            raise InvalidOutputError("word times go beyond the sound")
        context = self.context
        self.expects_sound = False
        if pcm := self._sounds.end():
            await self.ear.sound(context.attempt, pcm)
        self.forget()
        await self.report_done(self.ear, context)


def check_sound_frame(frame: AudioRawFrame) -> None:
    """Raise `InvalidOutputError` unless a frame holds whole 16-bit samples of one channel."""
    if not isinstance(frame, TTSAudioRawFrame):
        raise InvalidOutputError(f"sound in a {type(frame).__name__}")
    if not isinstance(frame.audio, bytes | bytearray | memoryview):
        raise InvalidOutputError(f"sound of type {type(frame.audio).__name__}")
    if frame.num_channels != 1 or not 0 < frame.sample_rate <= 192_000:
        raise InvalidOutputError(f"{frame.num_channels} channels at {frame.sample_rate} Hz")
    if len(frame.audio) % 2:
        raise InvalidOutputError("half a sample", classify_symptom(Symptom.ODD_AUDIO))


class Resampling:
    """Converts the sound of one attempt to the leg's rate, as one stream."""

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._from_hz = rate_hz
        self._stream: soxr.ResampleStream | None = None

    def add(self, pcm: bytes, rate_hz: int) -> bytes:
        """Return 16-bit sound of `rate_hz`, converted as far as possible; the rest is held back."""
        rest = self.end() if rate_hz != self._from_hz else b""
        self._from_hz = rate_hz
        if rate_hz == self._rate_hz:
            return rest + pcm
        if self._stream is None:
            self._stream = soxr.ResampleStream(
                rate_hz, self._rate_hz, 1, dtype="int16", quality=QUALITY
            )
        return rest + self._stream.resample_chunk(np.frombuffer(pcm, "<i2")).tobytes()

    def end(self) -> bytes:
        """Return what the resampler has held back.

        The next sound begins another stream.
        """
        stream, self._stream = self._stream, None
        if stream is None:
            return b""
        return stream.resample_chunk(np.zeros(0, np.int16), last=True).tobytes()
