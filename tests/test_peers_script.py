"""`scripts/peers`: nothing to do if all is built, one line if something is missing."""

import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "peers"


def ask(place: Path, programs: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - ours
        [SCRIPT],
        check=False,
        capture_output=True,
        text=True,
        env={"PATH": str(programs), "HOLDLINE_PEERS": str(place)},
        timeout=30,
    )


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """Set a PATH with almost nothing on it, and no Go."""
    folder = tmp_path / "programs"
    folder.mkdir()
    (folder / "mkdir").symlink_to(str(shutil.which("mkdir")))
    return folder


def versions() -> dict[str, str]:
    lines = SCRIPT.read_text(encoding="utf-8").splitlines()
    return {
        name: next(line for line in lines if line.startswith(f"{name}=")).split("=")[1].split()[0]
        for name in ("server", "sip")
    }


def test_a_missing_go_is_one_line(tmp_path: Path, programs: Path) -> None:
    done = ask(tmp_path / "peers", programs)

    assert done.returncode == 1
    assert done.stderr.startswith("holdline: livekit-server and livekit-sip are built with Go")
    assert done.stderr.count("\n") == 1
    assert not done.stdout


def test_built_programs_are_not_built_again(tmp_path: Path, programs: Path) -> None:
    built = tmp_path / "peers" / "bin"
    built.mkdir(parents=True)
    for name, version in versions().items():
        program = built / f"livekit-{name}-{version}"
        program.touch()
        program.chmod(0o755)

    done = ask(tmp_path / "peers", programs)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_another_version_is_built_again(tmp_path: Path, programs: Path) -> None:
    built = tmp_path / "peers" / "bin"
    built.mkdir(parents=True)
    for name in versions():
        program = built / f"livekit-{name}-v0.0.1"
        program.touch()
        program.chmod(0o755)

    assert ask(tmp_path / "peers", programs).returncode == 1
