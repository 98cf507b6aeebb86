"""The check of a voice's word times against its sound."""

import time

import numpy as np
import pytest

from fallbacks.ladder import StagePolicy
from fallbacks.word_times import WordTimes
from processors.speaking.alignment_rules import AlignSound, KeptSound, SoundAligned
from processors.speaking.drift_rules import CHECKS, CONFIRMED, TimeCheck, drift_of
from tests.processors.speaking.tts_bench import policy

RATE_HZ = 8000
TEXT = "We are open. Come in now. Thanks."
# The words' sound: a pause of 0.4 s after each sentence.
SOUND = [(0.0, 0.3), (0.3, 0.6), (0.6, 1.0), (1.4, 1.7), (1.7, 2.0), (2.0, 2.4), (2.8, 3.2)]


def shared() -> StagePolicy:
    return policy(["one"], time.monotonic())


def known() -> StagePolicy:
    """Return a policy with a voice whose times were right often enough."""
    found = shared()
    found.confirmed["one"] = CONFIRMED
    return found


def kept(until_s: float = 3.2) -> KeptSound:
    sound = np.zeros(round(until_s * RATE_HZ), dtype="<i2")
    for start_s, end_s in SOUND:
        sound[round(start_s * RATE_HZ) : round(end_s * RATE_HZ)] = 2000
    found = KeptSound(RATE_HZ)
    found.start_voice(0, 0.0)
    found.add(sound.tobytes())
    return found


def reported(by_s: float = 0.0, *, pace: float = 1.0) -> WordTimes:
    words = WordTimes()
    words.add_text(TEXT, may_join=True)
    for word, (start_s, end_s) in zip(words.words, SOUND, strict=True):
        word.start_s, word.end_s = pace * start_s + by_s, pace * end_s + by_s
    return words


def aligned(reported_s: list[float | None], ends_s: list[float] | None) -> SoundAligned:
    asked = AlignSound(
        attempt=1,
        words=("a",) * len(reported_s),
        text="",
        pcm=b"",
        first=0,
        from_s=0.0,
        received_s=9.0,
        ended=True,
        reported_s=tuple(reported_s),
    )
    return SoundAligned(attempt=1, asked=asked, ends_s=None if ends_s is None else tuple(ends_s))


def check(found: StagePolicy) -> TimeCheck:
    times = TimeCheck(found)
    times.check_voice_from(1, "one", 0)
    return times


@pytest.mark.parametrize("by_s", [-0.1, 0.0, 0.1])
def test_times_of_a_known_voice_that_fit_are_not_doubted(by_s: float) -> None:
    times, sound = check(known()), kept()
    assert not times.doubts(reported(by_s), sound, 3.2)
    assert not times.doubts_end(reported(by_s), sound, 3.2)


@pytest.mark.parametrize(
    "words",
    [reported(0.3), reported(0.6), reported(-0.3), reported(pace=1.3), reported(pace=0.7)],
    ids=["late", "later", "early", "slow", "fast"],
)
def test_times_of_a_known_voice_that_do_not_fit_are_doubted(words: WordTimes) -> None:
    times, sound = check(known()), kept()
    assert times.doubts(words, sound, 9.0) or times.doubts_end(words, sound, 3.2)


def test_a_sentence_is_judged_only_when_its_pause_has_come() -> None:
    times, sound = check(known()), kept(1.3)
    assert not times.doubts(reported(0.3), sound, 1.3)
    assert times.doubts(reported(0.3), kept(2.1), 2.1)


def test_the_sound_of_a_sentence_that_fits_is_forgotten() -> None:
    times, sound = check(known()), kept()
    times.doubts(reported(), sound, 3.2)
    assert sound.from_s == pytest.approx(2.8, abs=0.01)


def test_the_first_sentences_of_a_voice_are_always_checked_but_not_for_ever() -> None:
    times, sound, words = check(shared()), kept(), reported()
    asked = [times.doubts(words, sound, 9.0) for _ in range(9)]
    assert asked.count(True) == 2  # no sentence follows the third
    assert times.doubts_end(words, sound, 3.2)
    assert not times.doubts_end(words, sound, 3.2)
    assert asked.count(True) + 1 <= CHECKS


def test_an_estimate_is_not_checked() -> None:
    times, words = check(shared()), reported()
    words.timed = False
    assert not times.doubts(words, kept(), 9.0)
    assert not times.doubts_end(words, kept(), 3.2)


@pytest.mark.parametrize(
    ("reported_s", "ends_s", "drift_s"),
    [
        ([0.3, 0.6, 1.0], [0.3, 0.7, 1.0], 0.0),
        ([0.8, 1.1, 1.5], [0.3, 0.6, 1.0], 0.5),
        ([None, 1.1, 1.5, 2.0], [0.3, 0.6, 1.0, 1.5], 0.5),
        ([0.3, 0.6, 1.0, 1.5, 1.8, 2.2], [0.3, 0.6, 1.0, 1.8, 2.2, 2.7], 0.4),
        ([0.8, 1.1], [0.3, 0.6], None),
        ([0.8, 1.1, 1.5], [], None),
        ([0.8, 1.1, 1.5], None, None),
    ],
)
def test_the_drift_is_the_median_of_enough_words(
    reported_s: list[float | None], ends_s: list[float] | None, drift_s: float | None
) -> None:
    found = drift_of(aligned(reported_s, ends_s))
    assert found == (drift_s if drift_s is None else pytest.approx(drift_s))


RIGHT = aligned([0.3, 0.6, 1.0], [0.3, 0.6, 1.0])
WRONG = aligned([0.8, 1.1, 1.5], [0.3, 0.6, 1.0])
UNKNOWN = aligned([0.8, 1.1, 1.5], None)
SHORT = aligned([0.8, 1.1, 1.5], [0.3])


@pytest.mark.parametrize(
    ("results", "rejected"),
    [
        ([WRONG], False),
        ([WRONG, WRONG], True),
        ([WRONG, RIGHT, WRONG], False),
        ([RIGHT, WRONG, WRONG], True),
        ([WRONG, UNKNOWN, WRONG], False),
        ([WRONG, SHORT, WRONG], True),
        ([UNKNOWN] * 4, False),
    ],
)
def test_two_alignments_in_a_row_reject_a_voices_times(
    results: list[SoundAligned],
    rejected: bool,  # noqa: FBT001 - a column of the table
) -> None:
    found = shared()
    times = check(found)
    told = [event for event in map(times.judge, results) if event]
    assert [event.provider for event in told] == (["one"] if rejected else [])
    assert times.ignores("one") == rejected
    assert not check(found).ignores("two")


def test_a_late_result_does_not_count_against_the_next_voice() -> None:
    found = shared()
    times = check(found)
    times.judge(WRONG)
    times.check_voice_from(2, "two", 3)
    assert times.judge(WRONG) is None
    assert (found.suspected, found.drifting) == ({"one"}, set())
