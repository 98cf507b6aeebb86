"""Each choice of the outage menu is complete: keys, words, texts, and what carries it out."""

import re
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

import processors.holding
from processors.holding.menu_rules import CHOICES, KEYS, LANGUAGE, PHRASES, Choice
from processors.holding.utterance_rules import NUMBER, Situation, utterances_of
from providers.menu_ear import DATA

SHIPPED = utterances_of(
    yaml.safe_load(
        Path(processors.holding.__file__).with_name("utterances.yaml").read_text(encoding="utf-8")
    )
)
LANGUAGES = sorted({text.language for text in SHIPPED})


def texts_for(situation: Situation, language: str) -> list[str]:
    return [
        item.text for item in SHIPPED if (item.situation, item.language) == (situation, language)
    ]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("choice", Choice)
def test_each_choice_has_its_texts_in_each_language(choice: Choice, language: str) -> None:
    entry = CHOICES[choice]
    named = [getattr(entry, item.name) for item in fields(entry)]

    assert all(texts_for(item, language) for item in named if isinstance(item, Situation))
    for about_number in (entry.ask_number, entry.confirm_number):
        assert about_number is None or NUMBER in texts_for(about_number, language)[0]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("situation", [Situation.MENU, Situation.MENU_EITHER])
def test_a_menu_offers_the_key_of_each_choice_and_no_other(
    situation: Situation, language: str
) -> None:
    for text in texts_for(situation, language):
        assert sorted(re.findall(r"\d", text)) == sorted(KEYS)


@pytest.mark.parametrize("situation", [Situation.MENU_WORDS, Situation.MENU_EITHER])
@pytest.mark.parametrize("choice", Choice)
def test_a_menu_of_words_offers_a_word_of_each_choice(choice: Choice, situation: Situation) -> None:
    for text in texts_for(situation, LANGUAGE):
        assert CHOICES[choice].words[0] in text


def test_no_two_choices_have_a_key_or_a_word_in_common() -> None:
    words = [word for entry in CHOICES.values() for word in entry.words]

    assert len(KEYS) == len(Choice)
    assert len(words) == len(set(words))


@pytest.mark.parametrize("choice", Choice)
def test_a_failed_choice_ends_without_a_circle_of_substitutes(choice: Choice) -> None:
    tried = [choice]
    while (substitute := CHOICES[tried[-1]].substitute) is not None:
        assert substitute not in tried
        tried.append(substitute)


def test_the_dictionary_says_how_each_phrase_sounds() -> None:
    lines = (DATA / "menu_words.dict").read_text(encoding="utf-8").splitlines()

    sounds = {line.split()[0].partition("(")[0].replace("_", " ") for line in lines}
    assert sounds == set(PHRASES)
