"""Background speech is distinguished from the caller's."""

import pytest

from processors.turn.speech_rules import FORGOTTEN_S, LOUDER, WORDLESS_S, Background

TV = 500.0


def hidden(background: Background, *sounds: tuple[float, float]) -> list[bool]:
    return [background.hides(level, now) for now, level in sounds]


def with_background() -> Background:
    background = Background()
    background.worded("How much is a haircut?", 100.0)
    hidden(background, *((100.0 + second / 4, TV) for second in range(13)))
    background.turn_over()
    return background


def test_speech_without_new_words_becomes_background_after_a_while() -> None:
    background = Background()
    background.worded("How much", 100.0)

    found = hidden(background, *((100.0 + second / 2, TV) for second in range(8)))

    assert found == [second / 2 >= WORDLESS_S for second in range(8)]


def test_new_words_begin_the_count_again_and_old_ones_do_not() -> None:
    background = Background()
    background.worded("How much", 100.0)
    background.worded("How much is it", 102.0)
    background.worded("How much is it", 104.0)
    background.worded(" ", 104.0)

    found = hidden(background, *((102.0 + second / 4, TV) for second in range(13)))

    assert found == [False] * 12 + [True]


def test_a_caller_who_goes_on_after_a_pause_is_heard_from_the_first_sound() -> None:
    background = Background()
    background.worded("Can", 100.0)  # what a recogniser made of noise
    background.hides(TV, 100.5)

    assert not any(hidden(background, *((102.8 + second / 10, TV) for second in range(10))))


def test_a_caller_is_not_hidden_once_a_recogniser_has_failed() -> None:
    found = with_background()
    found.recogniser_failed()
    assert not found.hides(TV, 104.0)

    worded = Background()
    worded.worded("How much", 100.0)
    hidden(worded, *((100.0 + second / 4, TV) for second in range(11)))
    worded.recogniser_failed()
    assert not any(hidden(worded, *((102.75 + second / 4, TV) for second in range(20))))


@pytest.mark.parametrize("listens", [True, False])
def test_speech_without_any_words_becomes_background_if_a_recogniser_works(
    *, listens: bool
) -> None:
    background = Background(listens=lambda: listens)
    background.worded("Hello", 90.0)
    background.turn_over()

    found = hidden(background, *((100.0 + second / 4, TV) for second in range(14)))

    assert found == [listens and second / 4 >= WORDLESS_S for second in range(14)]


def test_short_sounds_without_words_are_not_the_background() -> None:
    background = Background(listens=lambda: True)

    assert not any(hidden(background, *((100.0 + second, TV) for second in range(14))))


@pytest.mark.parametrize(("level", "then"), [(TV, True), (LOUDER * TV, True), (2.1 * TV, False)])
def test_a_louder_voice_is_the_callers(level: float, *, then: bool) -> None:
    assert with_background().hides(level, 105.0) is then


def test_the_callers_last_word_does_not_set_the_background_level() -> None:
    background = Background()
    background.worded("How much", 100.0)

    hidden(background, (100.5, 20 * TV), (101.5, TV), (103.0, TV))

    assert not background.hides(10 * TV, 104.0)


def test_words_end_the_background() -> None:
    background = with_background()
    background.worded("And on Sunday", 106.0)

    assert not background.hides(TV, 106.1)


def test_a_background_that_is_gone_is_forgotten() -> None:
    background = with_background()

    assert background.hides(TV, 103.0 + FORGOTTEN_S)
    assert not background.hides(TV, 103.1 + 2 * FORGOTTEN_S)
