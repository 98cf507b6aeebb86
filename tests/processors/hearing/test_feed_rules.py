"""The sound given to one recogniser, and whether its first connection takes too long."""

from dataclasses import replace

import pytest

from calls.transcript import Heard, HeardWord
from fallbacks.lag import Lag
from fallbacks.stt_times import FIRST_CONNECTION_S
from processors.hearing.feed_rules import Feed, Opening
from processors.hearing.replay_rules import SoundRing

NOW = 100.0


def test_a_slow_first_connection_is_reported_once() -> None:
    opening = Opening(Lag())
    before = opening.note_overdue(NOW)
    opening.note_started(NOW)

    assert not before
    assert opening.under_way
    assert not opening.note_overdue(NOW + FIRST_CONNECTION_S - 0.1)
    assert opening.note_overdue(NOW + FIRST_CONNECTION_S)
    assert not opening.note_overdue(NOW + 2 * FIRST_CONNECTION_S)


def test_a_finished_connection_is_not_overdue() -> None:
    opening = Opening(Lag())
    opening.note_started(NOW)
    opening.end()

    assert not opening.under_way
    assert not opening.note_overdue(NOW + FIRST_CONNECTION_S)


@pytest.mark.parametrize("ours", [True, False])
def test_an_abandoned_recogniser_counts_as_having_written_nothing_until_it_writes_again(
    *, ours: bool
) -> None:
    feed = Feed("a", reconnected_by_us=ours)
    feed.note_result(NOW, words=True)
    wrote = feed.wrote

    feed.renew()

    assert (wrote, feed.wrote) == (True, False)


@pytest.mark.parametrize(
    ("starts_s", "kept"),
    [
        ((5.0, 5.4), "i would"),
        ((4.95, 5.3), "i would"),  # a recogniser may report a short first word early
        ((4.81, 5.3), "i would"),
        ((4.79, 5.3), "would"),  # the result begins in the earlier feed
        ((3.0, 4.95), ""),
    ],
)
def test_a_word_that_is_reported_a_little_before_its_feed_is_kept(
    starts_s: tuple[float, ...], kept: str
) -> None:
    ring = SoundRing(bytes_a_second=1000)
    ring.push(bytes(10_000))
    feed = Feed("a", reconnected_by_us=True)
    feed.start_feed(ring, 5.0, NOW)  # an earlier feed of 5 s
    feed.end()
    feed.start_feed(ring, 7.0, NOW, replayed=True)
    words = [
        HeardWord(text=text, start_s=at_s, end_s=at_s + 0.08)
        for text, at_s in zip(("i", "would"), starts_s, strict=True)
    ]

    told = feed.in_caller_seconds(Heard(text="i would", words=tuple(words), end_s=6.0))

    assert told is not None
    assert told.text == kept
    assert len(told.words) == len(kept.split())


def test_written_words_have_the_times_of_the_callers_sound() -> None:
    ring = SoundRing(bytes_a_second=10)
    ring.push(bytes(50))
    feed = Feed("a", reconnected_by_us=True)
    feed.start_feed(ring, 3.0, NOW)
    word = HeardWord(text="two", start_s=0.5, end_s=1.0)
    heard = Heard(text="two", final=True, interim=False, flushed=False, end_s=1.5, words=(word,))

    told = feed.in_caller_seconds(heard)
    untimed = feed.in_caller_seconds(replace(heard, end_s=None))

    assert told == replace(heard, end_s=4.5, words=(replace(word, start_s=3.5, end_s=4.0),))
    assert untimed is not None
    assert untimed.end_s is None
