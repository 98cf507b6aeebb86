"""`make test` beyond pytest: both halves of the suite run, whatever the result of the first."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

MAKE = shutil.which("make") or "make"
ROOT = Path(__file__).parents[1]
BOTH = ROOT / "scripts" / "both"
TWICE = ROOT / "scripts" / "twice"
HALVES = ROOT / "scripts" / "halves"
PYTEST = [sys.executable, "-m", "pytest", "-q", "-p", "xdist"]


@pytest.mark.parametrize(("first", "second", "code"), [(0, 0, 0), (0, 1, 1), (2, 1, 1), (2, 0, 2)])
def test_both_halves_run_and_fail_if_one_does(first: int, second: int, code: int) -> None:
    halves = [f"echo first; exit {first}", f"echo second; exit {second}"]

    done = subprocess.run([BOTH, *halves], check=False, capture_output=True, text=True)  # noqa: S603 - ours

    assert (done.returncode, done.stdout.split()) == (code, ["first", "second"])


def test_bytecode_is_kept_whatever_the_environment_says() -> None:
    surroundings = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}

    done = subprocess.run(  # noqa: S603 - our own Makefile, and one target more
        [MAKE, "-f", "Makefile", "-f", "-", "shown"],
        cwd=ROOT, env=surroundings, input="shown:\n\t@env\n",
        check=True, capture_output=True, text=True,
    )  # fmt: skip

    assert "\nPATH=" in f"\n{done.stdout}"
    assert "PYTHONDONTWRITEBYTECODE" not in done.stdout


def shared(share: str) -> subprocess.CompletedProcess[str]:
    command = [ROOT / "scripts" / "share", share]
    return subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)  # noqa: S603 - ours


def test_each_test_file_is_in_one_share() -> None:
    found = [file for k in range(3) for file in shared(f"{k + 1}/3").stdout.split()]

    every = [str(file.relative_to(ROOT)) for file in (ROOT / "tests").rglob("test_*.py")]
    assert sorted(found) == sorted(every)


@pytest.mark.parametrize("wrong", ["0/4", "2", "5/4"])
def test_a_share_that_there_is_not_is_refused_in_one_line(wrong: str) -> None:
    done = shared(wrong)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines() == [
        f"holdline: SHARE={wrong}: expected K/N with K up to N, as 2/4"
    ]


LATE_ONCE = """
from pathlib import Path

import pytest


def test_that_holds():
    pass


@pytest.mark.parametrize("number", range({late}))
def test_that_is_late_once(number):
    been = Path(f"been-{{number}}")
    late = not been.exists()
    been.touch()
    assert not late


def test_that_never_holds():
    assert {good}
"""


def run(command: Sequence[str | Path], *, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a script whose pytest loads no plugin but xdist, because each would cost a second."""
    bare = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return subprocess.run(  # noqa: S603 - ours
        command, cwd=folder, env=bare, check=False, capture_output=True, text=True
    )


def run_twice(folder: Path, *, late: int, good: bool) -> subprocess.CompletedProcess[str]:
    (folder / "pytest.ini").touch()
    (folder / "test_time.py").write_text(LATE_ONCE.format(late=late, good=good))
    command = [TWICE, "name", *PYTEST, "-n", "2"]
    return run(command, folder=folder)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("late", "good", "code", "again"),
    [(0, True, 0, 0), (3, True, 0, 1), (4, True, 1, 0), (1, False, 1, 1)],
    ids=["all held", "three were late", "too many were", "one never holds"],
)
def test_a_test_that_was_late_among_others_is_tried_once_more_alone(
    tmp_path: Path, late: int, *, good: bool, code: int, again: int
) -> None:
    done = run_twice(tmp_path, late=late, good=good)

    assert (done.returncode, done.stderr.count("once more, alone")) == (code, again)
    assert done.stdout.count(" passed") == 1 + again
    assert not again or "test_time.py::test_that_is_late_once[0]" in done.stderr


TWO_HALVES = """
import os

import pytest

@pytest.mark.virtual_time
@pytest.mark.some
def test_on_virtual_time():
    assert os.nice(0) == {lower}
    assert {first}

@pytest.mark.some
def test_in_real_time():
    assert os.nice(0) == {own}
    assert {second}

def test_without_the_mark():
    assert False
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("first", "second", "code"), [(True, True, 0), (False, True, 1), (True, False, 1)]
)
def test_tests_on_virtual_time_run_beside_the_others_and_are_printed_after_them(
    tmp_path: Path, *, first: bool, second: bool, code: int
) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = virtual_time\n real_time\n some\n")
    own = os.nice(0)
    shown = TWO_HALVES.format(first=first, second=second, own=own, lower=min(own + 10, 19))
    (tmp_path / "test_time.py").write_text(shown)
    command = [HALVES, "name", *PYTEST, "-m", "some"]

    done = run(command, folder=tmp_path)

    assert done.returncode == code
    assert done.stdout.count("1 passed") == first + second
    assert done.stdout.count("::test_on_virtual_time") == (not first)
