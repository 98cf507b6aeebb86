import re
from pathlib import Path

import pytest

from calls.languages.facts import languages
from processors.speaking.speech_queue import Sentences

pytestmark = pytest.mark.virtual_time


async def spoken(sentences: Sentences, *texts: str) -> list[str]:
    return [sentence.text for text in texts async for sentence in sentences.aggregate(text)]


async def test_a_partial_word_is_dropped_and_its_sentence_continues() -> None:
    sentences = Sentences()
    said = await spoken(sentences, "We open at nine. From Mon")
    sentences.take_back(len("Mon"))
    said += await spoken(sentences, "Monday we are here. B")

    assert said == ["We open at nine.", "From Monday we are here."]


async def test_a_spoken_sentence_is_not_retracted() -> None:
    sentences = Sentences()
    said = await spoken(sentences, "We open at nine. F")
    sentences.take_back(1)
    said += await spoken(sentences, "Until six. ", "Yes")

    assert said == ["We open at nine.", "Until six."]


@pytest.mark.parametrize("characters", [0, 3, 500])
async def test_retracting_more_than_there_is_leaves_nothing(characters: int) -> None:
    sentences = Sentences()
    await spoken(sentences, "abc")
    sentences.take_back(characters)

    left = await sentences.flush()
    assert (left.text if left else "") == "abc"[: max(0, 3 - characters)]


async def collected(language: str, *texts: str) -> tuple[list[str], str]:
    """Return the released sentences, and the text that still waits."""
    sentences = Sentences(language=language)
    return await spoken(sentences, *texts), sentences.text.text


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", "Thank you, Maria."),
        ("en", "Good morning!"),
        ("en", "What's your mother-in-law's name?"),
        ("es", "¿Qué día le viene bien?"),
        ("ru", "Хорошо."),
    ],
)
async def test_a_certain_sentence_end_does_not_wait_for_more_text(language: str, text: str) -> None:
    assert await collected(language, text) == ([text], "")


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", "That is 29."),  # 95
        ("en", "Please see Dr."),  # Smith
        ("en", "We open at 9 a.m."),  # and
        ("en", "Ask for J."),  # Miller
        ("en", "Pens, paper, etc."),  # are there
        ("en", "Our page is www.example."),  # com
        ("en", 'He said "good morning.'),  # "
        ("en", "(We are closed."),  # )
        ("en", "Well.."),
        ("es", "Pregunte por la Sra."),  # García
        ("de", "Wir sehen uns am Montag."),  # sentencex wants a capital letter after it
    ],
)
async def test_an_uncertain_sentence_end_waits_for_more_text(language: str, text: str) -> None:
    assert await collected(language, text) == ([], text)


async def test_text_after_a_released_sentence_is_the_next_one() -> None:
    said, left = await collected("en", "Good", " morning", "!", " We open", " at 9.", "30. Bye.")

    assert said == ["Good morning!", "We open at 9.30.", "Bye."]
    assert left == ""


ROWS = [
    tuple(line.split("\t"))
    for line in (Path(__file__).parent / "sentences.tsv").read_text("utf-8").splitlines()
    if not line.startswith("#")
]
WRITES = {
    "in words": re.compile(r"\s*\S+"),
    "in characters": re.compile(r"(?s)."),
    "in tokens of two characters": re.compile(r"(?s)..?"),
    "at once": re.compile(r"(?s).+"),
}


@pytest.mark.parametrize(("language", "text", "pieces"), ROWS)
async def test_a_voice_gets_whole_sentences_however_the_model_writes_them(
    language: str, text: str, pieces: str
) -> None:
    for tokens in WRITES.values():
        sentences = Sentences(language=language)
        said = await spoken(sentences, *tokens.findall(text))
        rest = await sentences.flush()
        assert [*said, *([rest.text] if rest else [])] == pieces.split("|")


@pytest.mark.parametrize(("language", "text", "pieces"), [row for row in ROWS if "|" in row[2]])
async def test_a_first_sentence_waits_for_no_more_than_the_next_word(
    language: str, text: str, pieces: str
) -> None:
    first, second, *_ = pieces.split("|")
    next_word = re.match(r"[\w'\u2019-]*\W?", second.lstrip('¿¡"«„'))
    assert next_word

    until = text.index(second, len(first)) + len(second) - len(second.lstrip('¿¡"«„'))
    said = await spoken(Sentences(language=language), *text[: until + next_word.end()])

    assert said[:1] == [first]


def test_the_table_has_every_language_that_voices_speak() -> None:
    assert {language.partition("-")[0] for language, *_ in ROWS} >= set(languages())
    assert len(ROWS) >= 200


@pytest.mark.parametrize("language", ["xx", "multi", ""])
async def test_a_language_without_facts_has_the_rules_that_need_none(language: str) -> None:
    said, left = await collected(language, "Mit J. Weber, bd. Foch, am 3. mai. Ok? Ja")

    assert [*said, left.strip()] == ["Mit J. Weber, bd. Foch, am 3. mai.", "Ok?", "Ja"]


async def test_a_long_row_of_initials_is_read_in_bounded_steps() -> None:
    text = "A. " * 1000

    said, left = await collected("de", text)

    assert [*said, left] == [text.strip()]
