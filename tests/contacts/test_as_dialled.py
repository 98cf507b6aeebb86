"""How a carrier's number is dialled, and when it belongs to no caller."""

import pytest

from contacts.numbers import as_dialled, read_number, same_as


@pytest.mark.parametrize("text", ["client:anna2024001", "sip:anna2024001@a.example", "anonymous"])
@pytest.mark.parametrize("region", [None, "DE"])
def test_a_withheld_number_is_not_replaced_by_another(text: str, region: str | None) -> None:
    assert as_dialled(text, region=region) == ()


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
    assert as_dialled(text, region="DE") == (number,)


AMBIGUOUS = {  # the text and its region; the region's own reading, and that with a lost plus
    "a German mobile": ("4915112345678", "DE", "+494915112345678", "+4915112345678"),
    "another, short": ("491711234567", "DE", "+49491711234567", "+491711234567"),
    "a French mobile in Germany": ("33612345678", "DE", "+4933612345678", "+33612345678"),
    "an Austrian mobile in Germany": ("436641234567", "DE", "+49436641234567", "+436641234567"),
    "a British mobile in Germany": ("447911123456", "DE", "+49447911123456", "+447911123456"),
    "a lost zero, or Texas": ("15123456789", "DE", "+4915123456789", "+15123456789"),
}


@pytest.mark.parametrize(("text", "region", "here", "abroad"), AMBIGUOUS.values(), ids=AMBIGUOUS)
def test_an_ambiguous_number_has_both_readings(
    text: str, region: str, here: str, abroad: str
) -> None:
    assert as_dialled(text, region=region) == (here, abroad)
    assert read_number(text, region=region) == f"ambiguous: {here} or {abroad}"
    assert all(same_as(reading, region=region)(text) for reading in (here, abroad))


@pytest.mark.parametrize("text", ["030 12345678", "(0)30 12345678", "+49 30 12345678"])
def test_a_zero_or_a_plus_leaves_one_reading(text: str) -> None:
    assert as_dialled(text, region="DE") == ("+493012345678",)
