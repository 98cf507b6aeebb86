"""Keys become an entry; the record masks it."""

from dataclasses import replace

import pytest

from calls.keyed_entry import MAX_KEYS, PAUSE_S, DigitsAsked, KeyedEntry, waiting


def keyed(entry: KeyedEntry, keys: str) -> list[str]:
    """Return the entries that ended while keys were pressed, one every tenth of a second."""
    ended = (entry.press(key, 10.0 + at / 10) for at, key in enumerate(keys))
    return [entry for entry in ended if entry is not None]


@pytest.mark.parametrize(
    ("lengths", "keys", "entries"),
    [
        ([], "471529#", ["471529"]),
        ([], "471529", []),
        ([], "*7*#", ["*7*"]),
        ([], "12#34#", ["12", "34"]),
        ([], "7" * MAX_KEYS + "8", ["7" * MAX_KEYS]),
        ([6], "471529", ["471529"]),
        ([6], "47#", ["47"]),
        ([4, 6], "471529", ["471529"]),
        ([4], "47152", ["4715"]),
        ([], "4242424242424242#", ["4242424242424242"]),
    ],
)
def test_an_entry_ends_with_the_hash_key_or_the_longest_length_that_tools_expect(
    lengths: list[int], keys: str, entries: list[str]
) -> None:
    assert keyed(KeyedEntry(lengths), keys) == entries


def test_a_hash_key_after_the_last_expected_key_belongs_to_the_entry() -> None:
    entry = KeyedEntry([4])

    assert keyed(entry, "4715#") == ["4715"]
    assert entry.wake_at is None
    assert entry.press("#", 10.3 + PAUSE_S) is None
    assert entry.tick(99.0) == "#"  # after the pause it is a new entry


def test_keys_that_follow_an_expected_entry_without_a_pause_are_one_hidden_entry() -> None:
    entry = KeyedEntry([4])

    assert keyed(entry, "4242424242424242#") == ["4242", "424242424242"]
    assert entry.recorded("424242424242") == "************"
    assert entry.recorded("4242") == "****"


CODE, ORDER = (
    DigitsAsked(name="code", length=6, sensitive=False),
    DigitsAsked(name="order_number", length=4, sensitive=False),
)


def hidden(asked: DigitsAsked) -> DigitsAsked:
    return replace(asked, sensitive=True)


@pytest.mark.parametrize(
    ("language", "question", "asked"),
    [
        ("en", "Please key in your code.", [CODE]),
        ("en", "What are the six digits on the letter?", [hidden(CODE)]),
        ("en", "Please key in the 4-digit number.", [hidden(ORDER)]),
        ("en", "And your order number?", [ORDER]),
        ("en", "And your order number, all 4 digits?", [ORDER]),
        ("en", "And the four-digit PIN of your card?", [hidden(ORDER)]),
        ("en", "Please key in the PIN, not the order number.", [hidden(ORDER)]),
        ("en", "Your order number is right, so key in your four-digit PIN.", [hidden(ORDER)]),
        ("de", "Das geheime Wort zu Ihrem Code, bitte.", [hidden(CODE)]),
        ("de", "Bitte tippen Sie die sechsstellige Zahl ein.", [hidden(CODE)]),
        ("de-AT", "Ihr Code, bitte.", [CODE]),
        ("es", "Los seis d\u00edgitos, por favor.", [hidden(CODE)]),
        ("es", "Introduzca su n\u00famero de pedido de seis cifras, mil gracias.", [hidden(CODE)]),
        ("it", "Il codice di sei cifre, mille grazie.", [hidden(CODE)]),
        ("en", "The six digits of invoice 1000, please.", []),
        (
            "ru",
            "\u0412\u0432\u0435\u0434\u0438\u0442\u0435 4 \u0446\u0438\u0444\u0440\u044b.",
            [hidden(ORDER)],
        ),
        ("en", "Please key in your card number.", []),
        ("en", "All sixteen digits of the card, and not the code.", []),
        ("en", "The last four of the six digits?", []),
        ("en", "Please key in the number of your order.", [ORDER]),
        ("en", "Key in your code. Thank you.", [CODE]),
        ("en", "Key in your code. It has six digits.", [hidden(CODE)]),
        ("en", "Order number 123 is noted. Please key in your code.", [CODE]),
        ("en", "Your code is noted. Now please key in your card number.", []),
        ("en", "Your six-digit code is right. And now your card number, please.", []),
        ("en", "Key in your card number, in order to pay.", []),
        ("en", "In order to help you I need your card number.", []),
        ("en", "Your order number first and then your card number.", []),
        ("en", "How can I help?", []),
        ("en", "", []),
    ],
)
def test_a_tool_waits_for_its_digits_if_the_agent_asks_for_them(
    language: str, question: str, asked: list[DigitsAsked]
) -> None:
    assert waiting(question, (CODE, ORDER), language) == asked


def test_a_parameter_that_is_a_secret_by_its_name_is_as_its_tool_says() -> None:
    pin = replace(CODE, name="pin")
    assert waiting("Please key in your PIN now.", (pin,), "en") == [pin]


def test_a_pause_ends_an_entry() -> None:
    entry = KeyedEntry()
    keyed(entry, "47")

    assert entry.wake_at == pytest.approx(10.1 + PAUSE_S)
    assert entry.tick(10.0 + PAUSE_S) is None
    assert entry.tick(10.1 + PAUSE_S) == "47"
    assert entry.wake_at is None
    assert entry.tick(99.0) is None


def test_a_hash_key_alone_is_an_entry_after_a_pause() -> None:
    entry = KeyedEntry()

    assert keyed(entry, "#") == []
    assert entry.tick(10.0 + PAUSE_S) == "#"


def test_an_entry_can_be_ended_early() -> None:
    entry = KeyedEntry()
    keyed(entry, "47")

    assert entry.end() == "47"
    assert entry.wake_at is None
    assert keyed(entry, "15#") == ["15"]


@pytest.mark.parametrize(
    ("lengths", "kept", "entry", "recorded"),
    [
        ([], None, "4715", "****"),
        ([4], None, "4715", "4715"),
        ([6], None, "47", "**"),
        ([4, 6], [6], "4715", "****"),
        ([4, 6], [6], "471529", "471529"),
    ],
)
def test_the_record_has_an_entry_whose_length_a_tool_expects_and_does_not_hide(
    lengths: list[int], kept: list[int] | None, entry: str, recorded: str
) -> None:
    assert KeyedEntry(lengths, unmasked_lengths=kept).recorded(entry) == recorded
