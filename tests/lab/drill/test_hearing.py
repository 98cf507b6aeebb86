"""The judge: voices at other rates than the line's, whose requests an agent joins to one sound."""

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
import soxr

from lab.drill.hearing import Sent, bare_words
from lab.drill.judge import ExpectedWords, ReplyVerdict, judge
from lab.simulators.voices.voices import speak_now, voice_of
from providers.adapter.voice_reports import Resampling
from tests.lab.drill.recordings import LEAD_S, PRICE, RATE_HZ, Pcm, line, silence, speech

CLAUSES = ("A haircut costs", "forty euros.", "It takes about half an hour, and you can", "pay by")
REQUESTS = (*CLAUSES, PRICE.split("pay by ")[1])


def joined(texts: Sequence[str], rate_hz: int, *, shift: int) -> tuple[Pcm, list[Sent]]:
    """Return requests resampled as one stream, and their words as the lab's record has them.

    Args:
        texts: What each request asked for.
        rate_hz: The voice's rate.
        shift: The samples of silence with which each request's sound begins.
    """
    stream, heard, words = Resampling(RATE_HZ), b"", list[Sent]()
    for number, text in enumerate(texts):
        spoken = speak_now(text, voice=voice_of("openai-tts"), rate_hz=rate_hz)
        sound = soxr.resample(spoken.samples, rate_hz, RATE_HZ).astype(np.int16)
        heard += stream.add(bytes(2 * shift) + spoken.samples.tobytes(), rate_hz)
        words += [
            Sent(
                text=word.text,
                provider="openai-tts",
                request=number,
                start_s=word.start_s,
                end_s=word.end_s,
                samples=sound[round(word.start_s * RATE_HZ) : round(word.end_s * RATE_HZ)],
                rate_hz=rate_hz,
            )
            for word in spoken.words
        ]
    return np.frombuffer(heard + stream.end(), np.int16), words


def judged(heard: Sequence[Pcm], sent: Sequence[Sent]) -> ReplyVerdict:
    recording = line(silence(LEAD_S), *heard, silence(1.0))
    said = ExpectedWords(text=PRICE, pauses=[0.0] * len(PRICE.split()))
    return judge(recording, sent, said=said, stop_s=0.0)


@pytest.mark.parametrize(("rate_hz", "shift"), [(16_000, 1), (24_000, 1), (24_000, 2), (44_100, 2)])
def test_each_word_of_requests_that_were_joined_is_found(rate_hz: int, shift: int) -> None:
    heard, sent = joined(REQUESTS, rate_hz, shift=shift)

    verdict = judged([heard], sent)

    assert verdict.whole, (verdict.missing, verdict.extra)


@pytest.mark.parametrize("shift", [0, 1, 2])
def test_a_voice_that_joins_requests_continues_another(shift: int) -> None:
    first = speech("A haircut costs forty", "cartesia")
    rest = ("euros.", *REQUESTS[2:])
    heard, sent = joined(rest, 24_000, shift=shift)
    before = [
        Sent(
            text=word.text,
            provider="cartesia",
            request=9,
            start_s=word.start_s,
            end_s=word.end_s,
            samples=first.samples[first.index(word.start_s) : first.index(word.end_s)],
        )
        for word in first.words
    ]

    verdict = judged([first.samples, heard], [*before, *sent])

    assert verdict.whole, (verdict.missing, verdict.extra)
    assert verdict.voices == ("cartesia", "openai-tts")


@pytest.mark.parametrize("index", [3, 6, 14, 21])
def test_a_word_cut_out_between_two_samples_is_missing(index: int) -> None:
    heard, sent = joined(REQUESTS, 24_000, shift=1)
    lengths = [
        max(word.end_s for word in words)
        for _, words in itertools.groupby(sent, key=lambda word: word.request)
    ]
    word = sent[index]
    begins_s = sum(lengths[: word.request])
    start, end = (round((begins_s + at_s) * RATE_HZ) for at_s in (word.start_s, word.end_s))

    verdict = judged([heard[:start], heard[end:]], sent)

    assert bare_words(PRICE)[index] in verdict.missing
