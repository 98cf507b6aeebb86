"""Aligns the sound of a voice without word times, in a thread: espeak-ng speaks the reference."""

import asyncio
import functools
import math
import threading
from collections.abc import Sequence
from typing import Final

from loguru import logger

from engines.espeak import Espeak, UnknownVoiceError, voice_names, word_samples
from processors.speaking.alignment import LIKELY, SURE, Reference, align, lacks_end, words_spoken
from processors.speaking.alignment_rules import MAX_ALIGNED_S, AlignSound, SoundAligned
from runtime.pcm import SAMPLE_BYTES

TIMBRE: Final = "f2"
WORDS_PER_MINUTE: Final = 165
PITCH: Final = 50
# Of text for a second of sound: no voice speaks faster (chosen: twice the usual speed).
MAX_CHARACTERS: Final = 32
SPARE_CHARACTERS: Final = 60  # of text beyond that

AFTER_S: Final = 1.0  # of the sound that an interrupted caller did not hear
HEARD_SHARE: Final = 0.5  # of a word: `WordTimes.middle_s`
END_S: Final = 0.2  # of silence after a text that has ended: without it, its last word is unsure

_load_lock: Final = threading.Lock()


@functools.cache
def _own_espeak() -> Espeak:
    """Return this module's own copy: the local voice need not wait while a reference is spoken."""
    return Espeak(private=True)


def reference_of(words: Sequence[str], text: str, language: str) -> Reference:
    """Return a text as spoken by espeak-ng; blocks for about 2 ms for each second of speech.

    Raises:
        UnknownVoiceError: espeak-ng does not speak the language.
        RuntimeError: Its data files cannot be read.
        ValueError: It speaks no word of the text.
    """
    with _load_lock:
        engine = _own_espeak()
    samples, events = engine.speak(
        text, voice_names(language, TIMBRE), words_per_minute=WORDS_PER_MINUTE, pitch=PITCH
    )
    if not events:
        raise ValueError("espeak-ng cannot speak the text")
    starts: list[int] = []
    end = 0
    for word in words:
        starts.append(text.index(word, end))
        end = starts[-1] + len(word)
    firsts = word_samples(text, starts, events, total=len(samples))
    starts_s = [first / engine.rate_hz for first in firsts]
    return Reference(samples=samples, rate_hz=engine.rate_hz, starts_s=starts_s)


def align_sound(asked: AlignSound, *, language: str, rate_hz: int) -> tuple[float, ...] | None:
    """Return the ends of the words that are spoken to their end; `None` if that is not possible.

    Blocks for less than 10 ms for each second of sound.
    """
    until_s = math.inf if asked.heard_s is None else asked.heard_s + AFTER_S
    pcm = asked.pcm[: SAMPLE_BYTES * round(min(until_s, 2 * MAX_ALIGNED_S) * rate_hz)]
    length_s = len(pcm) / SAMPLE_BYTES / rate_hz
    pcm += bytes(SAMPLE_BYTES * round(END_S * rate_hz)) if asked.ended else b""
    words, text = _words_that_fit(
        asked, characters=round(length_s * MAX_CHARACTERS) + SPARE_CHARACTERS
    )
    if not words:
        return None
    try:
        reference = reference_of(words, text, language)
        heard = asked.heard_s is not None
        share = HEARD_SHARE if heard else 1.0
        aligned = align(words, reference, pcm, rate_hz, share=share, until_s=asked.heard_s)
    except (UnknownVoiceError, RuntimeError, ValueError) as error:
        logger.warning("the words of a voice are estimated, not aligned: {}", error)
        return None
    spoken = words_spoken(aligned, least=LIKELY if heard else SURE)
    if asked.ended and not (len(words) < len(asked.words) or lacks_end(aligned, length_s)):
        spoken = len(aligned)
    return tuple(asked.from_s + min(word.end_s, length_s) for word in aligned[:spoken])


def _words_that_fit(asked: AlignSound, *, characters: int) -> tuple[tuple[str, ...], str]:
    """Return the words that the first `characters` of the text contain, and their text.

    A sound that ends early cannot contain more of them.
    """
    end = 0
    for count, word in enumerate(asked.words):
        end = asked.text.index(word, end) + len(word)
        if end > characters:
            return asked.words[: count + 1], asked.text[:end]
    return asked.words, asked.text


async def align_in_thread(
    asked: AlignSound, *, language: str, rate_hz: int, within_s: float
) -> SoundAligned:
    """Align a sound without blocking the loop; after an error or `within_s`, `ends_s` is `None`.

    A thread cannot be stopped: after the time limit it goes on, and its result is dropped.
    """
    ends_s = None
    try:
        async with asyncio.timeout(within_s):
            ends_s = await asyncio.to_thread(align_sound, asked, language=language, rate_hz=rate_hz)
    except TimeoutError:
        logger.warning("the words of a voice are estimated: aligning took over {} s", within_s)
    except Exception as error:  # noqa: BLE001 - our own fault must not cost the caller a word
        logger.opt(exception=error).error("the words of a voice could not be aligned")
    return SoundAligned(attempt=asked.attempt, asked=asked, ends_s=ends_s)
