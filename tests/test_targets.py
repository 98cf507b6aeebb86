"""The make targets, CI and the image agree with the documents."""

import re
import shutil
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from bot.workers.listener import bind_socket
from runtime.exits import UsageError
from tests.documents import BLOCK, CODE, DOCUMENTS, ROOT, commands, name_of

MAKE = shutil.which("make") or "make"


def make_targets() -> set[str]:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    return set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))


def test_the_documents_name_make_targets_and_programs_that_exist() -> None:
    targets = make_targets()
    named = list(commands())

    assert len(named) > 15
    for document, words in named:
        if words[0] == "make":
            assert {word for word in words[1:] if "=" not in word} <= targets, (document, words)
        if words[0].startswith(".venv/bin/"):
            assert (ROOT / words[0]).exists(), (document, words)


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_make_target_named_in_a_sentence_exists(document: Path) -> None:
    if document.name == "CHANGELOG.md":  # it describes the past
        return
    text = BLOCK.sub("", document.read_text(encoding="utf-8"))
    named = re.findall(r"`make ([a-z -]+)`", text)

    assert {target for match in named for target in match.split()} <= make_targets()


def recipe(*targets: str) -> str:
    """Return the commands that make would run, with its variables filled in."""
    told = subprocess.run(  # noqa: S603 - our own Makefile
        [MAKE, "-n", *targets], cwd=ROOT, check=True, capture_output=True, text=True, timeout=60
    )
    return told.stdout


def test_ci_runs_the_targets_that_contributing_names() -> None:
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    contributing = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (told,) = re.findall(r"^make ([a-z -]+?) +# what CI runs", contributing, re.MULTILINE)

    assert set(re.findall(r"^make ([a-z-]+)", ci, re.MULTILINE)) == {"setup-dev", *told.split()}


def test_a_taken_port_names_a_command_for_another() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(UsageError) as refused:
        bind_socket("127.0.0.1", taken.getsockname()[1])
    (words,) = re.findall(r"`make (demo .+)`", str(refused.value))

    assert ".venv/bin/holdline demo --port 8081" in recipe(*words.split()).splitlines()


def test_make_check_runs_linters_before_the_quick_tests() -> None:
    told = recipe("check")

    assert all(name in told for name in ("ruff check", "ruff format", "pyright", "lint-imports"))
    assert re.findall(r'-m "([^"]+)"', told) == ["not slow and not e2e and not peers"]


LONGEST = "### The longest tests\n"


@pytest.mark.slow  # collecting takes seconds
@pytest.mark.parametrize(
    ("column", "target"), list(enumerate(("test-calls", "test-long", "test-hours"))), ids=str
)
def test_a_make_target_runs_the_longest_tests_that_contributing_names(
    column: int, target: str
) -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    table = page[page.index(LONGEST) :].partition("\n###")[0]
    rows = re.findall(r"^\| `(tests/.+?)`.*?\|(.*?)\|(.*?)\|(.*?)\|$", table, re.MULTILINE)
    told = {(row[0], match) for row in rows for match in CODE.findall(row[column + 1])}
    marks = [
        quoted or word for quoted, word in re.findall(r'-m (?:"([^"]+)"|(\w+))', recipe(target))
    ]
    expression = " or ".join(f"({mark})" for mark in marks if mark != "pytest")

    words = ("-m", "pytest", "--collect-only", "-q", "-n", "0", "-m")

    found = subprocess.run(  # noqa: S603 - our own tests
        [sys.executable, *words, expression, *(row[0] for row in rows)],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    ).stdout

    assert len(rows) > 3
    cases = re.findall(
        r"^(tests/\S+?)::(?:\w+::)?\w+\[(?:sqlite-|postgres-)?(.+)\]$", found, re.MULTILINE
    )
    assert set(cases) == told


def test_the_dockerfile_copies_and_compiles_every_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    rooms = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    (compiled,) = re.findall(r"python -m compileall -q (.+)$", dockerfile, re.MULTILINE)
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()

    assert sorted(compiled.split()) == sorted(rooms)
    assert sorted(re.findall(r"^COPY (\w+) \1$", dockerfile, re.MULTILINE)) == sorted(rooms)
    assert {f"!{room}" for room in rooms} <= set(ignored)
