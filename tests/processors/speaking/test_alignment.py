"""Finding the words of a text in a sound: with tones, and with espeak-ng's other voices."""

import asyncio
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.espeak import Espeak, word_samples
from fallbacks.word_times import UNIT
from processors.speaking.aligner import align_in_thread, align_sound, reference_of
from processors.speaking.alignment import AlignedWord, Reference, align, words_spoken
from processors.speaking.alignment_rules import AlignSound

RATE_HZ = 8000
WORD_S = 0.4
WORDS = ("la", "le", "li", "lo", "lu")
TONES_HZ = ((300, 900), (500, 1700), (250, 2200), (700, 1100), (400, 3000))


def tones(lengths_s: list[float], *, rate_hz: int = RATE_HZ, pauses_s: float = 0.0) -> np.ndarray:
    """Words as chords, each with its own length."""
    pieces: list[np.ndarray] = []
    for chord, length_s in zip(TONES_HZ, lengths_s, strict=False):
        at = np.arange(round(length_s * rate_hz)) / rate_hz
        sound = sum(np.sin(2 * np.pi * hertz * at) for hertz in chord)
        pieces += [4000 * sound * np.hanning(len(at)) ** 0.3, np.zeros(round(pauses_s * rate_hz))]
    return np.concatenate(pieces).astype("<i2")


REFERENCE = Reference(
    samples=tones([WORD_S] * 5), rate_hz=RATE_HZ, starts_s=[n * WORD_S for n in range(5)]
)


@pytest.mark.parametrize(
    ("length_s", "pause_s", "rate_hz"),
    [
        (0.25, 0.0, 8000),
        (0.25, 0.7, 16_000),
        (0.4, 0.15, 24_000),
        (0.6, 0.0, 16_000),
        (0.6, 0.7, 8000),
    ],
)
@pytest.mark.parametrize("whole", [1, 3, 5])
def test_words_are_found_at_any_pace_with_any_pauses(
    whole: int, length_s: float, pause_s: float, rate_hz: int
) -> None:
    sound = tones([length_s] * 5, rate_hz=rate_hz, pauses_s=pause_s)
    sound = np.append(sound, np.zeros(round(0.1 * rate_hz), "<i2"))
    after_s = min(0.4 * length_s, 0.5 * pause_s or 1.0)
    cut = round((whole * length_s + (whole - 1) * pause_s + after_s) * rate_hz)

    words = align(WORDS, REFERENCE, sound[:cut].tobytes(), rate_hz)

    # In a pause that the reference does not have, the last word may count as unfinished.
    spoken = words_spoken(words)
    assert whole - (pause_s > 0) <= spoken <= whole
    ends_s = [(n + 1) * length_s + n * pause_s for n in range(spoken)]
    assert [word.end_s for word in words[:spoken]] == pytest.approx(ends_s, abs=0.08)


def test_a_word_that_the_sound_does_not_reach_is_at_its_end() -> None:
    words = align(WORDS, REFERENCE, tones([WORD_S] * 2).tobytes(), RATE_HZ)

    assert [(word.start_s, word.end_s) for word in words[3:]] == [(0.8, 0.8)] * 2
    assert max(word.confidence for word in words[3:]) < 0.01


@pytest.mark.parametrize("pcm", [b"", b"\0\0", bytes(100), bytes(16_000)], ids=len)
def test_nothing_is_spoken_in_silence(pcm: bytes) -> None:
    assert words_spoken(align(WORDS, REFERENCE, pcm, RATE_HZ)) == 0


@settings(max_examples=25, deadline=None)
@given(st.binary(max_size=8000).map(lambda noise: noise[: len(noise) // 2 * 2]))
def test_any_sound_gives_ordered_times_and_probabilities(pcm: bytes) -> None:
    words = align(WORDS, REFERENCE, pcm, RATE_HZ)

    ends_s = [word.end_s for word in words]
    assert ends_s == sorted(ends_s)
    assert all(0.0 <= end_s <= len(pcm) / 2 / RATE_HZ for end_s in ends_s)
    assert all(-0.01 <= word.confidence <= 1.01 for word in words)


def test_in_doubt_a_word_is_not_counted() -> None:
    def words(*confidences: float) -> list[AlignedWord]:
        return [AlignedWord(text="a", start_s=0, end_s=0, confidence=sure) for sure in confidences]

    assert words_spoken(words(1.0, 0.95, 0.6, 0.99)) == 2
    assert words_spoken(words(1.0, 0.95, 0.6, 0.4), least=0.5) == 3
    assert words_spoken([]) == 0


SENTENCES = (
    ("en", "en-us+m3", "The boat leaves at seven, and the last one comes back at nine."),
    ("de", "de+f4", "Das Boot fährt um sieben ab, und das letzte kommt um neun zurück."),
    ("es-MX", "es-419+m7", "El barco sale a las siete, y el último vuelve a las nueve."),
    ("fr", "fr+m2", "Le bateau part à sept heures, et le dernier revient à neuf heures."),
    ("ru", "ru+f3", "Лодка уходит утром в семь часов, и последняя приходит поздно вечером."),
)


def request(
    text: str, pcm: bytes, *, words: tuple[str, ...] | None = None, ended: bool = False
) -> AlignSound:
    return AlignSound(
        attempt=1,
        words=tuple(text.split()) if words is None else words,
        text=text,
        pcm=pcm,
        first=3,
        from_s=10.0,
        received_s=1.0,
        ended=ended,
    )


@pytest.mark.parametrize(
    ("language", "voice", "text", "words_per_minute"),
    [*((*row, 165) for row in SENTENCES), (*SENTENCES[0], 115), (*SENTENCES[1], 230)],
)
def test_another_voice_of_a_language_is_followed(
    language: str, voice: str, text: str, words_per_minute: int
) -> None:
    engine = Espeak(private=True, seed=1)
    samples, events = engine.speak(text, [voice], words_per_minute=words_per_minute, pitch=50)
    starts = [match.start() for match in re.finditer(r"\S+", text)]
    firsts = word_samples(text, starts, events, total=len(samples))
    doubled = lost = 0
    for count in range(2, len(starts)):
        middle = round((firsts[count] + firsts[count - 1]) / 2)  # of the word before it
        ends_s = align_sound(
            request(text, samples[:middle].tobytes()), language=language, rate_hz=engine.rate_hz
        )
        assert ends_s is not None
        doubled += max(0, count - 1 - len(ends_s))
        lost += max(0, len(ends_s) - count + 1)
    assert (lost <= 1, doubled <= 2) == (True, True), (lost, doubled)


ENDED = (
    *SENTENCES,
    ("en", "en-gb-x-rp+m3", "It costs $25.50, and the fee is 3 %."),
    ("en", "en-us+f3", "Dr. Smith will see you at 14.30 on 12 May 2026."),
    ("en", "en-us+m3", "Yes, of course."),
    ("de", "de+m4", "Das kostet 25,50 € inklusive 19 % MwSt., d. h. 1.250 € im Jahr."),
    ("zh", "cmn+f3", "您的预约是五月十二号下午两点半。请带上您的身份证。"),
    ("ja", "ja+m3", "ごよやくは あしたの ごご にじはんです。おまちしております。"),
)


def found_in_ended(
    text: str, language: str, voice: str, *, pace: int, silence_s: float, share: float = 1.0
) -> int:
    """Return how many words are found in a share of a text that its voice calls complete."""
    engine = Espeak(private=True, seed=1)
    samples, _ = engine.speak(text, [voice], words_per_minute=pace, pitch=50)
    loud = np.flatnonzero(np.abs(samples) > 300)
    spoken = samples[loud[0] : loud[-1] + 1]
    silence = np.zeros(round(silence_s * engine.rate_hz), "<i2")
    sound = np.concatenate([silence, spoken[: round(share * len(spoken))], silence])
    words = tuple(UNIT.findall(text))
    asked = request(text, sound.astype("<i2").tobytes(), words=words, ended=True)
    ends_s = align_sound(asked, language=language, rate_hz=engine.rate_hz)
    assert ends_s is not None
    assert max(ends_s, default=0.0) <= 10.0 + len(sound) / engine.rate_hz
    return len(ends_s)


@pytest.mark.parametrize(("pace", "silence_s"), [(115, 0.4), (230, 0.0)])
@pytest.mark.parametrize(("language", "voice", "text"), ENDED)
def test_no_word_is_missing_in_a_text_that_was_spoken_to_its_end(
    language: str, voice: str, text: str, pace: int, silence_s: float
) -> None:
    found = found_in_ended(text, language, voice, pace=pace, silence_s=silence_s)

    assert found == len(UNIT.findall(text))


@pytest.mark.parametrize(
    ("pace", "share", "silence_s"), [(115, 0.75, 0.4), (165, 0.2, 0.0), (230, 0.75, 0.0)]
)
@pytest.mark.parametrize(("language", "voice", "text"), SENTENCES)
def test_the_last_words_are_missing_in_a_text_that_was_not(
    language: str, voice: str, text: str, pace: int, share: float, silence_s: float
) -> None:
    found = found_in_ended(text, language, voice, pace=pace, silence_s=silence_s, share=share)

    assert found < len(text.split())


@pytest.mark.parametrize("text", ["好的。我们九点开门。", "One — two … three"])
def test_words_without_spaces_or_letters_have_times(text: str) -> None:
    language = "en" if text.isascii() or text[0] == "O" else "zh"
    words = tuple(re.findall(r"[\u4e00-\u9fff]。?|[^\s\u4e00-\u9fff]+", text))
    reference = reference_of(words, text, language)

    assert len(reference.starts_s) == len(words)
    assert list(reference.starts_s) == sorted(reference.starts_s)
    ends_s = align_sound(
        request(text, reference.samples.tobytes(), words=words),
        language=language,
        rate_hz=reference.rate_hz,
    )
    assert ends_s is not None
    assert len(ends_s) >= len(words) - 1
    assert min(ends_s) >= 10.0


@pytest.mark.parametrize(
    ("text", "language"), [("Hello there", "xx-nowhere"), ("… —", "en"), ("", "en")]
)
def test_what_espeak_cannot_speak_is_not_aligned(text: str, language: str) -> None:
    assert align_sound(request(text, bytes(16_000)), language=language, rate_hz=8000) is None


def test_a_slow_alignment_has_no_result() -> None:
    asked = request("Hello there", tones([1.0] * 5).tobytes())
    result = asyncio.run(align_in_thread(asked, language="en", rate_hz=8000, within_s=0.0))

    assert (result.asked, result.ends_s) == (asked, None)
