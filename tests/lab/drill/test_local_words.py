"""The local voice's words: found without a record of them, and as strictly."""

import numpy as np
import pytest
from numpy.typing import NDArray

from lab.drill.hearing import LOCAL, Sent
from lab.drill.judge import ExpectedWords, ReplyVerdict, judge
from lab.drill.local_words import utterances
from providers.local_tts import say_locally
from tests.lab.drill.recordings import HOURS, LEAD_S, PRICE, RATE_HZ, line, sent, silence, speech

Pcm = NDArray[np.int16]

FIRST, SECOND = PRICE.partition(". ")[0] + ".", PRICE.partition(". ")[2]


def local(text: str) -> Pcm:
    return np.frombuffer(say_locally(text, "en", rate_hz=RATE_HZ), "<i2")


def judge_turn(*parts: Pcm, text: str = PRICE, words: list[Sent] | None = None) -> ReplyVerdict:
    recording = line(silence(LEAD_S), *parts, silence(1.0))
    said = ExpectedWords(text=text, pauses=[0.3] * len(text.split()))
    return judge(recording, words or [], said=said, stop_s=0.0, local=utterances(text))


@pytest.mark.parametrize("text", [PRICE, HOURS])
def test_a_reply_in_the_local_voice_is_whole(text: str) -> None:
    verdict = judge_turn(local(text), text=text)

    assert verdict.whole, verdict
    assert [word.text for word in verdict.words] == text.split()
    assert verdict.voices == (LOCAL,)
    assert verdict.first_word_s == pytest.approx(LEAD_S, abs=0.03)
    assert verdict.gap_s == pytest.approx(0.0, abs=0.05)


@pytest.mark.parametrize("after", [1, 20])
def test_the_local_voice_continues_where_another_ended(after: int) -> None:
    before = speech(PRICE, "cartesia")
    heard = before.samples[: before.index(before.words[after - 1].end_s)]
    rest = local(" ".join(PRICE.split()[after:]))
    verdict = judge_turn(heard, rest, words=sent(PRICE, "cartesia")[:after])

    assert verdict.whole, verdict
    assert verdict.voices == ("cartesia", LOCAL)


@pytest.mark.parametrize("index", [0, 4])
def test_a_sentence_with_a_missing_a_silent_or_a_repeated_word_fails(index: int) -> None:
    whole, start, end = _cut(FIRST, index)
    before, after, rest = whole[:start], whole[end:], local(SECOND)

    assert not judge_turn(before, after, rest).whole
    assert not judge_turn(before, silence((end - start) / RATE_HZ), after, rest).whole
    assert not judge_turn(whole[:end], whole[start:], rest).whole


@pytest.mark.parametrize(
    "other",
    [
        PRICE.replace("forty", "fifty"),
        PRICE.replace("by card or in cash", "in cash or by card"),
        SECOND,
        f"{FIRST} {FIRST} {SECOND}",
    ],
)
def test_another_text_in_the_local_voice_is_not_the_reply(other: str) -> None:
    assert not judge_turn(local(other)).whole


def test_words_said_by_both_voices_are_said_twice() -> None:
    spoken = speech(PRICE, "cartesia")
    verdict = judge_turn(spoken.samples, local(SECOND), words=sent(PRICE, "cartesia"))

    assert not verdict.whole
    assert verdict.extra


def test_a_reply_of_a_provider_holds_no_local_words() -> None:
    for voice in ("cartesia", "elevenlabs"):
        verdict = judge_turn(speech(PRICE, voice).samples, words=[])

        assert verdict.words == ()


def _cut(sentence: str, index: int) -> tuple[Pcm, int, int]:
    """Return a sentence's sound, and where one of its words begins and ends."""
    (spoken, *_) = utterances(sentence)
    _, start_s, end_s = spoken.words[index]
    return spoken.samples, round(start_s * RATE_HZ), round(end_s * RATE_HZ)
