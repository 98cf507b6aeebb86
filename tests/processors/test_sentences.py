import pytest

from processors.sentences import Sentences


async def spoken(sentences: Sentences, *texts: str) -> list[str]:
    return [each.text for text in texts async for each in sentences.aggregate(text)]


async def test_half_a_word_is_forgotten_and_its_sentence_goes_on() -> None:
    sentences = Sentences()
    said = await spoken(sentences, "We open at nine. From Mon")
    sentences.take_back(len("Mon"))
    said += await spoken(sentences, "Monday we are here. B")

    assert said == ["We open at nine.", "From Monday we are here."]


async def test_a_sentence_that_was_spoken_is_not_taken_back() -> None:
    sentences = Sentences()
    said = await spoken(sentences, "We open at nine. F")
    sentences.take_back(1)
    said += await spoken(sentences, "Until six. ", "Yes")

    assert said == ["We open at nine.", "Until six."]


@pytest.mark.parametrize("characters", [0, 3, 500])
async def test_taking_back_more_than_there_is_leaves_nothing(characters: int) -> None:
    sentences = Sentences()
    await spoken(sentences, "abc")
    sentences.take_back(characters)

    left = await sentences.flush()
    assert (left.text if left else "") == "abc"[: max(0, 3 - characters)]
