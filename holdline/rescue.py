"""Speaks to callers whose answer is late, or whose stage has no rung left.

A filler is said while an answer is late, and one sentence in each turn in which it will not come:
from a file if there is one, else in the local voice.
The other steps of Holdline's outage menu need its server, so none of them is taken here.
"""

import asyncio
import difflib
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from math import inf
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import soundfile
import soxr
from loguru import logger
from pipecat.frames.frames import LLMMessagesAppendFrame

from processors.holding.decision import HoldRules
from processors.holding.hold_line import HoldLine
from processors.holding.on_device_words import NoEar
from processors.holding.outage_rules import OutageSettings, Step
from processors.holding.own_voice import LOCAL, MenuChoices, Phrases, SpokenClip
from processors.holding.utterance_rules import (
    Chooser,
    FallbackText,
    Situation,
    built_in_texts,
    in_language,
)
from providers.local_tts import say_locally

OUT: Final = (Situation.STT, Situation.LLM, Situation.TTS, Situation.DOWN)
CLIPS: Final = 64  # rendered texts that are kept (chosen)
CLIP_S: Final = 30.0  # the longest clip (chosen)
CLIP: Final = "clip"  # in events, the name of the voice of a clip
STEPS: Final = OutageSettings(steps=(Step.CLIP,), clips=sys.maxsize, silence_s=inf)


def make_hold_line(
    sentence: str, language: str, clips: Mapping[str, str | Path], **call: Any
) -> HoldLine:
    """Return the processor that speaks on one call's line, below its voices.

    Args:
        sentence: Said while a stage has no rung left.
        language: The language of the sentence and the fillers.
        clips: Audio files, by the texts that they say.
        call: The call's line, floor, turn, clock and listener of events, as for `HoldLine`.

    Raises:
        ValueError: A clip cannot be used; one line, which names it.
    """
    said = texts(sentence, language)
    _check_clips(clips, [text.text for text in said])

    def remember(words: str) -> None:
        frame = LLMMessagesAppendFrame([{"role": "assistant", "content": words}], run_llm=False)
        hold.create_task(hold.push_frame(frame), f"{hold.name}: remember")

    hold = HoldLine(
        rules=HoldRules(outage=STEPS),
        phrases=HeldPhrases(chooser=Chooser(said), language=language),
        voice=LocalClips(lambda: hold.voice.speaker.rate_hz, clips),
        choices=cast("MenuChoices", None),  # `STEPS` offers none
        ear=NoEar(),
        remember=remember,
        **call,
    )
    return hold


def texts(sentence: str, language: str) -> list[FallbackText]:
    """Return the sentence for each stage, and Holdline's own fillers in its language."""
    own = in_language(built_in_texts(), language)
    said = FallbackText(language=language, situation=Situation.DOWN, number=0, text=sentence)
    fillers = [text for text in own if text.situation is Situation.FILLER]
    return fillers + [replace(said, situation=situation) for situation in OUT]


class HeldPhrases(Phrases):
    """Chooses a filler whenever the line is only held, and never runs out of texts."""

    def choose(
        self, situations: tuple[Situation, ...], *, topical: bool, again: bool = False
    ) -> FallbackText | None:
        """Return a text for a situation, a repeated one if none is left.

        `again` is whether it only holds the line; then it is a filler.
        """
        asked = (Situation.FILLER,) if again else situations
        return super().choose(asked, topical=topical, again=True)


def _check_clips(clips: Mapping[str, str | Path], known: list[str]) -> None:
    """Raise a `ValueError` for a clip that is never said, or that cannot be played."""
    for text, file in clips.items():
        if text not in known:
            close = difflib.get_close_matches(text, known, n=1, cutoff=0.0)
            raise ValueError(f"Ladders: clips has {text!r}, which is never said; nearest: {close}")
        try:
            length_s = soundfile.info(str(file)).duration
        except (OSError, soundfile.SoundFileError) as error:
            raise ValueError(f"Ladders: clips has {str(file)!r}: {error}") from error
        if not 0.0 < length_s <= CLIP_S:
            limit = f"it must be at most {CLIP_S:g} s long, and not empty"
            raise ValueError(f"Ladders: clips has {str(file)!r} of {length_s:g} s; {limit}")


class LocalClips:
    """Reads texts from their files, or renders them in the local voice, in a thread."""

    def __init__(self, rate_hz: Callable[[], int], files: Mapping[str, str | Path]) -> None:
        self._rate_hz = rate_hz
        self._files = files

    async def say(self, text: str, language: str) -> SpokenClip:
        """Return a text as 16-bit mono audio at the line's rate, and what has said it.

        It is read from its file, or spoken in the local voice if there is none. If the file cannot
        be read any more, that is logged, and the local voice speaks as well.
        """
        if file := self._files.get(text):
            try:
                return SpokenClip(
                    await asyncio.to_thread(_read_sound, str(file), self._rate_hz()), CLIP
                )
            except (OSError, soundfile.SoundFileError) as error:
                logger.error("the clip {} cannot be read any more: {}", file, error)
        return SpokenClip(await self.say_locally(text, language), LOCAL)

    async def say_locally(self, text: str, language: str) -> bytes:
        """Return a text as 16-bit audio in the local voice, at the line's rate."""
        return await asyncio.to_thread(_render_locally, text, language, self._rate_hz())


@lru_cache(maxsize=CLIPS)
def _read_sound(file: str, rate_hz: int) -> bytes:
    """Return a file as 16-bit mono audio; blocks. A file that changes later is not read again."""
    sound, own_hz = soundfile.read(file, dtype="float32", always_2d=True)
    mono = soxr.resample(sound.mean(axis=1), own_hz, rate_hz)
    return (mono.clip(-1.0, 1.0) * np.iinfo(np.int16).max).astype(np.int16).tobytes()


@lru_cache(maxsize=CLIPS)
def _render_locally(text: str, language: str, rate_hz: int) -> bytes:
    """Return a text in the local voice, from the cache if it was rendered before; blocks."""
    return say_locally(text, language, rate_hz=rate_hz)
