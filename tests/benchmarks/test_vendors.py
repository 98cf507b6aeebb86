"""The rows of the benchmark of other vendors' ladders."""

from collections import Counter

from benchmarks.vendors import TWO_DEEPGRAMS, build_rows, is_met
from lab.simulators.schedule import parse_windows

ROWS = tuple(build_rows())


def test_each_row_has_its_own_name_and_breaks_rungs_of_its_own_lab() -> None:
    assert max(Counter(item.name for item in ROWS).values()) == 1
    for item in ROWS:
        names = {spec.name for spec in item.options.instances}
        assert {fault.provider for fault in item.row.breaks} <= names
        assert parse_windows([fault.window for fault in item.row.breaks])
        assert set(item.options.rungs) <= names


def test_a_run_misses_its_target_if_a_word_is_lost_doubled_or_late() -> None:
    good = {"healthy_whole": True, "missing": [], "extra": [], "misheard": 0.0, "later_s": 0.3}
    row = ROWS[0]
    wrong = (
        {"healthy_whole": False},
        {"missing": ["euros"]},
        {"extra": ["euros"]},
        {"misheard": 1.0},
        {"later_s": 0.36},
    )

    assert is_met(row, good)
    assert [is_met(row, good | more) for more in wrong] == [False] * len(wrong)


def test_two_dead_deepgrams_are_one_incident() -> None:
    good = {"healthy_whole": True, "missing": [], "extra": [], "misheard": 0.0, "later_s": 0.6}
    row = next(item for item in ROWS if item.name == TWO_DEEPGRAMS)

    both = {"error_message": "Deepgram is down: deepgram and deepgram-b fail alike"}
    one = {"error_message": "Deepgram cannot be reached"}

    met = [is_met(row, good | {"alerts": told}) for told in ([], [both], [both, both], [one])]

    assert met == [False, True, False, False]
