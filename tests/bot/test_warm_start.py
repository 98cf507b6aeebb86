"""The first caller waits for no work that could have been done before."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from lab.callers import Carrier, caller_says
from lab.drill import servers
from lab.process import lab_process

ROOT = Path(__file__).parents[2]
PROGRAM = str(Path(__file__).with_name("noting_program.py"))
TIMEOUT_S = 120.0  # a busy machine imports for half a minute

pytestmark = pytest.mark.slow


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let the drill's server record first uses."""
    file = tmp_path / "notes.txt"
    programs: Mapping[str, Sequence[str]] = {servers.OURS: (PROGRAM, str(file))}
    monkeypatch.setattr(servers, "_PROGRAMS", programs)
    monkeypatch.setattr(servers, "READY_S", TIMEOUT_S)
    return file


def noted_in(notes: Path) -> list[str]:
    return notes.read_text(encoding="utf-8").splitlines()


async def test_the_first_call_imports_compiles_and_loads_nothing(
    notes: Path, tmp_path: Path
) -> None:
    question = await asyncio.to_thread(caller_says, "When do you open tomorrow?")
    async with (
        lab_process() as lab,
        servers.run_agent(lab, servers.OURS, folder=tmp_path) as url,
    ):
        ready = noted_in(notes)
        async with Carrier(url, servers.AUTH_TOKEN) as call:
            await call.listen(within_s=TIMEOUT_S)
            await call.say(question)
            answer = await call.listen(within_s=TIMEOUT_S)
    noted = noted_in(notes)

    assert answer.size
    assert any(text.startswith("session") for text in ready)  # it does record them
    assert noted[len(ready) :] == []
