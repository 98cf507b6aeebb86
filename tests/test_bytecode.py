"""After `make setup` a server compiles nothing at its start, even where it may not write."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# anyio compiles itself once more, to look at itself: that is no import.
START = """
import sys
compiled = []
def note(event, arguments):
    if event == "compile":
        by = sys._getframe(1).f_code.co_filename
        if by.startswith("<frozen importlib") and str(arguments[1]).endswith(".py"):
            compiled.append(arguments[1])
sys.addaudithook(note)
import bot.cli.serve, bot.server.server, bot.workers.supervisor
from providers.catalog import PROVIDERS
for provider in PROVIDERS:
    provider.load()
print(*compiled, sep="\\n")
"""

pytestmark = pytest.mark.slow


def run(*arguments: str, cache: Path) -> str:
    """Run Python with bytecode read from `cache`, and written by no import."""
    surroundings = {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPYCACHEPREFIX": str(cache)}
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-W", "ignore", *arguments],
        cwd=ROOT, env=surroundings, capture_output=True, text=True, check=True, timeout=300,
    )  # fmt: skip
    return done.stdout.strip()


def test_a_start_compiles_nothing_after_all_bytecode_was_written(tmp_path: Path) -> None:
    assert run("-c", START, cache=tmp_path)  # on a tree without bytecode it compiles

    run("scripts/write_bytecode.py", cache=tmp_path)

    assert run("-c", START, cache=tmp_path) == ""
