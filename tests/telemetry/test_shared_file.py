"""A log that several processes write: no line is torn, and none is lost when it is put aside."""

from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path

import pytest

from telemetry import shared_file
from telemetry.shared_file import KEEP, SharedFile, rotate

NOW = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
LINES = 300


def write(path: Path, name: str) -> None:
    file = SharedFile(path)
    for number in range(LINES):
        file.write(f"{name} {number} {'x' * 500}\n")


def test_lines_of_two_processes_stand_whole(tmp_path: Path) -> None:
    path = tmp_path / "holdline.log"
    spawn = get_context("spawn")
    writers = [spawn.Process(target=write, args=(path, name)) for name in ("a", "b")]
    for each in writers:
        each.start()
    for each in writers:
        each.join()

    lines = path.read_text().splitlines()
    expected = {f"{name} {number}" for name in ("a", "b") for number in range(LINES)}
    assert {line.rpartition(" ")[0] for line in lines} == expected
    assert len(lines) == 2 * LINES
    assert path.stat().st_mode & 0o077 == 0


def test_a_log_that_was_put_aside_is_begun_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_file, "ROTATE_BYTES", 10)
    path = tmp_path / "holdline.log"
    one, other = SharedFile(path), SharedFile(path)
    one.write("a long first line\n")
    other.write("a second line\n")
    rotate(path, NOW)
    one.write("third\n")
    other.write("fourth\n")

    assert path.read_text() == "third\nfourth\n"
    (aside,) = tmp_path.glob("holdline.2026*.log")
    assert aside.read_text() == "a long first line\na second line\n"


def test_only_so_many_old_logs_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_file, "ROTATE_BYTES", 1)
    path = tmp_path / "holdline.log"
    for second in range(KEEP + 3):
        SharedFile(path).write(f"{second}\n")
        rotate(path, NOW.replace(second=second))

    kept = sorted(each.read_text() for each in tmp_path.glob("holdline.*.log"))
    assert kept == [f"{number}\n" for number in range(3, KEEP + 3)]


def test_a_short_log_stays(tmp_path: Path) -> None:
    path = tmp_path / "holdline.log"
    SharedFile(path).write("short\n")
    rotate(path, NOW)
    rotate(tmp_path / "none.log", NOW)

    assert [each.name for each in tmp_path.iterdir()] == ["holdline.log"]
