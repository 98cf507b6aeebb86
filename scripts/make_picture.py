"""Takes the picture of the demo's console during a call with two failovers.

    .venv/bin/python scripts/make_picture.py

Needs Chromium, as the tests in tests/e2e do. CONTRIBUTING.md describes the other pictures.
"""

import asyncio
import tempfile
from pathlib import Path
from typing import Final

from playwright.async_api import Page, expect

from scripts.picture_notes import IMAGES, ROOT, page_of, shown_by, write_note
from tests.e2e.demo_server import running_demo
from tests.e2e.talking import broken, greeted, spoken, talking, told

NAME: Final = "console"
PICTURE: Final = IMAGES / f"{NAME}.png"
RECOVERED_S: Final = 20.0  # a rung that is suspect after the browser's start recovers by then
PROVIDERS: Final = 6  # of the demo: two rungs per stage


async def talk_through_two_failovers(page: Page, url: str) -> None:
    """Call, ask three times, and break the voice and then the model in the middle of an answer."""
    await page.goto(url)
    await expect(page.locator("[data-rung] [data-tone=good]")).to_have_count(
        PROVIDERS, timeout=RECOVERED_S * 1000
    )
    await greeted(page, url)
    await told(page, spoken("01_hours"))
    await broken(page, "cartesia", "cut", after_words="7")
    await told(page, spoken("08_barge_in", 1))
    await broken(page, "openai", "cut", after_words="11")
    await told(page, spoken("01_hours"))
    moves = page.locator(".turn .moves li")
    await expect(moves.filter(has_text="Voice: cartesia → elevenlabs")).to_have_count(1)
    await expect(moves.filter(has_text="Model: openai → openai-b")).to_have_count(1)


async def take_picture(page: Page) -> None:
    """Take a picture of the whole page, once no panel is hidden."""
    for panel in shown_by(page_of(NAME))["panels"]:
        await expect(page.locator(f"#{panel}")).to_be_visible()
    await page.mouse.move(0, 0)
    await page.evaluate("window.scrollTo(0, 0); document.activeElement.blur()")
    await page.screenshot(path=PICTURE, full_page=True)


async def make() -> None:
    """Run the demo, hold a call on its page, and write the picture and its note."""
    with tempfile.TemporaryDirectory(prefix="holdline-picture-") as folder:
        async with running_demo(Path(folder)) as demo, talking() as page:
            await talk_through_two_failovers(page, demo.url)
            await take_picture(page)
    write_note(NAME)
    print(PICTURE.relative_to(ROOT))


if __name__ == "__main__":
    asyncio.run(make())
