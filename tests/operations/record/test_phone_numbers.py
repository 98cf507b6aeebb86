"""How a carrier's number is dialled, and when it belongs to no caller."""

import pytest

from operations.record.phone_numbers import as_dialled


@pytest.mark.parametrize("text", ["client:anna2024001", "sip:anna2024001@a.example", "anonymous"])
@pytest.mark.parametrize("region", [None, "DE"])
def test_a_withheld_number_is_not_replaced_by_another(text: str, region: str | None) -> None:
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
def test_a_number_is_dialled_internationally(text: str, number: str) -> None:
    assert as_dialled(text, region="DE") == number
