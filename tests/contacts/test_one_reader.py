"""One reader of contact files: what an import takes, a CRM of our own finds, and the reverse."""

import io
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from campaigns.importing import ContentRefusedError, ImportPlan, import_contacts
from campaigns.model import Campaign
from campaigns.store.contacts import Contacts
from campaigns.store.figures import Figures
from contacts.contact_files import ContactFileError, why_unusable
from operations.crm.own import OwnContacts, read_contacts
from operations.database.database import Database

NOW = 1_800_014_400.0  # 2027-01-15, 12:00 UTC


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with Database(f"sqlite+aiosqlite:///{tmp_path / 'own.db'}") as database:
        yield database


def campaign(region: str) -> Campaign:
    return Campaign(name="spring", region=region, consent_required=False)


EVA = "+4930901844"
FORMS = {  # region, file, number, name
    "as documented": ("DE", b"number,name\n030 901844,Eva Bauer\n", EVA, "Eva Bauer"),
    "with a synonym": ("DE", b"msisdn,full name\n030 901844,Eva Bauer\n", EVA, "Eva Bauer"),
    "in another language": (
        "DE",
        "Vorname;Nachname;Rufnummer\nJürgen;Groß;030 901844\n".encode("cp1252"),
        EVA,
        "Jürgen Groß",
    ),
    "with semicolons": ("DE", b"number;name\n030 901844;Eva Bauer\n", EVA, "Eva Bauer"),
    "with tabs": ("DE", b"number\tname\n030 901844\tEva Bauer\n", EVA, "Eva Bauer"),
    "with a separator that is named": (
        "DE",
        b"sep=|\nnumber|name\n030 901844|Eva Bauer\n",
        EVA,
        "Eva Bauer",
    ),
    "with quotes and a line end in them": (
        "DE",
        b'"number","name","note"\n"030 901844","Bauer, Eva","two\nlines"\n',
        EVA,
        "Bauer, Eva",
    ),
    "with a byte order mark": (
        "DE",
        "number,name\n030 901844,Eva Bauer\n".encode("utf-8-sig"),
        EVA,
        "Eva Bauer",
    ),
    "as UTF-16": ("DE", "number,name\n030 901844,Eva Bauer\n".encode("utf-16"), EVA, "Eva Bauer"),
    "a number as a formula": ("DE", b'number,name\n="030901844",Eva Bauer\n', EVA, "Eva Bauer"),
    "a bad row before it": (
        "DE",
        b'number,name\n"030,Ann\n030 901844,Eva Bauer\n',
        EVA,
        "Eva Bauer",
    ),
    "line ends of Windows": ("DE", b"number,name\r\n030 901844,Eva\r\n", EVA, "Eva"),
    "a CRM's export": (
        "US",
        b'"Record ID","First Name","Last Name","Phone Number","Mobile Phone Number"\n'
        b'7,Mia,Ortiz,,"212-555-0188"\n',
        "+12125550188",
        "Mia Ortiz",
    ),
    "an address book's export": (
        "US",
        b"Name,Phone 1 - Type,Phone 1 - Value,Phone 2 - Value\nMia,Work,ext. 12,212-555-0188\n",
        "+12125550188",
        "Mia",
    ),
    "Central European": (
        "PL",
        "number,name\n+48221234588,Święty Żuław\n".encode("cp1250"),
        "+48221234588",
        "Święty Żuław",
    ),
    "Central European, by the numbers alone": (
        "",
        "number,name\n+48221234588,Łucja Bąk\n".encode("cp1250"),
        "+48221234588",
        "Łucja Bąk",
    ),
    "Japanese": (
        "JP",
        "氏名,電話番号\n高橋 健一,090-1234-5688\n".encode("cp932"),
        "+819012345688",
        "高橋 健一",
    ),
    "Korean": (
        "KR",
        "이름,전화번호\n박민준,02-312-3488\n".encode("cp949"),
        "+8223123488",
        "박민준",
    ),
    "Chinese": (
        "CN",
        "姓名,手机\n李小龙,139 1234 5688\n".encode("gb18030"),
        "+8613912345688",
        "李小龙",
    ),
    "Russian, of an old program": (
        "RU",
        "Имя;Фамилия;Телефон\nОльга;Иванова;8 495 123-45-88\n".encode("cp866"),  # noqa: RUF001
        "+74951234588",
        "Ольга Иванова",
    ),
    "Greek": (
        "GR",
        "name,number\nΕλένη Νικολάου,21 0123 4588\n".encode("cp1253"),  # noqa: RUF001
        "+302101234588",
        "Ελένη Νικολάου",
    ),
    "Turkish": (
        "TR",
        "name,number\nŞule Gül,0212 123 45 88\n".encode("cp1254"),
        "+902121234588",
        "Şule Gül",
    ),
}


@pytest.mark.parametrize("of", ["the campaign", "the house"])
@pytest.mark.parametrize(("region", "data", "number", "name"), FORMS.values(), ids=FORMS)
async def test_a_form_that_an_import_takes_is_found_by_our_own_crm(
    tmp_path: Path, database: Database, region: str, data: bytes, number: str, name: str, of: str
) -> None:
    file = tmp_path / "people.csv"
    file.write_bytes(data)
    own, house = (region, "") if of == "the campaign" else ("", region)
    plan = ImportPlan(file=file, campaign=campaign(own), now=NOW, region=house)

    found = await OwnContacts(database, file=file, region=region).look_up(number)
    tally = await import_contacts(plan, Contacts(database), lambda _: None)
    imported = [contact async for contact in Figures(database).contacts("spring")]

    assert tally.added == 1
    assert [(contact.number, contact.name) for contact in imported] == [(number, name)]
    assert found is not None
    assert found.name == name


def archive(*names: str, comment: str = "") -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as file:
        for name in names:
            file.writestr(name, comment)
    return data.getvalue()


OTHERS = {  # no text, and what a person reads
    "an Excel workbook": (archive("[Content_Types].xml", "xl/workbook.xml"), "an Excel workbook"),
    "an old workbook": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\x00" * 600, "an Excel workbook"),
    "an OpenDocument sheet": (
        archive("mimetype", comment="application/vnd.oasis.opendocument.spreadsheet"),
        "an OpenDocument spreadsheet",
    ),
    "an archive": (archive("contacts.csv", comment="number\n1\n"), "a ZIP archive"),
    "a packed file": (b"\x1f\x8b\x08\x00abc", "a compressed file"),
    "a PDF": (b"%PDF-1.7\n", "a PDF"),
    "a page that asks for a login": (b"\n<!DOCTYPE html><html>", "a web page"),
    "an address card": (b"BEGIN:VCARD\nVERSION:3.0\n", "a vCard file"),
}


@pytest.mark.parametrize(("data", "form"), OTHERS.values(), ids=OTHERS)
async def test_a_file_that_is_no_text_is_named_with_the_cure_by_both(
    tmp_path: Path, database: Database, data: bytes, form: str
) -> None:
    file = tmp_path / "people.csv"
    file.write_bytes(data)
    plan = ImportPlan(file=file, campaign=campaign("DE"), now=NOW)

    with pytest.raises(ContentRefusedError, match=f"is {form}, not a text file; ") as refused:
        await import_contacts(plan, Contacts(database), lambda _: None)
    with pytest.raises(ContactFileError, match=f"is {form}, not a text file; "):
        read_contacts(file, "DE")
    assert len(str(refused.value).splitlines()) == 1


def test_a_contact_is_found_by_each_of_its_numbers(tmp_path: Path) -> None:
    file = tmp_path / "people.csv"
    file.write_bytes(b"name,mobile,work phone\nEva,030 901844,030 901845\n")

    people = read_contacts(file, "DE")

    assert {people["4930901844"].name, people["4930901845"].name} == {"Eva"}


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    assert why_unusable(tmp_path / "gone.csv") == "cannot be read: No such file or directory"
