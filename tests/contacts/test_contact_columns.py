"""The columns of contact files, as other programs and people name them in many languages."""
# ruff: noqa: RUF001 - Russian and Greek have letters that look like Latin ones

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from contacts.contact_columns import (
    ColumnsError,
    YesNoColumns,
    is_refusal,
    meaning_of,
    meanings_of,
    says_do_not_call,
)
from contacts.contact_files import ContactFileError, open_contacts

MOBILE, LANDLINE = "+4915112345678", "+4930901820"
# The number expected is the cell below `m` (a mobile), or else the one below `t`; the name is made
# of the cells below `f`, `l` or `n`; `x` is another value.
HEADERS = {
    "HubSpot": ("Datensatz-ID,Vorname,Nachname,Telefonnummer,Mobiltelefonnummer", "xfltm"),
    "HubSpot, French": ("Prénom,Nom,Numéro de téléphone,Numéro de téléphone mobile", "fltm"),
    "HubSpot, Italian": ("Nome,Cognome,Numero di telefono,Numero di cellulare", "fltm"),
    "in capitals, run together": ("ID,FIRSTNAME,LASTNAME,PHONE,MOBILEPHONE,HOMEPHONE", "xfltmt"),
    "in camel case": ("phoneNumber,firstName,lastName", "tfl"),
    "a report": ("First Name,Account Name,Phone,Mobile,Asst. Phone", "fxtma"),
    "a type next to it": ("Name,Phone 1 - Type,Phone 1 - Value", "nxt"),
    "Outlook, Spanish": (
        "Nombre,Apellidos,Teléfono del trabajo,Teléfono móvil,Particular",
        "fltmt",
    ),
    "abbreviated": ("Name,Tel.,Handynr.", "ntm"),
    "with a hyphen": ("Ansprechpartner,Tel.-Nr.,Ort", "ntx"),
    "a compound for the name": ("Kundenname,Telefon", "nt"),
    "of the customer": ("Nom du client,Téléphone", "nt"),
    "a person's": ("Person - Name,Person - Phone,Person - Email", "ntx"),
    "an address's": ("First Name,Last Name,Email,Default Address Phone", "flxt"),
    "To": ("To,Name", "tn"),
    "the standard": ("E.164,name", "tn"),
    "French": ("Client,N° de téléphone,Ville", "ntx"),
    "Russian": ("ФИО,Номер телефона,Город", "ntx"),
    "Polish": ("Imię,Nazwisko,Telefon komórkowy", "flm"),
    "Turkish": ("Ad,Telefon,Cep", "ftm"),
    "Hungarian": ("Név,Telefonszám,Mobilszám", "ntm"),
    "Swedish": ("Namn,Telefonnummer,Mobilnummer", "ntm"),
    "Czech": ("Jméno,Příjmení,Telefonní číslo", "flt"),
    "Greek": ("Τηλέφωνο,Κινητό", "tm"),
    "Norwegian": ("Navn,Tlf.,Mobiltlf.", "ntm"),
    "numbered": ("Name,Tel. 1,Mobile (work)", "ntm"),
    "a last name called Name": ("Vorname,Name,Telefon", "flt"),
    "no known heading": ("Wer,Womit,Wo", "xtx"),
    "no known heading, two codes": ("Kennung,Posten,Womit", "ddt"),
    "a misleading heading": ("Phonetic Name,Handyman,Kontaktnr.", "xxt"),
    "a word that may be a name's": ("Name,Contact", "nt"),
    "another, alone": ("Kontakt,Ort", "tx"),
    "one word in two capitals": ("Name,Phone,WhatsApp", "ntm"),
    "an abbreviated mobile": ("Name,Tel No,Mob.", "ntm"),
    "a fax": ("Name,Fax,Teléfono", "nat"),
}
CELLS = {"m": MOBILE, "t": LANDLINE, "f": "Eva", "l": "Bauer", "n": "Eva Bauer", "x": "Ulm"}


@pytest.mark.parametrize(("header", "kinds"), HEADERS.values(), ids=HEADERS)
@pytest.mark.parametrize("form", ["{}\n{}\n", '\ufeff"{}"\n{}\n'])
def test_the_number_and_the_name_are_found_below_any_usual_heading(
    tmp_path: Path, header: str, kinds: str, form: str
) -> None:
    cells = {**CELLS, "a": "+4930901899", "d": "10023417"}
    file = tmp_path / "contacts.csv"
    heading = header if "{}\n{}" in form[:5] else header.replace(",", '","')
    file.write_text(form.format(heading, ",".join(cells[kind] for kind in kinds)), "utf-8")

    with open_contacts(file, region="DE") as opened:
        ((_, read),) = opened.rows

    assert read is not None
    assert read.numbers[0] == (MOBILE if "m" in kinds else LANDLINE)
    assert "+4930901899" not in read.numbers
    names = {"f": "Eva", "l": "Bauer", "n": "Eva Bauer"}
    assert read.name == " ".join(names[kind] for kind in kinds if kind in names)


@pytest.mark.parametrize(
    ("header", "row", "says"),
    [
        ("A,B", ("+4930901820", "+4930901821"), "several columns that may be the number (A, B)"),
        ("Name,Kennung", ("Eva", "10023417"), "no column for the number in its first line (Name, "),
        ("Name,IBAN", ("Eva", "DE02120300000000202051"), "(Name, IBAN); rename the right one"),
        ("Wer,Am", ("Eva", "01.12.2026"), "(Wer, Am); rename the right one"),
    ],
)
def test_a_column_that_cannot_be_told_is_named(
    header: str, row: tuple[str, ...], says: str
) -> None:
    with pytest.raises(ColumnsError) as error:
        meanings_of(header.split(","), [row], region="DE")

    assert says in str(error.value)


def test_a_contact_in_place_of_the_header_is_not_repeated_in_the_message(tmp_path: Path) -> None:
    file = tmp_path / "contacts.csv"
    file.write_text("Eva,+4930901820\n", "utf-8")

    with pytest.raises(ContactFileError) as error, open_contacts(file):
        pass

    assert "901820" not in str(error.value)


OPT_OUTS = """Do Not Call
DONOTCALL;DoNotCall;do_not_call;No calls;Opt-out;Do not contact;Robinson;DNC
Bitte nicht anrufen;Nicht anrufen;Anrufsperre;Keine Anrufe;Ne pas appeler;Ne pas contacter
No llamar;Lista Robinson;Non chiamare;Não ligar;Niet bellen;Bel-me-niet;Nie dzwonić
Don't call;Anrufverbot;Keine Werbeanrufe;Telefonwerbung untersagt;Kontaktverbot
Opposition démarchage;Inscrit Bloctel;Excluido de llamadas;Iscritto RPO;Rifiuta chiamate
Geen telefoontjes;Não deseja contato;Zakaz dzwonienia;Brak zgody na kontakt telefoniczny
Не беспокоить;Отказ от обзвона;İletişim istemiyor;Ei saa soittaa;電話禁止
НЕ ЗВОНИТЬ;ARAMAYIN;Do not allow phone calls;Opt-out date;Phone opt-out;Opted out of calls
Do not email or call;DND;不要打电话;拒绝来电;禁止致电;不联系;黑名单
電話拒否;電話しない;配信停止;전화 거부;전화거부;연락금지
لا تتصل;عدم الاتصال;ممنوع الاتصال;לא להתקשר;ללא שיחות
Μη καλείτε;Όχι κλήσεις;Απαγόρευση κλήσεων;Ring ej;Får ej ringas;NIX-spärr;Kontakta ej
Avregistrerad;Må ikke ringes op;Ingen opkald;Afmeldt;Reservert;Älä soita;Puhelinkielto
Nevolejte;Zákaz volání;Tilos hívni;Nu sunați;Blocat;Заборона дзвінків;Ne zvati;Не звънете
ห้ามโทร;Đừng gọi;Jangan telepon;Neskambinti
(Do not) Call;(Nicht) anrufen;(No) Llamar;(Non) contattare;(Do Not Solicit) Contact
(Do Not Modify) Do not call
Schwarze Liste;Auf der schwarzen Liste;Lista negra;Liste noire;В черном списке;Czarna lista
National DNC;Is DNC?;Phone Status DNC;Not callable;Voice opt out;Phone refused;Contact suppressed
Blacklist phone;Call restrictions;Excluir de llamadas;Opposizione chiamate;Arama engeli
Bloqueado para ligações;Telefon Aramalarına İzin Verme;Nepovolit telefonní hovory
Заборонити телефонні дзвінки;Запретить звонки;不允许电话联络;電話を許可しない;전화 통화 허용 안 함
Blacklisted Phone is Phone;Älä salli puhelinsoittoja;Telefonhívások tiltása;전화 안 함;전화안함
전화안받음;Älä koskaan soita;Puhelut: älä salli
Non richiamare;Niet contacteren;Bez telefonów;Не беспокоить звонками;Exclude from dialing"""
OTHERS = """(Do Not Modify) Contact;(Nicht ändern) Kontakt;(Ne pas modifier) Contact
(Не изменять) Контакт;Voicemail;Invoice;Call Preference;Consent given by
Email Opt Out;HasOptedOutOfEmail;Unsubscribed from all email;Do not text;Phone No
Contact No;Last call;Call date;Not sure;Anrufe;Number of calls;Newsletter
免费电话;联系电话;拒收邮件;不动产地址;最近通话时间;連絡先電話番号;最終架電日
이메일 수신거부;최근 통화일;رقم الاتصال;שיחה אחרונה;Τελευταία κλήση;Senast ringd
Nem;Ala;Nyhetsbrev;Utolsó hívás;Tel.-Bez.;Teléfono ala norte;Ala / ramal telefone
Bez. Kontakt;Bez. Telefon"""


@pytest.mark.parametrize("heading", re.split(r"[;\n]", OPT_OUTS))
def test_a_heading_that_forbids_calls_is_recognised(heading: str) -> None:
    assert meaning_of(heading).name == "do_not_call"


PERMISSIONS = """Calls allowed;Consent to call;Opt-in calls;Opted in phone;Telefonische Einwilligung
允许来电;电话营销同意;전화 동의;Samtycke samtal;Samtykke til opkald
Anruf erlaubt;Permite llamadas;Consenso chiamate;Permite ligações;Zgoda na telefon;Arama izni
Autoriza chamadas;Autorizza chiamate
Callable;Contactable by phone;Voice consent;TCPA opt in;Acepta llamadas;Accetta chiamate
Telefon Aramalarına İzin Ver;允许电话;Telefonanrufe zulassen;전화 안내 동의
Arama İzni Verme Tarihi;Arama izni verme durumu
Можно звонить;Aranabilir;Kann angerufen werden;Peut être appelé;Se puede llamar;Può essere chiamato
Pode ligar"""


@pytest.mark.parametrize("heading", re.split(r"[;\n]", PERMISSIONS))
def test_a_heading_that_permits_calls_is_recognised(heading: str) -> None:
    assert meaning_of(heading).name == "may_call"


@pytest.mark.parametrize("heading", ["안심전화번호", "안전 전화", "천안점 전화번호", "안내 전화"])
def test_a_syllable_within_a_word_does_not_hide_a_column_of_numbers(heading: str) -> None:
    assert meaning_of(heading).name == "number"


@pytest.mark.parametrize("heading", [*re.split(r"[;\n]", OTHERS), "", "!!", "***", "42"])
def test_a_heading_about_something_else_forbids_no_call(heading: str) -> None:
    assert meaning_of(heading).name != "do_not_call"


@pytest.mark.parametrize(
    ("meaning", "cell", "refused"),
    [
        *(("do_not_call", cell, False) for cell in ("", "0", "No", "FALSE", "falsch", "Нет", "☐")),
        *(("do_not_call", cell, False) for cell in ("nein", "Não", "non", "faux", "Allow")),
        *(
            ("do_not_call", cell, False)
            for cell in ("否", "いいえ", "아니요", "لا", "לא", "Όχι", "Nej")
        ),
        *(
            ("do_not_call", cell, True)
            for cell in ("是", "はい", "예", "نعم", "כן", "Ναι", "×", "❌")
        ),
        *(
            ("do_not_call", cell, False)
            for cell in ("FALSKT", "HAMIS", "EPÄTOSI", "ΨΕΥΔΕΣ", "거짓")
        ),
        *(("may_call", cell, False) for cell in ("SANT", "IGAZ", "TOSI", "ΑΛΗΘΕΣ", "참", "真")),
        *(("may_call", cell, True) for cell in ("否", "いいえ", "아니오", "لا", "Όχι", "×", "❌")),
        *(("may_call", cell, False) for cell in ("是", "はい", "네", "نعم", "Ναι", "○", "✅")),
        *(
            ("do_not_call", cell, True)
            for cell in ("1", "yes", "x", "WAHR", "n/a", "?", "2026-1-1")
        ),
        *(("do_not_call", cell, True) for cell in ("since May", "Do Not Allow", "unknown", "oui")),
        *(
            ("may_call", cell, True)
            for cell in ("no", "0", "nein", "Do Not Allow", "nicht erlaubt")
        ),
        *(("may_call", cell, True) for cell in ("denied", "revoked", "widerrufen", "abgelehnt")),
        *(("may_call", cell, True) for cell in ("pending", "rifiutato", "отказ", "by email only")),
        *(("may_call", cell, False) for cell in ("yes", "1", "ja", "since 2026-01-01", "after 18")),
        *(("do_not_call", cell, False) for cell in ("0.0", "0,00", "Zulassen", "Autoriser")),
        *(("do_not_call", cell, False) for cell in ("Opted in", "opt-in")),
        *(("do_not_call", cell, True) for cell in ("Nicht zulassen", "Not opted in", "opted out")),
        *(("do_not_call", cell, True) for cell in ("opted in 2020, opted out 2024", "opt in?")),
        *(("may_call", cell, False) for cell in ("Zulassen", "Permitir")),
        *(("do_not_call", cell, True) for cell in ("1.0", "10.0")),
        *(("may_call", cell, True) for cell in ("0.0", "0,00", "N/D", "opted out", "Opt-Out")),
        *(("may_call", cell, False) for cell in ("1.0", "✔\ufe0f", "Opt-In", "OptIn")),
        *(("may_call", cell, False) for cell in ("opted in by phone", "subscribed")),
        *(("may_call", cell, False) for cell in ("", "granted", "Ja, telefonisch", "2026-05-03")),
    ],
)
def test_only_a_clear_no_lets_a_person_who_may_have_opted_out_be_called(
    meaning: str, cell: str, *, refused: bool
) -> None:
    assert is_refusal(meaning, cell) is refused


@pytest.mark.parametrize(
    ("cell", "is_listed"), [("nein", True), ("0.0", True), ("revoked", True), ("pending", False)]
)
def test_only_a_clear_no_below_a_permission_lists_the_numbers(
    tmp_path: Path, cell: str, *, is_listed: bool
) -> None:
    file = tmp_path / "contacts.csv"
    file.write_text(f"Name,Telefon,Anruf erlaubt\nEva,{LANDLINE},{cell}\n", "utf-8")

    with open_contacts(file, region="DE") as opened:
        ((_, read),) = opened.rows

    assert read is not None
    assert (read.opt_out, read.opted_out) == ("Anruf erlaubt", is_listed)


@pytest.mark.parametrize(
    ("cell", "says"),
    [
        ("vip, do-not-call", True),
        ("Friends ::: Do Not Call ::: * myContacts", True),
        ("vip;DNC", True),
        ("please do not call before nine, thanks", False),
        ("vip, customer", False),
        ("Don't call again!", True),
        ("nicht mehr anrufen", True),
        ("ne plus rappeler", True),
        ("não ligar mais", True),
        ("niet meer bellen", True),
        ("больше не звонить", True),
        ("Bir daha aramayın", True),
        ("vip, no more calls", True),
        ("no calls", False),  # perhaps so far
        ("not called", False),
        ("no answer", False),
        ("call declined", False),
        ("call again", False),
        ("nicht angerufen", False),
        ("not DNC", False),
        ("no DNC", False),
        ("non chiamato", False),
        ("bez połączenia", False),  # nobody answered
        ("dont call", True),
    ],
)
def test_a_cell_or_a_tag_among_others_may_say_not_to_call(cell: str, *, says: bool) -> None:
    assert says_do_not_call(cell) is says


YES_NO_COLUMNS = {
    "an unknown language": ("Usipige simu", ["ndiyo", "", "ndiyo", "", ""], True),
    "yes and no": ("Hivatlan", ["igen", "nem", "nem"], True),
    "only no": ("Is customer", ["no", "no", ""], True),
    "a box": ("Stammkunde", ["☑", "☐", "☐"], True),
    "a mark in one row": ("Trucades", ["", "", "x"], True),
    "nothing": ("Bemerkung", ["", "", ""], False),
    "one unknown word in one row": ("Bemerkung", ["", "", "", "Chef"], False),
    "one word in all rows": ("Stadt", ["Bonn", "Bonn", "Bonn"], False),
    "several words": ("Anrede", ["Herr", "Frau", "", "", "", ""], False),
    "a yes among other words": ("Bemerkung", ["ja", "Chef", "Mutter"], False),
    "another kind of message": ("Newsletter", ["ja", "nein", "ja"], False),
    "known": ("Nicht anrufen", ["ja", "", ""], False),
    "no heading": ("", ["x", "", ""], False),
}


@pytest.mark.parametrize(("heading", "cells", "found"), YES_NO_COLUMNS.values(), ids=YES_NO_COLUMNS)
def test_an_unknown_column_that_holds_only_a_yes_or_no_is_found(
    heading: str, cells: Sequence[str], *, found: bool
) -> None:
    headings = ("Telefon", heading)
    columns = YesNoColumns(headings, [meaning_of(heading) for heading in headings])
    for cell in cells:
        columns.add((LANDLINE, cell))

    assert columns.found == ((heading,) if found else ())
