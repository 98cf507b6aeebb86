"""`holdline dnc`: the do-not-call list on the command line."""

import asyncio
import csv
from collections.abc import Sequence
from pathlib import Path

import pytest

from bot.__main__ import run
from campaigns.store.contacts import Contacts, DoNotCallEntry, NewContact
from campaigns.store.figures import Figures
from operations.database.database import Database

ADA = "+4930901820"
CONFIG = """
server: {{region: DE}}
storage: {{url: "sqlite+aiosqlite:///{folder}/own.db"}}
"""


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "holdline.yaml"
    path.write_text(CONFIG.format(folder=tmp_path), encoding="utf-8")
    return str(path)


def dnc(config: str, *arguments: str) -> int:
    return run(["dnc", *arguments, "--config", config])


def entries(folder: Path) -> Sequence[DoNotCallEntry]:
    async def read() -> Sequence[DoNotCallEntry]:
        async with Database(f"sqlite+aiosqlite:///{folder}/own.db") as database:
            return await Contacts(database).do_not_call_entries()

    return asyncio.run(read())


@pytest.mark.parametrize("written", ["030 901820", "4930901820", ADA, "'+4930901820"])
def test_a_number_is_added_and_removed_in_any_notation(
    tmp_path: Path, config: str, written: str
) -> None:
    added = dnc(config, "add", written, "--source", "letter", "--words", "No calls.")
    kept = entries(tmp_path)
    removed = dnc(config, "remove", "030/901820")

    assert (added, removed) == (0, 0)
    assert [(entry.number, entry.source, entry.words) for entry in kept] == [
        (ADA, "letter", "No calls.")
    ]
    assert entries(tmp_path) == []


def test_numbers_and_words_are_masked_until_they_are_asked_for(
    config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    dnc(config, "add", ADA, "--source", "letter", "--words", "Never again.")
    capsys.readouterr()

    assert dnc(config, "list") == 0
    masked = capsys.readouterr().out
    assert dnc(config, "list", "--numbers") == 0
    full = capsys.readouterr().out

    assert ADA not in masked
    assert "Never" not in masked
    assert '+4930****20  letter  "[2 words]"' in masked
    assert f'{ADA}  letter  "Never again."' in full
    assert full[:4].isdigit()  # the date


@pytest.mark.parametrize("action", ["add", "remove"])
def test_an_ambiguous_number_is_refused_with_both_readings(
    tmp_path: Path, config: str, capsys: pytest.CaptureFixture[str], action: str
) -> None:
    assert dnc(config, action, "4915112345678") == 2

    (line,) = capsys.readouterr().err.splitlines()
    assert "+494915112345678 or +4915112345678" in line
    assert not (tmp_path / "own.db").exists()


def test_a_number_that_is_not_listed_cannot_be_removed(
    config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    dnc(config, "add", ADA)

    assert dnc(config, "remove", "030 901821") == 1
    assert "not on the do-not-call list" in capsys.readouterr().err


def test_a_file_is_imported_once(
    tmp_path: Path, config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "list.csv"
    file.write_bytes("Name,Number\nJ\xfcrgen,030 901820\nAda,030 901821\n".encode("latin-1"))

    assert dnc(config, "import", str(file), "--source", "registry") == 0
    assert dnc(config, "import", str(file), "--source", "registry") == 0

    first, again = (line for line in capsys.readouterr().out.splitlines() if "added" in line)
    assert first == "2 added, 0 known before, 0 refused"
    assert again == "0 added, 2 known before, 0 refused"
    assert {entry.number for entry in entries(tmp_path)} == {ADA, "+4930901821"}


def test_a_refused_line_is_named_and_the_others_are_listed(
    tmp_path: Path, config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "list.csv"
    file.write_text("number\n4915112345678\nnobody\n030 901820\n", encoding="utf-8")

    assert dnc(config, "import", str(file)) == 0

    told = capsys.readouterr().out
    assert "line 2: 4915112345678 ambiguous +494915112345678 or +4915112345678" in told
    assert "line 3: nobody not_a_number" in told
    assert "1 added, 0 known before, 2 refused" in told


@pytest.mark.parametrize(
    ("content", "code", "says"),
    [
        (b"PK\x03\x04xl/", 2, "save it as CSV"),
        (b"number\nnobody\n", 1, "no number that can be listed"),
        (b"", 1, "has no row"),
    ],
)
def test_a_file_without_numbers_fails_in_one_line(
    tmp_path: Path,
    config: str,
    capsys: pytest.CaptureFixture[str],
    content: bytes,
    code: int,
    says: str,
) -> None:
    file = tmp_path / "list.csv"
    file.write_bytes(content)

    assert dnc(config, "import", str(file)) == code
    assert says in capsys.readouterr().err.splitlines()[-1]


def test_an_export_can_be_imported_elsewhere(tmp_path: Path, config: str) -> None:
    dnc(config, "add", ADA, "--source", "letter", "--words", "=No, never")
    file, other = tmp_path / "all.csv", tmp_path / "other"
    other.mkdir()
    there = other / "holdline.yaml"
    there.write_text(CONFIG.format(folder=other), encoding="utf-8")

    assert dnc(config, "export", "--out", str(file)) == 0
    assert dnc(str(there), "import", str(file)) == 0

    with file.open(encoding="utf-8", newline="") as text:
        (row,) = csv.DictReader(text)
    assert row["number"] == f"'{ADA}"  # a spreadsheet computes nothing
    (here,), (entry,) = entries(tmp_path), entries(other)
    assert (entry.number, entry.source, entry.words) == (ADA, "letter", "=No, never")
    assert abs(entry.added_s - here.added_s) < 1.0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("show",), "list, add, remove, import or export"),
        (("add",), "takes NUMBER"),
        (("list", ADA), "takes no argument"),
        (("import",), "takes FILE"),
        (("import", "missing.csv"), "cannot be read"),
        (("list",), "there is no such database"),
    ],
)
def test_incorrect_usage_is_one_line(
    config: str, capsys: pytest.CaptureFixture[str], arguments: Sequence[str], says: str
) -> None:
    assert dnc(config, *arguments) == 2

    (line,) = capsys.readouterr().err.splitlines()
    assert says in line


def test_contacts_leave_and_return_with_their_number(tmp_path: Path, config: str) -> None:
    async def state() -> dict[str, int]:
        async with Database(f"sqlite+aiosqlite:///{tmp_path}/own.db") as database:
            await Contacts(database).add("spring", [NewContact(number=ADA)], now=1.0)
            standing = await Figures(database).standing("spring")
        assert standing
        return dict(standing.contacts)

    before = asyncio.run(state())
    dnc(config, "add", ADA)
    listed = asyncio.run(state())
    dnc(config, "remove", ADA)
    after = asyncio.run(state())

    assert (before, listed, after) == ({"waiting": 1}, {"excluded": 1}, {"waiting": 1})
