"""The recorded circumstances of a measurement."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lab.drill.runner import CpuTimes, others_cores, read_commit, read_cpu_times
from tests.absent import report_absent


def test_others_are_processes_that_used_the_machine_and_are_not_ours() -> None:
    before = CpuTimes(at_s=10.0, machine_s=100.0, own_s=4.0)
    after = CpuTimes(at_s=20.0, machine_s=115.0, own_s=9.0)

    assert others_cores(before, after) == pytest.approx(1.0)


def test_figures_that_the_system_lacks_are_unknown() -> None:
    now = CpuTimes(at_s=10.0, machine_s=100.0, own_s=4.0)

    assert others_cores(None, now) is None
    assert others_cores(now, None) is None
    assert others_cores(now, now) is None


WORK = "import os\nwhile sum(os.times()[:2]) < 0.3: sum(range(10_000))"


@pytest.mark.skipif(not Path("/proc/stat").is_file(), reason="no /proc on this system")
def test_the_work_of_a_child_counts_as_ours() -> None:
    before = read_cpu_times()
    subprocess.run([sys.executable, "-c", WORK], check=True)  # noqa: S603 - our own words
    after = read_cpu_times()

    assert before is not None
    assert after is not None
    assert after.own_s - before.own_s >= 0.29
    assert after.machine_s >= before.machine_s


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    program = shutil.which("git") or report_absent("git")
    git = [program, "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    (tmp_path / "file").write_text("one")
    for command in (["init", "-q"], ["add", "file"], ["commit", "-q", "-m", "one"]):
        subprocess.run([*git, *command], check=True)  # noqa: S603 - our own words
    return tmp_path


async def test_a_commit_is_marked_when_files_differ_from_it(checkout: Path) -> None:
    clean = await read_commit(checkout)
    (checkout / "file").write_text("two")

    assert len(clean) == 10
    assert await read_commit(checkout) == f"{clean}+"


async def test_a_folder_without_git_has_no_commit(tmp_path: Path) -> None:
    assert await read_commit(tmp_path) == ""
