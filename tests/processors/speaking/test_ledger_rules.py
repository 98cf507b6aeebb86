"""Every word of an utterance, once."""

import time

import pytest

from fallbacks.word_times import sayable
from processors.speaking.ledger_rules import HELD_S, SpeechLedger

SENTENCE = "We are open from nine to five."  # seven words


def spoken(
    words: int, *, ends: bool = True, received_s: float | None = None, word_s: float = 0.3
) -> SpeechLedger:
    """An utterance whose first voice has spoken some words, each equally long."""
    ledger = SpeechLedger()
    ledger.hand_over(SENTENCE)
    ledger.start_attempt(1)
    for n, word in enumerate(SENTENCE.split()[:words]):
        end_s = (n + 1) * word_s if ends else None
        ledger.word(1, word, start_s=n * word_s, end_s=end_s)
    ledger.audio(1, words * word_s if received_s is None else received_s)
    return ledger


def untold(ledger: SpeechLedger) -> tuple[int, float]:
    return ledger.words.measure_untimed(ledger.received_s)


def heard(ledger: SpeechLedger, played_s: float) -> str:
    """Return the words that the caller has heard when this much of the sound was played."""
    words, upto = ledger.words.text_from(0).split(), 0
    for at, word in enumerate(words):
        found = ledger.words.middle_s(at)
        if found is not None and found <= played_s and played_s > 0:
            upto = at + 1
        elif sayable(word):  # a dash may have no time of its own
            break
    return " ".join(words[:upto])


def test_before_a_voice_has_spoken_the_whole_text_is_pending() -> None:
    ledger = SpeechLedger()
    ledger.hand_over(SENTENCE)

    assert ledger.rest == SENTENCE
    assert ledger.start_attempt(1) == SENTENCE


@pytest.mark.parametrize(
    "ledger",
    [
        pytest.param(spoken(4, received_s=1.0), id="three words and a third of the fourth"),
        pytest.param(spoken(4), id="a word that ends with the last sample"),
        pytest.param(spoken(4, ends=False, received_s=1.1), id="only the starts are reported"),
    ],
)
def test_the_rest_begins_at_the_first_word_that_has_not_fully_arrived(ledger: SpeechLedger) -> None:
    assert ledger.rest == "from nine to five."
    assert ledger.keep_s == pytest.approx(0.9)


def test_word_times_that_arrive_before_their_sound_do_not_count_yet() -> None:
    ledger = spoken(7, received_s=0.5)

    assert ledger.rest == "are open from nine to five."


def test_a_sentence_without_spaces_resumes_at_the_first_missing_character() -> None:
    ledger = SpeechLedger()
    ledger.hand_over("我们九点开门。")
    ledger.start_attempt(1)
    for n, sign in enumerate("我们九点"):
        ledger.word(1, sign, start_s=n * 0.3, end_s=(n + 1) * 0.3)
    ledger.audio(1, 1.0)

    assert ledger.rest == "点开门。"
    assert ledger.keep_s == pytest.approx(0.9)


def test_a_finished_voice_has_spoken_its_last_word_too() -> None:
    ledger = spoken(7)
    ledger.done(1)

    assert ledger.rest == ""
    assert ledger.keep_s == pytest.approx(2.1)


def test_text_added_after_a_voice_finished_is_pending() -> None:
    ledger = spoken(7)
    ledger.done(1)
    ledger.hand_over(" Goodbye.")

    assert ledger.rest == "Goodbye."


def test_the_next_voices_times_are_counted_from_the_kept_sound_of_the_first() -> None:
    ledger = spoken(4, received_s=1.0)
    assert ledger.start_attempt(2) == "from nine to five."

    ledger.audio(2, 1.0)
    for n, word in enumerate(["from", "nine"]):
        ledger.word(2, word, start_s=n * 0.4, end_s=(n + 1) * 0.4)

    assert ledger.rest == "to five."
    assert ledger.keep_s == pytest.approx(0.9 + 0.8)
    assert heard(ledger, 1.3) == "We are open from"


def test_late_sound_of_a_dead_voice_is_ignored() -> None:
    ledger = spoken(4, received_s=1.0)
    ledger.start_attempt(2)

    ledger.audio(1, 5.0)
    ledger.word(1, "from", start_s=0.9, end_s=1.2)
    ledger.done(1)

    assert ledger.rest == "from nine to five."
    assert ledger.received_s == pytest.approx(0.9)


@pytest.mark.parametrize(("queued_s", "released_s"), [(0.5, 0.9), (0.05, 1.0)])
def test_a_partial_word_is_released_only_before_the_line_runs_dry(
    queued_s: float, released_s: float
) -> None:
    ledger = spoken(4, received_s=1.0)

    assert ledger.releasable_s(queued_s=queued_s) == pytest.approx(released_s)


def test_a_partial_word_on_the_line_is_kept_and_the_word_said_again() -> None:
    ledger = spoken(4, received_s=1.05)
    ledger.released_s = 1.0

    assert ledger.keep_s == pytest.approx(1.0)
    assert ledger.rest == "from nine to five."


def test_a_word_that_is_whole_on_the_line_is_not_said_again() -> None:
    ledger = spoken(4)
    ledger.released_s = 1.2

    assert ledger.rest == "nine to five."


def test_a_barge_in_keeps_the_words_that_were_mostly_played() -> None:
    ledger = spoken(7)

    assert heard(ledger, 0.0) == ""
    assert heard(ledger, 0.14) == ""
    assert heard(ledger, 0.16) == "We"
    assert heard(ledger, 0.74) == "We are"
    assert heard(ledger, 9.9) == SENTENCE


def test_a_dash_belongs_to_no_word_and_delays_nothing() -> None:
    ledger = SpeechLedger()
    ledger.hand_over("Yes — of course.")
    ledger.start_attempt(1)
    ledger.audio(1, 0.7)
    ledger.word(1, "Yes", start_s=0.0, end_s=0.3)
    ledger.word(1, "of", start_s=0.3, end_s=0.6)

    assert ledger.rest == "course."
    assert ledger.keep_s == pytest.approx(0.6)


SIGNS = ["€", "%", "№", "°"]


def price(sign: str, *said: str, received_s: float) -> SpeechLedger:
    """An utterance with a sign in it; its voice reports these words, each 0.3 s long."""
    ledger = SpeechLedger()
    ledger.hand_over(f"Cuesta 25 {sign} al mes.")
    ledger.start_attempt(1)
    for n, word in enumerate(said):
        ledger.word(1, word, start_s=n * 0.3, end_s=(n + 1) * 0.3)
    ledger.audio(1, received_s)
    return ledger


@pytest.mark.parametrize("sign", SIGNS)
@pytest.mark.parametrize("named", [False, True], ids=["not named yet", "named"])
def test_a_spoken_symbol_is_pending_until_its_own_sound_has_arrived(
    sign: str, *, named: bool
) -> None:
    ledger = price(sign, "Cuesta", "25", *([sign] if named else []), received_s=0.8)

    assert ledger.rest == f"{sign} al mes."
    assert ledger.keep_s == pytest.approx(0.6)
    assert not ledger.sent


@pytest.mark.parametrize("sign", SIGNS)
@pytest.mark.parametrize("as_word", ["{}", "euros"], ids=["as written", "as a word"])
def test_a_symbol_whose_sound_has_arrived_is_not_repeated(sign: str, as_word: str) -> None:
    said = ("Cuesta", "25", as_word.format(sign), "al")
    ledger = price(sign, *said, received_s=1.3)

    assert ledger.rest == "mes."


def test_a_symbol_that_a_voice_does_not_report_has_arrived_with_the_next_word() -> None:
    ledger = price("€", "Cuesta", "25", "al", received_s=1.0)

    assert ledger.rest == "mes."


def test_a_voice_that_does_not_report_its_last_symbol_has_not_ended_too_soon() -> None:
    ledger = SpeechLedger()
    ledger.hand_over("Cuesta 25 €")
    ledger.start_attempt(1)
    ledger.word(1, "Cuesta", start_s=0.0, end_s=0.3)
    ledger.word(1, "25", start_s=0.3, end_s=0.6)
    ledger.audio(1, 1.0)

    assert untold(ledger) == (1, pytest.approx(0.4))
    ledger.done(1)
    assert ledger.rest == ""


OPENINGS = ["—", "👋", "…", "«", "-", "— …"]


def opened_with(opening: str) -> SpeechLedger:
    """An utterance that begins without a letter; its voice has given all times and no sound."""
    ledger = SpeechLedger()
    ledger.hand_over(f"{opening} Yes of course. ")
    ledger.start_attempt(1)
    for n, word in enumerate(["Yes", "of", "course."]):
        ledger.word(1, word, start_s=n * 0.3, end_s=(n + 1) * 0.3)
    return ledger


@pytest.mark.parametrize("opening", OPENINGS)
def test_a_beginning_without_letters_has_arrived_with_the_first_word(opening: str) -> None:
    ledger = opened_with(opening)
    ledger.audio(1, 0.2)
    assert ledger.rest == f"{opening} Yes of course."
    assert ledger.keep_s == 0.0

    ledger.audio(1, 0.5)

    assert ledger.rest == "course."
    assert ledger.keep_s == pytest.approx(0.6)


@pytest.mark.parametrize("opening", OPENINGS)
def test_an_utterance_with_a_wordless_opening_is_complete_once_its_sound_is_released(
    opening: str,
) -> None:
    ledger = opened_with(opening)
    ledger.audio(1, 0.9)

    ledger.released_s = ledger.releasable_s(queued_s=0.0)

    assert ledger.rest == ""


def test_a_text_without_letters_is_pending_until_its_voice_is_done() -> None:
    ledger = SpeechLedger()
    ledger.hand_over("— … ")

    assert ledger.start_attempt(1) == "— …"

    ledger.done(1)
    assert ledger.rest == ""


def test_a_voice_without_word_times_is_estimated_and_delayed_by_half_a_word() -> None:
    ledger = SpeechLedger()
    ledger.hand_over(SENTENCE)
    ledger.start_attempt(1, timed=False)
    ledger.audio(1, 1.0)

    assert ledger.keep_s == 1.0 - HELD_S
    assert ledger.releasable_s(queued_s=0.0) == 1.0 - HELD_S
    assert 0 < len(ledger.rest.split()) < 7


def test_a_voice_that_withholds_its_word_times_is_not_delayed_for_long() -> None:
    ledger = SpeechLedger()
    ledger.hand_over(SENTENCE)
    ledger.start_attempt(1)

    ledger.audio(1, 0.5)
    assert ledger.releasable_s(queued_s=9.9) == 0.0

    ledger.audio(1, 0.2)
    assert ledger.releasable_s(queued_s=9.9) == pytest.approx(0.7 - HELD_S)


def test_after_a_voices_last_sample_the_word_is_pending_but_not_waited_for() -> None:
    ledger = spoken(7)

    assert ledger.rest
    assert ledger.sent


def test_a_voice_that_rounds_its_times_up_past_its_last_sample_is_not_waited_for() -> None:
    ledger = spoken(7, received_s=2.1 - 0.003)  # whole milliseconds, rounded in each message

    assert ledger.sent
    ledger.released_s = ledger.received_s
    assert ledger.rest == ""


@pytest.mark.parametrize("ending", ["🙂", "—", "— 🙂 …"])
def test_an_end_without_letters_is_not_waited_for(ending: str) -> None:
    ledger = spoken(7)
    ledger.hand_over(f" {ending}")

    assert ledger.rest
    assert ledger.sent
    assert untold(ledger) == (0, pytest.approx(0.0))


def test_a_voice_whose_last_word_has_not_ended_is_waited_for() -> None:
    assert not spoken(7, received_s=2.0).sent
    assert not spoken(6).sent


def cost_s(words: int, *, timed: bool) -> float:
    """Return the time of this thread that a ledger of this many words takes."""
    ledger, began = SpeechLedger(), time.thread_time()
    for n in range(words):
        ledger.hand_over(f"word{n} ")
    ledger.start_attempt(1, timed=timed)
    for n in range(words):
        if timed:
            ledger.word(1, f"word{n}", start_s=n * 0.3, end_s=n * 0.3 + 0.3)
        ledger.audio(1, 0.3)
        ledger.released_s = ledger.releasable_s(1.0)
        ledger.words.middle_s(n)
        assert not ledger.sent or n == words - 1 or timed
    ledger.done(1)
    return time.thread_time() - began


@pytest.mark.parametrize("timed", [True, False])
def test_the_cost_of_a_word_does_not_grow_with_the_utterance(timed: bool) -> None:  # noqa: FBT001 - a parameter
    short = min(cost_s(400, timed=timed) for _ in range(5))
    long = min(cost_s(3200, timed=timed) for _ in range(5))

    assert long < 2.5 * 8 * short  # with the square of the words it was 40 times as much
