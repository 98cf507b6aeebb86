import math

import pytest

from lab.simulators import faults, schedule
from lab.simulators.schedule import Pattern, Schedule, Window

STALL = faults.Stall(after_words=2)
CUT = faults.Cut()


@pytest.mark.parametrize(
    ("now_s", "holds"), [(0.9, False), (1.0, True), (2.99, True), (3.0, False)]
)
def test_a_window_applies_from_its_beginning_until_its_end(now_s: float, *, holds: bool) -> None:
    window = Window(fault=STALL, from_s=1.0, until_s=3.0)

    assert window.holds(now_s, chance=0.5) is holds


@pytest.mark.parametrize(("chance", "hit"), [(0.0, True), (0.29, True), (0.3, False), (0.9, False)])
def test_a_probability_hits_that_share_of_requests(chance: float, *, hit: bool) -> None:
    assert Window(fault=STALL, p=0.3).holds(0.0, chance=chance) is hit


@pytest.mark.parametrize(("now_s", "on"), [(10.0, True), (11.9, True), (12.0, False), (15.0, True)])
def test_a_pattern_comes_and_goes_from_the_windows_beginning(now_s: float, *, on: bool) -> None:
    window = Window(fault=STALL, from_s=10.0, pattern=Pattern(on_s=2.0, off_s=3.0))

    assert window.holds(now_s, chance=0.0) is on


@pytest.mark.parametrize(
    ("path", "hit"), [("/tts#probe", True), ("/tts#a-call", False), ("", False)]
)
def test_a_window_may_apply_to_some_paths_only(path: str, *, hit: bool) -> None:
    assert Window(fault=STALL, path="#probe").holds(0.0, chance=0.0, path=path) is hit


def test_the_newest_applicable_window_wins() -> None:
    plan = Schedule((Window(fault=STALL), Window(fault=CUT, from_s=5.0, until_s=6.0)))

    assert [plan.active(now_s, 0.5) for now_s in (0.0, 5.5, 6.5)] == [STALL, CUT, STALL]


def test_a_yaml_schedule_names_its_instances() -> None:
    text = """
    openai:
      - {fault: http, status: 503, retry_after_s: 1.5, from_s: 2, until_s: 9, p: 0.3}
      - {fault: cut, after_words: 7, how: close, requests: 1}
    deepgram:
      - {fault: refuse, pattern: {on_s: 5, off_s: 10}}
    """

    plans = schedule.load_schedules(text)

    assert plans["openai"][0] == Window(
        fault=faults.Http(status=503, retry_after_s=1.5), from_s=2, until_s=9, p=0.3
    )
    assert plans["openai"][1].requests == 1
    assert plans["deepgram"][0].pattern == Pattern(on_s=5, off_s=10)


def test_a_schedule_in_json_may_be_indented_with_tabs() -> None:
    text = '{\n\t"openai": [\n\t\t{"fault": "stall", "after_words": 2}\n\t]\n}'

    assert schedule.load_schedules(text) == {"openai": (Window(fault=STALL),)}


def test_a_window_survives_a_round_trip_through_a_mapping() -> None:
    window = Window(
        fault=CUT, from_s=1.0, p=0.5, requests=2, pattern=Pattern(on_s=1, off_s=1), path="#a"
    )

    mapping = schedule.window_as_mapping(window)

    assert schedule.parse_windows([mapping]) == (window,)
    assert not any(value == math.inf for value in mapping.values())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("openai: 3", "openai: a schedule is 3; it takes a list of faults"),
        ("openai: [3]", "openai: a fault is 3; it takes a mapping"),
        ("[1]", "the schedule is [1]; it takes instance names"),
        ("openai: [{fault: cut, p: 2}]", "openai: p is 2; it takes a share from 0 to 1"),
        ("openai: [{fault: cut, from_s: -1}]", "from_s is -1; it takes seconds"),
        ("openai: [{fault: cut, until_s: soon}]", "until_s is 'soon'; it takes seconds"),
        ("openai: [{fault: cut, from_s: 4, until_s: 4}]", "until_s is 4; it takes seconds after"),
        ("openai: [{fault: cut, requests: 0}]", "requests is 0; it takes a whole number"),
        ("openai: [{fault: cut, path: 3}]", "path is 3; it takes a part of a path or query"),
        ("openai: [{fault: cut, pattern: 3}]", "pattern is 3; it takes {on_s"),
        ("openai: [{fault: cut, pattern: {on_s: 1, off_s: 0}}]", "it takes {on_s"),
        ("openai: [{fault: cut, form_s: 3}]", "unknown key 'form_s'"),
        ("openai: [", "not YAML"),
    ],
)
def test_a_wrong_schedule_is_one_line_with_the_cure(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=r".") as wrong:
        schedule.load_schedules(text)

    assert message in str(wrong.value)
    assert "\n" not in str(wrong.value)
