"""Which language a caller speaks."""

import pytest

from processors.hearing.caller_words import TurnLanguage


@pytest.mark.parametrize(
    ("results", "language"),
    [
        ([("Hola.", "es")], "es"),
        ([("hola, quiero una cita", "es"), ("please", "en")], "es"),
        ([("no", "es"), ("I want to book an appointment", "en")], "en"),
        ([("quiero una", "es"), ("I want it", "en"), ("cita mañana", "es")], "es"),
        ([("one two", "en"), ("tres cuatro", "es")], "en"),
        ([("what", None), ("", "es")], "en"),
    ],
    ids=[
        "one word",
        "a word of another",
        "first another",
        "there and back",
        "as many",
        "unknown or nothing",
    ],
)
def test_the_language_of_most_words_of_a_turn_is_spoken(
    results: list[tuple[str, str | None]], language: str
) -> None:
    turn = TurnLanguage("en")

    for text, told in results:
        turn.heard(text, told)

    assert turn.current == language


def test_only_a_change_is_reported() -> None:
    turn = TurnLanguage("en")

    assert not turn.heard("hello there", "en")
    assert not turn.heard("what", None)
    turn.turn_over()
    assert turn.heard("hola", "es")
    assert not turn.heard("buenos dias", "es")


def test_each_turn_is_counted_separately() -> None:
    turn = TurnLanguage("en")
    turn.heard("a long sentence in plain English", "en")
    turn.turn_over()

    assert turn.heard("да", "ru")
    assert turn.current == "ru"
