"""Turns, backchannels and echoes are distinguished by the caller's words."""
# ruff: noqa: RUF001 - letters of other alphabets

import pytest

from processors.turn.backchannel_rules import Aside, aside_of, asks, is_backchannel, repeats

HOURS = "We open at nine. From Monday to Friday we are here until six in the evening."


@pytest.mark.parametrize(
    "text",
    [
        "Oh, really?", "I know.", "Echt?", "Ma dai.", "Compreendo.",
        "Snap ik, helder.", "Naprawdę?",
        "Yeah, totally.", "I hear you.", "Ach, wirklich.", "对对对", "好的好的",
        "Okay.", "ok", "OK, okay.", "uh-huh", "Uh huh.", "Mm-hmm.", "mhm", "Yeah, I see.", "Right.",
        "yes", "Oh, okay, got it.", "ajá", "Sí, sí.", "de acuerdo", "Vale.", "Да, понятно.",
        "Хорошо.", "Ja.", "Genau, ja.", "Alles klar.", "Oui, oui.", "D\u2019accord.", "Voilà.",
        "Certo.", "Va bene, sì.", "Pois é.", "Está bem.", "Precies.", "Dat klopt.",
        "Tak, rozumiem.", "Evet, tamam.", "Just det.", "Ano, jasně.", "हाँ जी।",
        "はい。", "はい、そうですね。",
        "네, 알겠습니다.", "嗯。好的。",
        "Makes sense.", "Na klar.", "Claro que sim.", "No tak.",
        "Absolutely.", "Perfect, that's right.", "Das stimmt, perfekt.", "C'est vrai.", "Así es.",
        "Assolutamente.", "Beleza.", "Ja hoor, is goed.", "No jasne.", "Всё понятно.", "Tabii ki.",
        "かしこまりました。", "好吧。", "그럼요.",
        "Так, добре.", "Joo.", "Selvfølgelig.",
    ],
)  # fmt: skip
def test_a_short_acknowledgement_is_a_backchannel(text: str) -> None:
    assert is_backchannel(text)


@pytest.mark.parametrize(
    "text",
    [
        "", "...", "No.", "okay, but what about Sunday", "yes please", "stop", "wait", "what?",
        "okay okay okay okay okay", "thank you", "five", "no vale", "нет", "да нет",
        "Nein.", "Ja, aber am Sonntag", "non", "oui mais", "no", "não", "nee", "nie", "hayır",
        "いいえ", "아니요", "不", "नहीं", "was?", "quoi ?", "halt", "stopp",
    ],
)  # fmt: skip
def test_other_words_are_no_backchannel(text: str) -> None:
    assert not is_backchannel(text)


@pytest.mark.parametrize(
    ("heard", "rest", "then"),
    [
        ("A haircut costs", "forty euros.", False),
        ("Shall I book", "it for Friday? Or", True),
        ("Shall I book it?", "", True),
        ("Shall I book it? I", "could also call you.", True),  # the answer came a little late
        ("Shall I book it? I could also call. Friday", "is free.", False),
        ("", "How can I help?", False),
        ("How", "can I help?", True),
        ("¿Le parece", "bien?", True),
    ],
)
def test_an_agent_asks_in_the_sentence_at_hand_or_the_one_before(
    heard: str, rest: str, *, then: bool
) -> None:
    assert asks(heard, rest) is then


@pytest.mark.parametrize(
    ("text", "spoken", "then"),
    [
        ("From Monday to Friday.", True, True),
        ("from monday till friday we are here", True, True),  # a word misheard
        ("Monday", True, False),
        ("Monday", False, True),
        ("What about Sunday?", False, False),
        ("Friday to Monday here from", True, False),  # in another order
        ("", False, False),
    ],
)
def test_words_repeat_the_agents_in_their_order(text: str, *, spoken: bool, then: bool) -> None:
    assert repeats(text, HOURS, spoken=spoken) is then


@pytest.mark.parametrize(
    ("text", "changed", "then"),
    [
        ("Okay.", {}, Aside.BACKCHANNEL),
        ("Okay.", {"over_agent": False}, Aside.BACKCHANNEL),  # begun in a pause of the agent's
        ("Okay.", {"rest": ""}, None),
        ("Okay.", {"heard": "Shall I", "rest": "book it?"}, None),
        ("And on Sunday?", {}, None),
        ("We open at nine.", {}, Aside.ECHO),
        ("We open at nine.", {"over_agent": False}, None),  # to confirm it
        ("nine", {}, None),
        ("nine", {"spoken": False}, Aside.ECHO),
        ("how about a haircut", {"spoken": False}, None),  # soft words
        ("how about a haircut", {"spoken": False, "echoes": True}, Aside.ECHO),  # misheard
        ("how about a haircut", {"echoes": True}, None),
    ],
)
def test_words_are_a_turn_a_backchannel_or_an_echo(
    text: str, changed: dict[str, str | bool], then: Aside | None
) -> None:
    heard, rest = "We open at nine. From Monday to", "Friday we are here until six."
    usual = {"heard": heard, "rest": rest, "over_agent": True, "spoken": True, "echoes": False}

    assert aside_of(text, **{**usual, **changed}) is then  # type: ignore[arg-type]
