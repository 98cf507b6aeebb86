from enum import Enum
from types import SimpleNamespace
from typing import Annotated, Any, Literal

import pytest

from providers.adapter.value_types import fields_of, wrong_values


class Pace(Enum):
    SLOW = "slow"


class Region:
    """A class that is made from text."""


@pytest.mark.parametrize(
    ("hint", "value"),
    [
        (float, "1.1"),  # as a variable of the environment states it
        (int, "3"),
        (bool, "true"),
        (bool, 1),
        (str, 1.5),
        (list[str], [112, "door"]),
        (dict[str, str], {"x-version": 2}),
        (list[int], [1.0]),
        (set[str], ["a"]),
        (Literal["low", "high"], "newest"),
        (Literal["1", "2"], 1),
        (Pace, "slow"),
        (Region, "eu"),
        (Region | float | None, "eu"),
        ([int], "an annotation that is no type"),
        (Annotated[int, {}], "one without a hash"),
        (float, object()),
    ],
)
def test_a_value_that_may_work_is_not_refused(hint: Any, value: Any) -> None:
    assert not [*wrong_values({"it": hint}, {"it": value})]


@pytest.mark.parametrize(
    ("hint", "value", "noun"),
    [
        (float, "fast", "a number"),
        (int | None, 1.5, "a whole number"),
        (str, ["a"], "text"),
        (bool, "maybe", "true or false"),
        (Literal["low", "high"], True, "'low' or 'high'"),
        (Pace, "SLOW", "one of slow"),
    ],
)
def test_a_value_that_cannot_work_is_refused(hint: Any, value: Any, noun: str) -> None:
    assert [*wrong_values({"it": hint}, {"it": value})] == [(("it",), value, noun)]


def test_settings_that_are_no_class_have_no_known_fields() -> None:
    assert not [*fields_of(SimpleNamespace())]
