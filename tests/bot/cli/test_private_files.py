"""Files that a command writes are readable by their owner only, whatever the umask."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from bot.__main__ import run

CONTACTS = "number,name\n030 901820,Ann\n12,Bob\n"


@pytest.fixture(autouse=True)
def open_handed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Work in a folder, with a umask that lets every user read and write new files."""
    monkeypatch.chdir(tmp_path)
    Path("holdline.yaml").write_text(
        "campaigns: {spring: {region: DE, consent_required: false}}", encoding="utf-8"
    )
    Path("contacts.csv").write_text(CONTACTS, encoding="utf-8")
    before = os.umask(0)
    yield
    os.umask(before)


def modes(folder: Path) -> dict[str, str]:
    return {path.name: f"{path.stat().st_mode & 0o777:o}" for path in sorted(folder.rglob("*"))}


@pytest.mark.parametrize(
    ("commands", "made"),
    [
        ([["db", "upgrade"]], {"holdline.db"}),
        (
            [["campaign", "import", "contacts.csv", "--campaign", "spring"]],
            {"holdline.db", "spring.refused.csv"},
        ),
        (
            [
                ["campaign", "import", "contacts.csv", "--campaign", "spring"],
                ["campaign", "report", "--campaign", "spring", "--out", "out"],
            ],
            {"holdline.db", "out"},
        ),
    ],
    ids=["the database", "an import", "a report"],
)
def test_a_commands_files_are_its_owners(
    commands: Sequence[Sequence[str]], made: set[str], tmp_path: Path
) -> None:
    given = set(modes(tmp_path))

    assert [run(command) for command in commands] == [0] * len(commands)

    new = {name: mode for name, mode in modes(tmp_path).items() if name not in given}
    assert made <= set(new)
    assert set(new.values()) <= {"600", "700"}, new


def test_the_page_on_erasing_names_the_rows_that_an_import_left() -> None:
    page = (Path(__file__).parents[3] / "docs" / "storage.md").read_text(encoding="utf-8")
    erasing = page.partition("## Erasing a number")[2]

    assert "`CAMPAIGN.refused.csv`" in erasing
