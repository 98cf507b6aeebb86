"""Fallback utterances for the time when a provider cannot answer."""

from typing import Any

import pytest

from processors.holding.utterance_rules import PLAYS, Chooser, Situation, utterances_of
from tests.processors.holding.test_menu_rules import SHIPPED

TEXTS: dict[str, Any] = {
    "en": {
        "llm": [
            {"when": ["book", "how much"], "text": "About that."},
            "Please bear with me.",
            "I am still here.",
        ],
        "goodbye": ["Goodbye."],
    },
    "es": {"goodbye": ["Adiós."]},
}


def chooser() -> Chooser:
    return Chooser(utterances_of(TEXTS))


def said(choose: Chooser, language: str = "en", heard: str = "") -> str | None:
    chosen = choose.choose(Situation.LLM, language, heard=heard)
    return None if chosen is None else chosen.text


@pytest.mark.parametrize("heard", ["I want a booking", "Book!", "so HOW MUCH is it"])
def test_a_caller_with_a_topic_is_answered_on_it(heard: str) -> None:
    assert said(chooser(), heard=heard) == "About that."


@pytest.mark.parametrize("heard", ["", "my notebook", "how are you, much better"])
def test_other_callers_are_answered_in_general(heard: str) -> None:
    assert said(chooser(), heard=heard) == "Please bear with me."


def test_the_least_played_utterance_comes_next_and_none_is_played_more_than_twice() -> None:
    choose = chooser()

    heard = [said(choose) for _ in range(2 * PLAYS + 1)]

    assert heard[:2] == ["Please bear with me.", "I am still here."]
    assert all(heard.count(item) == PLAYS for item in set(heard) - {None})
    assert heard[-1] is None


def test_as_a_last_resort_the_least_played_utterance_may_be_repeated() -> None:
    choose = chooser()
    worn = [said(choose) for _ in range(2 * PLAYS + 1)]

    more = [choose.choose(Situation.LLM, "en", again=True) for _ in range(2)]

    assert worn[-1] is None
    assert [word and word.text for word in more] == ["Please bear with me.", "I am still here."]


def test_a_worn_out_topic_is_replaced_by_a_general_text() -> None:
    choose = chooser()

    heard = [said(choose, heard="book") for _ in range(PLAYS + 1)]

    assert heard == ["About that."] * PLAYS + ["Please bear with me."]


@pytest.mark.parametrize(
    ("language", "text"), [("es", "Adiós."), ("es-MX", "Adiós."), ("de", "Goodbye.")]
)
def test_a_language_without_texts_is_answered_in_english(language: str, text: str) -> None:
    chosen = chooser().choose(Situation.GOODBYE, language)

    assert chosen is not None
    assert chosen.text == text


def test_an_utterance_has_a_name_for_its_clip() -> None:
    chosen = chooser().choose(Situation.GOODBYE, "es")

    assert chosen is not None
    assert chosen.name == "es.goodbye.0"


@pytest.mark.parametrize(
    ("texts", "line"),
    [
        ({"en": []}, "en is []"),
        ({"en": {"greet": ["Hi."]}}, "en.greet is not a situation"),
        ({"en": {"llm": "Hi."}}, "en.llm is 'Hi.'"),
        ({"en": {"llm": [{"txt": "Hi."}]}}, "en.llm[0] is {'txt': 'Hi.'}"),
        ({"en": {"llm": ["Hi.", " "]}}, "en.llm[1] is ' '"),
        ({"en": {"llm": [{"text": "Hi.", "when": "book"}]}}, "en.llm[0] is"),
    ],
)
def test_an_invalid_file_is_refused_with_the_position_of_the_error(
    texts: dict[str, Any], line: str
) -> None:
    with pytest.raises(ValueError, match=r"expected|not a situation") as caught:
        utterances_of(texts)

    assert line in str(caught.value)


def test_all_problems_are_reported_at_once() -> None:
    with pytest.raises(ValueError, match=r"(?s)en is.*es is"):
        utterances_of({"en": 1, "es": 2})


@pytest.mark.parametrize("language", ["en", "es", "ru"])
def test_the_bundled_texts_cover_every_situation(language: str) -> None:
    assert {text.situation for text in SHIPPED if text.language == language} == set(Situation)


@pytest.mark.parametrize(
    ("language", "heard", "number"),
    [
        ("en", "I'd like to book an appointment", 0),
        ("en", "how much does it cost", 1),
        ("en", "let me speak to a person please", 2),
        ("es", "quisiera reservar una mesa", 0),
        ("es", "¿cuánto cuesta?", 1),
        ("ru", "хочу записаться на приём", 0),
        ("ru", "сколько это стоит", 1),
        ("ru", "дайте оператора", 2),
    ],
)
def test_the_bundled_topics_are_found_in_callers_words(
    language: str, heard: str, number: int
) -> None:
    chosen = Chooser(SHIPPED).choose(Situation.LLM, language, heard=heard)

    assert chosen is not None
    assert chosen.number == number
