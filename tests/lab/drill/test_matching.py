"""Damage to a word on a line: less than half of it is never the word."""

from dataclasses import replace

import numpy as np
import pytest

from lab.drill.matching import TELEPHONE, EarPath, SearchedRecording
from lab.drill.mending import Wear
from tests.lab.drill.recordings import PRICE, RATE_HZ, Pcm, sent, silence

WORN = EarPath(
    alike=0.93,
    short_alike=0.95,
    wear=Wear(differs=0.3, again=0.9, squeezed=RATE_HZ * 15 // 1000, patient=True),
    band_hz=(300.0, 3000.0),
    finer=4,
)
EUROS = next(item.samples for item in sent(PRICE) if item.text == "euros.")
PLACE = 4000  # where the word begins in every recording here


def heard(*parts: Pcm) -> Pcm:
    return np.concatenate([silence(PLACE / RATE_HZ), *parts, silence(1.0)])


def between_samples(sound: Pcm, parts: float) -> Pcm:
    """Return a sound as sampled by another clock, this fraction of a sample earlier."""
    size = sound.size + 400
    turns = np.exp(2j * np.pi * np.fft.rfftfreq(size) * parts)
    return np.fft.irfft(np.fft.rfft(sound, size) * turns, size)[: sound.size].astype(np.int16)


def without(sound: Pcm, first: int, length: int) -> Pcm:
    return np.concatenate([sound[:first], sound[first + length :]])


@pytest.mark.parametrize("parts", [0.0, 0.25, 0.5])
def test_a_word_is_found_between_two_samples(parts: float) -> None:
    recording = heard(between_samples(EUROS, parts))

    (found,) = SearchedRecording(recording, line=WORN).matches(EUROS)

    assert found.start == pytest.approx(PLACE, abs=1)
    assert found.alike > 0.98
    (coarse,) = SearchedRecording(recording, line=replace(WORN, finer=1, alike=0.5)).matches(EUROS)
    assert coarse.alike <= found.alike


def test_a_word_with_a_period_left_out_is_found_only_on_a_squeezing_line() -> None:
    recording = heard(without(EUROS, EUROS.size // 2, 90))

    found = SearchedRecording(recording, line=WORN).matches(EUROS)[0]

    assert found.start == pytest.approx(PLACE, abs=8)
    assert found.end - found.start == pytest.approx(EUROS.size - 90, abs=8)
    assert SearchedRecording(recording, line=TELEPHONE).matches(EUROS) == []


@pytest.mark.parametrize("line", [TELEPHONE, WORN], ids=["telephone", "browser"])
def test_a_word_without_half_of_it_is_no_word(line: EarPath) -> None:
    gone = EUROS.size // 2

    middle = heard(without(EUROS, (EUROS.size - gone) // 2, gone))
    end = heard(EUROS[:-gone])

    assert SearchedRecording(middle, line=line).matches(EUROS) == []
    assert SearchedRecording(end, line=line).matches(EUROS) == []


@pytest.mark.parametrize("line", [TELEPHONE, WORN], ids=["telephone", "browser"])
def test_a_torn_word_is_found_as_often_as_it_is_heard(line: EarPath) -> None:
    middle = EUROS.size // 2
    torn = np.concatenate([EUROS[:middle], silence(0.01), EUROS[middle:]])

    found = SearchedRecording(heard(torn, silence(0.2), torn), line=line).matches(EUROS)

    starts = {round((match.start - PLACE) / (torn.size + 1600)) for match in found}
    assert starts == {0, 1}
