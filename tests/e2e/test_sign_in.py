"""The sign-in page in a real browser, by keyboard: it says what is wrong, and returns."""

import socket
from collections.abc import AsyncIterator
from typing import Literal

import pytest
import pytest_asyncio
import uvicorn
from playwright.async_api import Page, expect

from bot.server.pages.site import asset_routes, console_routes
from operations.keep_running import at_work
from tests.bot.server.test_credentials import ACT, SEE, guarding
from tests.e2e.conftest import Served
from tests.e2e.console_scenes import alert, rungs
from tests.e2e.stand_in import ROLE
from tests.e2e.talking import unfolded
from tests.e2e.test_console import PHONE, opened, whole_call
from tests.e2e.test_console_campaigns import campaign
from tests.e2e.test_pages import CUT
from tests.e2e.test_schemes import HARD_TO_READ, instance

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.asyncio(loop_scope="module"),  # one browser for all of them
]

WANTED = "/calls?verdict=hurt"
LIST = "/do-not-call"
OUTER = "all => all.map(one => one.outerHTML)"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def url() -> AsyncIterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        at = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with guarding(public_url=at) as site:
            pages = [route for route in console_routes().routes if route.path == LIST]
            site.app.router.routes[:0] = [*asset_routes().routes, *pages]
            server = uvicorn.Server(uvicorn.Config(site.app, log_config=None, lifespan="off"))
            async with at_work(server=server.serve(sockets=[listener])):
                yield at


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_signing_in_by_keyboard_leads_to_the_requested_page(
    page: Page, url: str, scheme: Literal["light", "dark"]
) -> None:
    await page.emulate_media(color_scheme=scheme)
    await page.set_viewport_size(PHONE)  # type: ignore[arg-type] - width and height
    await page.goto(url + WANTED)
    await expect(page.get_by_label("Token")).to_be_focused()

    await page.keyboard.type("a wrong one")
    await page.keyboard.press("Tab")
    await page.keyboard.type("Mary")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("alert")).to_have_text("This token is wrong.")
    await page.wait_for_load_state()  # with its style sheets
    await expect(page.get_by_label("Your name")).to_have_value("Mary")
    assert await page.evaluate(HARD_TO_READ) == []
    assert await page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    await expect(page.get_by_label("Token")).to_be_focused()
    await page.keyboard.type(ACT)
    await page.keyboard.press("Enter")

    await page.wait_for_url(url + WANTED)
    assert "Mary" in await page.content()


@pytest.mark.parametrize(("token", "may_act"), [(ACT, True), (SEE, False)], ids=["act", "see"])
async def test_a_page_offers_only_what_its_operator_may_do(
    page: Page, url: str, token: str, *, may_act: bool
) -> None:
    await page.goto(url + LIST)
    await page.get_by_label("Token").fill(token)
    await page.keyboard.press("Enter")
    await page.wait_for_url(url + LIST)

    for name in ("Add", "Remove", "Show numbers and words"):
        await expect(page.get_by_role("button", name=name)).to_be_enabled(enabled=may_act)
    await expect(page.get_by_text("Read-only access")).to_have_count(0 if may_act else 1)


async def test_a_console_for_looking_has_no_button_that_acts(page: Page, served: Served) -> None:
    it = served.stand_in
    it.providers, it.alerts, it.campaigns = rungs(), [alert()], [campaign()]
    it.menu, it.instances = [CUT], [instance("openai", "llm")]
    await page.set_extra_http_headers({ROLE: "see"})
    await opened(page, served)
    await unfolded(page)
    for name in ("Take out of rotation", "Acknowledge", "Pause", "Call", "Reload configuration"):
        await expect(page.get_by_role("button", name=name).first).to_be_visible()

    controls = page.locator("button[data-act]").or_(page.get_by_role("switch"))
    assert await controls.count() > len(rungs()) + 4
    assert await controls.and_(page.locator(":enabled")).evaluate_all(OUTER) == []
    await expect(page.get_by_text("Read-only access")).to_be_visible()


async def test_a_call_page_for_looking_plays_no_recording(page: Page, served: Served) -> None:
    served.stand_in.call_pages["c1"] = whole_call()
    await page.set_extra_http_headers({ROLE: "see"})

    await page.goto(served.url + "/calls/c1")

    await expect(page.get_by_text("Playing the recording needs HOLDLINE_TOKEN.")).to_be_visible()
    await expect(page.get_by_label("Recording of this call")).to_have_count(0)
