"""The local voice: the stage's suite, and its own behaviour."""

import asyncio
import gc
import tracemalloc
from typing import Any, ClassVar

import pytest
from pipecat.frames.frames import (
    ErrorFrame,
    InterruptionFrame,
    TTSAudioRawFrame,
    TTSSpeakFrame,
    TTSStoppedFrame,
    TTSTextFrame,
    TTSUpdateSettingsFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
from pipecat.services.settings import TTSSettings
from pipecat.services.tts_service import TTSService

from engines.espeak import UnknownVoiceError
from providers.local_tts import Manner, names, pieces, speak
from providers.provider import ProbeFailedError
from providers.sockets import Playout
from tests.bot.talk import Ear
from tests.kit.bench import Bench, running, text_of
from tests.providers.tts_conformance import TtsConformance, reply


class TestLocal(TtsConformance):
    kind: ClassVar[str] = "local"
    model: ClassVar[str] = "espeak-ng"

    @pytest.fixture
    def peer(self) -> None:
        return None

    async def break_peer(self, peer: Any, bench: Bench) -> None:
        await bench.put(TTSUpdateSettingsFrame(delta=TTSSettings(voice="nobody")))
        await bench.first(ErrorFrame)

    async def check_nothing_left(self, peer: Any, bench: Bench) -> None:
        assert not bench.service.get_audio_contexts()

    async def test_a_missing_voice_fails_the_probe_and_the_construction(self) -> None:
        with pytest.raises(ProbeFailedError, match="no voice nobody"):
            await self.probe(None, voice="nobody")
        with pytest.raises(UnknownVoiceError, match="no voice xx"):
            self.service(None, language="xx")

    async def test_text_without_a_sound_is_silence_and_not_a_failure(self) -> None:
        async with running(self.service(None)) as bench:
            for text in ("...", "—", '"', "()"):  # Pipecat gives a voice up after three silent ones
                since = len(bench.out)
                await bench.put(TTSSpeakFrame(text))
                await bench.first(TTSStoppedFrame, since=since)

        assert bench.all(TTSAudioRawFrame)
        assert bench.service.is_usable
        assert not bench.errors()

    async def test_words_of_a_second_utterance_wait_for_the_first_to_be_heard(self) -> None:
        async with running(self.service(None)) as bench:
            await bench.put(TTSSpeakFrame("One moment please."), TTSSpeakFrame("Here it is."))
            await bench.until(lambda: len(bench.all(TTSStoppedFrame)) == 2)

        second = bench.index(TTSStoppedFrame)
        first_word = bench.all(TTSTextFrame)[0].pts or 0
        audio = [frame for frame in bench.out[:second] if isinstance(frame, TTSAudioRawFrame)]
        spoken_s = sum(len(frame.audio) for frame in audio) / 2 / 16_000
        begins_s = ((bench.all(TTSTextFrame, since=second)[0].pts or 0) - first_word) / 1e9
        assert begins_s > 0.8 * spoken_s  # a busy machine times the first word late

    async def test_a_new_voice_is_used_in_the_middle_of_a_call(self) -> None:
        async with running(self.service(None)) as bench:
            await bench.put(TTSUpdateSettingsFrame(delta=TTSSettings(voice="m3", language="es")))
            await bench.put(TTSSpeakFrame("Buenos días."))
            await bench.first(TTSStoppedFrame)

        assert bench.service.settings.voice == "m3"
        assert text_of(bench.all(TTSTextFrame)) == "Buenos días."

    async def test_after_a_barge_in_the_context_holds_the_heard_words(self) -> None:
        context, ear = LLMContext(), Ear()
        remembered = LLMContextAggregatorPair(context).assistant()
        line = Pipeline([self.service(None), ear, remembered])
        async with running(line) as bench:
            await bench.put(*reply("One two three four five six.", "Seven eight nine ten."))
            await bench.until(lambda: ear.heard_s > 0.85)  # in the middle of four
            await bench.put(InterruptionFrame())
            await bench.until(context.get_messages)

        (said,) = context.get_messages()
        # A busy machine plays late, and Pipecat releases words by the clock, perhaps one too many.
        assert said["content"] in ("One two three four", "One two three four five")

    async def test_speaking_does_not_block_the_loop(self) -> None:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0.005)
                ticks += 1

        # Alone in this thread it takes half a second: in one piece nothing would tick meanwhile.
        text = "and this is a very long clause without any full stop " * 200
        ticking = asyncio.create_task(tick())
        await asyncio.to_thread(speak, text, ("en-us",), manner=Manner(), rate_hz=8000)
        ticking.cancel()

        assert ticks > 10


@pytest.mark.parametrize(
    ("voice", "language", "expected"),
    [
        ("f2", "en", ("en-us+f2", "en-us+f2")),
        ("f2", "en-GB", ("en-gb+f2", "en-us+f2")),
        ("Annie", "es-MX", ("es-mx+Annie", "es+Annie")),
        ("en-gb-x-rp+m3", "es", ("en-gb-x-rp+m3",)),
        ("en-gb-x-rp", "es", ("en-gb-x-rp",)),
    ],
)
def test_a_voice_is_a_timbre_of_the_language_or_names_its_own(
    voice: str, language: str, expected: tuple[str, ...]
) -> None:
    assert names(voice, language) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("It is one of the best.", ["It", "is", "one", "of", "the", "best."]),
        ("That costs $1,234.50 — today!", ["That", "costs", "$1,234.50 —", "today!"]),
        ("Café naïve Zoë", ["Café", "naïve", "Zoë"]),
        ("...", []),
        ("Hello\x00there", ["Hello\x00there"]),
    ],
)
def test_every_word_of_the_text_has_its_place(text: str, words: list[str]) -> None:
    piece = speak(text, ("en-us+f2",), manner=Manner(), rate_hz=8000)

    starts = [start for _, start in piece.words]
    assert [word for word, _ in piece.words] == words
    assert starts == sorted(set(starts))
    assert all(0 <= start < piece.duration_s for start in starts)


def test_a_word_after_a_pause_starts_where_its_sound_does() -> None:
    piece = speak("One. Two.", ("en-us+f2",), manner=Manner(), rate_hz=8000)

    (_, first), (_, second) = piece.words
    before = piece.samples[int((second - 0.1) * 8000) : int((second - 0.02) * 8000)]
    after = piece.samples[int(second * 8000) : int((second + 0.15) * 8000)]
    assert first == 0
    assert abs(before).max() < 300 < abs(after).max()


def test_speed_changes_the_length_as_configured() -> None:
    slow = speak("Hello there.", ("en-us",), manner=Manner(words_per_minute=100), rate_hz=8000)
    fast = speak("Hello there.", ("en-us",), manner=Manner(words_per_minute=300), rate_hz=8000)

    assert slow.duration_s > 1.8 * fast.duration_s


def test_a_long_text_is_spoken_sentence_by_sentence() -> None:
    text = "It is 3.5 km. Really? Yes! no end"

    assert list(pieces(text)) == ["It is 3.5 km.", " Really?", " Yes!", " no end"]
    assert list(pieces(" \n ")) == []


def test_audio_begins_when_the_audio_before_it_ends() -> None:
    playout = Playout()

    assert playout.add(1_000, duration_s=1e-6) == 1_000
    assert playout.add(1_500, duration_s=1e-6) == 2_000
    assert playout.add(9_000, duration_s=1e-6) == 9_000
    playout.clear()
    assert playout.add(9_100, duration_s=1e-6) == 9_100


def test_pipecat_still_has_the_members_that_the_local_voice_needs() -> None:
    service = TTSService.__init__.__globals__["WordTimestampTracker"]()

    service.last_pts = 7
    service.start(3)
    assert service.pts(0) == 7  # words are timed from `last_pts`, if that is later
    assert {"_update_settings", "start_word_timestamps"} <= {*vars(TTSService)}


def test_spoken_text_is_not_kept() -> None:
    voices, manner = names("f2", "en"), Manner()
    speak("One moment.", voices, manner=manner, rate_hz=8000)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        spoken = speak("One moment. " * 20, voices, manner=manner, rate_hz=8000)
        assert spoken.duration_s > 5.0
        del spoken
        gc.collect()
        kept_bytes = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()

    assert kept_bytes < 10_000  # the audio of such a text takes half a megabyte
