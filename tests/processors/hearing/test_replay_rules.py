"""The caller's words, kept and delivered once."""

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calls.transcript import HeardWord
from processors.hearing.replay_rules import (
    SOFT_S,
    SoundRing,
    Transcripts,
    matched,
    replay_from_s,
)
from tests.thoroughness import promised


def words(text: str, *, from_s: float = 0.0) -> list[HeardWord]:
    return [
        HeardWord(text=each, start_s=from_s + 0.3 * n, end_s=from_s + 0.3 * (n + 1))
        for n, each in enumerate(text.split())
    ]


def test_the_ring_returns_the_sound_since_a_moment() -> None:
    ring = SoundRing(bytes_a_second=10)
    for chunk in (b"abcd", b"efgh", b"ij"):
        ring.push(chunk)

    assert b"".join(ring.since(0.6)) == b"ghij"
    assert ring.end_s == 1.0


def test_a_replay_begins_at_a_whole_sample() -> None:
    ring = SoundRing(bytes_a_second=10)
    ring.push(b"abcdefghij")

    assert b"".join(ring.since(0.5)) == b"efghij"


def test_the_ring_is_bounded_and_forgets_the_oldest() -> None:
    ring = SoundRing(bytes_a_second=10, kept_s=1.0)
    for _ in range(100):
        ring.push(b"0123")

    assert len(b"".join(ring.since(0.0))) <= 10
    assert ring.end_s == 40.0


def test_a_finished_utterance_is_forgotten_except_the_moment_before_the_next() -> None:
    ring = SoundRing(bytes_a_second=10)
    for chunk in (b"abcd", b"efgh", b"ij"):
        ring.push(chunk)

    ring.forget(0.5)

    assert ring.start_s == 0.4
    assert b"".join(ring.since(0.0)) == b"efghij"


@promised
@given(sizes=st.lists(st.integers(1, 40), max_size=30), from_s=st.floats(0, 80))
def test_a_replay_is_always_the_end_of_the_received_sound(sizes: list[int], from_s: float) -> None:
    ring = SoundRing(bytes_a_second=16, kept_s=5.0)
    stream = bytes(n % 251 for n in range(sum(sizes)))
    at = 0
    for size in sizes:
        ring.push(stream[at : at + size])
        at += size

    replayed = b"".join(ring.since(from_s))

    assert stream.endswith(replayed)
    wanted = stream[int(from_s * 16) :]
    assert len(replayed) <= len(wanted) + 1
    assert len(replayed) >= min(len(wanted), 80 - 40)


def test_a_replay_begins_half_a_second_before_the_detected_speech_if_that_was_kept() -> None:
    assert replay_from_s(10.0, 3.0) == 9.5
    assert replay_from_s(10.0, 9.8) == 9.8


def loud(*pieces: tuple[float, int]) -> SoundRing:
    """Return this many seconds of sound of this height, in frames of 20 ms."""
    ring = SoundRing(bytes_a_second=32_000)
    for seconds, height in pieces:
        for _ in range(round(seconds / 0.02)):
            ring.push(array("h", [height, -height] * 160).tobytes())
    return ring


def test_the_silence_before_the_first_word_is_left_out() -> None:
    ring = loud((1.0, 20), (0.6, 3000))

    assert ring.onset_s(0.5, 1.2) == pytest.approx(1.0 - SOFT_S, abs=0.03)


def test_a_word_that_began_before_its_detection_is_replayed_whole() -> None:
    assert loud((1.0, 3000)).onset_s(0.3, 0.8) == pytest.approx(0.3)


def test_no_sound_after_the_detected_speech_is_left_out() -> None:
    assert loud((1.0, 0)).onset_s(0.2, 0.7) == pytest.approx(0.7 - SOFT_S, abs=0.03)


def test_one_recognisers_words_are_delivered_unchanged() -> None:
    heard = Transcripts()
    heard.use_recogniser(1, replayed=False)

    assert heard.deliver(1, "I would like") == "I would like"
    assert heard.deliver(1, "a table a table") == "a table a table"


def test_words_with_times_are_delivered_once_whatever_their_text() -> None:
    heard = Transcripts()
    heard.use_recogniser(1, replayed=False)
    heard.deliver(1, "I would like", words=words("I would like"))
    heard.use_recogniser(2, replayed=True)

    written = "Eye wood like a table"
    assert heard.deliver(2, written, words=words(written)) == "a table"


@pytest.mark.parametrize(
    "finals",
    [
        ["I would like a table for two"],
        ["I'd like a table for two"],
        ["I would", "like a table", "for two"],
        ["I", "would like a", "table for two"],
        ["I wood like", "a table for two"],
    ],
)
def test_words_without_times_are_delivered_once_by_their_text(finals: list[str]) -> None:
    heard = Transcripts()
    heard.use_recogniser(1, replayed=False)
    heard.deliver(1, "I would like")
    heard.use_recogniser(2, replayed=True)

    for final in finals:
        heard.deliver(2, final)

    assert heard.text == "I would like a table for two"


@promised
@given(
    count=st.integers(1, 20), cut=st.integers(0, 20), parts=st.integers(1, 5), timed=st.booleans()
)
def test_a_standby_that_starts_amid_the_delivered_words_repeats_and_loses_none(
    count: int,
    cut: int,
    parts: int,
    timed: bool,  # noqa: FBT001  hypothesis calls it by keyword
) -> None:
    said = words(" ".join(f"w{n}" for n in range(count)), from_s=5.0)
    heard = Transcripts()
    heard.use_recogniser(1, replayed=False)
    heard.deliver(1, " ".join(word.text for word in said[:cut]), words=said[:cut])
    from_s = heard.again_from_s
    heard.use_recogniser(2, replayed=True, from_s=from_s)
    again = [word for word in said if word.start_s >= from_s]
    size = -(-len(again) // parts)

    for at in range(0, len(again), size):
        part = again[at : at + size]
        text = " ".join(word.text for word in part)
        heard.deliver(2, text, words=part if timed else ())

    assert heard.text.split() == [word.text for word in said]
    assert not cut or from_s <= said[: cut + 1][-1].end_s - 0.5 or from_s == 0.0


def test_a_recogniser_with_times_after_one_without_is_compared_by_words() -> None:
    heard = Transcripts()
    heard.use_recogniser(1, replayed=False)
    heard.deliver(1, "I would like")
    heard.use_recogniser(2, replayed=True)

    assert heard.deliver(2, "I would like tea", words=words("I would like tea")) == "tea"


def test_a_recogniser_that_received_only_the_later_sound_is_not_deduplicated() -> None:
    heard = Transcripts()
    heard.use_recogniser(1, replayed=False)
    heard.deliver(1, "yes")
    heard.use_recogniser(2, replayed=False)

    assert heard.deliver(2, "yes") == "yes"


def test_late_words_of_the_abandoned_recogniser_are_ignored() -> None:
    heard = Transcripts()
    heard.use_recogniser(1, replayed=False)
    heard.use_recogniser(2, replayed=True)

    assert heard.deliver(1, "late words") == ""


def test_the_next_utterance_may_repeat_the_same_words() -> None:
    heard = Transcripts()
    heard.use_recogniser(1, replayed=False)
    heard.deliver(1, "yes please")
    heard.start_utterance()
    heard.use_recogniser(2, replayed=True)

    assert heard.deliver(2, "yes please") == "yes please"


def test_different_words_are_no_repetition() -> None:
    assert matched(["hello"], ["goodbye", "now"]) == (0, 0)
    assert matched([], ["a"]) == (0, 0)
    assert matched(["a"], []) == (0, 0)


@promised
@given(count=st.integers(1, 20), cut=st.integers(0, 20), parts=st.integers(1, 5))
def test_a_faithful_replay_is_delivered_once_wherever_the_first_one_died(
    count: int, cut: int, parts: int
) -> None:
    said = [f"w{n}" for n in range(count)]
    heard = Transcripts()
    heard.use_recogniser(1, replayed=False)
    heard.deliver(1, " ".join(said[:cut]))
    heard.use_recogniser(2, replayed=True)
    size = -(-count // parts)

    for at in range(0, count, size):
        heard.deliver(2, " ".join(said[at : at + size]))

    assert heard.text.split() == said
