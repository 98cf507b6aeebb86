"""Chromium for the tests: headless, with a microphone that tests speak through, and offline."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from playwright.async_api import Browser, ConsoleMessage, Page, Playwright, Request

from tests.absent import report_absent

CHROMIUM: Final = shutil.which("chromium") or shutil.which("google-chrome")
OFFLINE: Final = "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1 , EXCLUDE localhost"
FLAGS: Final = (
    "--no-sandbox",
    "--use-fake-device-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
    # A machine with only `lo` has no other address to offer.
    "--allow-loopback-in-peer-connection",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    OFFLINE,
)
ALLOWED: Final = "--use-fake-ui-for-media-stream"  # answers "may this page use the microphone?"


def need_chromium() -> str:
    """Return its path; if it is missing, skip the test, or fail it in CI."""
    return CHROMIUM or report_absent("chromium")


@asynccontextmanager
async def chromium(playwright: Playwright, *more: str) -> AsyncIterator[Browser]:
    """Run a browser whose sound is neither muted nor played on a device."""
    browser = await playwright.chromium.launch(
        executable_path=need_chromium(),
        headless=True,
        args=[*FLAGS, *more],
        ignore_default_args=["--mute-audio"],
    )
    try:
        yield browser
    finally:
        await browser.close()


class Watch:
    """Records a page's errors, and its requests to hosts other than its server."""

    def __init__(self, page: Page, *, server: str) -> None:
        self.errors: list[str] = []
        self.foreign: list[str] = []
        self._server = server
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", self._console)
        page.on("request", self._request)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.errors.append(f"{message.type}: {message.text} ({message.location})")

    def _request(self, request: Request) -> None:
        if not request.url.startswith((self._server, "data:", "blob:")):
            self.foreign.append(request.url)
