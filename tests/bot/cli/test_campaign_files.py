"""`holdline campaign import` of the files that offices have: what is printed, and the exit code."""

import io
import zipfile
from pathlib import Path

import pytest
import yaml

from bot.__main__ import run


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def configure(region: str, **campaign: object) -> None:
    tree = {"campaigns": {"spring": {"region": region, **campaign}}}
    Path("holdline.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")


def workbook() -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as file:
        file.writestr("xl/workbook.xml", "<x/>")
        file.writestr("[Content_Types].xml", "<x/>")
    return data.getvalue()


CONSENT = "consent_kind,consent_date,consent_source"
FREE = {"consent_required": False}
FILES = {  # region, the campaign, the file, the exit code, what is printed
    "days as Excel writes them": (
        "DE",
        {},
        f"number,name,{CONSENT}\n"
        "+4930901844,Eva,web,31.03.2026,form\n+4930901845,Jan,web,2026-03-31,form\n"
        "+4930901846,Mia,web,3/4/2026,form\n+4930901847,Tim,web,2026/03/31,form\n"
        "+4930901848,Ida,web,31-Mar-26,form\n+4930901849,Leo,web,46112,form\n"
        "+4930901850,Pia,web,soon,form\n".encode(),
        0,
        (
            "7 rows (utf-8): 5 added, 0 known before, 2 refused",
            "line 4: ambiguous_consent_date",
            "the date of the consent may be two days; write 2026-03-31, 31.03.2026",
            "the date of the consent cannot be read; write 2026-03-31, 31.03.2026",
        ),
    ),
    "an export with two columns of numbers": (
        "US",
        {**FREE, "greeting": "Hello {name}."},
        b'"Record ID","First Name","Last Name","Email","Phone Number","Mobile Phone Number"\n'
        b'1,Mia,Ortiz,m@x.example,"(212) 555-0188",\n2,Sam,Hill,,,"212-555-0189"\n'
        b'3,,,,"212-555-0190",\n',
        0,
        (
            "3 rows (utf-8): 2 added, 0 known before, 1 refused",
            "line 4: lacks_name",
            "nothing fills {name}",
        ),
    ),
    "a workbook": (
        "DE",
        FREE,
        workbook(),
        1,
        ("is an Excel workbook, not a text file; save it as CSV UTF-8 in Excel",),
    ),
    "Polish without a mark": (
        "PL",
        FREE,
        "number,name\n+48221234588,Wiesław Gżegżółka\n".encode("cp1250"),
        0,
        (
            "1 rows (cp1250): 1 added",
            "the encoding is a guess; names in it: Wiesław Gżegżółka. If they are wrong, give",
        ),
    ),
    "every row refused": (
        "DE",
        {},
        f"number,name,{CONSENT}\n12,Eva,web,2026-03-31,form\n+4930901845,Jan,,,\n".encode(),
        1,
        ("2 rows (utf-8): 0 added, 0 known before, 2 refused", "write the whole number"),
    ),
    "a text without its column": (
        "DE",
        {**FREE, "greeting": "About your {product} in {city}.", "voicemail_text": "{city}"},
        b"number,name\n+4930901844,Eva\n",
        1,
        (
            "has no column for {product} in campaigns.spring.greeting, "
            "{city} in campaigns.spring.greeting and voicemail_text; add the column",
        ),
    ),
    "mobiles in eleven time zones": (
        "RU",
        {**FREE, "window": {"begin": "09:00", "end": "18:00"}},
        b"number,name\n+79161234588,Olga\n+74951234588,Ivan\n",
        0,
        (
            "2 rows (utf-8): 2 added, 0 known before, 0 refused",
            "taken, but cannot be called now: 1 (no_common_hour): the number may be in several "
            "time zones, and 09:00 to 18:00 is at no time in all of them; add a column `zone`",
        ),
    ),
}


@pytest.mark.parametrize(("region", "campaign", "data", "code", "lines"), FILES.values(), ids=FILES)
def test_a_file_from_office_software_is_read_or_refused_with_the_remedy(
    region: str,
    campaign: dict[str, object],
    data: bytes,
    code: int,
    lines: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure(region, **campaign)
    Path("contacts.csv").write_bytes(data)

    assert run(["campaign", "import", "contacts.csv", "--campaign", "spring"]) == code

    said = capsys.readouterr()
    for line in lines:
        assert line in said.out + said.err
    assert len(said.err.splitlines()) <= 1


CRM_FILES = {
    "a missing one": (None, 'crm.file is "people.csv"; there is no such file'),
    "a workbook": (workbook(), 'crm.file is "people.csv", which is an Excel workbook'),
    "one without numbers": (b"name,city\nEva,Bonn\n", "which has no column for the number"),
}


@pytest.mark.parametrize(("data", "line"), CRM_FILES.values(), ids=CRM_FILES)
def test_a_server_does_not_start_without_its_own_crms_file(
    data: bytes | None,
    line: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for vendor in ("DEEPGRAM", "OPENAI", "CARTESIA", "ELEVENLABS"):
        monkeypatch.setenv(f"{vendor}_API_KEY", "any")
    if data is not None:
        Path("people.csv").write_bytes(data)
    tree = {"crm": {"kind": "own", "file": "people.csv"}, "server": {"port": 0}}
    Path("holdline.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")

    assert run(["serve"]) == 2

    said = capsys.readouterr().err
    assert line in said
    assert said.count("\n") == 1
