"""Words that went to the line, and are not played there when they are due."""

from collections.abc import Sequence

import pytest

from calls.line import CallerLine
from processors.holding.delivered_rules import CHECK_S, CHECKS, DeliveredWords

NOW = 100.0
FOUND_S = CHECK_S * CHECKS  # after the words were due


class Bench:
    """A line with an answer of words that take 0.5 s each."""

    def __init__(self, *, before_s: float = 0.0) -> None:
        self.now = NOW
        self.line = CallerLine()
        self.line.add(before_s, self.now)
        self.delivered = DeliveredWords(self.line)
        self.delivered.played(self.now - 5.0)  # the greeting

    def answer(self, words: Sequence[str]) -> None:
        for word in words:
            self.line.add(0.5, self.now)
            self.delivered.sounded(0.5)
            self.delivered.word(word, spaced=False)

    def pass_s(self, seconds: float, *, plays: bool = False, lag_s: float = 0.02) -> str:
        """Let time pass in steps of `lag_s`; return the words that are missing."""
        until, missing = self.now + seconds, ""
        while self.now < until and not missing:
            self.now = min(until, self.now + lag_s)
            wake_at = self.delivered.wake_at
            if wake_at is not None and wake_at <= self.now:
                missing = self.delivered.tick(self.now)
            if plays:
                self.delivered.played(self.now)
        return missing


@pytest.mark.parametrize("lag_s", [0.02, 0.3, 2.0])
@pytest.mark.parametrize("before_s", [0.0, 0.4, 2.5])
def test_words_that_the_line_never_plays_are_missing(before_s: float, lag_s: float) -> None:
    bench = Bench(before_s=before_s)
    bench.answer(["We", "open", "at", "nine."])

    assert bench.pass_s(10.0, lag_s=lag_s) == "We open at nine."
    assert bench.now - NOW <= before_s + max(FOUND_S + 0.1, (CHECKS + 1) * lag_s)
    assert bench.pass_s(10.0) == ""


@pytest.mark.parametrize("lag_s", [0.02, 0.3, 2.0])
@pytest.mark.parametrize("before_s", [0.0, 2.5])
def test_words_that_the_line_plays_are_not_missing(before_s: float, lag_s: float) -> None:
    bench = Bench(before_s=before_s)
    bench.answer(["We", "open", "at", "nine."])

    assert bench.pass_s(before_s, lag_s=lag_s) == ""
    assert bench.pass_s(10.0, plays=True, lag_s=lag_s) == ""


def test_the_rest_is_missing_if_the_line_stops() -> None:
    bench = Bench()
    bench.answer(["one", "two", "three", "four", "five", "six", "seven", "eight"])

    assert bench.pass_s(1.0, plays=True) == ""
    assert bench.pass_s(10.0).endswith("six seven eight")


def test_words_of_a_lost_line_that_may_return_wait() -> None:
    bench = Bench()
    bench.answer(["We", "open."])
    for _ in range(50):
        bench.line.played(0.0, bench.now)
        assert bench.pass_s(0.2) == ""

    assert bench.pass_s(2.0, plays=True) == ""


@pytest.mark.parametrize("case", ["interrupted", "silent line", "nothing delivered"])
def test_nothing_is_missing(case: str) -> None:
    bench = Bench()
    if case == "silent line":  # it has never reported that it plays anything
        bench.delivered = DeliveredWords(bench.line)
    if case != "nothing delivered":
        bench.answer(["We", "open."])
    if case == "interrupted":
        bench.delivered.forget()

    assert bench.pass_s(10.0) == ""


def test_characters_of_scripts_without_spaces_are_said_again_as_written() -> None:
    bench = Bench()
    bench.line.add(0.5, bench.now)
    bench.delivered.sounded(0.5)
    for sign in "\u6211\u4eec":
        bench.delivered.word(sign, spaced=True)

    assert bench.pass_s(10.0) == "\u6211\u4eec"


@pytest.mark.parametrize(("starts_after_s", "missing"), [(0.9, ""), (1.4, ""), (9.0, "We open.")])
def test_a_line_may_start_slowly_after_its_first_piece(starts_after_s: float, missing: str) -> None:
    bench = Bench()
    bench.delivered = DeliveredWords(bench.line)
    bench.delivered.played(bench.now)
    bench.answer(["We", "open."])

    assert bench.pass_s(starts_after_s) == missing
    assert bench.pass_s(2.0, plays=True) == ""


@pytest.mark.parametrize("began_s", [0.0, 0.3, 1.2])
@pytest.mark.parametrize("stall_s", [0.5, 1.5, 2.5])
def test_our_own_stall_leaves_a_starting_line_as_much_more_time(
    began_s: float, stall_s: float
) -> None:
    bench = Bench()
    bench.delivered = DeliveredWords(bench.line)
    bench.delivered.played(bench.now)
    bench.answer(["We", "open."])
    assert bench.pass_s(began_s) == ""

    bench.now += stall_s  # the line gets nothing meanwhile

    assert bench.pass_s(1.4 - began_s) == ""
    assert bench.pass_s(9.0) == "We open."
