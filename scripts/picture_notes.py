"""Writes a note beside each picture of the console, which shows when the picture is outdated.

A note has the page's panels, the modules that draw them, and the picture's own hash.
tests/test_pictures.py compares it with the page, and fails if a panel was added, removed or
renamed; it does not notice a change of colour.
"""

import hashlib
import json
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[1]
IMAGES: Final = ROOT / "docs" / "images"
DEMO: Final = "scripts/make_picture.py"
SCENES: Final = "tests/e2e/test_console.py"
CAMPAIGNS: Final = "tests/e2e/test_console_campaigns.py"
MADE_BY: Final[Mapping[str, str]] = {
    "console": DEMO,
    "console-call": SCENES,
    "console-campaigns": CAMPAIGNS,
    "console-empty": SCENES,
    "console-healthy": SCENES,
    "console-outage": SCENES,
    "console-outage-dark": SCENES,
    "console-phone": SCENES,
}
"""The program that takes each picture, by the picture's name."""


class Panels(HTMLParser):
    """Reads the panels of a page: the id of each section, with its heading."""

    def __init__(self) -> None:
        super().__init__()
        self.titles: dict[str, str] = {}
        self._panel = ""
        self._in_heading = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep track of the current panel, and of whether its heading follows."""
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
    """Return what a page shows: its panels and its modules."""
    panels = Panels()
    panels.feed(page.read_text(encoding="utf-8"))
    return {
        "panels": panels.titles,
        "modules": sorted(path.name for path in page.parent.glob("*.js")),
    }


def page_of(picture: str) -> Path:
    """Return the page that a picture shows, found anywhere in `bot/`."""
    (page,) = (ROOT / "bot").rglob("call.html" if picture == "console-call" else "console.html")
    return page


def note_of(picture: str) -> dict[str, Any]:
    """Return the note for a new picture."""
    content = (IMAGES / f"{picture}.png").read_bytes()
    return {**shown_by(page_of(picture)), "sha256": hashlib.sha256(content).hexdigest()}


def write_note(picture: str) -> None:
    """Write the note of a new picture next to it."""
    note = json.dumps(note_of(picture), indent=2, ensure_ascii=False)
    (IMAGES / f"{picture}.json").write_text(f"{note}\n", encoding="utf-8")
