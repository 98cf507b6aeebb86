"""When each word is spoken: reported, matched, or estimated by its letters."""

from collections.abc import Sequence

import pytest

from fallbacks.word_times import CHARACTER_S, WordFollower, WordTimes, as_written, sayable


def words_of(text: str) -> WordTimes:
    times = WordTimes()
    times.add_text(text, may_join=True)
    return times


def following(text: str) -> tuple[WordTimes, WordFollower]:
    times = words_of(text)
    return times, times.begin_voice(0, 0.0, timed=True)


def spans(times: WordTimes) -> list[tuple[float | None, float | None]]:
    return [(word.start_s, word.end_s) for word in times.words]


@pytest.mark.parametrize(
    ("word", "letters"), [("Don't,", "dont"), ("3-4", "34"), ("—", ""), ("STRASSE", "strasse")]
)
def test_letters_and_digits_are_spoken(word: str, letters: str) -> None:
    assert sayable(word) == letters


@pytest.mark.parametrize(
    ("word", "letters"),
    [
        ("€", "€"), ("₽.", "₽"), ("$5", "$5"), ("25€,", "25€"), ("%", "%"), ("№", "№"), ("&", "&"),
        ("AT&T", "at&t"), ("°C", "°c"), ("+", "+"), ("=", "="), ("=====", ""), ("++", ""),
    ],
)  # fmt: skip
def test_symbols_that_stand_for_a_word_are_spoken(word: str, letters: str) -> None:
    assert sayable(word) == letters


def test_a_symbol_spoken_as_a_word_lasts_until_the_next_word() -> None:
    times, follower = following("Cuesta 25 € al mes")
    for n, word in enumerate(("Cuesta", "25", "euros", "al")):
        follower.follow(word, start_s=n * 0.5, end_s=n * 0.5 + 0.25)

    assert spans(times)[1:4] == [(0.5, 0.75), (1.0, 1.5), (1.5, 1.75)]


def test_a_symbol_reported_with_the_number_before_it_has_its_time() -> None:
    times, follower = following("Cuesta 25 €")
    follower.follow("Cuesta", start_s=0.0, end_s=0.4)
    follower.follow("25 €", start_s=0.4, end_s=1.2)

    assert spans(times)[1:] == [(0.4, 1.2), (0.4, 1.2)]


@pytest.mark.parametrize(
    ("pieces", "words"),
    [
        (["Good mor", "ning, sir"], ["Good", "morning,", "sir"]),
        (["Good ", "morning"], ["Good", "morning"]),
        (["Good", " morning"], ["Good", "morning"]),
        (["Good", "", "bye"], ["Good", "bye"]),  # an empty piece ends a word
        (["", "Good"], ["Good"]),
        (["Good", "  ", "bye"], ["Good", "bye"]),
    ],
)
def test_text_comes_in_pieces_of_any_size(pieces: list[str], words: list[str]) -> None:
    times = WordTimes()
    for piece in pieces:
        times.add_text(piece, may_join=True)

    assert [word.text for word in times.words] == words
    assert [word.letters for word in times.words] == [sayable(word) for word in words]
    assert times.text_from(0) == " ".join(words)


@pytest.mark.parametrize(
    ("pieces", "words"),
    [
        (["我们九点开门、好吗。"], ["我", "们", "九", "点", "开", "门、", "好", "吗。"]),
        (["我们", "九点。"], ["我", "们", "九", "点。"]),
        (["我用iPhone手机"], ["我", "用", "iPhone", "手", "机"]),
        (["「はい」。"], ["「", "は", "い」。"]),
        (["ไปที่"], ["ไ", "ป", "ที่"]),
        (["<break time='1s'/>好<b>的"], ["<break time='1s'/>", "好<b>", "的"]),
    ],
)
def test_a_script_without_spaces_is_tracked_by_character(
    pieces: list[str], words: list[str]
) -> None:
    times = WordTimes()
    for piece in pieces:
        times.add_text(piece, may_join=True)

    assert [word.text for word in times.words] == words
    assert times.text_from(0) == "".join(pieces)


def test_words_next_to_symbols_keep_their_spaces() -> None:
    times = words_of("Say 你好 to iPhone用户 now")

    written = [as_written(times.words, at) for at in range(len(times.words))]

    assert times.text_from(2) == "好 to iPhone用户 now"
    assert written == [
        *[("Say", False), (" 你", True), ("好", True), ("to", False)],
        *[(" iPhone", True), ("用", True), ("户", True), ("now", False)],
    ]


def test_a_spoken_word_does_not_grow() -> None:
    times = words_of("Good")
    times.add_text("bye", may_join=False)

    assert [word.text for word in times.words] == ["Good", "bye"]


def test_words_are_timed_as_reported() -> None:
    times, follower = following("Good morning")
    assert follower.begun is False

    follower.follow("good", start_s=0.1, end_s=0.3)
    follower.follow("Morning.", start_s=0.4, end_s=0.9)

    assert follower.begun is True
    assert spans(times) == [(0.1, 0.3), (0.4, 0.9)]


def test_a_word_reported_in_parts_begins_with_the_first_and_ends_with_the_last() -> None:
    times, follower = following("unbelievable news")
    for part, start_s in (("un", 0.1), ("belie", 0.3), ("vable", 0.6)):
        follower.follow(part, start_s=start_s, end_s=start_s + 0.2)
    follower.follow("news", start_s=1.0, end_s=1.2)

    assert spans(times) == [(0.1, pytest.approx(0.8)), (1.0, 1.2)]


def test_words_reported_together_share_the_time() -> None:
    times, follower = following("ice cream")
    follower.follow("icecream", start_s=0.1, end_s=0.7)

    assert spans(times) == [(0.1, 0.7), (0.1, 0.7)]


def test_a_dash_takes_no_time() -> None:
    times, follower = following("Well — yes")
    follower.follow("well", start_s=0.1, end_s=0.4)
    follower.follow("yes", start_s=0.5, end_s=0.8)

    assert spans(times) == [(0.1, 0.4), (0.5, 0.5), (0.5, 0.8)]


def test_rephrased_words_last_until_the_next_matching_word() -> None:
    times, follower = following("at 3 today please")
    follower.follow("at", start_s=0.0, end_s=0.1)
    follower.follow("three", start_s=0.2, end_s=0.5)
    follower.follow("today", start_s=0.6, end_s=0.9)

    assert spans(times)[:3] == [(0.0, 0.1), (0.2, 0.6), (0.6, 0.9)]


def test_a_word_left_out_is_skipped_when_the_next_is_said() -> None:
    times, follower = following("one two three four")
    follower.follow("three", start_s=0.5, end_s=0.8)

    assert follower.begun is True
    assert spans(times) == [(0.5, 0.5), (0.5, 0.5), (0.5, 0.8), (None, None)]


def test_matching_looks_only_a_few_words_ahead() -> None:
    times, follower = following("one two three four five")
    follower.follow("five", start_s=0.5, end_s=0.8)

    assert follower.begun is False
    assert times.words[4].start_s is None

    follower.follow("four", start_s=0.9, end_s=1.2)

    assert spans(times)[3] == (0.9, 1.2)


def test_speech_after_the_last_word_changes_nothing() -> None:
    times, follower = following("Bye")
    follower.follow("bye", start_s=0.1, end_s=0.3)
    follower.follow("bye", start_s=0.4, end_s=0.6)

    assert spans(times) == [(0.1, 0.3)]


def test_a_word_without_an_end_ends_as_the_next_begins() -> None:
    times, follower = following("Good morning sir")
    follower.follow("good", start_s=0.1, end_s=None)
    assert times.end_s(0) is None

    follower.follow("morning", start_s=0.4, end_s=None)

    assert times.end_s(0) == 0.4
    assert times.end_s(1) is None
    assert times.end_s(2) is None


def test_another_voice_keeps_the_reported_times_and_adds_the_rest() -> None:
    times, follower = following("Good morning dear sir")
    follower.follow("good", start_s=0.1, end_s=None)
    follower.follow("morning", start_s=0.4, end_s=0.8)
    follower.follow("dear", start_s=0.9, end_s=1.2)

    second = times.begin_voice(2, 1.0, timed=True)
    second.follow("dear", start_s=1.1, end_s=1.4)

    assert spans(times) == [(0.1, 0.4), (0.4, 0.8), (1.1, 1.4), (None, None)]
    assert (times.first, times.base_s) == (2, 1.0)


@pytest.mark.parametrize(("end_s", "heard_s"), [(0.5, 0.3), (None, 0.1 + CHARACTER_S * 4 / 2)])
def test_a_word_counts_as_heard_when_half_of_it_was_played(
    end_s: float | None, heard_s: float
) -> None:
    times, follower = following("Good")
    follower.follow("good", start_s=0.1, end_s=end_s)

    heard = times.middle_s(0)

    assert heard == pytest.approx(heard_s)


def test_a_missing_or_untimed_word_was_not_heard() -> None:
    times, _ = following("Good")

    assert times.middle_s(0) is None
    assert times.middle_s(1) is None


def test_a_voice_without_times_is_estimated_by_its_letters() -> None:
    times = words_of("Good morning sir")
    times.begin_voice(0, 2.0, timed=False)

    assert times.start_s(0) == 2.0
    assert times.start_s(1) == pytest.approx(2.0 + 5 * CHARACTER_S)  # its letters and a space
    assert times.end_s(1) == pytest.approx(2.0 + 13 * CHARACTER_S)
    assert times.end_s(1) == times.start_s(2)


def test_the_estimate_begins_after_the_reported_words() -> None:
    times, follower = following("Good morning dear sir")
    follower.follow("good", start_s=0.0, end_s=0.3)
    times.begin_voice(1, 0.5, timed=False)
    times.words[1].start_s, times.words[1].end_s = 0.5, 0.9

    assert times.start_s(0) == 0.0  # not of this voice: as reported
    assert times.start_s(2) == 0.9
    assert times.start_s(3) == pytest.approx(0.9 + 5 * CHARACTER_S)


def test_words_before_a_voice_without_times_keep_their_reported_times() -> None:
    times, follower = following("Good morning sir")
    follower.follow("good", start_s=0.1, end_s=None)
    times.begin_voice(1, 0.6, timed=False)

    assert times.start_s(0) == 0.1
    assert times.start_s(1) == 0.6


@pytest.mark.parametrize(
    ("told", "untold"),
    [
        ([], (3, 2.0)),
        ([("good", 0.1, 0.5)], (2, 1.5)),
        ([("good", 0.1, 0.5), ("morning", 0.6, None)], (1, 1.4)),
    ],
)
def test_untimed_words_of_a_voice_are_counted(
    told: list[tuple[str, float, float | None]], untold: tuple[int, float]
) -> None:
    times, follower = following("Good morning sir")
    for word, start_s, end_s in told:
        follower.follow(word, start_s=start_s, end_s=end_s)

    assert times.measure_untimed(2.0) == (untold[0], pytest.approx(untold[1]))


def test_only_the_current_voices_times_are_pending() -> None:
    times, follower = following("Good morning sir")
    follower.follow("good", start_s=0.1, end_s=0.5)
    times.begin_voice(1, 1.0, timed=True)

    assert times.measure_untimed(2.0) == (2, pytest.approx(1.0))


def test_words_without_times_share_the_sound_by_their_letters() -> None:
    times, follower = following("Hi you there")
    follower.follow("hi", start_s=0.0, end_s=0.4)
    times.fill(1.4)

    assert spans(times)[1:] == [(0.4, pytest.approx(0.8)), (pytest.approx(0.8), pytest.approx(1.4))]


def test_all_words_of_a_voice_without_times_share_its_sound() -> None:
    times = words_of("Hi you there")
    times.begin_voice(1, 1.0, timed=True)
    times.fill(2.0)

    assert spans(times)[1:] == [(1.0, pytest.approx(1.4)), (pytest.approx(1.4), pytest.approx(2.0))]
    assert spans(times)[0] == (None, None)


def test_no_word_ends_before_it_begins() -> None:
    times, follower = following("Hi you")
    follower.follow("hi", start_s=0.0, end_s=0.4)
    times.words[1].start_s = 0.9
    times.fill(0.5)

    assert spans(times)[1] == (0.9, 0.9)


def test_missing_sound_does_not_make_times_run_backwards() -> None:
    times, follower = following("Hi you")
    follower.follow("hi", start_s=0.0, end_s=0.4)
    times.fill(0.1)

    assert spans(times)[1] == (0.4, 0.4)


def test_estimating_nothing_changes_nothing() -> None:
    times, follower = following("Hi")
    follower.follow("hi", start_s=0.0, end_s=0.4)
    times.fill(5.0)

    assert spans(times) == [(0.0, 0.4)]


@pytest.mark.parametrize("pieces", [["how"], ["h", "ow"], ["ho", "w"], ["h", "o", "w"]])
@pytest.mark.parametrize(("begins_s", "left_out"), [(0.2, True), (0.9, False)])
def test_a_word_is_left_out_if_there_was_no_time_for_it(
    pieces: list[str], begins_s: float, *, left_out: bool
) -> None:
    _, follower = following("this is Holdline how are you")
    follower.follow("this", start_s=0.0, end_s=0.2)
    for n, piece in enumerate(pieces):
        follower.follow(piece, start_s=begins_s + n / 20, end_s=begins_s + (n + 1) / 20)

    assert follower.left_out == left_out


TEXTS = [
    "We open at nine in the morning and we close at six today sir.",
    "Your code is 4 8 1 5 1 6, and it is valid until noon today.",
    "No no no, I never said so, no no, please listen to me now.",
    "Wir haben am 3. Mai um 9 Uhr offen und danach leider nicht mehr.",
    "Your table for 4 at 7:30 p.m. is booked under Dr. Smith, thank you.",
    "It is 555 0123. Again, that is five five five zero one two three.",
    "\u6211\u4eec\u4e5d\u70b9\u5f00\u95e8\uff0c\u4e0b\u5348\u516d\u70b9\u5173\u95e8\uff0c\u6b22\u8fce\u5149\u4e34\u3002",
]


def is_noticed(text: str, said: Sequence[str], *, letters: int = 100, tail_s: float = 0.2) -> bool:
    """Report words, in pieces of `letters`, and the end; return whether a gap is noticed."""
    _, follower = following(text)
    at_s = 0.1
    for word in said:
        length_s = 0.3 * sum(map(str.isdigit, word)) or max(0.15, 0.05 * len(sayable(word)))
        for n in range(0, len(word), letters):
            start_s = at_s + length_s * n / len(word)
            end_s = at_s + length_s * min(1.0, (n + letters) / len(word))
            follower.follow(word[n : n + letters], start_s=start_s, end_s=end_s)
        at_s += length_s + (0.25 if word[-1] in ".," else 0.02)
    return follower.left_out or follower.lacks_end(at_s - 0.02 + tail_s)


@pytest.mark.parametrize("letters", [3, 100])
@pytest.mark.parametrize("text", TEXTS)
def test_four_or_more_words_left_out_anywhere_are_noticed(text: str, letters: int) -> None:
    words = [word.text for word in words_of(text).words]
    gaps = [
        (first, end)
        for first in range(len(words))
        for end in range(first + 4, len(words) + 1)
        if end - first < len(words) - 1  # the length of the audio shows the others
    ]
    unseen = [
        " ".join(words[first:end])
        for first, end in gaps
        if not is_noticed(text, [*words[:first], *words[end:]], letters=letters)
    ]

    assert unseen == []
    assert not is_noticed(text, words, letters=letters)


SPELLINGS = {
    "number": ("It costs 42 euros today", "It costs forty-two euros today"),
    "price": (
        "That is $350.20 in all, sir",
        "That is three hundred fifty dollars twenty in all, sir",
    ),
    "digits one by one": (
        "Call 555 0123. Again, that is five five five zero one two three",
        "Call five five five zero one two three Again, that is five five five zero one two three",
    ),
    "grouped digits": ("Your code is 4 8 1 5 1 6 now", "Your code is 481516 now"),
    "digits divided": ("Your code is 481516 now", "Your code is 4 8 1 5 1 6 now"),
    "number and the same word": ("Room 2, two floors up", "Room two two floors up"),
    "number at the end": ("The room is number 42", "The room is number forty two"),
    "number alone": ("42", "forty two"),
    "title": ("I spoke to Dr. Smith and Mr. Lee", "I spoke to Doctor Smith and Mister Lee"),
    "street": ("It is St. Mary Street, number 4", "It is Street Mary Street number four"),
    "no punctuation": ("Well, yes - of course! Thanks.", "well yes of course thanks"),
    "address": (
        "See holdline.example/help for more",
        "See holdline dot example slash help for more",
    ),
    "sign": ("Cuesta 25 \u20ac al mes", "Cuesta veinticinco euros al mes"),
    "ordinal": ("Wir sehen uns am 3. Mai um 9 Uhr", "Wir sehen uns am dritten Mai um neun Uhr"),
    "signs of another script": (
        "\u6211\u4eec3\u70b9\u4e09\u5341\u5f00\u95e8",
        "\u6211 \u4eec \u4e09 \u70b9 \u4e09 \u5341 \u5f00 \u95e8",
    ),
    "another script": ("\u043c\u044b \u0437\u0434\u0435\u0441\u044c \u0441 9", "my zdes s devyati"),
    "two languages": ("Das ist Open Source und 2 for 1", "Das ist Open Source und two for one"),
    "letters": ("A B C is the code for 1 2 3", "a b c is the code for one two three"),
}


@pytest.mark.parametrize("tail_s", [0.0, 0.3])
@pytest.mark.parametrize(("text", "said"), SPELLINGS.values(), ids=SPELLINGS.keys())
def test_words_in_another_spelling_are_not_left_out(text: str, said: str, tail_s: float) -> None:
    assert not is_noticed(text, said.split(), tail_s=tail_s)
