"""Tests of your own tool and agent in pytest.

Run them with `.venv/bin/python -m pytest examples/test_own_tool.py`; they need no keys.
"""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from bot.tools.owner import owner_tools
from bot.tools.toolbox import Tool
from configuration.loading import load

CONFIG = Path(__file__).with_name("own_tool.yaml")


@pytest.fixture
def tool() -> Tool:
    """Return the configured tool as a call has it."""
    loaded = load(CONFIG, keys=False)
    return owner_tools(loaded.settings.agent.tools)[0]


def test_the_model_reads_what_the_tool_is_for(tool: Tool) -> None:
    """The description and the parameters come from the function."""
    assert tool.description == "Say when the shop is open."
    assert tool.parameters["properties"] == {}


def test_the_tool_returns_the_opening_hours(tool: Tool) -> None:
    """`run` checks the arguments and returns the result, as in a call."""
    assert "closed on Sunday" in asyncio.run(tool.run({}))


def test_the_agent_uses_the_tool() -> None:
    """The simulated model answers by a script; without `--simulated`, the configured one does."""
    talked = subprocess.run(
        [sys.executable, "-m", "bot", "try", "--simulated", "--config", str(CONFIG)],
        input="What are your opening hours?\n",
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert "tool: opening_hours {}" in talked.stdout
    assert "seven to seven" in talked.stdout.splitlines()[-1]
