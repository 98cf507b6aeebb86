"""Sound that a new line plays first: whole words that were not fully heard."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transports.owed_sound import MAX_KEPT_S, MAX_WORD_S, SentSound

RATE_HZ = 8000
PIECE = bytes(RATE_HZ // 25 * 2)  # 40 ms


def sent(*stretches: tuple[str, bool]) -> SentSound:
    """Send 0.2 s and a mark for each name, and state whether a word ends there."""
    it = SentSound(rate_hz=RATE_HZ)
    for name, ends_word in stretches:
        for _ in range(5):
            it.add(PIECE)
        it.mark(name)
        if ends_word:
            it.end_word()
    return it


def marks(it: SentSound) -> list[str | None]:
    return [item.mark for item in it]


def test_heard_words_are_not_pending() -> None:
    it = sent(("a", True), ("b", True), ("c", True))

    it.echoed("b")

    assert marks(it) == ["c"]
    assert (it.length_s, it.again_s) == (pytest.approx(0.2), 0)


def test_a_cut_word_is_pending_from_its_beginning() -> None:
    it = sent(("one", True), ("tw-", False), ("-o", True))

    it.echoed("tw-")

    assert marks(it) == ["tw-", "-o"]
    assert it.again_s == pytest.approx(0.2)


def test_a_word_that_ends_after_its_last_mark_is_whole() -> None:
    it = sent(("one", False))
    it.echoed("one")

    it.end_word()

    assert marks(it) == []


def test_sound_after_the_last_mark_is_pending_too() -> None:
    it = sent(("one", True))
    it.add(PIECE)

    it.echoed("one")

    assert marks(it) == [None]


def test_an_interruption_leaves_nothing_pending() -> None:
    it = sent(("one", True), ("two", False))

    it.clear()

    assert (marks(it), it.length_s) == ([], 0)


def test_an_interruption_during_the_repetition_ends_it() -> None:
    it = sent(("one", True), ("two", True))
    found: list[str | None] = []

    for item in it:
        found.append(item.mark)
        it.clear()

    assert found == ["one"]


def test_sound_without_words_is_pending_from_its_last_mark() -> None:
    count = round(MAX_WORD_S / 0.2) + 2
    it = sent(*((f"{number}", False) for number in range(count + 1)))

    it.echoed(f"{count - 1}")

    assert marks(it) == [f"{count}"]


def test_a_line_that_never_echoes_fills_no_memory() -> None:
    it = sent(*((f"{number}", False) for number in range(1000)))

    assert it.length_s <= MAX_KEPT_S


@given(
    words=st.lists(st.booleans(), min_size=1, max_size=20),
    heard=st.integers(min_value=0, max_value=19),
)
def test_no_unplayed_sound_is_forgotten(words: list[bool], heard: int) -> None:
    it = sent(*((str(number), ends) for number, ends in enumerate(words)))
    it.echoed(str(heard))

    owed = marks(it)

    unplayed = [str(number) for number in range(len(words)) if number > heard]
    if heard < len(words):
        assert owed[len(owed) - len(unplayed) :] == unplayed
        assert it.again_s <= MAX_WORD_S + 0.2


def test_almost_completely_heard_sound_is_dropped_by_whole_words() -> None:
    sent = SentSound(rate_hz=1000)
    for number in range(8):  # two words of 0.08 s
        sent.add(bytes(40))
        sent.mark(str(number))
        if number % 4 == 3:
            sent.end_word()

    sent.heard_all_but(0.05)  # a piece of the second word was heard
    assert [stretch.mark for stretch in sent] == ["4", "5", "6", "7"]
    assert sent.again_s == pytest.approx(0.02)
    sent.heard_all_but(0.0)
    assert list(sent) == []
