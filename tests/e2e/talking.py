"""A person who talks on a page of the demo: calls, speaks, breaks a provider, hears answers out."""

import base64
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import soundfile
import yaml
from playwright.async_api import Page, async_playwright, expect

from tests.e2e.browser import ALLOWED, chromium
from tests.e2e.demo_server import ROOT

CALLERS: Final = ROOT / "tests" / "fixtures" / "callers"
SPEAKER: Final = (Path(__file__).parent / "speaker.js").read_text(encoding="utf-8")
ANSWER_S: Final = 45.0  # a guard: beside other browsers an answer once took more than 15 s
LOUD: Final = 0.01  # root mean square: -40 dBFS, speech is at least ten times as strong


@asynccontextmanager
async def talking(*flags: str, scripts: tuple[str, ...] = (SPEAKER,)) -> AsyncIterator[Page]:
    """Run a browser with one page in which these scripts run first."""
    async with async_playwright() as playwright, chromium(playwright, ALLOWED, *flags) as browser:
        page = await browser.new_page(viewport={"width": 1280, "height": 900})
        for script in scripts:
            await page.add_init_script(script)
        yield page


def spoken(name: str, number: int = 0) -> str:
    """Return one utterance of a recorded caller as a wav in base64."""
    about = yaml.safe_load((CALLERS / f"{name}.yaml").read_text(encoding="utf-8"))
    utterance = about["utterances"][number]
    samples, rate_hz = soundfile.read(CALLERS / about["file"])
    first, last = utterance["start_s"] - 0.1, utterance["end_s"] + 0.1
    cut = samples[int(first * rate_hz) : int(last * rate_hz)]
    wav = io.BytesIO()
    soundfile.write(wav, cut, rate_hz, format="WAV", subtype="PCM_16")
    return base64.b64encode(wav.getvalue()).decode()


async def answered(page: Page, agent_lines: int) -> str:
    """Wait until the agent has finished its next answer; return its words."""
    lines = page.locator(".said[data-who=agent]:not(.growing)")
    await expect(lines).to_have_count(agent_lines, timeout=ANSWER_S * 1000)
    await expect(page.locator(".phase")).to_have_text("Listening", timeout=ANSWER_S * 1000)
    return await lines.last.locator(".words").inner_text()


async def greeted(page: Page, url: str) -> str:
    """Call and hear the greeting out; return its words."""
    await page.goto(url)
    await page.get_by_role("button", name="Call", exact=True).click()
    return await answered(page, 1)


async def told(page: Page, words: str) -> str:
    """Say something and hear the answer out; return its words."""
    lines = await page.locator(".said[data-who=agent]:not(.growing)").count()
    await page.evaluate("window.say", words)
    return await answered(page, lines + 1)


async def loud_s(page: Page) -> float:
    """Return for how long the page has received audible sound."""
    heard: list[list[float]] = await page.evaluate("window.heard")
    return sum(0.02 for _, rms in heard if rms > LOUD)


async def unfolded(page: Page) -> None:
    """Show the switches of all simulated providers."""
    summary = page.locator("#lab > details > summary")
    await expect(summary).to_be_visible()
    if not await page.locator("#lab > details[open]").count():
        await summary.press("Enter")


async def broken(page: Page, provider: str, fault: str, **fields: str) -> None:
    """Switch a fault of a simulated provider on."""
    await unfolded(page)
    await page.get_by_label(f"What goes wrong with {provider}", exact=True).select_option(fault)
    for label, value in fields.items():
        await page.get_by_label(f"{label.replace('_', ' ')}, {provider}", exact=True).fill(value)
    switch = page.get_by_role("switch", name=f"Break {provider}", exact=True)
    await switch.click()
    await expect(switch).to_be_checked()
