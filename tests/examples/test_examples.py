"""Every example runs to its end without keys, and prints what it promises."""

import asyncio
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
TESTS = sorted(path.name for path in EXAMPLES.glob("test_*.py"))
SERVERS = ["pipecat_bot.py", "stock_bot.py"]  # with keys, until stopped: `test_pipecat_bot.py`
PROGRAMS = sorted({path.name for path in EXAMPLES.glob("*.py")} - {*TESTS, *SERVERS})
MAX_LINES = 60
AT_ONCE = 2  # programs; each is a call, a lab and its recogniser on two cores
# What must be on the screen, in this order.
SHOWN: Mapping[str, tuple[str, ...]] = {
    "carrier_call.py": ("How can I help?", "opening hours?", "We open at nine.", "heard.wav"),
    "own_tool.py": (
        "opening hours?",
        "opening_hours ok",
        "The answer is: from seven to seven on weekdays",
    ),
    "replay_one_caller.py": ("opening hours?", "answered in ", "We open at nine.", "heard.wav"),
    "two_agents.py": (
        "+15550100 is answered by sales",
        "Sales,",
        "+15550101 is answered by repairs",
        "The workshop, hello.",
        "+15550199 is answered by default",
        "this is the front desk.",
    ),
}
# How each line that a program prints begins.
PRINTED: Mapping[str, str] = {
    "carrier_call.py": r"(AgentSaid|TranscriptFinal): |What the caller heard is in ",
    "own_tool.py": r"(agent|caller|tool): ",
    "replay_one_caller.py": r"(agent|caller): |        answered in |What the caller heard is in ",
    "two_agents.py": r"\+155501\d\d is answered by |  \S",
}
# An event in our log on a busy machine, such as `ProcessLagged`: no error, no traceback.
LOGGED = re.compile(
    r"[\d-]{10}T[\d:.+]{18} \| WARNING  \| operations\.telemetry\.logs:hear:\d+ - \S+ [A-Z]\w+ .*"
)


def environment() -> dict[str, str]:
    """Return this process's variables without any key of a provider."""
    unwanted = ("_API_KEY", "_TOKEN")
    return {name: each for name, each in os.environ.items() if not name.endswith(unwanted)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """The result of one program."""

    code: int | None
    shown: str
    said: str  # on stderr


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Ran]:
    return asyncio.run(run_all(tmp_path_factory.mktemp("examples")))


async def run_all(folder: Path) -> dict[str, Ran]:
    free = asyncio.Semaphore(AT_ONCE)
    found: dict[str, Ran] = {}

    async def one(name: str) -> None:
        async with free:
            found[name] = await run(name, folder)

    async with asyncio.TaskGroup() as group:
        for name in PROGRAMS:
            group.create_task(one(name))
    return found


async def run(name: str, folder: Path) -> Ran:
    return await run_python([str(EXAMPLES / name)], folder)


async def run_python(arguments: Sequence[str], folder: Path) -> Ran:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        cwd=folder,
        env=environment(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(90):
            shown, said = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return Ran(code=process.returncode, shown=shown.decode(), said=said.decode())


def test_every_example_is_listed_in_this_test() -> None:
    assert set(PROGRAMS) == set(SHOWN)


@pytest.mark.parametrize("name", [*PROGRAMS, *TESTS, *SERVERS])
def test_an_example_is_short(name: str) -> None:
    lines = (EXAMPLES / name).read_text(encoding="utf-8").splitlines()

    assert len(lines) < MAX_LINES


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("name", PROGRAMS)
def test_an_example_runs_without_keys(name: str, ran: Mapping[str, Ran]) -> None:
    found = ran[name]

    assert found.code == 0, found.said
    at = 0
    for words in SHOWN[name]:
        assert words in found.shown[at:], found.shown + found.said
        at = found.shown.index(words, at) + len(words)


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("name", PROGRAMS)
def test_pipecat_prints_nothing_between_an_examples_lines(
    name: str, ran: Mapping[str, Ran]
) -> None:
    shown, said = ran[name].shown.splitlines(), ran[name].said.splitlines()

    assert [line for line in shown if not re.match(PRINTED[name], line)] == []
    assert [line for line in said if not LOGGED.fullmatch(line)] == []


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("name", TESTS)
async def test_the_tests_of_an_example_pass(name: str, tmp_path: Path) -> None:
    found = await run_python(
        ["-m", "pytest", "-q", "-p", "no:xdist", str(EXAMPLES / name)], tmp_path
    )

    assert found.code == 0, found.shown
    assert " passed" in found.shown
    assert "skipped" not in found.shown
