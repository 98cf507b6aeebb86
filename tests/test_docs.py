"""What the papers name exists: links, files, make targets, commands, options, faults, keys."""

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from bot.__main__ import app
from bot.config.environment import Environment
from bot.config.loading import load
from faultlab.faults import FAULTS
from faultlab.lab import schedule_for

ROOT = Path(__file__).parents[1]
PAPERS = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "examples").glob("*.md"),
        *(ROOT / "tests").rglob("README.md"),
    ]
)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`\n]+)`")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
# A path of ours: in one of these folders, or a file at the root that nobody makes.
FOLDERS = (
    *("bot/", "calls/", "docs/", "examples/", "fallbacks/", "faultlab/", "processors/"),
    *(
        "providers/",
        "scripts/",
        "storage/",
        "telemetry/",
        "tests/",
        "transports/",
        "benchmarks/",
        ".ci/",
    ),
)
COMMANDS = sorted(str(each.name) for each in app.registered_commands)


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def blocks(path: Path, language: str) -> Iterator[str]:
    for found in BLOCK.finditer(path.read_text(encoding="utf-8")):
        if found[1] == language:
            yield found[2]


def commands() -> Iterator[tuple[str, list[str]]]:
    """Yield each shell command in the papers, as words."""
    for paper in PAPERS:
        for block in blocks(paper, "sh"):
            for line in block.replace("\\\n", " ").splitlines():
                if words := shlex.split(line, comments=True):
                    yield name_of(paper), words


def anchors(path: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in titles}


@pytest.mark.parametrize("paper", PAPERS, ids=name_of)
def test_a_link_leads_somewhere(paper: Path) -> None:
    for link in LINK.findall(paper.read_text(encoding="utf-8")):
        if link.startswith(("https://", "http://")):
            continue
        place, _, title = link.partition("#")
        target = (paper.parent / place) if place else paper

        assert target.exists(), link
        assert not title or title in anchors(target), link


@pytest.mark.parametrize("paper", PAPERS, ids=name_of)
def test_a_file_that_is_named_exists(paper: Path) -> None:
    text = BLOCK.sub("", paper.read_text(encoding="utf-8"))
    for word in CODE.findall(text):
        if word.startswith(FOLDERS) and re.fullmatch(r"[\w./-]+", word) and "NAME" not in word:
            assert (ROOT / word).exists() or list(ROOT.glob(f"{word}*")), word


def test_a_constant_that_is_named_exists() -> None:
    rooms = [each for each in FOLDERS if (ROOT / each).is_dir() and each not in ("docs/", "tests/")]
    code = "\n".join(
        path.read_text(encoding="utf-8") for room in rooms for path in (ROOT / room).rglob("*.py")
    )
    defined = set(re.findall(r"^([A-Z][A-Z0-9_]+): ", code, re.MULTILINE))
    page = (ROOT / "docs" / "how-it-stays-up.md").read_text(encoding="utf-8")
    named = {word for word in CODE.findall(page) if re.fullmatch(r"[A-Z][A-Z0-9_]+", word)}

    assert len(named) > 20
    assert named - defined == set()


def test_every_decision_is_listed() -> None:
    folder = ROOT / "docs" / "decisions"
    listed = LINK.findall((folder / "README.md").read_text(encoding="utf-8"))

    assert sorted(listed) == sorted(
        path.name for path in folder.glob("*.md") if path.name != "README.md"
    )


def test_every_dependency_has_a_row() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    wanted = project[project.index("dependencies = [") : project.index("[project.scripts]")]
    packages = set(re.findall(r'"([a-z][a-z0-9-]+)[\[<>=" ]', wanted))
    told = set(CODE.findall((ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")))

    assert {"pipecat-ai", "ruff", "sounddevice"} <= packages
    assert packages - told == set()


def test_the_papers_name_make_targets_and_programs_that_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    named = list(commands())

    assert len(named) > 15
    for paper, words in named:
        if words[0] == "make":
            assert set(words[1:]) <= targets, (paper, words)
        if words[0].startswith(".venv/bin/"):
            assert (ROOT / words[0]).exists(), (paper, words)


def options_of(command: str) -> set[str]:
    shown = subprocess.run(  # noqa: S603 - our own program
        [ROOT / ".venv/bin/holdline", command, "--help"],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout
    return set(re.findall(r"--[a-z-]+", shown))


@pytest.mark.parametrize("command", COMMANDS)
def test_the_papers_give_a_command_options_that_it_has(command: str) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = re.findall(rf"^\| `holdline {command}( [^`]*)?`", readme, re.MULTILINE)
    used = {
        word
        for _, words in commands()
        if words[0].endswith("holdline") and words[1:2] == [command]
        for word in words
        if word.startswith("--")
    }

    assert len(rows) == 1
    assert used | set(re.findall(r"--[a-z-]+", rows[0])) <= options_of(command)


def test_the_readme_lists_every_fault() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")

    assert set(FAULTS) - set(CODE.findall(readme)) == set()


def test_the_readmes_schedule_is_one_that_the_lab_takes() -> None:
    (schedule,) = blocks(ROOT / "README.md", "yaml")

    assert set(schedule_for(schedule)) == {"cartesia", "openai"}


def test_the_example_of_two_agents_is_a_configuration() -> None:
    keys = ("DEEPGRAM_API_KEY", "OPENAI_API_KEY", "CARTESIA_API_KEY", "ELEVENLABS_API_KEY")
    example = ROOT / "examples" / "two_agents.yaml"
    settings = load(example, variables=Environment(values=dict.fromkeys(keys, "key"))).settings

    assert settings.agent_for("+15550101").name == "repairs"
    assert settings.agents["sales"].disclosure == settings.agent.disclosure
    assert yaml.safe_load(example.read_text(encoding="utf-8")).keys() == {"agent", "agents"}
