"""The stored words of a call: no card number, and nothing of a sensitive section."""
# ruff: noqa: RUF001 - letters of other alphabets

import re
from dataclasses import asdict, fields, replace
from typing import Any, get_args

import pytest

from calls.events import (
    AgentSaid,
    CallbackWanted,
    CallEnded,
    CallerStarted,
    CallFailed,
    Event,
    MessageTranscribed,
    PersonWanted,
    ProviderFailed,
    ToolCalled,
    TranscriptFinal,
    TurnDecided,
)
from calls.transcript import OtherReading
from fallbacks.events import AttemptFailed, ProviderProbed
from fallbacks.failure import Kind, Scope
from operations.spoken_numbers import without_numbers_said
from operations.stored_words import (
    FINISH_S,
    HIDDEN,
    WORDS,
    StoredWords,
    without_spoken_cards,
)
from tests.kit.clock import HandClock

VISA, AMEX = "4242424242424242", "378282246310005"
MAX_S = 120.0
NO_CARDS = (
    "+49 151 12345678 or 0151 12345678",
    "My number is 555 123 4567.",
    "My appointment is 2026-03-01 10:00:00, for two.",
    "zero one five one, one two three four, five six seven eight",
    "two zero two, five five five, zero one four two",
    "Dial 0049 151 12345678.",
    "Call 415 555 0132, no, sorry, 212 555 0199.",
    "Order 4711 0815, no, wait, 4711 0816.",
    "My phone no 0049 151 23456789",
    "Tel no 0043 660 1234567",
    "No, 0049 151 2345678",
    "no zero one five one two three four five six seven eight nine",
    "I want two pizzas, one salad and three beers for four people at seven thirty.",
    "At 9:30 on 12.03.2026, room 4242.",
    "one thousand, two thousand, three thousand, four thousand",
    "mille, deux mille, trois mille, quatre mille",
    "The rooms cost 1200, 1400, 1500 and 1800 euros",
    "",
)


def stored(clock: HandClock | None = None) -> StoredWords:
    return StoredWords(max_s=MAX_S, clock=clock or HandClock())


def heard(text: str, *, turn: int = 1, others: tuple[str, ...] = ()) -> TranscriptFinal:
    readings = tuple(OtherReading(text=other) for other in others)
    return TranscriptFinal(turn=turn, at_s=1.0, provider="x", text=text, alternatives=readings)


def said(text: str) -> AgentSaid:
    return AgentSaid(turn=1, text=text)


def failed(reason: str) -> AttemptFailed:
    return AttemptFailed(
        stage="llm",
        provider="x",
        attempt=1,
        kind=Kind.BAD_REQUEST,
        scope=Scope.PAYLOAD,
        reason=reason,
        after_s=0.1,
    )


DOORS = {
    "the caller's words": heard,
    "another reading of them": lambda text: heard("", others=(text,)),
    "the agent's words": said,
    "why a person": lambda text: PersonWanted(turn=1, reason=text),
    "why a callback": lambda text: CallbackWanted(turn=1, when="", reason=text),
    "when a callback": lambda text: CallbackWanted(turn=1, when=text, reason=""),
    "a model's refusal": failed,
    "a failure": lambda text: ProviderFailed(stage="llm", provider="x", error=text),
    "our own fault": lambda text: CallFailed(where="x", error=text),
}
SPOKEN = [
    VISA,
    "4242 4242 4242 4242",
    "4242-4242-4242-4242",
    "4242, 4242, 4242, 4242.",
    "4242. 4242. 4242. 4242.",
    "4242 4242, no, sorry, 4242 4242 4242",
    "4242 4243, non, pardon, 4242 4242 4242",
    "4242 4243, no, that's wrong, 4242 4242 4242",
    "4242 4243 quiero decir 4242 4242 4242",
    "4242 4243, я ошибся, 4242 4242 4242",
    f"{'vier zwei ' * 4} nein, Entschuldigung, {'vier zwei ' * 6}",
    f"{'dört iki ' * 3} dört üç, hayır, {'dört iki ' * 5}",
    "4 2 4 2 4 2 4 2 4 2 4 2 4 2 4 2",
    "4242 \u2013 4242 \u2013 4242 \u2013 4242",
    "My card is 4242 4242 4242 4242, and the code is 123",
    "Keys pressed: 4242424242424242",
    AMEX,
    "3782 822463 10005",
    "four two four two four two four two four two four two four two four two",
    "Forty-two forty-two, forty two forty two. Forty two forty two, forty two forty two.",
    "double four, uh, two two four two double four two two and then four two four two four two",
    "triple four 2 4242 4242 4242",
    "four two four two 4242 four two four two 4242",
    "vier zwei vier zwei vier zwei vier zwei vier zwei vier zwei vier zwei vier zwei",
    "zweiundvierzig zweiundvierzig zweiundvierzig zweiundvierzig 4242 4242",
    "vier zwei vier zwei, danach vier zwei vier zwei, weiter 4242 dann 4242",
    "4242, next 4242, next 4242, and then 4242",
    "4242, and then, uh, 4242, okay, and then, um, 4242 4242",
    "quatre deux quatre deux quatre deux quatre deux quatre deux quatre deux 4242",
    "quarante-deux quarante-deux quarante-deux quarante deux 4242 4242",
    "cuarenta y dos cuarenta y dos cuarenta y dos cuarenta y dos 4242 4242",
    "quattro due quattro due quarantadue quarantadue quarantadue quarantadue 4242",
    "quatro dois quatro dois quatro dois quatro dois 4242 4242",
    "vier twee vier twee vier twee vier twee tweeënveertig tweeënveertig 4242",
    "cztery dwa cztery dwa cztery dwa cztery dwa 4242 4242",
    "dört iki dört iki dört iki dört iki 4242 4242",
    "четыре два четыре два сорок два сорок два 4242 4242",
    "四二四二四二四二四二四二四二四二",
    "4242の4242の4242の4242です",
    "ええと、4242、それから4242、4242 ハイフン 4242",
    "四二四二、嗯、四二四二 然后 四二四二、四二四二",
    "4242 그리고 4242 음 4242 4242",
    "4243 4242 4242 4242",  # a digit is misheard
    "four two four three four two four two four two four two four two four two",
    "4242 4242 4242 4242, 12 27, 123",
    "1234 5678 9012 4242",
]
THOUSANDS = [
    (
        "four thousand five hundred, one thousand two, nine thousand ten, and then four"
        " thousand one",
        "4001",
    ),
    (
        "forty-two hundred forty-two sixteen hundred and five twelve hundred ten eleven hundred",
        "1100",
    ),
    (
        "three thousand seven hundred eighty two, eight hundred twenty two thousand four"
        " hundred sixty three, ten thousand and five",
        "0005",
    ),
    (
        "quatre mille deux cent quarante-deux mille deux cent trois quatre-mille-cinq, mille un",
        "1001",
    ),
    (
        "viertausendzweihundert fünftausend zwölf eintausenddreißig, neuntausendneunhundertneun",
        "9909",
    ),
    (
        "cuatro mil quinientos treinta y dos mil doscientos cinco mil seiscientos nueve mil doce",
        "9012",
    ),
    (
        "quattromiladuecentoquarantadue milleduecentotre, cinquemilacentottanta, seimila uno",
        "6001",
    ),
    (
        "quatro mil e quinhentos, mil duzentos e trinta, cinco mil e um, seis mil setecentos",
        "6700",
    ),
    (
        "tweeënveertighonderd twaalf duizend tweehonderdvijf vijfduizendacht zesduizend negen",
        "6009",
    ),
    (
        "cztery tysiące dwieście dwa, tysiąc dwieście, pięć tysięcy sześćset, sześć tysięcy dwa",
        "6002",
    ),
    ("четыре тысячи двести, тысяча двести тридцать, пять тысяч шестьсот, шесть тысяч два", "6002"),
    ("dört bin iki yüz kırk iki bin iki yüz beş bin altı yüz yetmiş, altı bin iki", "6002"),
    ("fyratusentvåhundra femtusensexhundraåtta ettusentvåhundra femtusensex", "5006"),
    (
        "neljätuhatta viisisataa viisituhatta kuusisataaneljäkymmentä kuusituhatta"
        " seitsemäntuhatta",
        "7000",
    ),
    ("四千二百四十二、四千五百三十、千二百三十四、五千六百七", "5607"),
    ("사천이백사십이 사천오백삼십이 천이백삼십사 오천육백칠", "5607"),
]
"""Groups of four digits that are said as thousands, and the last one."""
ACCOUNTS = [
    "DE89 3704 0044 0532 0130 00",
    "DE89370400440532013001",  # a digit is misheard
    "D E eight nine three seven zero four zero zero four four zero five three two zero one three"
    " zero zero zero",
    "De acht neun drei sieben null vier null null vier vier null fünf drei zwei null eins drei"
    " null null null",
    "GB29 NWBK 6016 1331 9268 19",
    "NL91 ABNA 0417 1643 00",
    "N O nine three eight six zero one one one one seven nine four seven",
    "N L nine one A B N A zero four one seven one six four three zero zero",
    "FR76 3000 6000 0112 3456 7890 189",
]


WITHOUT_SPACES = {
    "Japanese": ("カード番号は4242424242424242です", "カード番号は************4242です"),
    "Japanese in groups": ("番号は4242、4242、4242、4242です", "番号は************4242です"),
    "Japanese, wide": ("番号は４２４２４２４２４２４２４２４２です", "番号は************4242です"),
    "Japanese in words": ("番号は" + "四二" * 8 + "です", "番号は************4242です"),
    "Japanese, as spelt": ("番号は" + "よんに" * 8 + "です", "番号は************4242です"),
    "Japanese, as read": ("はい、" + "ヨンニ" * 8, "はい、************4242"),
    "Chinese": ("我的卡号是4242 4242 4242 4242。", "我的卡号是************4242。"),
    "Chinese in words": ("我的卡号是" + "四二" * 8 + "。", "我的卡号是************4242。"),
    "Korean": ("카드번호는4242424242424242입니다", "카드번호는************4242입니다"),
    "Korean in words": ("번호는 " + "사이" * 8, "번호는 ************4242"),
    "Thai": ("หมายเลขบัตร4242424242424242ครับ", "หมายเลขบัตร************4242ครับ"),
    "Hindi": ("मेरा कार्ड " + "चार दो " * 8 + "है", "मेरा कार्ड ************4242 है"),
    "Arabic": ("بطاقتي " + "أربعة اثنين " * 8, "بطاقتي ************4242 "),
    "English": ("fourtwo" * 8, "************4242"),
    "German": ("vierzwei" * 8, "************4242"),
}
ORDINARY = [
    "千里の道も一歩から。百聞は一見にしかず、千年の歴史",
    "一千零一夜、我有三千二百块钱、两千三百是房租",
    "I paid two thousand four hundred fifty euros, then one thousand two hundred.",
    "La casa es de mil novecientos ochenta y cinco, y vale doscientos mil euros.",
    "Né en mille neuf cent quatre-vingt-cinq, mort en mille neuf cent quatre-vingt-douze.",
    "Das kostet zweitausendvierhundert Euro, also tausendzweihundert im Monat.",
    "電話番号は09012345678です",
    "二〇二六年十一月三十日に行きます",
    "西に午後に行く、ごくしに",
    "我们九点到五点开门。一共三百二十元",
    "이 사이에 사오라고 했어요",
    "order4242424242424242",  # an identifier
    "open from 20250101 to 20250119",
    "order 20250101 is 20250119",
]


@pytest.mark.parametrize("text", ORDINARY)
def test_other_text_with_numbers_is_kept(text: str) -> None:
    assert stored().text(text) == text


@pytest.mark.parametrize(("text", "shown"), WITHOUT_SPACES.values(), ids=WITHOUT_SPACES)
def test_a_card_number_is_masked_in_text_without_spaces(text: str, shown: str) -> None:
    assert stored().text(text) == shown


@pytest.mark.parametrize("text", ["Ich bin hier.", "It is all set.", "Mil gracias"])
def test_a_word_that_is_a_number_elsewhere_is_no_number(text: str) -> None:
    assert without_numbers_said(text) == text
    words = stored()
    shown = [words.event(heard(said)) for said in ("4242 4242", text)]
    assert shown[1] == heard(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        *((text, text) for text in ("Ich bin 8 Jahre alt", "para o 20 de maio", "on 20 May")),
        *((text, text) for text in ("it is 10 o'clock for 2", "Das kostet 10 Cent")),
        ("Ich bin 123 Meter", "Ich bin *** Meter"),
        ("mil 500", "mil ***"),
        *((text, "***") for text in ("five o five", "5 o 5", "o five 5", "double five 5")),
        ("quinientos 5", "****"),
        ("bin iki 5", "*****"),
    ],
)
def test_one_word_beside_digits_is_shown_to_readers_without_numbers(text: str, shown: str) -> None:
    assert without_numbers_said(text) == shown


@pytest.mark.parametrize(("text", "last"), THOUSANDS)
def test_groups_said_as_thousands_are_masked(text: str, last: str) -> None:
    assert re.fullmatch(rf"\*{{9,13}}{last}", stored().text(text))


@pytest.mark.parametrize("text", ACCOUNTS)
@pytest.mark.parametrize("start", ["", "It is "])
def test_an_account_number_is_masked_from_its_country_on(text: str, start: str) -> None:
    shown = stored().text(f"{start}{text}, thank you.")

    assert re.fullmatch(rf"{start}\*{{11,23}}\d{{4}}, thank you\.", shown)


@pytest.mark.parametrize(
    "text",
    [
        "1200, 1400, 1500 and 1899",
        "1200, 1400, 1500, 1800 and 1",
        "4000 1200 3400 5700",
        "4000 1200 3400 5700 100",
    ],
)
def test_round_numbers_are_masked_with_another_or_a_checksum(text: str) -> None:
    assert stored().text(text).startswith("********")


def test_only_the_code_after_a_number_is_hidden_whole() -> None:
    assert stored().text("4242 4242 4242 4242 123") == "************4242***"


CALLER = "the caller's words"


@pytest.mark.parametrize(
    ("door", "text"), [*((CALLER, text) for text in SPOKEN), *((door, VISA) for door in DOORS)]
)
def test_a_card_number_is_masked_wherever_words_are_stored(door: str, text: str) -> None:
    event = DOORS[door](text)

    digits = "".join(item for item in str(asdict(stored().event(event))) if item.isdecimal())

    assert VISA[:12] not in digits
    assert AMEX[:11] not in digits
    assert VISA not in digits
    assert digits.count("0005" if "3782" in text else "4242") >= 1  # as on a receipt


@pytest.mark.parametrize(
    ("door", "text"),
    [*((CALLER, text) for text in NO_CARDS), *((door, NO_CARDS[0]) for door in DOORS)],
)
def test_other_numbers_stay(door: str, text: str) -> None:
    event = DOORS[door](text)

    assert stored().event(event) == event
    assert without_spoken_cards(text) == text


@pytest.mark.parametrize(
    ("pieces", "kept"),
    [
        (["4242", "4242", "4242", "4242"], ["4242", "4242", "****", "****"]),
        (["4242 4242", "4242 4242."], ["4242 4242", "**** ****."]),
        (["It is 4242", "then 4242", "4242"], ["It is 4242", "then 4242", "****"]),
        (["3782", "822463", "10005"], ["3782", "822463", "*****"]),
        (["0151", "1234", "5678"], ["0151", "1234", "5678"]),
        (["My no 0049 151", "234567", "89"], None),
        (["555", "123", "4567"], ["555", "123", "4567"]),
        (
            ["four two four two", "4242", "forty two forty two"],
            ["four two four two", "4242", "** **"],
        ),
        (["DE89 3704", "0044 0532", "0130 00"], ["DE89 3704", "**** ****", "**** **"]),
        (["double four two two", "one moment", "4242 4242"], None),
        (["4242", "No, wait, that was the wrong one.", "4242 4242"], None),
        (["2025550142", "A table for 4, please.", "At 7, and we are 5."], None),
    ],
)
def test_at_most_the_beginning_of_a_card_number_in_pieces_is_stored(
    pieces: list[str], kept: list[str] | None
) -> None:
    words = stored()

    shown = [words.event(heard(piece)) for piece in pieces]

    assert [event.text for event in shown if isinstance(event, TranscriptFinal)] == (kept or pieces)


@pytest.mark.parametrize("say", [heard, lambda text, turn: replace(said(text), turn=turn)])
def test_a_number_in_pieces_is_followed_over_turns_until_the_topic_changes(say: Any) -> None:
    words = stored()

    shown = [
        asdict(words.event(say(text, turn=turn)))["text"]
        for turn, text in enumerate(
            ("4242", "Okay.", "4242 4242", "That was all, what does it cost?", "4242"), start=1
        )
    ]

    assert shown[:3] == ["4242", "Okay.", "**** ****"]
    assert shown[4] == "4242"


def test_a_number_in_the_pieces_of_a_conversation_is_masked_too() -> None:
    spoken = [{"role": "user", "content": text} for text in ("4242 4242", "four two four two")]

    told = stored().messages(spoken)

    assert [message["content"] for message in told] == ["4242 4242", "* * * *"]


@pytest.mark.parametrize("door", DOORS)
def test_nothing_that_is_said_in_a_sensitive_section_is_stored(door: str) -> None:
    words = stored()
    words.begin_sensitive_section()

    assert "4821" not in str(asdict(words.event(DOORS[door]("My PIN is 4821."))))
    assert words.text("My PIN is 4821.") == HIDDEN


def test_an_event_without_words_is_stored_as_it_is() -> None:
    words = stored()
    words.begin_sensitive_section()
    for event in (
        ToolCalled(turn=1, tool="pay", outcome="ok", took_s=0.1),
        TurnDecided(turn=1, at_s=1.0),
        CallEnded(reason="silence", length_s=3.0),
    ):
        assert words.event(event) is event


WORDY = ("text", "words", "said", "when", "error", "alternatives", "transcript", "summary")


def test_every_event_with_words_is_known() -> None:
    wordy = {
        kind for kind in get_args(Event) if {field.name for field in fields(kind)} & set(WORDY)
    }

    assert wordy - {MessageTranscribed, ProviderProbed} <= set(WORDS)  # a count; outside calls
    assert {type(DOORS[door]("x")) for door in DOORS} == set(WORDS)


@pytest.mark.parametrize(
    ("events", "open_after"),
    [
        ([], True),
        (["end"], True),  # the agent still answers
        (["end", said("Thank you.")], False),
        (["end", TurnDecided(turn=2, at_s=1.0)], False),
        (["end", "begin", said("And the PIN?")], True),
        ([said("Your card number, please.")], True),
        (["end", "late"], False),
        (["late"], False),
        ([CallerStarted(at_s=1.0), "late"], True),  # the caller may finish
        ([CallerStarted(at_s=1.0), "late", TurnDecided(turn=2, at_s=1.0)], False),
        ([CallerStarted(at_s=1.0), "too late"], False),
        (["late", CallerStarted(at_s=1.0)], False),
    ],
    ids=str,
)
def test_a_section_ends_by_itself(events: list[Any], *, open_after: bool) -> None:
    clock = HandClock()
    words = stored(clock)
    words.begin_sensitive_section()
    for event in events:
        match event:
            case "end":
                words.end()
            case "begin":
                words.begin_sensitive_section()
            case "late":
                clock.now += MAX_S
            case "too late":
                clock.now += MAX_S + FINISH_S
            case _:
                words.event(event)

    assert words.hides is open_after
    shown = words.event(heard("My PIN is 4821."))
    assert ("4821" in str(shown)) is not open_after


def test_hiding_ends_after_the_agents_answer_to_the_secret() -> None:
    words = stored()
    words.begin_sensitive_section()
    words.end()

    assert words.event(said("You said 4821.")) == said(HIDDEN)
    assert words.event(said("Anything else?")) == said("Anything else?")


def test_another_process_continues_a_sensitive_section() -> None:
    clock = HandClock()
    first = stored(clock)
    first.begin_sensitive_section()
    first.event(heard("My PIN is 4821."))
    second = StoredWords(max_s=MAX_S, clock=clock, until=first.until, said=first.said)

    assert second.hides
    clock.now += MAX_S
    assert not second.hides
    assert second.messages([{"role": "user", "content": "My PIN is 4821."}]) == [
        {"role": "user", "content": HIDDEN}
    ]


IDEA = "I have no idea."


@pytest.mark.parametrize(
    ("section", "shown", "hidden"),
    [
        (["no"], [IDEA, "Nothing else.", "I know the Norths."], ["no"]),
        (["no", "thanks"], [IDEA], ["no thanks", "no", "thanks"]),
        (["Smith"], ["Where is Smithfield?"], ["It is Smith", "Smith, no"]),
        (["Smith", "no"], [IDEA], ["Smith", "no"]),
        (["4821"], ["14821 Main Street"], ["4821", "The code is 4821, I think."]),
        (["my dog is called Rex", "yes"], ["yes please"], ["my dog is called Rex", "yes",
                                                            "well, my dog is called Rex"]),
        (["да", "код 12"], ["да, конечно"], ["да", "это код 12"]),
    ],
)  # fmt: skip
def test_short_words_of_a_section_do_not_hide_the_rest_of_the_call(
    section: list[str], shown: list[str], hidden: list[str]
) -> None:
    words = stored()
    words.begin_sensitive_section()
    for text in section:
        words.event(heard(text))

    told = words.messages([{"role": "user", "content": text} for text in (*shown, *hidden)])

    assert [message["content"] for message in told] == [*shown, *(HIDDEN for _ in hidden)]


def test_a_person_is_briefed_without_secrets() -> None:
    words = stored()
    words.begin_sensitive_section()
    words.event(heard("four eight two one"))
    words.end()
    words.event(said("Thank you."))
    conversation = [
        {"role": "system", "content": "You are kind."},
        {"role": "user", "content": "I want to pay. four eight two one"},
        {"role": "user", "content": "Where are you? Keys pressed: 4821#"},
        {"role": "user", "content": f"It is {VISA}."},
        {"role": "tool", "content": "ok"},
        {"role": "assistant", "content": None, "tool_calls": []},
        {"role": "assistant", "content": "Anything else?"},
    ]

    told = words.messages(conversation)

    assert [message["content"] for message in told] == [
        "You are kind.",
        HIDDEN,
        "Where are you? Keys pressed: ****",
        "It is ************4242.",
        "ok",
        None,
        "Anything else?",
    ]
    assert conversation[3]["content"] == f"It is {VISA}."  # the model keeps what it needs
