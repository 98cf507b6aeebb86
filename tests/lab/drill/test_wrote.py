"""The recognisers of a turn, from the lab's record."""

from typing import Any

import pytest

from lab.drill.evidence import is_of_call
from lab.drill.wrote import wrote_within


def stream(*flushed: tuple[float, int]) -> dict[str, Any]:
    marks = [{"what": "flushed", "at_s": at_s, "words": words} for at_s, words in flushed]
    return {"marks": [{"what": "flush", "at_s": 0.0, "words": 0}, *marks]}


@pytest.mark.parametrize(
    ("streams", "wrote"),
    [
        ([stream((5.0, 4), (12.0, 9))], True),  # five more words in the turn
        ([stream((5.0, 4), (12.0, 4))], False),  # was asked, and had nothing new
        ([stream((5.0, 4))], False),  # wrote the turn before
        ([stream((5.0, 4)), stream((12.0, 5))], True),  # on a new connection
        ([stream((25.0, 5))], False),  # later
        ([], False),
    ],
)
def test_a_recogniser_wrote_a_turn_if_it_has_more_words_after_it(
    streams: list[dict[str, Any]], *, wrote: bool
) -> None:
    assert wrote_within(streams, 10.0, 20.0) is wrote


@pytest.mark.parametrize(
    ("method", "path", "of_call"),
    [
        ("POST", "/v1/chat/completions", True),
        ("GET", "/v1/listen?model=nova-3", True),
        ("GET", "/v1/models", False),
        ("GET", "/v1/models?x=1", False),
    ],
)
def test_a_health_question_is_no_part_of_a_turn(method: str, path: str, *, of_call: bool) -> None:
    assert is_of_call({"method": method, "path": path}) is of_call
