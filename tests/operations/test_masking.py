"""What no text shows: keys of any owner, and personal data."""

import base64
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

import phonenumbers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calls.entry import Entry
from calls.events import CallFailed
from configuration.environment import Environment
from configuration.known_secrets import KNOWN, KnownSecrets
from configuration.loading import load
from operations.masking import (
    MAX_LOOKED_UP,
    READ_CHARACTERS,
    REGIONS,
    clean,
    ending,
    mask_number,
    printable,
    redacted,
    without_cards,
    without_keys,
    without_phones,
)
from operations.telemetry.emitter import Emitter

KEY = 'q7Zx/"canary"+Kd 41'  # with characters that addresses, JSON and headers escape
UNHURRIED = settings(deadline=None)  # the machine may be busy
AROUND = st.text(alphabet=" ,;.\"'<>\n|äж", max_size=20)


@pytest.fixture
def known() -> Iterator[None]:
    KNOWN.learn([KEY])
    yield
    KNOWN.forget()


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize(
    "form",
    [KEY, quote(KEY, safe=""), json.dumps(KEY), base64.b64encode(KEY.encode()).decode()],
    ids=["as it is", "in an address", "in JSON", "in base64"],
)
def test_our_key_is_hidden_in_every_form(form: str) -> None:
    shown = redacted(f"wss://host/{form}?a=b: 401")

    assert form.strip('"=') not in shown
    assert shown.startswith("wss://host/")
    assert "401" in shown


@UNHURRIED
@given(
    st.text(st.characters(codec="ascii", min_codepoint=33), min_size=8, max_size=80), AROUND, AROUND
)
def test_no_known_key_is_left_whatever_surrounds_it(key: str, before: str, behind: str) -> None:
    known = KnownSecrets()
    known.learn([key])
    rest = known.hide("")

    shown = known.hide(f"{before}{key}{behind}")

    assert rest == ""
    assert key not in shown or key in "[redacted]" or key in f"{before}[redacted]{behind}"


def test_a_key_too_short_to_distinguish_from_a_word_is_not_hidden() -> None:
    known = KnownSecrets()
    known.learn(["devkey"])

    assert known.hide("devkey") == "devkey"


@pytest.mark.usefixtures("known")
def test_the_longer_of_two_overlapping_keys_is_hidden_whole() -> None:
    KNOWN.learn([f"{KEY}-and-more"])

    assert redacted(f"<{KEY}-and-more>") == "<[redacted]>"


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("Authorization: Bearer abcdefgh1234", "abcdefgh1234"),
        ("headers={'Authorization': 'Token dg-secret-123456'}", "dg-secret-123456"),
        ("X-API-Key: car_12345678", "car_12345678"),
        ("{'authorization': 'Basic QUNjYW5hcnk6c2VjcmV0'}", "QUNjYW5hcnk6c2VjcmV0"),
        ('"Authorization": "Digest username=anna, response=6629fae4"', "6629fae4"),
        ("[(b'authorization', b'Bearer abcdefgh1234')]", "abcdefgh1234"),
        ("https://api.telegram.org/bot123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw1/send", "AAHd"),
        ("token 123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw1", "AAHdqTcv"),
        ("postgresql://holdline:pa/ss,w0rd@db/holdline", "w0rd"),
        ("redis://:hunter2hunter2@cache:6379", "hunter2"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJkZXZrZXkifQ.c2lnbmF0dXJl", "eyJpc3Mi"),
        ("wss://host/v1?model=x&api_key=abcdef123456&b=c", "abcdef123456"),
        ('{"api_secret": "abcdef123456"}', "abcdef123456"),
        ("EMAIL_PASSWORD=correct-horse", "correct-horse"),
        ("X-Twilio-Signature: RSOYDt4T1cUTdK1PDd93/VVr8B8=", "RSOYDt4T"),
        ("Cookie: holdline_token=abcdefgh; theme=dark", "abcdefgh"),
        ("webhook secret whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "MfKQ9r8G"),
        ("xoxb-1234567890-abcdef", "1234567890-abcdef"),
        ("Incorrect API key provided: sk-proj-abcdefgh12345678", "abcdefgh12345678"),
    ],
)
def test_text_that_looks_like_a_secret_is_hidden(text: str, secret: str) -> None:
    shown = redacted(text)

    assert secret not in shown
    assert "[redacted]" in shown


@pytest.mark.parametrize(
    "text",
    [
        '"at_s": 1048581.9399999995, "after_s": 0.25',
        "2026-01-30 12:34:56.789 | INFO",
        "2026-01-30T12:34:56.789+00:00",
        "http://127.0.0.1:8080/api/calls",
        "connect to 212.243.100.55 failed",
        "call 3f9a1c20b7de turn 3 AttemptFailed",
        '{"prompt_tokens": 12345, "completion_tokens": 678}',
        "stages.tts[1].api_key_env names ELEVENLABS_API_KEY_B, which is not set",
        "at 1769776496123 ms, 20000000 bytes, pid 4194304",
        "CA4111111111111111 of account",
        "answered 429 in 1.234567891 s",
        "a basic sentence",
        "c0ffee00-1234-5678-9abc-def012345678",
        "user@host",
    ],
)
def test_other_text_is_shown(text: str) -> None:
    assert redacted(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("write to anna.k+x@mail.example.co.uk now", "write to ****@mail.example.co.uk now"),
        ("<sip:anna@sip.example.com;tag=1>", "<sip:****@sip.example.com;tag=1>"),
        ("550 no mailbox b@example.org.", "550 no mailbox ****@example.org."),
        ("not usable, not speaking [my name is Anna]", "not usable, not speaking [...]"),
        (
            "call \u0660\u0661\u0667\u0660\u0661\u0662\u0663\u0664\u0665\u0666\u0667",
            "call 01701****67",
        ),
    ],
)
def test_addresses_unspoken_words_and_numbers_in_other_scripts_are_masked(
    text: str, shown: str
) -> None:
    assert redacted(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("from +15551234567.", "from +1555****67."),
        ("From=%2B15551234567&To=x", "From=+1555****67&To=x"),
        ("sip:+79161234567@10.0.0.1", "sip:+7916****67@10.0.0.1"),
        ("dial +7 (916) 123-45-67 again", "dial +7916****67 again"),
        ("8 (916) 123-45-67", "89161****67"),
        ("(212) 555-0123 rang", "21255****23 rang"),
        ("212-555-0123, 212 555 0124", "21255****23, 21255****24"),
        ("caller 12125550123", "caller 12125****23"),
        ("caller 4915112345679", "caller 49151****79"),
        ("+44 20 7946 0958", "+4420****58"),
        ("sip:004915112345679@10.0.0.1", "sip:00491****79@10.0.0.1"),
        ("caller 0044 20 7946 0958", "caller 00442****58"),
        ("call-_+14155552671_aBcD was not closed", "call-_+1415****71_aBcD was not closed"),
        ("call-_14155552671_aBcD: full", "call-_14155****71_aBcD: full"),
        ("unter 030 1234567 erreichbar", "unter 03012****67 erreichbar"),
        ("au 06 12 34 56 78.", "au 06123****78."),
        ("0171/2345678", "01712****78"),
        ("on 020 7946 0958", "on 02079****58"),
        ("caller 0771234567", "caller 07712****67"),
    ],
)
def test_telephone_numbers_are_masked_as_in_the_log(text: str, shown: str) -> None:
    assert redacted(text) == shown


@pytest.mark.parametrize("length", range(1, 17))
def test_mask_and_ending_together_hide_at_least_three_characters(length: int) -> None:
    number = "+290123456789012"[:length]
    begins, _, ends = mask_number(number).partition("****")

    shown = len(begins.strip("*")) + max(len(ends), len(ending(number)))
    assert length - shown >= min(3, length)


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize(
    ("region", "text", "shown"),
    [
        ("NO", "ring 22 34 56 78 now", "ring 22****78 now"),
        ("SG", "caller 61234567", "caller 61****67"),
        ("ES", "al 612 34 56 78", "al 61****78"),
        ("CH", "auf 044 668 18 00", "auf 04466****00"),
        ("PL", "numer 512 345 678", "numer 51****78"),
    ],
)
def test_the_configured_countrys_own_notation_is_masked(region: str, text: str, shown: str) -> None:
    KNOWN.region = region

    assert redacted(text) == shown


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize("region", ["NO", "SG", "DE"])
def test_dates_and_counts_are_not_masked_in_the_configured_country(region: str) -> None:
    KNOWN.region = region
    text = "2026-01-30 12:34:56.789 | on 20260130 answered 20000000 bytes in 1.2345678 s"

    assert redacted(text) == text


def test_the_configured_region_sets_the_country_of_masked_numbers(tmp_path: Path) -> None:
    file = tmp_path / "holdline.yaml"
    file.write_text("server: {region: NO}")
    load(file, variables=Environment(values={}), keys=False)

    assert redacted("ring 22 34 56 78") == "ring 22****78"


ACCOUNTS = {
    "DE89 3704 0044 0532 0130 00": "******************3000",
    "DE89370400440532013000": "******************3000",
    "de89 3704 0044 0532 0130 00": "******************3000",
    "GB29 NWBK 6016 1331 9268 19": "******************6819",
    "NO93-8601-1117-947": "***********7947",
    "MT84MALT011000012345MTLCAST001S": "***************************001S",
}


@pytest.mark.parametrize(("number", "shown"), ACCOUNTS.items())
@pytest.mark.parametrize("around", ["pay to {}, please", "{}", "IBAN:{}.", "{} thank you all"])
def test_account_numbers_are_masked(number: str, shown: str, around: str) -> None:
    assert redacted(around.format(number)) == around.format(shown)


@pytest.mark.parametrize(
    "text",
    [
        "DE88370400440532013000",
        "call ab12cdef34567890abcdef1234567890",
        "CA11aaaabbbbccccddddeeeeffff00001111",
        "DE89370400440532013000ABC",
    ],
)
def test_a_number_that_is_no_account_number_is_not_masked(text: str) -> None:
    assert without_cards(text) == text


EXAMPLES = [
    number
    for region in sorted(phonenumbers.SUPPORTED_REGIONS)
    if (number := phonenumbers.example_number_for_type(region, phonenumbers.PhoneNumberType.MOBILE))
    and len(str(number.country_code) + str(number.national_number)) >= 9
]


@UNHURRIED
@given(
    st.sampled_from(EXAMPLES),
    st.sampled_from(["E164", "INTERNATIONAL", "RFC3966"]),
    AROUND,
    AROUND,
)
def test_a_number_of_any_country_is_masked(
    number: phonenumbers.PhoneNumber, form: str, before: str, behind: str
) -> None:
    written = phonenumbers.format_number(number, getattr(phonenumbers.PhoneNumberFormat, form))

    shown = redacted(f"{before} {written} {behind}")

    assert str(number.national_number) not in re.sub(r"[^\d*]", "", shown)
    assert "****" in shown


@UNHURRIED
@given(st.sampled_from(EXAMPLES), AROUND)
def test_a_number_as_it_is_dialled_from_abroad_is_masked(
    number: phonenumbers.PhoneNumber, before: str
) -> None:
    whole = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)

    shown = redacted(f"{before} {whole.replace('+', '00')} rang")

    assert str(number.national_number) not in re.sub(r"[^\d*]", "", shown)


@UNHURRIED
@given(st.sampled_from(REGIONS), st.integers(0, 999_999), AROUND)
def test_a_national_number_of_a_known_region_is_masked(region: str, last: int, before: str) -> None:
    area = {"US": "212", "RU": "916"}[region]
    digits = f"{area}{last + 2_000_000}"
    number = phonenumbers.parse(digits, region)
    form = phonenumbers.PhoneNumberFormat.NATIONAL
    written = phonenumbers.format_number(number, form)

    assert digits not in re.sub(r"\D", "", without_phones(f"{before} {written}"))


def test_many_candidates_are_checked_in_bounded_time() -> None:
    text = "1234567890 " * 10 * MAX_LOOKED_UP

    shown = without_phones(text)

    assert shown.count("1234567890") == MAX_LOOKED_UP  # no numbers, by the tables
    assert shown.count("12345****90") == 9 * MAX_LOOKED_UP


@pytest.mark.usefixtures("known")
@UNHURRIED
@given(st.integers(0, 200))
def test_the_cut_end_of_a_long_text_shows_no_partial_secret(at: int) -> None:
    text = "x " * (READ_CHARACTERS // 2 - 100) + "y" * at + KEY + "z" * 400

    assert KEY[:6] not in redacted(text)


@pytest.mark.usefixtures("known")
def test_a_printed_line_is_one_masked_line() -> None:
    assert printable(f"refused\n{KEY}") == r"refused\n[redacted]"


@pytest.mark.usefixtures("known")
def test_the_texts_of_a_value_of_json_are_masked_and_its_names_are_not() -> None:
    value = {"token": [KEY, 7, None, {"to": "+15551234567"}], KEY: True}

    assert clean(value) == {"token": ["[redacted]", 7, None, {"to": "+1555****67"}], KEY: True}
    assert clean("+15551234567", without_keys) == "+15551234567"


@pytest.mark.usefixtures("known")
async def test_a_key_that_a_provider_echoes_is_in_no_event() -> None:
    class Hears:
        entries: ClassVar[list[Entry]] = []

        async def hear(self, entry: Entry) -> None:
            self.entries.append(entry)

    async with Emitter(listeners=[Hears()], utc_now=lambda: datetime.now(UTC)) as emitter:
        emitter.emit_for("")(CallFailed(where="tts", error=f"401 {KEY} of +15551234567"))

    (told,) = Hears.entries
    assert told.event == CallFailed(where="tts", error="401 [redacted] of +1555****67")
