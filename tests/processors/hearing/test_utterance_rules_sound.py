"""The caller's sound that a recogniser gets when it is asked for an utterance."""

import itertools
from typing import Final

import pytest

from calls.turn import Turn
from fallbacks.attempt_events import Ask
from fallbacks.attempts import Attempting
from fallbacks.availability import AvailabilityTable, Place
from fallbacks.ladder import StagePolicy
from processors.hearing.decision import HearingAction
from processors.hearing.feed_rules import Feed, FeedSound, MarkSpeech
from processors.hearing.replay_rules import SoundRing
from processors.hearing.utterance_rules import CallerUtterance

NOW: Final = 100.0
FRAME_S: Final = 0.02
FRAME: Final = b"\x00\x10" * 320  # loud
SILENCE: Final = bytes(640)
SPEAKS: Final = MarkSpeech(provider="a", speaking=True)
STOPPED: Final = MarkSpeech(provider="a", speaking=False)

ASK = Ask(attempt=3, provider="a")


def utterance(*, not_before_s: float = 0.0) -> CallerUtterance:
    """Return speech that the VAD places at the end of the first second."""
    availability = AvailabilityTable([Place(stage="stt", provider="a", credential="a")], now=NOW)
    policy = StagePolicy(stage="stt", availability=availability)
    return CallerUtterance(
        lambda: Attempting(policy, numbers=itertools.count(1)),
        began_s=1.0,
        not_before_s=not_before_s,
        turn=Turn(budget_s=1.5),
    )


def two_seconds(*, silent_s: float = 0.0) -> SoundRing:
    ring = SoundRing(bytes_a_second=32_000)
    for number in range(100):
        ring.push(SILENCE if number * FRAME_S < silent_s else FRAME)
    return ring


def recogniser(*, connected: bool = True, hears_from_s: float | None = None) -> Feed:
    feed = Feed("a", reconnected_by_us=True)
    feed.connected = connected
    if hears_from_s is not None:
        feed.start_feed(two_seconds(), hears_from_s, NOW)
    return feed


def replay(sound: SoundRing, from_s: float) -> tuple[HearingAction, ...]:
    return (SPEAKS, FeedSound(provider="a", sound=sound.since(from_s)))


@pytest.mark.parametrize(
    ("not_before_s", "silent_s", "from_s"),
    [(0.0, 0.0, 0.5), (0.75, 0.0, 0.75), (0.0, 1.5, 0.85)],
    ids=[
        "a moment before the VAD noticed",
        "nothing of what was written before",
        "no more silence than a soft beginning needs",
    ],
)
def test_a_connected_recogniser_hears_the_utterance_at_once_from_its_first_word(
    not_before_s: float, silent_s: float, from_s: float
) -> None:
    spoken, feed, sound = (
        utterance(not_before_s=not_before_s),
        recogniser(),
        two_seconds(silent_s=silent_s),
    )

    assert spoken.ask(feed, ASK, sound, NOW) == replay(sound, from_s)

    assert (feed.attempt, feed.waits, feed.replayed) == (3, False, True)
    assert feed.from_s == from_s


def test_an_unconnected_recogniser_is_asked_first_and_hears_it_then() -> None:
    spoken, feed, sound = utterance(), recogniser(connected=False), two_seconds()

    assert spoken.ask(feed, ASK, sound, NOW) == (ASK,)
    assert (feed.attempt, feed.waits) == (3, True)

    assert spoken.feed(feed, sound, NOW + 0.3) == replay(sound, 0.5)
    assert not feed.waits


def test_a_late_recogniser_asked_again_is_reconnected() -> None:
    spoken, feed, sound = utterance(), recogniser(), two_seconds()
    spoken.ask(feed, ASK, sound, NOW)
    again = Ask(attempt=4, provider="a")

    assert spoken.ask(feed, again, sound, NOW + 0.6) == (again,)

    assert (feed.attempt, feed.waits, feed.connected, feed.open) == (4, True, False, False)


@pytest.mark.parametrize(
    ("hears_from_s", "anew"),
    [(0.2, False), (0.5, False), (0.6, True), (None, True)],
    ids=["long since", "just so", "the first word is missing", "it hears nothing"],
)
def test_a_recogniser_that_heard_the_first_word_is_only_told_that_the_caller_speaks(
    hears_from_s: float | None, *, anew: bool
) -> None:
    spoken, sound = utterance(), two_seconds()
    feed = recogniser(hears_from_s=hears_from_s)

    told = spoken.feed(feed, sound, NOW)

    assert told == (replay(sound, 0.5) if anew else (SPEAKS,))
    assert feed.replayed is anew


def test_a_recogniser_that_got_no_silence_first_gets_the_missed_sound() -> None:
    spoken, sound, feed = utterance(), two_seconds(), recogniser(hears_from_s=0.2)
    feed.held_s = 1.5

    missed = FeedSound(provider="a", sound=sound.since(1.5))
    assert spoken.feed(feed, sound, NOW) == (missed, SPEAKS)


def test_a_recogniser_that_hears_it_after_the_stop_is_told_that_too() -> None:
    spoken, feed, sound = utterance(), recogniser(), two_seconds()
    spoken.stop(2.0, 0.2, NOW)

    assert spoken.feed(feed, sound, NOW) == (*replay(sound, 0.5), STOPPED)

    assert feed.held_s == sound.end_s  # it lags: it gets no silence
