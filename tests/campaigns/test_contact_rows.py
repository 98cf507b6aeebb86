"""Days of consent, as people and spreadsheets write them."""

from datetime import date

import pytest

from campaigns.contact_rows import read_day

DAY = date(2026, 3, 31)
DAYS: dict[str, tuple[str, date | str]] = {
    "ISO": ("2026-03-31", DAY),
    "ISO with a time": ("2026-03-31T10:00:00+02:00", DAY),
    "a database's": ("2026-03-31 10:00:00", DAY),
    "without signs": ("20260331", DAY),
    "year first, slashes": ("2026/03/31", DAY),
    "year first, dots": ("2026.3.31.", DAY),
    "dots": ("31.03.2026", DAY),
    "dots, one digit": ("5.3.2026", date(2026, 3, 5)),
    "dots and spaces": ("31. 3. 2026", DAY),
    "dots with a time": ("31.03.2026 10:00", DAY),
    "day first, and no other way": ("31/3/2026", DAY),
    "month first, and no other way": ("3/31/2026", DAY),
    "month first with a time": ("3/31/2026 10:00:00 AM", DAY),
    "dashes, and no other way": ("31-03-2026", DAY),
    "both ways the same": ("3/3/2026", date(2026, 3, 3)),
    "a named month": ("31 Mar 2026", DAY),
    "a named month of Excel": ("31-Mar-26", DAY),
    "a long name": ("31 march 2026", DAY),
    "a name first": ("March 31, 2026", DAY),
    "a number's ending": ("March 31st, 2026", DAY),
    "East Asian": ("2026年3月31日", DAY),
    "a spreadsheet's number": ("46112", DAY),
    "a spreadsheet's number with a time": ("46112.4166", DAY),
    "two days": ("1/3/2026", "ambiguous_consent_date"),
    "two days with dashes": ("01-03-2026", "ambiguous_consent_date"),
    "two digits of a year": ("1.3.26", "wrong_consent_date"),
    "a year in the middle": ("31/2026/03", "wrong_consent_date"),
    "no such day": ("31.02.2026", "wrong_consent_date"),
    "no such month": ("31 Foo 2026", "wrong_consent_date"),
    "a word": ("yesterday", "wrong_consent_date"),
    "a telephone number": ("4930901844", "wrong_consent_date"),
}


@pytest.mark.parametrize(("text", "day"), DAYS.values(), ids=DAYS)
def test_a_date_is_read_only_if_it_is_unambiguous(text: str, day: date | str) -> None:
    assert read_day(text) == day
