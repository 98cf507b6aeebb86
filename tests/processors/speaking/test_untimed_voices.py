"""The TTS stage with voices that report no word times: espeak-ng finds their words."""

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from pipecat.frames.frames import InterruptionFrame, LLMMessagesTransformFrame

from fallbacks.events import WordsTimed
from fallbacks.ladder import StagePolicy
from lab.simulators import faults
from lab.simulators.cartesia.simulator import CartesiaSimulator
from lab.simulators.lab import Lab
from lab.simulators.schedule import Window
from processors.speaking import stage
from processors.speaking.aligner import align_in_thread
from processors.speaking.alignment_rules import SoundAligned
from processors.speaking.rung import VoiceRung
from processors.speaking.speech_queue import CORRECTIONS
from tests.processors.speaking.test_stage import BROKEN
from tests.processors.speaking.tts_bench import Talk, laboratory, policy, talking

pytestmark = pytest.mark.virtual_time

TEXT = "Hello there, this is Holdline, how are you doing today?"
VOICES = ("cartesia", "elevenlabs")


@pytest.fixture
async def lab(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Lab]:
    async def drop(_rung: VoiceRung, *_word: object, **_times: object) -> None:
        pass

    monkeypatch.setattr(VoiceRung, "word", drop)
    async with laboratory() as lab:
        yield lab


def untimed() -> StagePolicy:
    shared = policy(VOICES, time.monotonic())
    return dataclasses.replace(shared, untimed=frozenset(VOICES))


async def spoken(talk: Talk) -> None:
    await talk.reply(*TEXT.split())
    await talk.until(lambda: talk.said, within_s=15.0)


@pytest.mark.parametrize("name", BROKEN)
async def test_an_untimed_voice_that_breaks_loses_no_word(lab: Lab, name: str) -> None:
    lab.instance("cartesia").set_faults([Window(fault=BROKEN[name])])
    async with talking(lab, shared=untimed()) as talk:
        await spoken(talk)

    second = [word.text for word in talk.spoken_by("elevenlabs")]
    assert talk.said == [TEXT]
    assert second in (TEXT.split()[4:], TEXT.split()[3:])
    assert max(talk.line.gaps_s) <= 0.9


TEXTS = {
    "en": "The shop opens at nine in the morning on every day but Sunday. Please come in!",
    "de": "Der Laden öffnet jeden Tag außer Sonntag um neun Uhr morgens. Kommen Sie doch herein!",
}


@pytest.mark.parametrize(
    ("language", "words", "fault", "words_per_minute", "takes_s"),
    [
        ("en", 2, faults.Stall, 110, 0.0),
        ("en", 6, faults.Cut, 170, 0.5),
        ("en", 14, faults.Stall, 170, 0.5),
        ("de", 2, faults.Cut, 110, 0.5),
        ("de", 12, faults.Stall, 110, 0.5),
        ("de", 14, faults.Cut, 170, 0.0),
    ],
)
async def test_a_voice_that_breaks_costs_a_short_silence_at_any_pace(
    lab: Lab,
    monkeypatch: pytest.MonkeyPatch,
    language: str,
    words: int,
    fault: type[faults.Stall | faults.Cut],
    words_per_minute: int,
    takes_s: float,
) -> None:
    async def slowly(*asked: Any, within_s: float, **options: Any) -> SoundAligned:
        await asyncio.sleep(min(takes_s, within_s))
        aligned = await align_in_thread(*asked, within_s=within_s, **options)
        return aligned if takes_s < within_s else dataclasses.replace(aligned, ends_s=None)

    monkeypatch.setattr(stage, "align_in_thread", slowly)
    broken, text = cast("CartesiaSimulator", lab.instance("cartesia")), TEXTS[language]
    broken.voice = dataclasses.replace(broken.voice, words_per_minute=words_per_minute)
    broken.set_faults([Window(fault=fault(after_words=words))])
    async with talking(lab, shared=untimed(), language=language) as talk:
        await talk.reply(*text.split())
        await talk.until(lambda: talk.said, within_s=20.0)

    spoken_twice = len(talk.spoken_by("elevenlabs")) - len(text.split()[words:])
    assert talk.said == [text]
    assert 0 <= spoken_twice <= (4 if takes_s else 2)  # in doubt, a word is repeated
    assert max(talk.line.gaps_s) <= 0.6


async def test_a_healthy_untimed_voice_is_heard_whole_and_never_aligned(lab: Lab) -> None:
    async with talking(lab, shared=untimed()) as talk:
        await spoken(talk)

    assert talk.said == [TEXT]
    assert (talk.asked, talk.failures) == (["cartesia"], [])
    assert talk.line.length_s >= lab.record.words("cartesia")[-1].end_s - 0.05


@pytest.mark.parametrize("at_s", [0.5, 1.7, 2.4])
async def test_the_model_is_told_what_was_heard_before_a_barge_in(lab: Lab, at_s: float) -> None:
    async with talking(lab, shared=untimed()) as talk:
        await talk.reply(*TEXT.split())
        await talk.until(lambda: talk.line.length_s > at_s)
        interruption = InterruptionFrame()
        await talk.put(interruption)
        heard_s = talk.line.length_s
        await talk.until(lambda: talk.kept_of(LLMMessagesTransformFrame))
        await asyncio.sleep(0.1)

    words = talk.spoken_by("cartesia")
    heard = [word for word in words if (word.start_s + word.end_s) / 2 <= heard_s]
    said = "".join(talk.said)
    assert TEXT.startswith(said)
    assert abs(len(said.split()) - len(heard)) <= 1
    corrections = talk.kept_of(LLMMessagesTransformFrame)
    assert interruption.metadata[CORRECTIONS] == len(corrections) == 1
    assert CORRECTIONS in corrections[0].metadata
    counted = talk.facts(WordsTimed)[-1]
    assert (counted.aligned, counted.estimated, counted.heard) == (len(said.split()), 0, True)
