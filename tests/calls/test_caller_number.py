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
    "550e8400-e29b-41d4-a716-446655440000",
    "sip:550E8400-E29B-41D4-A716-446655440000@192.0.2.7",
    "12345678-1234-1234-1234-123456789012",
    "550e8400e29b41d4a716446655440000",
    "sip:0301234567.anna@example.com",
    "sip:1001-anna-0301234@example.com",
    "0004f2abc123",
    "00:04:f2:ab:c1:23",
    "123456789012345678901",
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
        "15550199 ext. 12",
        "1-800-555-CALL",
        "030 901820 (Ada)",
        "030 901820 Durchwahl 12",
        "011493012345678901",
    ],
)
def test_an_ordinary_number_is_dialable(text: str) -> None:
    assert is_dialable(text)
