"""Reading of carriers' answers."""

import pytest

from transports.rest import number_of

NUMBERS: dict[str, tuple[object, float | None]] = {
    "a text": ("0.00700", 0.007),
    "a number": (0.007, 0.007),
    "negative": ("-0.014", -0.014),
    "nothing": (None, None),
    "a word": ("free", None),
    "endless": ("1e999", None),
    "no number": ("nan", None),
}


@pytest.mark.parametrize(("said", "number"), NUMBERS.values(), ids=NUMBERS.keys())
def test_a_number_is_read_in_any_notation(said: object, number: float | None) -> None:
    assert number_of(said) == number
