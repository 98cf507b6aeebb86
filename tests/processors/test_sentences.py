import pytest

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
