import asyncio
import itertools

import numpy as np
import numpy.typing as npt
import pytest

from lab.simulators.samples import Samples
from lab.simulators.voices.voices import (
    VOICES,
    Speech,
    UnknownLanguageError,
    speak,
    speak_now,
    voice_of,
    word_sound,
)

FloatArray = npt.NDArray[np.float64]
SENTENCE = "The end of the day is at 9:30 a.m. — it costs $123.45, don't you're it's?"


def spoken(text: str, *, rate_hz: int = 16000, language: str = "en") -> Speech:
    return speak_now(text, voice=voice_of("cartesia"), rate_hz=rate_hz, language=language)


@pytest.mark.parametrize("rate_hz", [8000, 22050, 48000])
def test_every_word_of_the_text_has_its_place_at_any_rate(rate_hz: int) -> None:
    speech = spoken(SENTENCE, rate_hz=rate_hz)

    assert [word.text for word in speech.words] == SENTENCE.split()
    assert all(SENTENCE[w.at : w.at + len(w.text)] == w.text for w in speech.words)
    times = [second for w in speech.words for second in (w.start_s, w.end_s)]
    assert times == sorted(times)
    assert times[-1] <= speech.duration_s + 0.001
    assert speech.rate_hz == rate_hz
    assert 6.0 < speech.duration_s < 12.0


def test_words_that_are_spoken_as_one_share_the_time_and_a_dash_takes_none() -> None:
    words = {word.text: word for word in spoken("It is the end of the day — now.").words}

    assert words["—"].start_s == words["—"].end_s
    assert all(w.end_s - w.start_s > 0.04 for w in words.values() if w.text != "—")


def test_the_loud_part_of_a_pause_between_sentences_belongs_to_no_word() -> None:
    speech = spoken("Stop here. Go on.")

    pause = (speech.words[1].end_s, speech.words[2].start_s)
    assert pause[1] - pause[0] > 0.1
    first, last = (round(at_s * speech.rate_hz) for at_s in pause)
    assert np.abs(speech.samples[first + 80 : last - 80].astype(int)).max() < 400


def test_a_word_begins_where_its_sound_begins() -> None:
    speech = spoken("No. Stop.", rate_hz=22050)

    onset = round(speech.words[1].start_s * speech.rate_hz)
    before = speech.samples[onset - 1000 : onset].astype(int)
    after = speech.samples[onset : onset + 4000].astype(int)
    assert np.abs(before).max() < 400 < np.abs(after).max()


@pytest.mark.parametrize(
    ("text", "words"),
    [("", []), (" \n ", []), ("...", ["..."]), ("— so", ["—", "so"]), ("a\0b c", ["a\0b", "c"])],
    ids=["empty", "blank", "only dots", "leading dash", "a NUL inside"],
)
def test_text_without_speech_is_harmless(text: str, words: list[str]) -> None:
    speech = spoken(text)

    assert [word.text for word in speech.words] == words
    assert all(0 <= w.start_s <= w.end_s <= speech.duration_s for w in speech.words)


@pytest.mark.parametrize(
    ("language", "text"),
    [("es-MX", "Buenos días, ¿qué tal está usted?"), ("ru", "Здравствуйте, чем могу помочь?")],
)
def test_other_languages_are_spoken(language: str, text: str) -> None:
    speech = spoken(text, language=language)

    assert [word.text for word in speech.words] == text.split()
    assert all(w.end_s - w.start_s > 0.05 for w in speech.words)


def test_an_unknown_language_is_an_error_and_the_next_text_is_spoken() -> None:
    with pytest.raises(UnknownLanguageError, match='"qq"'):
        spoken("hello", language="qq")

    assert spoken("hello").duration_s > 0.2


def timbre(samples: Samples) -> FloatArray:
    """Return the unit vector of the log spectrum averaged over the speech."""
    blocks = samples[: len(samples) // 512 * 512].reshape(-1, 512)
    spectrum = np.log1p(np.abs(np.fft.rfft(blocks, axis=1)).mean(axis=0))
    centred = spectrum - spectrum.mean()
    return centred / np.linalg.norm(centred)


def test_every_instance_sounds_different_and_always_the_same() -> None:
    text = "Good morning, this is the receptionist of the practice."
    names = [*VOICES, "cartesia-c"]
    once, again = (
        {n: timbre(speak_now(text, voice=voice_of(n), rate_hz=16000).samples) for n in names}
        for _ in range(2)
    )

    same = min(float(once[n] @ again[n]) for n in names)
    different = max(float(once[a] @ once[b]) for a, b in itertools.combinations(names, 2))
    assert different < same


async def test_many_voices_at_once_do_not_mix() -> None:
    names = ["cartesia", "elevenlabs", "elevenlabs-b"]
    text = "One two three four five."
    alone = {n: timbre(speak_now(text, voice=voice_of(n), rate_hz=16000).samples) for n in names}

    together = await asyncio.gather(
        *(speak(text, voice=voice_of(name), rate_hz=16000) for name in names * 5)
    )

    for name, speech in zip(names * 5, together, strict=True):
        likeness = {n: float(timbre(speech.samples) @ alone[n]) for n in names}
        assert max(likeness, key=lambda n: likeness[n]) == name


def test_word_by_word_a_word_always_sounds_the_same() -> None:
    voice = voice_of("cartesia", word_by_word=True)

    alone = word_sound("haircut", voice=voice, rate_hz=8000)
    said = speak_now("A haircut, please. - HAIRCUT!", voice=voice, rate_hz=8000)

    spans = [(said.index(word.start_s), said.index(word.end_s)) for word in said.words]
    assert [word.text for word in said.words] == ["A", "haircut,", "please.", "-", "HAIRCUT!"]
    assert [np.array_equal(said.samples[a:b], alone) for a, b in spans] == [
        False,
        True,
        False,
        False,
        True,
    ]
    assert spans[3][0] == spans[3][1]
