"""Clips in a recording, found by their rendered sound, not by their words."""

import functools

import numpy as np
import pytest
import soxr
from numpy.typing import NDArray

from lab.drill.clips_heard import HeardClips, RenderedClip, find_clips, outside_clips
from lab.drill.evidence import JudgedTurn
from lab.drill.judge import ExpectedWords, judge
from lab.drill.local_words import utterances
from lab.drill.rig import AskedTurn
from lab.simulators.voices.voices import Speech, speak_now, voice_of
from tests.lab.drill.recordings import PRICE, RATE_HZ, line, sent, silence, whole_reply

CLIPS_HZ = 16_000
TRIMMED = 31  # samples of silence cut before it: an odd number, so not whole telephone samples
FILLER = "One moment."
SENTENCE = "I am still here. Something is slow on my side, and I have not forgotten your question."
VOICES = ("cartesia", "elevenlabs")
SAID = ExpectedWords(text=PRICE, pauses=[0.0] * len(PRICE.split()))
TURN = AskedTurn(question="?", answer=PRICE, began_s=2.0, stop_s=2.0, end_s=30.0)


@functools.cache  # spoken only once: a second rendering would differ
def spoken(text: str, voice: str) -> Speech:
    return speak_now(text, voice=voice_of(voice), rate_hz=CLIPS_HZ)


def rendered(text: str, voice: str) -> RenderedClip:
    """Return a clip as the lab's record has it, brought to the telephone's rate as a whole."""
    said = spoken(text, voice)
    whole = soxr.resample(said.samples, CLIPS_HZ, RATE_HZ).astype(np.int16)
    first, last = (round(at_s * RATE_HZ) for at_s in (said.words[0].start_s, said.words[-1].end_s))
    return RenderedClip(text=text, provider=voice, samples=whole[first:last])


def played(text: str, voice: str = "cartesia") -> NDArray[np.int16]:
    """Return a clip as a call plays it: trimmed at its own rate, and then at the telephone's."""
    samples = spoken(text, voice).samples
    return soxr.resample(samples[TRIMMED:], CLIPS_HZ, RATE_HZ).astype(np.int16)


def judged(*sound: NDArray[np.int16]) -> JudgedTurn:
    recording = line(silence(1.0), *sound, silence(0.5), whole_reply().recording)
    verdict = judge(recording, sent(PRICE), said=SAID, stop_s=0.0)
    return JudgedTurn(turn=TURN, verdict=verdict, requests=(), recording=recording)


def found(*sound: NDArray[np.int16]) -> HeardClips:
    clips = [rendered(text, voice) for text in (FILLER, SENTENCE) for voice in VOICES]
    return find_clips(judged(*sound), clips)


@pytest.mark.parametrize(("is_clip", "whole"), [(True, True), (False, False)])
def test_a_word_of_the_reply_counts_twice_unless_a_clip_has_it(
    *, is_clip: bool, whole: bool
) -> None:
    (word,) = [item for item in sent(PRICE) if item.text == "about"]
    around = rendered(FILLER, "cartesia").samples
    sound = np.concatenate((around, word.samples, around))
    clip = RenderedClip(text="One about one.", provider="cartesia", samples=sound)
    turn = judged(sound)
    heard = find_clips(turn, [clip] if is_clip else [])

    assert turn.verdict.extra == ("about",)
    assert outside_clips(turn, heard).verdict.whole is whole


@pytest.mark.parametrize("text", [FILLER, SENTENCE])
def test_a_clip_in_the_agents_voice_is_found_and_nothing_else_is_heard(text: str) -> None:
    heard = found(played(text))

    assert [clip for clip, _, _ in heard.clips] == [text]
    assert heard.other == ()


def test_two_clips_in_a_row_are_both_found() -> None:
    heard = found(played(FILLER), silence(1.0), played(SENTENCE))

    assert [clip for clip, _, _ in heard.clips] == [FILLER, SENTENCE]
    assert heard.other == ()


@pytest.mark.parametrize("text", [FILLER, SENTENCE])
def test_the_local_voice_with_the_same_words_is_no_clip(text: str) -> None:
    (utterance, *_) = utterances(text)
    heard = found(utterance.samples)

    assert heard.clips == ()
    assert heard.other
