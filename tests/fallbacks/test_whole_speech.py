"""Whether a voice has said the whole text, judged by its length."""

import pytest

from fallbacks.word_times import MIN_LETTER_S, is_cut_short


@pytest.mark.parametrize(
    ("text", "audible_s", "judged"),
    [
        ("We are open from nine to five.", 1.6, "whole"),
        ("We are open from nine to five.", 0.2, "cut short"),
        ("Anna", 4 * MIN_LETTER_S, "whole"),  # just enough
        ("Anna", 3.9 * MIN_LETTER_S, "cut short"),
        ("A, n - n ... a!", 4 * MIN_LETTER_S, "whole"),  # what is not pronounced takes no time
        ("Room 42", 6 * MIN_LETTER_S, "whole"),
        ("Room 42", 5.9 * MIN_LETTER_S, "cut short"),
        ("...", 0.0, "whole"),
        ("No", 0.0, "cut short"),
    ],
)
def test_too_little_sound_for_a_texts_letters_is_cut_speech(
    text: str, audible_s: float, judged: str
) -> None:
    assert is_cut_short(text, audible_s=audible_s) is (judged == "cut short")
