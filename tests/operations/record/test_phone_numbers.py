"""How a number is dialled that a carrier gave, and when it is nobody's."""

import pytest

from operations.record.phone_numbers import as_dialled


@pytest.mark.parametrize("text", ["client:anna2024001", "sip:anna2024001@a.example", "anonymous"])
@pytest.mark.parametrize("region", [None, "DE"])
def test_who_has_no_number_is_given_nobody_elses(text: str, region: str | None) -> None:
    assert as_dialled(text, region=region) == ""


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("+493012345678", "+493012345678"),
        ("00493012345678", "+493012345678"),
        ("sip:%2B493012345678@a.example", "+493012345678"),
        ("030 12345678", "+493012345678"),
    ],
)
def test_a_number_is_dialled_as_everywhere(text: str, number: str) -> None:
    assert as_dialled(text, region="DE") == number
