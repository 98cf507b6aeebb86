"""The console shows a call of the demo that loses its voice in mid-sentence."""

import pytest
from playwright.async_api import Page, expect

from tests.e2e.browser import Watch
from tests.e2e.demo_server import Demo
from tests.e2e.talking import broken, greeted, spoken, talking, told

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.asyncio(loop_scope="module"),  # one demo for both
]

WRITTEN_MS = 20_000  # a guard: the record is written within a second


PREFERRED = ("deepgram", "openai", "cartesia")


async def test_a_running_call_skips_a_removed_rung_from_its_next_turn(demo: Demo) -> None:
    async with talking() as page:
        await greeted(page, demo.url)
        for name in PREFERRED:
            await page.request.post(f"{demo.url}/api/providers/{name}/rest")
        await told(page, spoken("01_hours"))
        served = page.locator("#calls .served")
        await expect(served).to_have_text("deepgram-b, openai-b, elevenlabs")
        await expect(page.locator("[data-rung] .condition[data-tone=warn]")).to_have_count(3)

        for name in PREFERRED:
            await page.request.post(f"{demo.url}/api/providers/{name}/return")
        await expect(page.locator("[data-rung] .condition[data-tone=good]")).to_have_count(6)
        await page.get_by_role("button", name="Hang up").click()
    acted = [(event["action"], event["target"]) for event in demo.events("OperatorActed")]
    assert acted == [(what, name) for what in ("rest", "return") for name in PREFERRED]


async def test_a_call_that_lost_its_voice_is_reported_alike_everywhere(demo: Demo) -> None:
    async with talking() as page:
        watch = Watch(page, server=demo.url)
        await greeted(page, demo.url)
        await expect(page.locator("#calls tbody tr")).to_have_count(1)
        await broken(page, "cartesia", "cut", after_words="4")
        await told(page, spoken("01_hours"))
        await told_by_the_console(page)

        await page.get_by_role("button", name="Hang up").click()
        await expect(page.locator("#calls tbody tr")).to_have_count(0)
        over = page.locator("#recent li a")
        await expect(over).to_have_count(2, timeout=WRITTEN_MS)
        await over.first.click()

        await told_by_the_calls_page(page, demo)
        assert watch.errors == []
        assert watch.foreign == []


async def told_by_the_console(page: Page) -> None:
    await expect(page.locator("#calls .trouble")).to_contain_text("Cartesia breaks off its answers")
    rung = page.locator("[data-rung=cartesia] .speed")
    await expect(rung).to_contain_text("1 failed")
    await expect(page.locator(".troubles")).to_contain_text("Cartesia breaks off its answers")


async def told_by_the_calls_page(page: Page, demo: Demo) -> None:
    await expect(page.locator("#state")).to_have_text("Ended", timeout=WRITTEN_MS)
    said = page.locator(".said[data-who=agent]")
    await expect(said.first).to_contain_text("How can I help?")
    voices = said.nth(1).locator(".voice")
    await expect(voices).to_have_count(2)
    speakers = [await voice.get_attribute("title") for voice in await voices.all()]
    assert speakers == ["cartesia", "elevenlabs"]
    await expect(page.locator(".turn .moves li")).to_contain_text("cartesia → elevenlabs")
    call = demo.events("CallStarted")[-1]["call_id"]
    failed = [event for event in demo.events("AttemptFailed") if event["call_id"] == call]
    await expect(page.locator("#failures li")).to_have_count(len(failed))
