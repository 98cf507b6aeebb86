"""What becomes of the words that were said before there was a talk."""

from processors.answerer_watch import FirstWords


def test_first_words_are_remembered_together_and_in_order() -> None:
    words, remembered = FirstWords(), list[str]()

    for text in (" Hello? ", "  ", "Who is there?"):
        words.keep(text)
    words.hand_over(remembered.append)

    assert remembered == ["Hello? Who is there?"]


def test_what_was_forgotten_is_not_remembered() -> None:
    words, remembered = FirstWords(), list[str]()

    words.keep("Please say your name.")
    words.forget()
    words.hand_over(remembered.append)

    assert remembered == []
