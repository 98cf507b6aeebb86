"""Complete texts are cut into sentences; in doubt, a stop ends none."""

import pytest

from calls.languages.sentence_rules import sentences_of


@pytest.mark.parametrize(
    ("language", "sentences"),
    [
        ("en", "The firm Smith & Co. is next door.|It is open."),
        ("en", "Wait... are you there?|Yes."),
        ("en", "Go to Elm Ave. and turn.|Thanks."),
        ("en", "we open at nine.|come then."),
        ("es", "EE. UU. está lejos.|Sí."),
        ("it", "L'avv. Neri e l'ing. Riva.|Prego."),
        ("fr", "J.-P. Martin est là.|Bonjour."),
        ("pt", "Ltda. é a firma."),
        ("no", "St. Olav."),
        ("de", "Das sind mind. 2."),
        ("ru", "Перезвоним через час.|Потом обсудим."),
        ("ru", "Приём длится час.|Приходите."),
        ("ru", "Ехать 5 час. 30 мин. пешком.|Ждём."),
        ("pl", "To jest pański list.|3 dni temu przyszedł."),
        ("pl", "Teraz jest maj.|5 osób czeka."),
        ("fi", "Hei.|5 minuuttia riittää."),
        ("uk", "Ось ваш лист.|3 дні тому."),
        ("pl", "Termin to 3 list. 2026 roku.|Zapraszamy."),
        ("fr", "Le 1er févr. 2026 à midi.|Merci."),
        ("en", "On Feb. 3 we open.|Come in."),
        ("hu", "Ez szept. 3 lesz.|Jó."),
        ("de", "Im Sept. 2026 geht es los.|Bis bald."),
        ("it", "Da genn. 2025 è chiuso.|Grazie."),
        ("pl", "W list. 2026 roku.|Dobrze."),
    ],
)
def test_a_text_is_cut_only_where_a_sentence_ends(language: str, sentences: str) -> None:
    wanted = sentences.split("|")

    assert [found.strip() for found in sentences_of(" ".join(wanted), language)] == wanted
