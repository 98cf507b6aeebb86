"""The facts about languages."""

import pytest

from calls.languages.facts import language_of, languages

SPOKEN = [
    *("en", "de", "fr", "es", "it", "pt", "nl", "pl", "ru", "tr", "ja", "zh"),
    *("ko", "hi", "sv", "da", "no", "fi", "cs", "uk", "ar", "el", "ro", "hu"),
]


@pytest.mark.parametrize("tag", SPOKEN)
def test_a_language_has_words_for_every_digit(tag: str) -> None:
    language = languages()[tag]

    assert set(language.digits.values()) == set(range(10))
    assert all(word == word.lower() and " " not in word for word in language.numbers)


@pytest.mark.parametrize(
    ("tag", "word", "number"),
    [
        ("de", "null", 0),  # which YAML would read as nothing
        ("de", "zweiundvierzig", 42),
        ("nl", "vijfenzeventig", 75),
        ("fr", "quatre-vingt-dix-sept", 97),
        ("es", "veintidós", 22),
        ("it", "ventotto", 28),
        ("tr", "on", 10),  # which YAML would read as true
        ("da", "enogtyve", 21),
        ("ru", "сорок", 40),
    ],
)
def test_a_word_has_its_number(tag: str, word: str, number: int) -> None:
    assert languages()[tag].numbers[word] == number


@pytest.mark.parametrize(
    ("tag", "base"),
    [
        *(("de", "de"), ("de-AT", "de"), ("pt_BR", "pt"), ("zh-Hans-CN", "zh"), ("NO", "no")),
        *(("nb-NO", "no"), ("nn", "no")),
    ],
)
def test_a_variant_has_the_facts_of_its_language(tag: str, base: str) -> None:
    assert language_of(tag) is languages()[base]


@pytest.mark.parametrize("tag", ["xx", "", "multi"])
def test_an_unknown_language_has_no_facts(tag: str) -> None:
    assert language_of(tag) is None


def test_words_for_equal_digits_have_their_count() -> None:
    assert languages()["en"].repeats == {"double": 2, "triple": 3, "treble": 3, "quadruple": 4}
