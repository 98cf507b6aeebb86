"""Make the README's picture again: the console of a real demo, during a call with two failovers.

    .venv/bin/python scripts/make_picture.py

Needs Chromium, as the tests in tests/e2e do. Beside the picture it writes what the picture shows:
the page's panels and the modules that draw them. tests/test_docs.py compares that with the page, so
a panel that is added, removed or renamed asks for a new picture; a change of colour does not.
"""

import asyncio
import hashlib
import json
import tempfile
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Final

from playwright.async_api import Page, expect

from tests.e2e.demo_server import running_demo
from tests.e2e.talking import broken, greeted, spoken, talking, told

ROOT: Final = Path(__file__).parents[1]
PICTURE: Final = ROOT / "docs" / "images" / "console.png"
SHOWN: Final = PICTURE.with_suffix(".json")
WELL_S: Final = 20.0  # a rung that was late while the browser started is probed after 1, 2, 5 s
PROVIDERS: Final = 6  # of the demo: two rungs a stage


class Panels(HTMLParser):
    """Reads the panels of a page: the id of each section, with its heading."""

    def __init__(self) -> None:
        super().__init__()
        self.titles: dict[str, str] = {}
        self._panel = ""
        self._in_heading = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note where a panel or its heading begins."""
        if tag == "section":
            named = dict(attrs)
            self._panel = named["id"] or ""
            self.titles[self._panel] = named.get("aria-label") or ""
        self._in_heading = tag == "h2"

    def handle_data(self, data: str) -> None:
        """Keep a heading's text."""
        if self._in_heading:
            self.titles[self._panel] = data
        self._in_heading = False


def shown_by(page: Path) -> dict[str, Any]:
    """Return the structure of the console's page: its panels and the modules beside it."""
    panels = Panels()
    panels.feed(page.read_text(encoding="utf-8"))
    return {
        "panels": panels.titles,
        "modules": sorted(each.name for each in page.parent.glob("*.js")),
    }


def console_page() -> Path:
    """Return the console's page, wherever in `bot/` it lives."""
    (page,) = (ROOT / "bot").rglob("console.html")
    return page


def digest(picture: Path) -> str:
    """Return what ties a picture to the note beside it."""
    return hashlib.sha256(picture.read_bytes()).hexdigest()


async def talk_through_two_failovers(page: Page, url: str) -> None:
    """Call, ask three times, and break the voice, then the model, in the middle of an answer."""
    await page.goto(url)
    await expect(page.locator("[data-rung] [data-tone=good]")).to_have_count(
        PROVIDERS, timeout=WELL_S * 1000
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
    """Photograph the whole page, after seeing that no panel is hidden."""
    for panel in shown_by(console_page())["panels"]:
        await expect(page.locator(f"#{panel}")).to_be_visible()
    await page.mouse.move(0, 0)
    await page.evaluate("window.scrollTo(0, 0); document.activeElement.blur()")
    await page.screenshot(path=PICTURE, full_page=True)


async def make() -> None:
    """Run the demo, talk on its page, write the picture and what it shows."""
    with tempfile.TemporaryDirectory(prefix="holdline-picture-") as folder:
        async with running_demo(Path(folder)) as demo, talking() as page:
            await talk_through_two_failovers(page, demo.url)
            await take_picture(page)
    note = {**shown_by(console_page()), "sha256": digest(PICTURE)}
    SHOWN.write_text(json.dumps(note, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(PICTURE.relative_to(ROOT))


if __name__ == "__main__":
    asyncio.run(make())
