"""The console in Firefox: the same page, another browser."""

import os
from pathlib import Path

import pytest

from tests.absent import report_absent
from tests.e2e.conftest import Served
from tests.e2e.console_scenes import outage
from tests.e2e.firefox import FIREFOX, firefox

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.asyncio(loop_scope="module"),
]

WITHIN_S = 60.0  # a guard: it takes a second or two
ROWS = "document.querySelectorAll('#calls tbody tr').length"
LADDERS = "[...document.querySelectorAll('[data-rung]')].map((each) => each.dataset.rung).sort()"
ALERT = """[...document.querySelectorAll('.troubles li')].some(
    (each) => each.textContent.includes('HIGH: Cartesia cannot be reached'),
)"""
HEADLINE = "document.querySelector('.headline')?.textContent === 'cartesia: unavailable'"
SERVES = "document.querySelector('[data-rung=elevenlabs] .serves')?.textContent"


async def test_calls_ladders_and_alerts_are_shown(served: Served, tmp_path: Path) -> None:
    if FIREFOX is None:
        report_absent("firefox-esr")
    outage(served.stand_in)
    async with firefox(tmp_path, sound={"PATH": os.environ["PATH"]}) as tab:
        await tab.open(served.url + "/")

        assert await tab.until(HEADLINE, within_s=WITHIN_S)
        assert await tab.until(f"{ROWS} === 5", within_s=WITHIN_S)
        assert await tab.until(f"{SERVES} === '5 calls'", within_s=WITHIN_S)
        assert await tab.evaluate(LADDERS) == [
            "cartesia", "deepgram", "deepgram-b", "elevenlabs", "openai", "openai-b",
        ]  # fmt: skip
        assert await tab.until(ALERT, within_s=WITHIN_S)
        assert tab.errors == []
        assert tab.foreign == []
