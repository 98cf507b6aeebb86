"""Words that sound like dictation, and how long the turn waits for more."""
# ruff: noqa: RUF001 - letters of other alphabets

import pytest

from processors.turn.dictation_rules import Dictation, is_dictating


@pytest.mark.parametrize(
    "text",
    [
        "five", "Five.", "5", "five five", "My number is", "my number is five", "My number is 555.",
        "it is 0171", "0171-555", "plan b", "b", "S. M. I", "john at", "john at example dot",
        "john@", "my e-mail is", "It's spelled", "double five", "fifty five", "five and then two",
        "house number 5", "minus underscore",
        "mi número es", "mi correo es", "es cero", "juan arroba", "punto",
        "мой номер", "мой телефон это", "ноль пять", "собака", "точка", "по буквам",
        "null eins fünf", "null", "meine Nummer ist", "die Postleitzahl lautet", "doppel acht",
        "dreiundzwanzig vierzig", "Müller mit Ü, punkt", "zéro un", "zéro six douze",
        "mon numéro est",
        "jean arobase", "zero tre cinque", "il mio numero è", "maria chiocciola",
        "zero nove um",
        "o meu número é", "nul zes een", "mijn nummer is",
        "zero pięć", "mój numer to", "małpa",
        "sıfır beş bir", "numaram", "beş on",
        "B as in Bravo", "B wie Berta", "D comme Daniel", "b de burro", "R come Roma",
        "b de bola", "A van Anton", "B jak Barbara", "Б как Борис", "A Ankara'nın A'sı",
        "mon numéro est le zéro", "kod to cztery", "mon mail est jean point", "два нуля",
        "nul er zes", "five no that\u2019s wrong", "zero six uh", "tres quiero decir",
        "null fünf Moment", "zéro six c'est faux", "пять ой", "my number is um",
        "cinco não desculpe", "zero due anzi", "nove um dois", "tiret du bas", "mi DNI es",
        "mi teléfono es el seis", "alt çizgi", "восемь девятьсот", "seis novecientos",
    ],
)  # fmt: skip
def test_a_number_or_spelling_in_progress_is_dictation(text: str) -> None:
    assert is_dictating(text)


@pytest.mark.parametrize(
    "text",
    [
        "", "...", "What are your opening hours?", "at three", "At three o'clock.", "around 5",
        "a table for four", "it's for two", "that\u2019s for anyone",
        "which one", "This one.", "So do I.", "that's", "9:30", "3pm", "40€",
        "I am forty", "My name is Anna.", "my number is five, that is all", "the 5th", "no one",
        "a las cinco", "por favor", "это я", "в пять", "спасибо",
        "um drei", "Ich hätte gern einen", "ein", "gegen acht", "nur zwei", "à cinq", "pour deux",
        "un",
        "alle tre", "per due", "às cinco", "para dois", "om drie", "voor twee", "za pięć", "bir",
        "I need two", "ich brauche zwei", "necesito dos", "quero dois", "мне нужно два", "chcę dwa",
        "saat beş", "the rent is due", "hold on", "good point", "plan b for lunch",
        "двести пятьдесят", "ik wil er zes", "at three no", "no sorry", "I mean it",
        "that's wrong", "espere",
        "five and that\u2019s right", "my size is eight that is right",
        "mam dwa to", "j'ai 2 c'est moi", "я ошибся",
        "martes y de lunes", "e come mai", "и как дела", "send me an email", "a flat tire",
    ],
)  # fmt: skip
def test_an_ordinary_sentence_is_no_dictation(text: str) -> None:
    assert not is_dictating(text)


@pytest.mark.parametrize(
    ("words", "asked", "pause_s"),
    [
        ("five", "How can I reach you?", 2.0),
        ("that is all", "How can I reach you?", 0.0),
        ("five", "What is your Order Number?", 4.0),
        ("that is all", "What is your order number?", 4.0),
        ("that is all", "And your name, please? Then your order number.", 6.0),
        ("", "What is your order number?", 0.0),
    ],
)
def test_the_pause_follows_the_words_and_the_question(
    words: str, asked: str, pause_s: float
) -> None:
    dictation = Dictation(pause_s=2.0, questions={"order number": 4.0, "your name": 6.0})

    assert dictation.pause_s(words, asked=asked) == pause_s
    assert dictation.longest_s == 6.0


def test_an_owner_can_switch_it_off() -> None:
    assert Dictation(pause_s=0.0).pause_s("five", asked="") == 0.0
