"""Telephone numbers as people, spreadsheets and exports write them."""

import pytest

from contacts.numbers import CallableNumber, read_number

GOOD = {
    "E.164": ("+4930901820", "DE", "+4930901820"),
    "E.164 without a region": ("+4930901820", "", "+4930901820"),
    "national": ("030 901820", "DE", "+4930901820"),
    "with a slash": ("030/901820", "DE", "+4930901820"),
    "with 00": ("0049 30 901820", "DE", "+4930901820"),
    "with 011": ("011 49 30 901820", "US", "+4930901820"),
    "with a zero in brackets": ("+49 (0)30 901820", "DE", "+4930901820"),
    "American": ("(202) 555-0143", "US", "+12025550143"),
    "with dots": ("202.555.0143", "US", "+12025550143"),
    "with a one": ("1-202-555-0143", "US", "+12025550143"),
    "as an address": ("tel:+1-202-555-0143", "US", "+12025550143"),
    "letters": ("1-800-FLOWERS", "US", "+18003569377"),
    "Arabic digits": ("+٤٩٣٠٩٠١٨٢٠", "DE", "+4930901820"),
    "full width": ("＋４９３０９０１８２０", "DE", "+4930901820"),  # noqa: RUF001 - the test
    "spaces that are none": ("+49\u00a030\u2009901820", "DE", "+4930901820"),
    "an invisible mark": ("\u202a+4930901820\u202c", "DE", "+4930901820"),
    "full width, national": ("（０３０）９０１８２０", "DE", "+4930901820"),  # noqa: RUF001
    "a mark of writing from the right in it": ("+4930\u200f901820", "DE", "+4930901820"),
    "all in a frame from the right": ("\u2067030 \u200e901820\u2069", "DE", "+4930901820"),
    "letters that join are none": ("030\u200d901\ufeff820", "DE", "+4930901820"),
    "a word in front": ("Tel.: 030 901820", "DE", "+4930901820"),
    "letters behind an area": ("(202) 555-HOME", "US", "+12025554663"),
    "letters that are free of charge": ("0800 FLOWERS", "DE", "+498003569377"),
    "free of charge": ("0800 123 4567", "GB", "+448001234567"),
    "a satellite": ("+881612345678", "", "+881612345678"),
    "kept as text by an apostrophe": ("'+4930901820", "DE", "+4930901820"),
    "kept as text by a formula": ('="+4930901820"', "DE", "+4930901820"),
    "a spreadsheet's decimal": ("4930901820.0", "", "no_country_code"),
    "a spreadsheet's decimal with a plus": ("+4930901820.0", "", "+4930901820"),
    "a mobile": ("0151 23456789", "DE", "+4915123456789"),
    "Italian, whose zero stays": ("06 6982 1234", "IT", "+390669821234"),
    "an island": ("+1 (246) 412-3456", "", "+12464123456"),
    "a lost plus, too long for here": ("4930901820", "DE", "+4930901820"),
    "a lost plus from abroad": ("447911123456", "US", "+447911123456"),
    "a lost plus, invalid here": ("12025550143", "DE", "+12025550143"),
    "a lost zero": ("7911123456", "GB", "+447911123456"),
    "a lost zero in France": ("612345678", "FR", "+33612345678"),
    "an Indian mobile": ("9512345678", "IN", "+919512345678"),  # with a plus, a number of Myanmar
    "an area of Moscow": (
        "(495) 123-45-67",
        "RU",
        "+74951234567",
    ),  # with a plus, a number of Germany
    "with Russia's prefix": ("8 495 123-45-67", "RU", "+74951234567"),  # or a number of Vietnam
    "Mexican": ("5512345678", "MX", "+525512345678"),
    "Mexican, before 2019, from abroad": ("+52 1 55 1234 5678", "", "+525512345678"),
    "Mexican, before 2019, without its plus": ("5215512345678", "MX", "+525512345678"),
    "Mexican, before 2019, with 00": ("00 52 1 55 1234 5678", "MX", "+525512345678"),
    "Mexican, before 2019, to a mobile": ("044 55 1234 5678", "MX", "+525512345678"),
    "Mexican, before 2019, to another area's": ("045 55 1234 5678", "MX", "+525512345678"),
    "Mexican, before 2019, long distance": ("01 55 1234 5678", "MX", "+525512345678"),
}


@pytest.mark.parametrize(("text", "region", "e164"), GOOD.values(), ids=GOOD)
def test_a_number_is_stored_in_international_form(text: str, region: str, e164: str) -> None:
    read = read_number(text, region=region)

    assert (read.e164 if isinstance(read, CallableNumber) else read) == e164


BAD = {
    "nothing": ("", "US", "no_number"),
    "spaces": ("   ", "US", "no_number"),
    "words": ("call me", "US", "not_a_number"),
    "a formula": ("=1+1", "US", "not_a_number"),
    "a command": ("=cmd|'/c calc'!A1", "US", "not_a_number"),
    "too short": ("+1 202 555", "", "too_short"),
    "too long": ("+4930901820901820901820", "DE", "too_long"),
    "very long": ("1" * 1_000_000, "US", "too_long"),
    "without an area": ("555-0143", "US", "no_area_code"),
    "no country": ("030 901820", "", "no_country_code"),
    "a country that is none": ("+999 123 456 789", "", "no_country_code"),
    "an exchange that does not exist": ("+1 202 055 0143", "", "not_a_number"),
    "an emergency number": ("112", "DE", "no_area_code"),
    "an emergency number there": ("911", "US", "too_short"),
    "a spreadsheet's rounding": ("4.93012E+11", "DE", "digits_lost"),
    "the same with a comma": ("4,93012E+11", "DE", "digits_lost"),
    "an extension": ("+1 202 555 0143 ext. 12", "US", "has_extension"),
    "a short number": ("22000", "US", "too_short"),
    "a short number there": ("11833", "DE", "not_a_number"),
    "a code of the network": ("*31#030901820", "DE", "not_a_number"),
    "an extension in the address": ("tel:+12025550143;ext=12", "US", "has_extension"),
    "an extension in Russian": ("+7 495 123-45-67 доб. 12", "RU", "has_extension"),
    "a name behind it": ("030 901820 (Ada)", "DE", "has_letters"),
    "a letter for a digit": ("+49 30 9O1820", "DE", "has_letters"),
    "a letter for the first digit": ("O30 901820", "DE", "has_letters"),
    "letters for digits": ("+49 30 9OI82O", "DE", "has_letters"),
    "a zero byte in it": ("+4930\x00901820", "DE", "not_a_number"),
    "a day": ("2026-11-01", "DE", "not_a_number"),
    "two numbers": ("030 901820 / 030 901821", "DE", "too_long"),
    "a region that is none": ("030 901820", "ZZ", "no_country_code"),
    "a country of nobody": ("+210 123456789", "", "no_country_code"),
    "a card": ("4111 1111 1111 1111", "US", "too_long"),
    "null": ("NULL", "US", "not_a_number"),
    "a mail address": ("ada@example.com", "US", "not_a_number"),
}


@pytest.mark.parametrize(("text", "region", "reason"), BAD.values(), ids=BAD)
def test_an_uncallable_number_is_refused_with_a_reason(text: str, region: str, reason: str) -> None:
    assert read_number(text, region=region) == reason


ZONES = {
    "a town": ("+4930901820", ("Europe/Berlin",)),
    "a mobile of a country with many": ("+15302345678", ("America/Los_Angeles",)),
    "no place at all": ("+80012345678", ("Etc/Unknown",)),
}


@pytest.mark.parametrize(("text", "zones"), ZONES.values(), ids=ZONES)
def test_a_number_has_its_possible_time_zones(text: str, zones: tuple[str, ...]) -> None:
    read = read_number(text, region="")

    assert isinstance(read, CallableNumber)
    assert read.zones == zones


def test_a_number_of_a_whole_continent_has_all_its_zones() -> None:
    read = read_number("+18003569377", region="")

    assert isinstance(read, CallableNumber)
    assert {"America/New_York", "America/Los_Angeles", "Pacific/Honolulu"} <= set(read.zones)
