"""The part of a sentence that a voice gets before the sentence's end is known."""

import pytest

from fallbacks.ladder import ClauseRule
from processors.speaking.clause_rules import QUICK_S, FirstClause, hurried_end

WORDS = ClauseRule(words=3)
PHRASES = ClauseRule()


def clause(text: str, rule: ClauseRule | None, *, word_s: float = 0.04) -> str:
    """Return the first released clause when the text comes letter by letter."""
    first, now = FirstClause(rule), 0.0
    for end in range(1, len(text) + 1):
        now += word_s if text[end - 1].isspace() else 0.0
        if found := first.end(text[:end], now):
            return text[:found]
    return ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("We open at nine.", "We open at "),
        ("We are open from nine", "We are open "),
        ("We open at ", "We open at "),
        ("We open at", ""),
        ("Thank you, Maria.", "Thank you, "),
        ("Yes, we are open", "Yes, we are "),
        ("It's mother-in-law day today", "It's mother-in-law day "),
        ("We open at 9 on Sunday", "We open at "),
        ("On the 4. of March", "On the 4. of "),
        ("Ask for Dr. Smith today", "Ask for Dr. Smith "),
        ('He said "come in" and left', ""),
        ("Öffnungszeiten können wir nennen", "Öffnungszeiten können wir "),
        ("我们九点开门。", ""),
    ],
)
def test_the_first_piece_is_three_whole_words_or_a_phrase_up_to_a_comma(
    text: str, expected: str
) -> None:
    assert clause(text, WORDS) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Thank you, Maria.", "Thank you, "),
        ("On Monday and on Tuesday, we open", "On Monday and on Tuesday, "),
        ("We open at nine on every day", ""),
        ("Yes, we are open", ""),
    ],
)
def test_a_voice_that_speaks_phrases_waits_for_a_comma(text: str, expected: str) -> None:
    assert clause(text, PHRASES) == expected


def test_a_voice_that_takes_whole_sentences_gets_no_early_piece() -> None:
    assert clause("We open at nine.", None) == ""


def test_a_model_that_writes_little_faster_than_speech_is_waited_for() -> None:
    assert clause("We open at nine.", WORDS, word_s=QUICK_S * 2) == ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [("nine on Sun", "nine on "), ("9 o", ""), ("ni", ""), ("", ""), ("nine, and ", "nine, and ")],
)
def test_a_line_that_runs_dry_gets_the_complete_words(text: str, expected: str) -> None:
    assert text[: hurried_end(text)] == expected
