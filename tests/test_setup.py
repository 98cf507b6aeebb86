"""`scripts/setup`: a usable environment, whatever was there before; nothing twice."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LOCK = "requirements.lock"
# A Python whose environments are itself; its fake pip installs a uv and is configured by a file.
PYTHON = f"""#!/bin/sh
bin=${{0%/*}}
case "$*" in
    "-m venv "*)
        mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && touch "$3/pyvenv.cfg" "$3/bin/pip" ;;
    "-m pip --version") [ -e "$bin/pip" ] ;;
    "-m pip config list") echo asked >>pip.log; [ ! -e pip-config ] || cat pip-config ;;
    "-m pip install "*)
        printf '#!/bin/sh\\necho "$*" >>uv.log\\n' >"$bin/uv" && chmod +x "$bin/uv" ;;
    *write_bytecode.py) [ ! -e stop ] || kill -INT 0 ;;
    *) exec "{sys.executable}" "$@" ;;
esac
"""
TOO_OLD = PYTHON.replace("in\n", "in\n    *version_info*) exit 1 ;;\n")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a checkout with the script, a lock file and Python alone."""
    folder = tmp_path / "checkout"
    (folder / "scripts").mkdir(parents=True)
    for name in ("setup", "lock_rows", "pythons"):
        shutil.copy(ROOT / "scripts" / name, folder / "scripts" / name)
    for lock in (LOCK, "requirements-dev.lock"):
        (folder / lock).write_text("uv==1.0 \\\n    --hash=sha256:00\n")
    (folder / "pyproject.toml").touch()
    write_program(folder / "python", PYTHON)
    return folder


def write_program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def programs(checkout: Path) -> Path:
    """Return a PATH without any Python."""
    folder = checkout / "programs"
    folder.mkdir()
    for name in (
        "awk",
        "cat",
        "chmod",
        "cp",
        "grep",
        "ls",
        "mkdir",
        "rm",
        "sed",
        "tail",
        "touch",
        "uname",
    ):
        (folder / name).symlink_to(str(shutil.which(name)))
    return folder


def set_up(checkout: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    surroundings = {"PATH": os.environ["PATH"], "HOME": str(checkout.parent)} | environment
    return subprocess.run(  # noqa: S603 - ours
        [checkout / "scripts" / "setup", LOCK],
        cwd=checkout, env={"PYTHON": str(checkout / "python")} | surroundings,
        check=False, capture_output=True, text=True, timeout=60, start_new_session=True,
    )  # fmt: skip


def an_environment(checkout: Path, python: str = PYTHON) -> Path:
    venv = checkout / ".venv"
    write_program(venv / "bin" / "python", python)
    (venv / "pyvenv.cfg").touch()
    return venv


def nothing(_: Path) -> None:
    pass


def one_without_pip(checkout: Path) -> None:
    an_environment(checkout)


def one_begun(checkout: Path) -> None:
    (an_environment(checkout) / ".begun").touch()


def a_dangling_link(checkout: Path) -> None:
    (checkout / ".venv").symlink_to("/nonexistent/venv")


def a_file(checkout: Path) -> None:
    (checkout / ".venv").write_text("name of an environment\n")


def a_folder(checkout: Path) -> None:
    (checkout / ".venv" / "notes").mkdir(parents=True)


def one_whose_python_is_gone(checkout: Path) -> None:
    python = an_environment(checkout) / "bin" / "python"
    python.unlink()
    python.symlink_to("/nonexistent/python3")


def one_of_an_old_python(checkout: Path) -> None:
    an_environment(checkout, TOO_OLD)


def one_of_another_folder(checkout: Path) -> None:
    elsewhere = checkout.with_name("elsewhere")
    shutil.copytree(checkout, elsewhere)
    assert set_up(elsewhere).returncode == 0
    shutil.copytree(elsewhere / ".venv", checkout / ".venv")


FOUND: dict[str, tuple[Callable[[Path], None], str]] = {
    "nothing": (nothing, ""),
    "one without pip": (one_without_pip, "has neither uv nor pip; making a new one"),
    "one that was begun": (one_begun, "was not finished; making a new one"),
    "a dangling link": (a_dangling_link, "is not a virtual environment; making a new one"),
    "a file": (a_file, "is not a virtual environment; it is kept as .venv.old"),
    "a folder": (a_folder, "is not a virtual environment; it is kept as .venv.old"),
    "one whose Python is gone": (one_whose_python_is_gone, "a Python that is gone"),
    "one of an old Python": (one_of_an_old_python, "a Python that Holdline does not run on"),
    "one of another folder": (one_of_another_folder, "belongs to another folder"),
}


@pytest.mark.parametrize(("leave", "told"), FOUND.values(), ids=FOUND)
def test_setup_works_from_any_state_and_then_has_nothing_to_do(
    checkout: Path, leave: Callable[[Path], None], told: str
) -> None:
    leave(checkout)

    first, second = set_up(checkout), set_up(checkout)

    assert first.returncode == 0, first.stderr
    assert told in first.stderr
    assert "making .venv with Python 3." in first.stderr
    assert (checkout / ".venv" / "bin" / "uv").exists()
    assert (second.returncode, second.stderr) == (0, "")


def test_a_usable_environment_is_kept(checkout: Path) -> None:
    venv = an_environment(checkout)
    (venv / "bin" / "pip").touch()

    done = set_up(checkout)

    assert done.returncode == 0
    assert "making" not in done.stderr
    assert (venv / "bin" / "pip").exists()


def test_an_interrupted_update_is_repeated_in_place(checkout: Path) -> None:
    set_up(checkout)
    (checkout / "stop").touch()
    os.utime(checkout / LOCK)
    stopped = set_up(checkout)
    (checkout / "stop").unlink()
    (checkout / "uv.log").unlink()

    done = set_up(checkout)

    assert stopped.returncode != 0
    assert done.returncode == 0
    assert "making" not in done.stderr  # calls may be using it
    assert "--reinstall" in (checkout / "uv.log").read_text()
    assert set_up(checkout).stderr == ""


def test_an_unwritable_home_is_one_line_with_the_way_out(checkout: Path) -> None:
    (checkout.parent / "file").touch()

    done = set_up(checkout, HOME=str(checkout.parent / "file"))

    assert done.returncode == 0
    (line,) = (line for line in done.stderr.splitlines() if "cannot be written" in line)
    assert "UV_CACHE_DIR" in line


def test_a_missing_python_is_one_line(checkout: Path) -> None:
    write_program(checkout / "python", TOO_OLD)

    done = set_up(checkout, PATH=str(programs(checkout)))

    assert done.returncode == 2
    assert done.stderr == "holdline: needs Python 3.11, 3.12, 3.13 or 3.14; set PYTHON to one\n"


@pytest.mark.parametrize(("wanted", "chosen"), [(None, "3.13"), ("python3", "3.14")])
def test_a_python_with_a_recogniser_is_preferred_unless_one_is_named(
    checkout: Path, wanted: str | None, chosen: str
) -> None:
    path = programs(checkout)
    too_new_for_words = PYTHON.replace("in\n", 'in\n    *"(3, 13))"*) exit 1 ;;\n', 1)
    for name, python in {"python3": too_new_for_words, "python3.13": PYTHON}.items():
        write_program(
            path / name, python.replace("in\n", f'in\n    --version) echo "{name}" ;;\n', 1)
        )

    done = set_up(checkout, PATH=str(path), PYTHON=wanted or "")

    expected = "python3.13" if chosen == "3.13" else "python3"
    assert f"with {expected} of {path / expected}" in done.stderr


PIP_CONFIG = """\
global.index-url='https://pypi.example.com/simple'
:env:.index-url='https://later.example.com/simple'
global.extra-index-url='https://a.example.com\\nhttps://b.example.com'
global.cert='/etc/company.pem'
user.proxy='http://proxy.example.com:3128'
install.trusted-host='pypi.example.com'
install.find-links='/a\\n/b'
"""


@pytest.mark.parametrize("own", ["", "https://mine.example.com"], ids=["pips", "a variable"])
def test_uv_gets_what_pip_is_configured_with(checkout: Path, own: str) -> None:
    """A company's index, its certificates and its proxy."""
    (checkout / "pip-config").write_text(PIP_CONFIG)
    with_log = PYTHON.replace('echo "$*" >>uv.log', 'env >>uv.env; echo "$*" >>uv.log')
    write_program(checkout / "python", with_log)

    done = set_up(checkout, **({"UV_DEFAULT_INDEX": own} if own else {}))

    assert done.returncode == 0, done.stderr
    given = dict(
        line.split("=", 1) for line in (checkout / "uv.env").read_text().splitlines() if "=" in line
    )
    assert given["UV_DEFAULT_INDEX"] == (own or "https://later.example.com/simple")
    assert given["UV_INDEX"] == "https://a.example.com https://b.example.com"
    assert given["SSL_CERT_FILE"] == "/etc/company.pem"
    assert given["UV_FIND_LINKS"] == "/a,/b"
    assert given["HTTPS_PROXY"] == "http://proxy.example.com:3128"
    assert given["UV_INSECURE_HOST"] == "pypi.example.com"
    assert given["UV_SYSTEM_CERTS"] == "true"
    assert (checkout / "pip.log").read_text() == "asked\n"  # pip takes half a second to start


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_uv_gets_the_certificates_that_pip_finds_in_a_variable(
    checkout: Path, variable: str
) -> None:
    bundle = checkout / "company.pem"
    bundle.touch()
    with_log = PYTHON.replace('echo "$*" >>uv.log', 'env >>uv.env; echo "$*" >>uv.log')
    write_program(checkout / "python", with_log)

    done = set_up(checkout, **{variable: str(bundle)})

    assert done.returncode == 0, done.stderr
    assert f"SSL_CERT_FILE={bundle}" in (checkout / "uv.env").read_text().splitlines()
