"""The caller's line: when it runs dry, and the words that the caller has heard."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calls.line import CallerLine
from processors.holding.utterance_rules import OwnSentence, OwnWords


def line_with(length_s: float, now: float = 10.0, *, protected: bool = False) -> CallerLine:
    line = CallerLine()
    line.add(length_s, now, protected=protected)
    return line


def test_added_sound_plays_after_the_queued_sound() -> None:
    line = line_with(1.0)
    line.add(0.5, 10.4)

    assert line.dry_at == 11.5
    assert line.queued_s(10.4) == pytest.approx(1.1)
    assert line.heard_s(10.4) == pytest.approx(0.4)


def test_a_late_mark_shows_that_the_line_lags() -> None:
    line = line_with(2.0)
    line.played(0.2, 10.3)

    assert line.dry_at == pytest.approx(12.1)
    assert line.heard_s(10.3) == pytest.approx(0.2)


def test_a_barge_in_empties_the_line_and_keeps_the_heard_words() -> None:
    line = line_with(2.0)
    line.flush(10.5)
    line.add(1.0, 11.0)

    assert line.heard_s(11.0) == pytest.approx(0.5)
    assert line.dry_at == 12.0


def test_a_barge_in_keeps_protected_sound() -> None:
    line = line_with(1.0)
    line.add(2.0, 10.0, protected=True)
    line.flush(10.5)

    assert line.dry_at == pytest.approx(12.5)
    assert line.queued_s(10.5) == pytest.approx(2.0)


def test_sound_withheld_from_the_line_leaves_it_unchanged() -> None:
    line = line_with(1.0)
    line.add(3.0, 10.2)
    line.drop(3.0, 10.3)

    assert line.dry_at == pytest.approx(11.0)
    assert line.end_s == pytest.approx(1.0)
    line.played(0.5, 10.5)
    assert line.dry_at == pytest.approx(11.0)


def test_sound_that_never_reached_the_line_makes_it_late_for_a_second_only() -> None:
    line = line_with(3.0)  # which the far end never reports
    line.add(1.0, 14.5)
    line.played(0.2, 14.7)

    assert line.dry_at == pytest.approx(15.5)


@given(st.lists(st.tuples(st.sampled_from(["add", "played", "flush"]), st.floats(0.0, 2.0))))
def test_heard_time_never_exceeds_sent_sound_and_never_decreases(
    steps: list[tuple[str, float]],
) -> None:
    line, now, heard_s = CallerLine(), 10.0, 0.0
    for kind, size in steps:
        now += size / 2
        heard_s = max(heard_s, line.heard_s(now)) if kind != "played" else 0.0
        match kind:
            case "add":
                line.add(size, now)
            case "played":
                line.played(size, now)
            case _:
                line.flush(now)
        assert line.heard_s(now) <= line.end_s + 1e-9
        if kind != "played":  # a mark may show that less was heard than estimated
            assert line.heard_s(now) >= heard_s - 1e-9


def test_our_own_words_are_remembered_when_the_line_has_played_them() -> None:
    line = line_with(1.0)
    words = OwnWords(line)
    line.add(2.0, 10.0)
    words.add(OwnSentence(text="We open at nine."), 2.0)

    assert words.wake_at == 13.0
    assert words.heard(12.9) == []
    line.played(0.2, 10.7)  # half a second behind
    assert words.heard(13.1) == []
    assert [heard.text for heard in words.heard(13.5)] == ["We open at nine."]
    assert words.wake_at is None


@pytest.mark.parametrize(
    ("text", "heard"), [("one two three four", "one two"), ("我们九点", "我们")]
)
def test_the_beginning_of_our_interrupted_words_is_remembered(text: str, heard: str) -> None:
    line = line_with(1.0)
    words = OwnWords(line)
    line.add(1.0, 10.0)
    words.add(OwnSentence(text=text), 1.0)
    line.flush(11.6)

    assert [sentence.text for sentence in words.cut(11.6)] == [heard]
    assert words.cut(11.6) == []


def test_protected_words_are_remembered_when_they_have_been_heard() -> None:
    line = line_with(1.0)
    words = OwnWords(line)
    line.add(2.0, 10.0, protected=True)
    words.add(OwnSentence(text="This call is recorded.", protected=True), 2.0)
    line.flush(10.4)

    assert words.cut(10.4) == []
    assert words.wake_at == pytest.approx(12.4)  # it begins at once
    assert words.heard(12.3) == []
    assert [heard.text for heard in words.heard(12.5)] == ["This call is recorded."]


def test_sound_queued_at_a_stall_is_still_queued_afterwards() -> None:
    line = CallerLine()
    line.add(2.0, 100.0)

    line.stand_still(0.5, 101.0)

    assert line.dry_at == 102.5
    assert line.heard_s(101.0) == 0.5


@pytest.mark.parametrize(
    ("stood_until", "dry_at"),
    [(101.0, 101.5), (101.4, 101.5), (101.5, 101.0), (102.0, 101.0)],
    ids=["it played until now", "it ran dry meanwhile", "it was dry by then", "it was dry before"],
)
def test_a_stalled_line_is_late_if_it_had_sound_to_play(stood_until: float, dry_at: float) -> None:
    line = line_with(1.0, 100.0)

    line.stand_still(0.5, stood_until)

    assert line.dry_at == dry_at


def test_protected_sound_keeps_its_place_after_a_stall() -> None:
    line = line_with(1.0, 100.0)
    line.add(2.0, 100.0, protected=True)  # from 101 to 103, and half a second later now
    line.add(1.0, 100.0)

    line.stand_still(0.5, 100.75)
    line.flush(101.0)

    assert line.queued_s(101.0) == 2.0


def test_a_position_counts_as_heard_once_everything_before_it_was_played() -> None:
    line = line_with(2.0)

    assert [line.heard_at(number) for number in (0.0, 0.5, 2.0)] == [10.0, 10.5, 12.0]


def test_a_far_end_that_resumes_plays_its_buffer_and_the_new_sound() -> None:
    line = line_with(2.0)
    line.played(0.5, 10.5)

    line.play_again(0.25, 11.0)
    once = line.dry_at
    line.play_again(0.25, 11.0)

    assert (once, line.dry_at) == (12.75, 13.0)


def test_protected_sound_is_as_late_as_the_line() -> None:
    line = line_with(1.0, 100.0)
    line.add(2.0, 100.0, protected=True)
    line.played(0.25, 100.75)  # half a second behind

    line.flush(101.0)

    assert line.queued_s(101.0) == 2.0


def test_a_second_barge_in_keeps_protected_sound_and_nothing_after_it() -> None:
    line = line_with(1.0, 100.0)
    line.add(2.0, 100.0, protected=True)
    line.flush(100.5)
    line.add(3.0, 100.5)
    heard_s = line.heard_s(100.5)

    line.flush(101.0)

    assert (heard_s, line.heard_s(101.0)) == (0.5, 1.0)
    assert line.dry_at == 102.5


def test_protected_sound_that_was_heard_is_not_kept() -> None:
    line = line_with(0.5, 100.0, protected=True)
    line.add(2.0, 100.0)

    line.flush(101.0)

    assert (line.dry_at, line.heard_s(101.0)) == (101.0, 1.0)


def test_an_unused_line_is_dry() -> None:
    assert CallerLine().queued_s(0.0) == 0.0
