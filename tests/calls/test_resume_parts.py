"""A resume state is sent in parts, and one that cannot be used is declined."""

import json
from collections.abc import Iterator
from contextlib import suppress
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest

from calls.resume import KeptTool, ResumeState, conversation, next_step, unheard
from calls.resume_parts import (
    CONVERSATION_BYTES,
    MAX_STATE_BYTES,
    VERSION,
    BadStateError,
    join_parts,
    latest,
    split,
)
from tests.calls.test_resume import ASKED, SAID

STATE = ResumeState(
    call_id="c",
    began_at=1.0,
    kept_at=9.0,
    turn=2,
    entries=7,
    voice="cartesia",
    messages=ASKED,
    said=SAID,
    heard="We open at",
    partial="We open at",
    tools=[KeptTool(key="book {}", turn=2, result={"result": 1})],
    sensitive_said=["1234"],
)


def sent(state: ResumeState) -> tuple[Any, list[Any]]:
    """Return the parts as the next process reads them."""
    small, parts = json.loads(json.dumps(split(state)))
    return small, parts


def test_a_state_survives_its_parts() -> None:
    found = join_parts(*sent(STATE))

    assert replace(found, heard=STATE.heard) == STATE
    assert unheard(found.said, found.heard) == "nine. On Sunday we are closed."
    assert join_parts(*sent(ResumeState(call_id="c", messages=[], tools=[]))).call_id == "c"


@pytest.mark.parametrize("partial", ["at nine. On", "Right. We open", "We  open", ""])
def test_heard_words_that_no_message_has_survive(partial: str) -> None:
    assert join_parts(*sent(replace(STATE, partial=partial))).partial == partial


def test_only_the_parts_that_changed_differ_and_the_instructions_are_one_of_their_own() -> None:
    turn = [{"role": "user", "content": "x" * 900}, {"role": "assistant", "content": "y" * 900}]
    long = replace(STATE, messages=[{"role": "system", "content": "x" * 66_000}, *turn * 20])
    _, before = sent(long)
    _, after = sent(replace(long, messages=[*long.messages, turn[0]], heard=SAID))

    changed = [number for number, part in enumerate(after) if part not in before]
    assert changed == [len(after) - 1]
    assert before[2] == [long.messages[0]]


@pytest.mark.parametrize("later", [0, 1, 4], ids=["none", "one", "a block"])
def test_parts_of_a_later_state_add_nothing_to_the_conversation(later: int) -> None:
    small, _ = sent(STATE)
    more = [{"role": "user", "content": "x" * 3_000}] * later
    _, parts = sent(replace(STATE, messages=[*ASKED, *more]))

    assert join_parts(small, parts[: small["parts"]]).messages == ASKED


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"version": VERSION + 1}, "of another version"),
        ({"version": None}, "of another version"),
        ({"parts": "x"}, "damaged"),
        ({"parts": 10**9}, "damaged"),
        ({"parts": 5}, "incomplete"),
        ({"messages": 9}, "damaged: messages are missing"),
        ({"turn": "2"}, "damaged: turn is '2'"),
        ({"entries": None}, "damaged: entries is None"),
        ({"partial": [0]}, "damaged"),
        ({"partial": [0, -1]}, "damaged"),
        ({"turn": -1}, "damaged: turn is -1"),
        ({"entries": 10**400}, "damaged: entries is 1000"),
        ({"messages": -1}, "damaged"),
        ({"heard_to": -1}, "damaged"),
        ({"began_at": float("nan")}, "damaged: began_at is nan"),
        ({"kept_at": 1e300}, "damaged: kept_at is 1e"),
        ({"sensitive_until": float("inf")}, "damaged: sensitive_until is inf"),
        ({"began_at": 9.5}, "damaged: it began after it was stored"),
    ],
)
def test_a_state_of_which_the_small_part_is_wrong_is_declined(
    change: dict[str, Any], why: str
) -> None:
    small, parts = sent(STATE)
    with pytest.raises(BadStateError, match=why):
        join_parts({**small, **change}, parts)


@pytest.mark.parametrize(
    ("number", "part", "why"),
    [
        (0, None, "incomplete"),
        (0, ["x"], "damaged"),
        (1, {"tools": [{"name": "book"}]}, "damaged"),
        (1, {"tools": [], "voice": 1}, "damaged: voice is 1"),
        (1, {"tools": [{"key": 5, "turn": 2}]}, "damaged: key is 5"),
        (1, {"tools": [{"key": "book {}", "turn": 1e300}]}, "damaged: turn is 1e"),
        (1, {"tools": [], "sensitive_said": [5]}, "damaged: sensitive_said is 5"),
        (1, [], "damaged"),
        (2, "x" * MAX_STATE_BYTES, "more than"),
        (2, [{"content": "x"}], "damaged"),
        (3, None, "incomplete"),
        (3, [{"role": "user", "content": 5}] * 2, "damaged: a message is incomplete"),
        (3, [{"role": "assistant", "tool_calls": [5]}] * 2, "damaged"),
        (3, {"role": "user"}, "damaged"),
        (3, ["x", "y"], "damaged"),
    ],
)
def test_a_state_of_which_another_part_is_wrong_is_declined(
    number: int, part: Any, why: str
) -> None:
    small, parts = sent(STATE)
    with pytest.raises(BadStateError, match=why):
        join_parts(small, [*parts[:number], part, *parts[number + 1 :]])


def places(value: Any, *path: Any) -> Iterator[tuple[Any, ...]]:
    """Yield the path of each value in a plain one."""
    yield path
    is_list = isinstance(value, list)
    within = enumerate(value) if is_list else value.items() if isinstance(value, dict) else ()
    for key, item in within:
        yield from places(item, *path, key)


def test_no_damaged_value_raises_an_error_when_the_call_goes_on() -> None:
    function = {"name": "book", "arguments": "{}"}
    call = {"role": "assistant", "tool_calls": [{"id": "a", "function": function}]}
    result = {"role": "tool", "tool_call_id": "a", "content": "IN_PROGRESS"}
    whole = sent(replace(STATE, messages=[*ASKED, call, result], words="And", written=False))
    odd = (-1, 0.5, 1e300, float("nan"), 10**400, True, None, "x", [], [5], {}, {"x": 5})
    for first, *path, last in (path for path in places(list(whole)) if len(path) > 1):
        for value in odd:
            damaged = holder = deepcopy(list(whole))
            for key in (first, *path):
                holder = holder[key]
            holder[last] = value  # type: ignore[call-overload]
            with suppress(BadStateError):
                state = join_parts(*damaged)
                assert next_step(state)
                assert isinstance(conversation(state), list)


@pytest.mark.parametrize("state", [None, "", [], {"call_id": "c", "messages": []}])
def test_what_is_no_state_is_declined(state: Any) -> None:
    with pytest.raises(BadStateError):
        join_parts(state, [])


def test_the_latest_turns_of_a_long_conversation_are_kept() -> None:
    call = {"role": "assistant", "tool_calls": [{"id": "a"}]}
    turn = [{"role": "user", "content": "x" * 5_000}, call, {"role": "tool", "content": "y"}]

    kept = latest([ASKED[0], *turn * 20])

    assert len(json.dumps(kept)) <= CONVERSATION_BYTES
    assert kept[0] == ASKED[0]
    assert kept[1:4] == turn
    assert kept[-1] == turn[-1]


def test_a_long_conversation_keeps_its_beginning_while_some_turns_are_added() -> None:
    turn = [{"role": "user", "content": "x" * 500}, {"role": "assistant", "content": "y" * 500}]
    firsts = [len(turn * count) - len(latest(turn * count)) for count in range(60, 90)]

    assert len(set(firsts)) <= 5
    assert firsts[-1] > 0


@pytest.mark.parametrize(
    "fixed",
    [
        {"messages": [{"role": "system", "content": "x" * 66_000}, *ASKED[1:]]},
        {"messages": [{"role": "system", "content": "\u00fc" * 66_000}] * 2 + ASKED[1:]},
        {"messages": ASKED, "tools": [KeptTool(key="x" * 4_000, turn=1)] * 20},
        {"messages": ASKED, "sensitive_said": ["x" * 400] * 200},
        {"messages": ASKED, "said": "x" * 70_000},
    ],
    ids=["instructions", "with a contact's fields", "tools", "a sensitive section", "an answer"],
)
def test_what_cannot_be_left_out_displaces_no_turn(fixed: dict[str, Any]) -> None:
    state = ResumeState(**fixed)

    assert join_parts(*sent(state)).messages == state.messages


def test_a_long_conversation_is_not_serialised_for_each_dropped_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written: list[int] = []
    dumps = json.dumps

    def counted(value: Any) -> str:
        text = dumps(value)
        written.append(len(text))
        return text

    turn = [{"role": "user", "content": "x" * 500}]
    monkeypatch.setattr(json, "dumps", counted)
    latest([ASKED[0], *turn * 500])

    assert sum(written) <= 2 * written[0]
