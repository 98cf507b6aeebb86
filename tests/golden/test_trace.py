"""Golden traces keep what every run repeats, and show where two of them differ."""

from typing import Any

import pytest

from fallbacks.failure import Kind
from tests.golden.calls import CALLS
from tests.golden.trace import SHOWN, TRACES, compare_traces, normalised


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        ({"turn": 2, "at_s": 3, "v2v_s": 0.6, "cost": 0.01}, {"turn": 2}),
        ({"call_id": "1cbbb5f095a9", "call_ref": "CA20", "text": "Yes."}, {"text": "Yes."}),
        ({"early": False, "dropped": 0, "error": "", "finished": True}, {"finished": True}),
        ({"parts": {"llm_s": 0.2, "kind": Kind.CUT}}, {"parts": {"kind": "cut"}}),
        ({"spans": ({"words": 3}, {"took_s": 1})}, {"spans": [{"words": 3}]}),
        ({"reason": "127.0.0.1:40123: refused"}, {"reason": "HOST: refused"}),
        ({"key": "llm-openai-1795748503790"}, {"key": "llm-openai-ID"}),
        ({"url": "/ws#1db2d7b6-4072-44ab-bfc8-dba12759b90d"}, {"url": "/ws#ID"}),
        ({"caller": "+15005550006"}, {"caller": "+15005550006"}),
    ],
    ids=[
        *("times and costs", "ids", "what is empty", "nested", "a sequence"),
        *("a port", "a moment in a key", "an id in a path", "a telephone number"),
    ],
)  # fmt: skip
def test_a_trace_keeps_what_every_run_repeats(told: dict[str, Any], kept: dict[str, Any]) -> None:
    assert normalised(told) == kept


def test_equal_traces_do_not_differ() -> None:
    assert compare_traces(["one", "two"], ["one", "two"], name="call") == []


def test_a_difference_is_shown_with_its_surroundings() -> None:
    recorded = [f"line {number}" for number in range(9)]
    now = [*recorded[:5], "another", *recorded[6:]]

    found = compare_traces(recorded, now, name="call")

    assert found[:2] == ["--- call, recorded", "+++ call, now"]
    assert found[3:] == [" line 3", " line 4", "-line 5", "+another", " line 6", " line 7"]


def test_a_change_of_order_is_a_difference() -> None:
    assert compare_traces(["one", "two"], ["two", "one"], name="call")


@pytest.mark.parametrize(
    ("line", "other"),
    [
        ('["a",{"reason":"ConnectionRefusedError"}]', '["b",{"reason":"ConnectionRefusedError"}]'),
        (
            '["process","IncidentBegan",{"rung":"a","then":"b is used instead"}]',
            '["process","IncidentBegan",{"rung":"b","then":"callers get the menu"}]',
        ),
        ('["call 1","AgentSaid",{"text":"Bye."}]', '["call 1","UsageMeasured",{}]'),
    ],
    ids=["refused connections", "incidents", "the end of a call"],
)
def test_the_order_of_what_happens_at_one_moment_is_no_difference(line: str, other: str) -> None:
    assert compare_traces([line, other, "end"], [other, line, "end"], name="call") == []
    assert compare_traces([line, other, "end"], [other, "end", line], name="call")


def test_the_order_of_what_the_agent_said_is_a_difference() -> None:
    one, two = (f'["call 1","AgentSaid",{{"text":"{text}"}}]' for text in "ab")

    assert compare_traces([one, two], [two, one], name="call")


def test_a_long_difference_is_cut_short() -> None:
    found = compare_traces(["old"] * 100, ["new"] * 100, name="call")

    assert len(found) == SHOWN + 1
    assert found[-1] == "... and 143 lines more"


def test_every_golden_call_is_recorded_and_no_other() -> None:
    assert {path.stem for path in TRACES.iterdir()} == set(CALLS)
