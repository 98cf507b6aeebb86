"""Two providers break in a call on the page: both failovers show, and every word is heard."""

import json
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from lab.callers import answers
from lab.process import RunningLab
from tests.e2e.browser import Watch, need_chromium
from tests.e2e.demo_server import ROOT, Demo, running_demo
from tests.e2e.hearing import EAR, Ear, Heard
from tests.e2e.talking import SPEAKER, broken, greeted, spoken, talking, told

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.long,
    pytest.mark.alone,
    pytest.mark.slow,
    pytest.mark.asyncio(loop_scope="module"),
]

GREETING = "Hello, this is Holdline. How can I help?"
HOURS = "What are your opening hours?"  # what `01_hours` asks
CALLS = 3
HEALTHY = "[data-rung] [data-tone=good]"
HEALED_S = 20.0  # probes of a mended provider come after 1, 2, 5 s


@dataclass(frozen=True, slots=True, kw_only=True)
class Open:
    """A demo, and its lab with a readable record."""

    demo: Demo
    lab: RunningLab


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(network: None, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Open]:
    need_chromium()
    folder = tmp_path_factory.mktemp("demo")
    program = ("-m", "tests.e2e.open_demo", "lab.json")
    async with running_demo(folder, program=program) as demo:
        lab = RunningLab(**json.loads((folder / "lab.json").read_text(encoding="utf-8")))
        yield Open(demo=demo, lab=lab)


async def heard(page: Page, ear: Ear, words: str, *, answer: str) -> Heard:
    """Say something; return the answer as the browser received it."""
    since = await ear.now()
    shown = await told(page, words)
    assert shown == answer
    return await ear.reply(answer, since=since)


async def greeted_by_cartesia(page: Page, url: str) -> None:
    """Call until the first voice is the one that speaks.

    A starting browser uses both cores, and a voice that is late at the greeting is rightly replaced
    for the rest of that call.
    """
    for _ in range(CALLS):
        await greeted(page, url)
        if await page.locator("[data-rung=cartesia] .works").count():
            return
        await expect(page.locator(HEALTHY)).to_have_count(6, timeout=HEALED_S * 1000)
    pytest.fail(f"cartesia did not speak the greeting of any of {CALLS} calls")


async def both_failovers_are_shown(page: Page) -> None:
    moves = page.locator(".turn .moves li")
    await expect(moves.filter(has_text="Voice: cartesia → elevenlabs")).to_have_count(1)
    await expect(moves.filter(has_text="Model: openai → openai-b")).to_have_count(1)
    line = page.locator(".said[data-who=agent]:not(.growing)").filter(has=page.locator(".speakers"))
    await expect(line.locator(".speakers .voice")).to_have_text(["cartesia", "elevenlabs"])
    await expect(page.locator("[data-rung=elevenlabs] .works")).to_have_text("in use")
    await expect(page.locator("[data-rung=openai-b] .works")).to_have_text("in use")


async def all_are_well_again(page: Page) -> None:
    for provider in ("cartesia", "openai"):
        await page.get_by_role("switch", name=f"Break {provider}", exact=True).click()
    await expect(page.locator(HEALTHY)).to_have_count(6, timeout=HEALED_S * 1000)


async def test_a_broken_voice_and_a_broken_model_show_as_failovers_and_no_word_is_lost(
    running: Open,
) -> None:
    first, second = answers([HOURS, HOURS], greeting=GREETING)
    async with talking(scripts=(SPEAKER, EAR)) as page:
        watch = Watch(page, server=running.demo.url)
        ear = Ear(page, running.lab)
        await greeted_by_cartesia(page, running.demo.url)
        await ear.steady()

        await broken(page, "cartesia", "cut", after_words="7")
        voice_broke = await heard(page, ear, spoken("01_hours"), answer=first)
        await broken(page, "openai", "cut", after_words="11")
        model_broke = await heard(page, ear, spoken("01_hours"), answer=second)

        await both_failovers_are_shown(page)
        assert watch.errors == []
        await all_are_well_again(page)
        await page.get_by_role("button", name="Hang up").click()

    if path := os.environ.get("KEEP_HEARD"):  # tests/fixtures/browser, for test_hearing
        voice_broke.keep(ROOT / path)
    verdict = voice_broke.judged()
    assert verdict.whole, verdict
    assert verdict.voices == ("cartesia", "elevenlabs")
    verdict = model_broke.judged()
    assert verdict.whole, verdict
    assert verdict.voices == ("elevenlabs",)
