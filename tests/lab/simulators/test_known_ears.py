"""A recogniser that knows the text returns the part of it that arrived, and nothing else."""

import asyncio

import numpy as np
import pytest

from lab.simulators.ears.ears import EarsError
from lab.simulators.ears.heard import HearingSettings, RecognisedWord
from lab.simulators.ears.known import BLOCK, KnownEars, KnownHearing, KnownSounds, KnownUtterance

RATE_HZ = 8000
TELEPHONE = HearingSettings(rate_hz=RATE_HZ, endpoint_s=None)


def utterance(seed: int, *words: str) -> KnownUtterance:
    dice = np.random.default_rng(seed)
    samples = dice.integers(-9000, 9000, size=RATE_HZ * len(words) // 2).astype(np.int16)
    times = [
        RecognisedWord(text=word, start_s=at / 2, end_s=at / 2 + 0.5, confidence=0.9)
        for at, word in enumerate(words)
    ]
    return KnownUtterance(samples=samples, words=tuple(times))


HOURS = utterance(1, "when", "are", "you", "open")
PRICE = utterance(2, "how", "much")


def hearing(*, early: bool = False, endpoint_s: float | None = None) -> KnownHearing:
    settings = HearingSettings(rate_hz=RATE_HZ, endpoint_s=endpoint_s)
    return KnownHearing(KnownSounds([HOURS, PRICE]), settings, early=early)


def sound(*parts: np.ndarray | float) -> bytes:
    whole = [
        np.zeros(round(part * RATE_HZ), np.int16) if isinstance(part, float) else part
        for part in parts
    ]
    return np.concatenate(whole).astype("<i2").tobytes()


def finals(found: list) -> list[list[str]]:
    return [[word.text for word in item.words] for item in found if item.what != "interim"]


def test_a_flush_reports_the_words_with_their_times() -> None:
    ears = hearing()

    found = [*ears.hear(sound(1.0, HOURS.samples, 0.2)), *ears.flush()]

    assert found[-1].what == "flushed"
    assert [word.text for word in found[-1].words] == ["when", "are", "you", "open"]
    assert found[-1].words[1].start_s == pytest.approx(1.5)


@pytest.mark.parametrize(
    ("at_s", "told"),
    [(0.6, [["when"], ["are", "you", "open"]]), (0.9, [["when", "are"], ["you", "open"]])],
    ids=["a fifth of the word", "four fifths"],
)
def test_a_flush_inside_a_word_loses_and_repeats_no_word(
    at_s: float, told: list[list[str]]
) -> None:
    ears, at = hearing(), round(at_s * RATE_HZ)

    found = [
        *ears.hear(sound(HOURS.samples[:at])),
        *ears.flush(),
        *ears.hear(sound(HOURS.samples[at:], 0.2)),
        *ears.flush(),
    ]

    assert [final for final in finals(found) if final] == told


def test_speech_is_noticed_at_its_start_and_reported_as_it_continues() -> None:
    found = list(hearing().hear(sound(0.5, HOURS.samples)))

    told = [[word.text for word in item.words] for item in found if item.what == "interim"]
    assert [item.what for item in found].count("speech_started") == 1
    assert told[-1] == ["when", "are", "you"]


def test_a_word_that_did_not_arrive_is_not_heard() -> None:
    ears = hearing()
    without = np.concatenate([HOURS.samples[: RATE_HZ // 2], HOURS.samples[RATE_HZ:]])

    list(ears.hear(sound(without, 0.2)))

    assert [word.text for word in next(iter(ears.flush())).words] == ["when", "you", "open"]


def test_an_early_recogniser_is_done_before_a_flush() -> None:
    ears = hearing(early=True)

    found = list(ears.hear(sound(HOURS.samples, 0.12)))

    assert found[-1].what == "final"
    assert len(found[-1].words) == 4
    assert next(iter(ears.flush())).words == ()


def test_an_endpoint_ends_an_utterance() -> None:
    ears = hearing(endpoint_s=0.3)

    assert not [ear for ear in ears.hear(sound(HOURS.samples, 0.28)) if ear.what == "final"]
    assert [ear.what for ear in ears.hear(sound(0.02))] == ["final"]


def test_misaligned_sound_is_found() -> None:
    ears = hearing()

    list(ears.hear(sound(np.zeros(BLOCK // 2 + 7, np.int16), PRICE.samples, 0.2)))

    assert [word.text for word in next(iter(ears.flush())).words] == ["how", "much"]


def test_the_same_question_twice_is_heard_twice() -> None:
    ears = hearing()

    found = [*ears.hear(sound(PRICE.samples, 0.2)), *ears.flush()]
    found += [*ears.hear(sound(1.0, PRICE.samples, 0.2)), *ears.flush()]

    assert [final for final in finals(found) if final] == [["how", "much"], ["how", "much"]]


def test_unknown_sound_is_silence() -> None:
    noise = np.random.default_rng(9).integers(-9000, 9000, size=RATE_HZ).astype(np.int16)
    ears = hearing()

    found = [*ears.hear(sound(noise)), *ears.flush()]

    assert not any(ear.words for ear in found)


def test_silence_becomes_final_at_intervals() -> None:
    found = list(hearing().hear(sound(6.0)))

    assert [item.end_s for item in found if item.what == "final"] == [5.0]


async def test_a_stream_of_another_kind_is_refused_as_by_the_real_recogniser() -> None:
    stream = await KnownEars([HOURS]).open(HearingSettings(rate_hz=16_000))

    with pytest.raises(EarsError, match="16000 Hz"):
        async with asyncio.timeout(10):
            await anext(stream.results())


async def test_a_stream_reports_the_heard_words() -> None:
    stream = await KnownEars([HOURS]).open(TELEPHONE)
    await stream.hear(sound(HOURS.samples, 0.2))
    await stream.flush()

    async with asyncio.timeout(10):
        async for heard in stream.results():
            if heard.what == "flushed":
                break

    assert len(heard.words) == 4
