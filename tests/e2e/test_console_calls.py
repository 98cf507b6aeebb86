"""A call of the demo that loses its voice in the middle of a sentence, as the console tells it."""

from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.e2e.browser import Watch
from tests.e2e.demo_server import Demo, running_demo
from tests.e2e.talking import broken, greeted, spoken, talking, told

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

WRITTEN_MS = 20_000  # a guard: the record is written within a second


async def test_a_call_that_lost_its_voice_is_told_the_same_everywhere(
    network: None, tmp_path: Path
) -> None:
    async with running_demo(tmp_path) as demo, talking() as page:
        watch = Watch(page, server=demo.url)
        await greeted(page, demo.url)
        await expect(page.locator("#calls tbody tr")).to_have_count(1)
        await broken(page, "cartesia", "cut", after_words="4")
        await told(page, spoken("01_hours"))
        await told_by_the_console(page)

        await page.get_by_role("button", name="Hang up").click()
        await expect(page.locator("#calls tbody tr")).to_have_count(0)
        over = page.locator("#recent li a")
        await expect(over).to_have_count(1, timeout=WRITTEN_MS)
        await over.click()

        await told_by_the_calls_page(page, demo)
        assert watch.errors == []
        assert watch.foreign == []


async def told_by_the_console(page: Page) -> None:
    await expect(page.locator("#calls td.trouble")).to_contain_text("cartesia")
    rung = page.locator("[data-rung=cartesia] .speed")
    await expect(rung).to_contain_text("1 caller touched")
    await expect(page.locator(".troubles")).to_contain_text("cartesia")


async def told_by_the_calls_page(page: Page, demo: Demo) -> None:
    await expect(page.locator("#state")).to_have_text("Over", timeout=WRITTEN_MS)
    said = page.locator(".said[data-who=agent]")
    await expect(said.first).to_contain_text("How can I help?")
    voices = said.nth(1).locator(".voice")
    await expect(voices).to_have_count(2)
    speakers = [await each.get_attribute("title") for each in await voices.all()]
    assert speakers == ["cartesia", "elevenlabs"]
    await expect(page.locator(".turn .moves li")).to_contain_text("cartesia → elevenlabs")
    failed = [each for each in demo.events("AttemptFailed") if each["call_id"]]
    await expect(page.locator("#failures li")).to_have_count(len(failed))
