"""The judge: recordings with one error must never pass."""

import numpy as np
import pytest

from lab.drill.hearing import bare_words
from lab.drill.sound import silence as silence_in
from lab.drill.sound import stretches
from tests.lab.drill.recordings import (
    HOURS,
    LEAD_S,
    PRICE,
    RATE_HZ,
    Reply,
    line,
    sent,
    silence,
    speech,
    taken_over,
    whole_reply,
)

WORDS = len(PRICE.split())
SOME = (0, 6, 9, 13, WORDS - 2)  # long and short words
VOICES = ("cartesia", "elevenlabs")


@pytest.mark.parametrize("voice", VOICES)
@pytest.mark.parametrize("text", [PRICE, HOURS])
def test_a_whole_reply_passes_with_each_word_in_its_place(text: str, voice: str) -> None:
    verdict = whole_reply(text, voice).judged()

    assert verdict.whole, verdict
    assert [word.text for word in verdict.words] == text.split()
    assert verdict.voices == (voice,)
    assert verdict.gap_s == pytest.approx(0.0, abs=0.03)
    assert verdict.other == ()


@pytest.mark.parametrize(
    ("index", "voice"),
    [*((at, "cartesia") for at in (*SOME, WORDS - 1)), (6, "elevenlabs")],
)
def test_a_word_cut_out_of_the_recording_fails(index: int, voice: str) -> None:
    reply = whole_reply(voice=voice)
    start, end = reply.span(index)
    found = reply.heard_as(reply.recording[:start], reply.recording[end:]).judged()

    assert not found.whole
    assert bare_words(PRICE)[index] in found.missing


@pytest.mark.parametrize("index", [0, 9])
def test_a_word_that_is_silent_fails(index: int) -> None:
    reply = whole_reply()
    start, end = reply.span(index)
    muted = reply.recording.copy()
    muted[start:end] = 0

    assert not reply.heard_as(muted).judged().whole


@pytest.mark.parametrize("index", [0, 9, WORDS - 1])
def test_a_word_heard_twice_fails(index: int) -> None:
    reply = whole_reply()
    start, end = reply.span(index)
    twice = reply.heard_as(reply.recording[:end], reply.recording[start:]).judged()

    assert not twice.whole
    assert twice.extra


@pytest.mark.parametrize("index", [0, 9, WORDS - 2])
def test_two_words_in_the_wrong_order_fail(index: int) -> None:
    reply = whole_reply()
    (start, end), (then, until) = reply.span(index), reply.span(index + 1)
    sound = reply.recording
    swapped = reply.heard_as(
        sound[:start], sound[then:until], sound[end:then], sound[start:end], sound[until:]
    )

    assert not swapped.judged().whole


def test_the_same_word_from_the_other_voice_fails_when_it_is_heard_as_well() -> None:
    again = " ".join(PRICE.split()[6:])  # the second voice begins one word too early
    reply = taken_over(7)
    words = (*reply.sent[:7], *sent(again, "elevenlabs", request=7))
    before = speech(PRICE, "cartesia")
    heard = before.samples[: before.index(before.words[6].end_s)]
    sound = line(silence(1.0), heard, speech(again, "elevenlabs").samples)

    verdict = Reply(recording=sound, sent=words).judged()

    assert not verdict.whole
    assert verdict.extra == ("takes",)


@pytest.mark.parametrize("after", [1, 7])
def test_a_reply_that_two_voices_share_passes(after: int) -> None:
    verdict = taken_over(after).judged()

    assert verdict.whole, verdict
    assert verdict.voices == VOICES


@pytest.mark.parametrize("words", [2, 3])
def test_a_voices_text_that_left_words_out_is_recognised(words: int) -> None:
    kept = PRICE.split()
    skipped = " ".join(kept[:7] + kept[7 + words :])
    before, rest = speech(skipped, "cartesia"), " ".join(kept[7:])
    heard = before.samples[: before.index(before.words[6].end_s)]
    sound = line(silence(1.0), heard, speech(rest, "elevenlabs").samples, silence(1.0))
    said = (*sent(skipped), *sent(rest, "elevenlabs", request=7))

    verdict = Reply(recording=sound, sent=said).judged()

    assert verdict.whole, verdict
    assert verdict.voices == VOICES


def test_words_that_a_voice_left_out_and_no_other_said_are_missing() -> None:
    kept = PRICE.split()
    skipped = " ".join(kept[:7] + kept[9:])
    sound = line(silence(1.0), speech(skipped, "cartesia").samples, silence(1.0))

    verdict = Reply(recording=sound, sent=tuple(sent(skipped))).judged()

    assert verdict.missing == tuple(bare_words(" ".join(kept[7:9])))
    assert not verdict.extra


@pytest.mark.parametrize("gap_s", [0.2, 1.3])
def test_a_gap_where_the_voices_change_is_measured(gap_s: float) -> None:
    verdict = taken_over(7, gap_s=gap_s).judged()

    assert verdict.whole
    assert verdict.gap_s == pytest.approx(gap_s, abs=0.08)


@pytest.mark.parametrize("index", [2, 15])
def test_a_gap_between_two_words_of_one_voice_is_measured_beyond_their_own_pause(
    index: int,
) -> None:
    reply = whole_reply()
    _, end = reply.span(index)
    torn = reply.heard_as(reply.recording[:end], silence(0.6), reply.recording[end:]).judged()

    assert torn.whole
    assert torn.gap_s == pytest.approx(0.6, abs=0.03)


@pytest.mark.parametrize("index", [1, 13, WORDS - 1])
@pytest.mark.parametrize("share", [0.3, 0.8])
def test_a_word_with_a_short_gap_torn_into_it_still_counts(index: int, share: float) -> None:
    reply = whole_reply()
    start, end = reply.span(index)
    middle = round(start + (end - start) * share)
    torn = reply.heard_as(reply.recording[:middle], silence(0.019), reply.recording[middle:])

    verdict = torn.judged()

    assert verdict.missing == (), verdict
    assert verdict.extra == ()


@pytest.mark.parametrize("index", [1, 22])
def test_a_word_with_two_gaps_torn_into_it_still_counts(index: int) -> None:
    reply = whole_reply()
    start, end = reply.span(index)
    one, two = start + (end - start) // 3, start + 2 * (end - start) // 3
    sound = reply.recording
    torn = reply.heard_as(sound[:one], silence(0.02), sound[one:two], silence(0.04), sound[two:])

    assert torn.judged().whole


def test_a_word_with_a_long_gap_in_it_is_no_word() -> None:
    reply = whole_reply()
    start, end = reply.span(13)
    middle = (start + end) // 2
    torn = reply.heard_as(reply.recording[:middle], silence(0.5), reply.recording[middle:])

    assert not torn.judged().whole


def test_half_a_word_counts_as_no_word() -> None:
    reply = whole_reply()
    start, end = reply.span(3)
    half = reply.heard_as(reply.recording[: (start + end) // 2], silence(1.0)).judged()

    assert [word.text for word in half.words] == PRICE.split()[:3]
    assert half.missing == tuple(bare_words(PRICE)[3:])


def test_a_partial_word_before_the_whole_one_is_reported_as_other_speech() -> None:
    after = 7
    before = speech(PRICE, "cartesia")
    word = before.words[after]
    heard = before.samples[: before.index((word.start_s + word.end_s) / 2)]
    rest = " ".join(PRICE.split()[after:])
    words = (*sent(PRICE, "cartesia")[:after], *sent(rest, "elevenlabs", request=7))
    sound = line(silence(LEAD_S), heard, silence(0.2), speech(rest, "elevenlabs").samples)

    verdict = Reply(recording=sound, sent=words).judged()

    assert verdict.whole
    assert len(verdict.other) == 1


def test_a_filler_is_speech_and_not_the_first_word() -> None:
    reply = whole_reply()
    filler = line(speech("One moment.", "cartesia").samples)
    words = (*sent("One moment.", request=3), *reply.sent)
    heard = Reply(
        recording=np.concatenate([silence(0.5), filler, reply.recording]), sent=words
    ).judged()

    assert heard.whole
    assert heard.first_speech_s == pytest.approx(0.5, abs=0.1)
    assert heard.first_word_s == pytest.approx(0.5 + filler.size / RATE_HZ + LEAD_S, abs=0.01)
    assert len(heard.other) >= 1


def test_an_empty_recording_is_never_whole() -> None:
    verdict = whole_reply().heard_as(silence(5.0)).judged()

    assert not verdict.whole
    assert verdict.first_word_s is None
    assert verdict.first_speech_s is None
    assert len(verdict.missing) == WORDS


def test_another_voice_saying_the_same_is_no_reply_of_this_one() -> None:
    reply = whole_reply(voice="cartesia")
    stranger = line(silence(1.0), speech(PRICE, "elevenlabs").samples)

    assert reply.heard_as(stranger).judged().words == ()


def test_a_moment_is_exact_to_the_sample() -> None:
    verdict = whole_reply().judged()

    assert verdict.first_word_s == pytest.approx(LEAD_S, abs=1 / RATE_HZ)


def test_the_silence_of_a_reply_is_the_longest_between_stretches_of_speech() -> None:
    tone = np.full(RATE_HZ // 2, 5000, np.int16)
    sound = np.concatenate([silence(1.0), tone, silence(2.0), tone, silence(0.5)])

    assert stretches(sound) == [(1.0, 1.5), (3.5, 4.0)]
    assert silence_in(sound, 0.0, 4.5) == pytest.approx(2.0)
    assert silence_in(sound, 3.5, 4.5) == pytest.approx(0.5)
