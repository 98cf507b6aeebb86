"""Checking a tool's arguments."""

from typing import Any

import pytest

from calls.tool_schema import for_model, problems

BOOKING: dict[str, Any] = {
    "type": "object",
    "properties": {
        "day": {"type": "string", "pattern": "^[A-Z]"},
        "hour": {"type": "integer", "minimum": 8, "maximum": 18},
        "kind": {"enum": ["new", "check-up"]},
        "names": {"type": "array", "items": {"type": "string"}, "maxItems": 2},
        "note": {"type": ["string", "null"]},
    },
    "required": ["day"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    "arguments",
    [
        {"day": "Monday"},
        {"day": "Monday", "hour": 8, "kind": "new", "names": ["Ann"], "note": None},
        {"day": "Monday", "hour": 9.0},
    ],
)
def test_valid_arguments_have_no_problems(arguments: Any) -> None:
    assert problems(arguments, BOOKING) == []


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "arguments must be object"),
        (None, "arguments must be object"),
        ({}, "arguments.day is missing"),
        ({"day": "monday"}, "arguments.day does not match ^[A-Z]"),
        ({"day": 5}, "arguments.day must be string"),
        ({"day": "Monday", "hour": True}, "arguments.hour must be integer"),
        ({"day": "Monday", "hour": 7}, "arguments.hour is less than 8"),
        ({"day": "Monday", "hour": 8.5}, "arguments.hour must be integer"),
        ({"day": "Monday", "kind": "old"}, "arguments.kind is none of ['new', 'check-up']"),
        ({"day": "Monday", "names": [1]}, "arguments.names[0] must be string"),
        ({"day": "Monday", "names": ["a", "b", "c"]}, "arguments.names has more than 2"),
        ({"day": "Monday", "note": 1}, "arguments.note must be string or null"),
        ({"day": "Monday", "color": "red"}, "arguments.color is not known"),
    ],
)
def test_a_wrong_argument_is_named(arguments: Any, problem: str) -> None:
    assert problems(arguments, BOOKING) == [problem]


CODE: dict[str, Any] = {
    "type": "object",
    "properties": {"code": {"type": "string", "description": "Six.", "digits": 6}, "day": {}},
}


@pytest.mark.parametrize(
    ("code", "good"), [("471529", True), ("47152", False), ("4715299", False), ("47152a", False)]
)
def test_a_parameter_may_require_a_number_of_digits(code: str, good: bool) -> None:  # noqa: FBT001
    wrong = "arguments.code does not have exactly this many digits: 6"

    assert problems({"code": code}, CODE) == ([] if good else [wrong])


def test_digits_reach_the_model_in_a_keyword_that_providers_know() -> None:
    assert for_model(CODE) == {
        "code": {"type": "string", "description": "Six.", "pattern": "^[0-9]{6}$"},
        "day": {},
    }


FORMS = {"anyOf": [{"type": "integer", "exclusiveMinimum": 0}, {"type": "null"}]}


@pytest.mark.parametrize(("value", "good"), [(1, True), (None, True), (0, False), ("1", False)])
def test_a_value_fits_one_of_several_forms(value: Any, *, good: bool) -> None:
    assert (problems({"n": value}, {"properties": {"n": FORMS}}) == []) is good
