"""An answer that one model began and another continues."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.answering.continuation_rules import Answer
from tests.thoroughness import promised


def begun(text: str = "We are open from nine ") -> Answer:
    answer = Answer()
    answer.start_attempt(1)
    answer.write(1, text)
    return answer


def goes_on(answer: Answer, text: str, *, size: int = 3) -> str:
    """The output of a second model's answer that comes in small pieces."""
    answer.start_attempt(2)
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    return "".join([*[answer.write(2, piece) for piece in pieces], answer.finish(2)])


def test_a_whole_answer_is_passed_on_unchanged() -> None:
    answer = Answer()
    answer.start_attempt(1)
    pieces = ["Hel", "lo", " there", ",", " you", "."]

    handed = "".join([*[answer.write(1, piece) for piece in pieces], answer.finish(1)])

    assert handed == "Hello there, you."
    assert answer.said == "Hello there, you."


def test_a_partial_word_is_dropped_when_its_model_dies() -> None:
    answer = Answer()
    answer.start_attempt(1)

    assert answer.write(1, "We are op") == "We are op"
    assert answer.whole == "We are"
    assert answer.start_attempt(2) == "We are"
    assert answer.taken_back == len("op")
    assert answer.write(2, "open now ") == "open now "


@pytest.mark.parametrize("said", ["We are open.", "We are open, ", "We are open "])
def test_a_whole_word_is_not_dropped(said: str) -> None:
    answer = Answer()
    answer.start_attempt(1)
    answer.write(1, said)
    answer.start_attempt(2)

    assert answer.taken_back == 0
    assert answer.said == said.strip()


@pytest.mark.parametrize("start", ["to five.", " to five.", "  to five."])
def test_a_clean_continuation_is_joined_by_one_space(start: str) -> None:
    answer = begun()

    goes_on(answer, start)

    assert answer.said.split() == ["We", "are", "open", "from", "nine", "to", "five."]


@pytest.mark.parametrize("said", ["We are open from nine", "We are open from nine "])
def test_a_space_is_added_where_neither_side_has_one(said: str) -> None:
    answer = Answer()
    answer.start_attempt(1)
    answer.write(1, said)
    answer.finish(1)

    goes_on(answer, "to five.")

    assert answer.said == "We are open from nine to five."


@pytest.mark.parametrize(
    ("again", "handed"),
    [
        ("We are open from nine to five.", "to five."),
        ("we are open, from nine to five.", "to five."),
        ("from nine to five.", "to five."),
        ("nine to five.", "to five."),
        ("Nine — to five.", "— to five."),
        ("to five.", "to five."),
        ("until late.", "until late."),
        ("We are open from ten.", "ten."),
        ("We", ""),
        ("We are open from nine", ""),
        ("nine", ""),
        ("", ""),
        ("open", "open"),
    ],
    ids=[
        "the whole over again",
        "otherwise written",
        "the tail",
        "the last word",
        "the last word and a dash",
        "what comes next",
        "what comes next, shortly",
        "over again and then another way",
        "the first word and no more",
        "what was said and no more",
        "the last word and no more",
        "nothing",
        "a word from the middle is a word",
    ],
)
def test_repeated_words_are_not_said_again(again: str, handed: str) -> None:
    assert goes_on(begun(), again).strip() == handed


@pytest.mark.parametrize(
    ("said", "again", "whole"),
    [
        ("The number is 5 5 ", "5 0 1 4 2.", "The number is 5 5 5 0 1 4 2."),
        ("Call us at 555 ", "555 0142.", "Call us at 555 555 0142."),
        ("Dial five five ", "five zero one.", "Dial five five five zero one."),
        ("Marque dos dos ", "dos uno.", "Marque dos dos dos uno."),
        ("It is 5 5 5 ", "5 5 5 1.", "It is 5 5 5 5 5 5 1."),
        ("It is 0 1 4 2 ", "1 4 2 9.", "It is 0 1 4 2 9."),
        ("The number is 5 5 ", "is 5 5 0 1.", "The number is 5 5 0 1."),
        ("The number is 5 5 ", "The number is 5 5 0 1.", "The number is 5 5 0 1."),
        ("5 5 ", "5 5 0 1.", "5 5 0 1."),
        ("It costs 25 € ", "€ in all.", "It costs 25 € in all."),
    ],
    ids=[
        "a digit that is said again",
        "a group that is said again",
        "a digit in words",
        "a digit in Spanish",
        "the same digit three times",
        "three digits that are repeated",
        "a word before them",
        "over again",
        "over again, nothing but digits",
        "a sign that stands alone is no number",
    ],
)
def test_a_number_loses_no_digit(said: str, again: str, whole: str) -> None:
    answer = begun(said)

    goes_on(answer, again)

    assert answer.said == whole


@pytest.mark.parametrize(
    ("said", "again", "whole"),
    [
        ("It costs $12.", "$12.50 in all.", "It costs $12.50 in all."),
        ("It costs $12.", "It costs $12.50 in all.", "It costs $12.50 in all."),
        ("We open at 9:", "9:30 or so.", "We open at 9:30 or so."),
        ("There are 1,", "1,200 of them.", "There are 1,200 of them."),
    ],
)
def test_a_number_that_may_continue_after_its_sign_is_a_partial_word(
    said: str, again: str, whole: str
) -> None:
    answer = begun(said)

    goes_on(answer, again)

    assert answer.said == whole


@pytest.mark.parametrize("said", ["It costs $12. ", "We open at 9!"])
def test_a_number_that_has_ended_is_complete(said: str) -> None:
    answer = begun(said)
    answer.start_attempt(2)

    assert answer.taken_back == 0


@pytest.mark.parametrize(
    ("said", "whole"),
    [("We are open.", True), ("We are op", False), ("We open at 9.", False), ("At 9. ", True)],
)
def test_an_empty_continuation_is_complete_only_if_no_word_was_dropped(
    said: str, *, whole: bool
) -> None:
    assert begun(said).may_be_whole(2) is whole


def test_the_longest_repetition_is_dropped() -> None:
    assert goes_on(begun("no no no "), "no no more.").strip() == "more."


def test_two_common_words_are_no_restart() -> None:
    answer = begun("We are open from nine ")

    assert goes_on(answer, "We are also open late.").strip() == "We are also open late."


@pytest.mark.parametrize("opening", ["— ", "👋 ", "… ", "« "])
@pytest.mark.parametrize("size", [3, 100], ids=["piece by piece", "at once"])
def test_nothing_is_dropped_after_a_beginning_without_letters(opening: str, size: int) -> None:
    answer = begun(opening)

    goes_on(answer, "We are open from nine to five.", size=size)

    assert answer.said.endswith("We are open from nine to five.")


def test_words_of_an_abandoned_model_are_ignored() -> None:
    answer = begun()
    answer.start_attempt(2)

    assert answer.write(1, "to four and ") == ""
    assert answer.finish(1) == ""


def test_a_model_that_takes_over_before_the_first_word_gets_the_same_request() -> None:
    answer = Answer()
    answer.start_attempt(1)
    answer.write(1, "W")

    assert answer.start_attempt(2) == ""
    assert answer.write(2, "We are ") == "We are "


def test_characters_of_a_script_without_spaces_are_passed_on_unchanged() -> None:
    answer = Answer()
    answer.start_attempt(1)

    assert answer.write(1, "你好") == "你好"


UNSPACED = {
    "Chinese": "我们每天早上九点开门\uff0c晚上五点关门。",
    "Chinese, rare signs": "我們喜歡𠮷野家的牛肉飯。",
    "Japanese": "毎日、朝の九時から夕方まで開いています。",
    "Thai": "เราเปิดทำการทุกวันตั้งแต่เก้าโมงเช้า",
    "Lao": "ພວກເຮົາເປີດທຸກມື້ເວລາເກົ້າໂມງ",
    "Khmer": "យើងបើករាល់ថ្ងៃម៉ោងប្រាំបួន",
    "Burmese": "ကျွန်ုပ်တို့နေ့တိုင်းကိုးနာရီဖွင့်သည်",
}


@pytest.mark.parametrize("back", [0, 8, 100], ids=["goes on", "repeats", "starts over"])
@pytest.mark.parametrize("text", UNSPACED.values(), ids=UNSPACED.keys())
def test_in_a_script_without_spaces_no_character_is_dropped_or_repeated(
    text: str, back: int
) -> None:
    for cut in range(6, len(text) - 6):
        answer, start = begun(text[:cut]), max(0, cut - back)
        while back and not text[start].isalnum():  # a text begins with a letter
            start -= 1
        goes_on(answer, text[start:])

        assert answer.taken_back == 0
        assert answer.said == text


@pytest.mark.parametrize(
    ("said", "taken_back"),
    [("价格是12", 2), ("价格是12.", 3), ("電話はOpenA", 5), ("ราคา 12", 2), ("เปิด9", 1)],
)
def test_in_a_script_without_spaces_a_partial_number_or_foreign_word_is_dropped(
    said: str, taken_back: int
) -> None:
    answer = begun(said)

    assert answer.start_attempt(2) == said[:-taken_back].strip()
    assert answer.taken_back == taken_back


@pytest.mark.parametrize(
    ("said", "more"), [("我很高兴谢", "谢您的来电。"), ("はい、い", "いですよ。"), ("มาก", "กว่า")]
)
def test_a_doubled_character_is_no_repetition(said: str, more: str) -> None:
    answer = begun(said)

    goes_on(answer, more)

    assert answer.said == said + more


DISTINCT = [f"word{n}" for n in range(40)]


@promised
@given(
    cut=st.integers(1, 38),
    back=st.integers(0, 40),
    size=st.integers(1, 9),
    first=st.integers(1, 9),
)
def test_at_any_cut_and_with_any_repetition_each_word_is_said_once(
    cut: int, back: int, size: int, first: int
) -> None:
    text = " ".join(DISTINCT)
    died = " ".join(DISTINCT[:cut]) + " " + DISTINCT[cut][:3]
    answer = Answer()
    answer.start_attempt(1)
    for at in range(0, len(died), first):
        answer.write(1, died[at : at + first])

    goes_on(answer, " ".join(DISTINCT[max(0, cut - back) :]), size=size)

    assert answer.said == text
