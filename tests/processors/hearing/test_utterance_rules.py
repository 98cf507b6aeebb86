"""One utterance of the caller: how long words are waited for, and when they are complete."""

import itertools
from collections.abc import Callable, Sequence
from typing import Final

import pytest

from calls.transcript import Heard
from calls.turn import Turn
from fallbacks.attempt_events import (
    Ask,
    AttemptAction,
    Done,
    EmitEvent,
    Exhausted,
    Failed,
    Use,
)
from fallbacks.attempts import Attempting
from fallbacks.availability import AvailabilityTable, Place
from fallbacks.deadline import Deadline
from fallbacks.events import AttemptStarted
from fallbacks.failure import Kind, failed
from fallbacks.ladder import Pace, StagePolicy
from fallbacks.lag import GRACE_S, PERIOD_S
from processors.hearing.utterance_rules import CallerUtterance

NOW: Final = 100.0
UNHURRIED_S: Final = 9.0
TIMEOUT_S: Final = 0.6  # the time of an unknown recogniser
GAP_S: Final = 0.5


class Waits(Turn):
    """A turn that waits until a moment, and never longer than 4 s more."""

    def __init__(self, at: float = 103.0) -> None:
        super().__init__(budget_s=1.5)
        self.at = at

    def patient_until(self, now: float) -> Deadline:
        return Deadline(at=min(now + 4.0, self.at))

    def unhurried_until(self, now: float, wait_s: float = UNHURRIED_S) -> Deadline:
        return Deadline(at=now + wait_s)


def stage(*names: str) -> StagePolicy:
    places = [Place(stage="stt", provider=name, credential=name) for name in names]
    return StagePolicy(
        stage="stt", availability=AvailabilityTable(places, now=NOW), pace=Pace(gap_s=GAP_S)
    )


def heard_by(policy: StagePolicy, *, turn: Waits | None = None) -> CallerUtterance:
    numbers = itertools.count(1)
    return CallerUtterance(
        lambda: Attempting(policy, numbers=numbers),
        began_s=1.0,
        not_before_s=0.0,
        turn=turn or Waits(),
    )


def begun(*names: str) -> CallerUtterance:
    utterance = heard_by(stage(*names))
    utterance.start(NOW)
    return utterance


def wrote(
    text: str = "", *, final: bool = True, end_s: float | None = None, flushed: bool = False
) -> Heard:
    return Heard(text=text, final=final, interim=not final, flushed=flushed, end_s=end_s, words=())


def doing(steps: Sequence[AttemptAction]) -> list[AttemptAction]:
    return [step for step in steps if not isinstance(step, EmitEvent)]


def lost(attempt: int, kind: Kind = Kind.AUTH) -> Failed:
    return Failed(attempt=attempt, failure=failed(kind, "stt", provider="a"))


def test_while_the_caller_speaks_there_is_no_wait() -> None:
    utterance = heard_by(stage("a"))

    assert doing(utterance.start(NOW)) == [Ask(attempt=1, provider="a")]
    utterance.stop(3.0, 0.2, 102.0)
    utterance.go_on(102.1)

    assert utterance.until(150.0) == Deadline(at=150.0 + UNHURRIED_S)


def test_after_the_stop_words_are_waited_for_within_the_stops_or_the_turns_time() -> None:
    policy = stage("a")
    turns = [heard_by(policy, turn=Waits(at)) for at in (103.0, 140.0)]
    for turn in turns:
        turn.stop(3.0, 0.2, 102.0)

    assert [turn.until(138.0) for turn in turns] == [Deadline(at=111.0), Deadline(at=140.0)]


def test_our_own_stall_does_not_count_as_waiting_time() -> None:
    utterance = begun("a")
    lag = utterance.attempting.policy.lag
    lag.beat(102.0)
    utterance.stop(3.0, 0.2, 102.0)

    assert utterance.awaits_words(111.5)  # nothing ran since
    assert utterance.until(111.5).at == pytest.approx(111.0 + 9.5 - PERIOD_S + GRACE_S)


def speaks(utterance: CallerUtterance) -> None:
    utterance.go_on(NOW)


def stops(utterance: CallerUtterance) -> None:
    utterance.stop(3.0, 0.2, 102.0)


def is_written(utterance: CallerUtterance) -> None:
    utterance.stop(3.0, 0.2, 102.0)
    utterance.read_result(1, wrote("yes", end_s=3.0), 102.0)


def is_lost(utterance: CallerUtterance) -> None:
    utterance.handle(lost(1), 101.0)


def is_lost_and_stops(utterance: CallerUtterance) -> None:
    is_lost(utterance)
    stops(utterance)


@pytest.mark.parametrize(
    ("happens", "now", "pending", "untranscribed"),
    [
        (speaks, 102.0, False, False),
        (stops, 110.9, True, False),
        (stops, 111.0, False, False),
        (is_written, 102.0, False, False),
        (is_lost, 150.0, False, True),
        (is_lost_and_stops, 110.9, False, True),
        (is_lost_and_stops, 111.0, False, False),
    ],
    ids=[
        "the caller speaks",
        "words may still come",
        "too late for words",
        "all words are transcribed",
        "no recogniser, and the caller continues",
        "no recogniser, but one may return in time",
        "no recogniser, and too late",
    ],
)
def test_words_are_pending_with_a_recogniser_and_untranscribed_without_one(
    happens: Callable[[CallerUtterance], None], now: float, *, pending: bool, untranscribed: bool
) -> None:
    utterance = begun("a")

    happens(utterance)

    assert (utterance.awaits_words(now), utterance.untranscribed(now)) == (pending, untranscribed)


def test_a_returning_recogniser_is_asked_for_unwritten_words() -> None:
    policy = stage("a")
    policy.availability.set_out("a", NOW, out=True)
    utterance = heard_by(policy)
    assert doing(utterance.start(NOW)) == [Exhausted(attempts=0)]

    policy.availability.set_out("a", 101.0, out=False)

    assert doing(utterance.start_again(101.0)) == [Ask(attempt=1, provider="a")]
    assert not utterance.untranscribed(101.0)


@pytest.mark.parametrize(
    ("end_s", "sure_s", "done"),
    [(2.75, 0.25, True), (2.74, 0.25, False), (2.9, 0.05, True), (2.89, 0.05, False)],
    ids=["to the last word", "a word is missing", "a quick VAD is given some slack", "not more"],
)
def test_words_written_before_the_stop_are_complete_if_they_reach_the_end_of_speech(
    end_s: float, sure_s: float, *, done: bool
) -> None:
    utterance = begun("a")
    won = utterance.read_result(1, wrote("yes", end_s=end_s), 101.0)
    utterance.read_result(1, wrote("and", end_s=2.0), 101.0)  # reaches as far as before

    stopped = utterance.stop(3.0, sure_s, 101.2)

    assert doing(won) == [Use(attempt=1, provider="a")]
    assert doing(stopped) == ([Done(attempt=1, provider="a")] if done else [])


@pytest.mark.parametrize(("at_s", "done"), [(0.1, True), (1.0, False)], ids=["nothing", "a word"])
def test_a_recogniser_without_words_has_written_everything_before_the_first_sound(
    at_s: float, *, done: bool
) -> None:
    utterance = begun("a")
    utterance.read_result(1, wrote("ye", final=False), 101.0)

    assert doing(utterance.stop(at_s, 0.2, 101.2)) == (
        [Done(attempt=1, provider="a")] if done else []
    )


@pytest.mark.parametrize(
    ("heard", "done"),
    [
        (wrote("yes", end_s=0.8), True),
        (wrote("yes", end_s=0.79), False),
        (wrote("yes", end_s=0.8, final=False), False),
        (wrote("yes"), False),
        (wrote("yes", flushed=True), True),
        (wrote("yes", flushed=True, end_s=0.5), False),
    ],
    ids=[
        "up to the end of speech",
        "short of the end of speech",
        "up to the end of speech, but interim",
        "without an end time",
        "flushed at our request",
        "flushed at an earlier request",
    ],
)
def test_an_utterance_is_complete_when_a_final_result_reaches_its_end(
    heard: Heard, *, done: bool
) -> None:
    utterance = begun("a")
    utterance.stop(1.0, 0.2, 102.0)

    steps = doing(utterance.read_result(1, heard, 102.1))

    written = [Done(attempt=1, provider="a")] if done else []
    assert steps == [Use(attempt=1, provider="a"), *written]


def test_nothing_is_complete_while_the_caller_continues() -> None:
    utterance = begun("a")

    steps = utterance.read_result(1, wrote("yes", end_s=9.0, flushed=True), 101.0)

    assert doing(steps) == [Use(attempt=1, provider="a")]


def test_a_result_without_words_is_only_a_heartbeat() -> None:
    utterance = begun("a", "b")
    assert utterance.attempting.wake_at == NOW + TIMEOUT_S

    assert utterance.read_result(1, wrote(), 100.25) == ()

    assert utterance.attempting.wake_at == 100.25 + TIMEOUT_S
    assert utterance.attempting.winner is None


@pytest.mark.parametrize(
    ("stopped_at", "silent_from"),
    [(100.5, 100.5), (100.75, 100.25)],
    ids=["a result just now", "silent for as long as allowed"],
)
def test_a_recogniser_with_a_heartbeat_just_before_the_stop_is_not_late(
    stopped_at: float, silent_from: float
) -> None:
    utterance = begun("a", "b")
    utterance.read_result(1, wrote(), 100.25)

    assert utterance.stop(3.0, 0.2, stopped_at) == ()

    assert utterance.attempting.wake_at == silent_from + TIMEOUT_S


def reads(utterance: CallerUtterance) -> Sequence[AttemptAction]:
    utterance.read_result(1, wrote("yes"), 100.5)
    return utterance.attempting.handle(lost(1, Kind.CUT), 100.5)


def meets(utterance: CallerUtterance) -> Sequence[AttemptAction]:
    return utterance.handle(lost(1), 100.5)


def waits(utterance: CallerUtterance) -> Sequence[AttemptAction]:
    return utterance.tick(100.5 + TIMEOUT_S)


def hears_the_stop(utterance: CallerUtterance) -> Sequence[AttemptAction]:
    utterance.stop(3.0, 0.2, 100.5)
    return utterance.attempting.handle(lost(1), 100.6)


@pytest.mark.parametrize(
    ("does", "extra"),
    [(reads, False), (meets, False), (waits, True), (hears_the_stop, False)],
    ids=["a result came", "the first one failed", "the first one is late", "the caller stopped"],
)
def test_the_next_recogniser_has_the_remaining_time(
    does: Callable[[CallerUtterance], Sequence[AttemptAction]], *, extra: bool
) -> None:
    told = [action.fact for action in does(begun("a", "b")) if isinstance(action, EmitEvent)]

    (started,) = [fact for fact in told if isinstance(fact, AttemptStarted)]
    assert (started.provider, started.extra) == ("b", extra)
    assert started.left_s == pytest.approx(UNHURRIED_S, abs=0.11)
