"""Which callers' numbers can be called."""

import pytest

from calls.caller import is_dialable

WITHHELD = (
    "+266696687",
    "+7378742833",
    "+2562533",
    "+8656696",
    "+86282452253",
    "+7748283",
    "266696687",
    "anonymous",
    "Anonymous",
    "restricted",
    "unavailable",
    "unknown",
    "private",
    "withheld",
    "+0000000000",
    "0000000000",
    "+10000000000",
    "+1111111111",
    "",
    "+",
    "1234",
    "sip:anonymous@anonymous.invalid",
    "sip:anonymous@192.168.100.200",
    "sip:%2B266696687@192.0.2.7;transport=udp",
    "tel:+266696687",
    "00266696687",
    "client:anna2024001",
    "Client:anna.2024001",
    "sip:anna2024001@example.com",
    "user_0123456",
)


@pytest.mark.parametrize("text", WITHHELD)
def test_a_placeholder_for_a_withheld_number_is_no_number(text: str) -> None:
    assert not is_dialable(text)


@pytest.mark.parametrize(
    "text",
    [
        "+15550199",
        "+17378742833",
        "+493012345",
        "+26669668712",
        "030 123456",
        "12345",
        "+49301000000",
        "sip:+493012345@192.0.2.7",
        "sip:%2B493012345@example.com",
        "tel:+1-555-010-0199;phone-context=example.com",
        "whatsapp:+15550199",
        "Phone: +1 555 0199",
        "15550199x12",
    ],
)
def test_an_ordinary_number_is_dialable(text: str) -> None:
    assert is_dialable(text)
