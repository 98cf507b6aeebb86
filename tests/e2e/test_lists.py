"""The inbox and the list of calls in a real browser, by keyboard, with 1,000 calls on record."""

import socket
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio
import uvicorn
from fastapi import Depends, FastAPI
from playwright.async_api import Page, async_playwright, expect

from bot.server.call_list_routes import call_list_router
from bot.server.inbox_routes import inbox_router
from bot.server.operator_routes import Disclosures
from bot.server.pages.site import asset_routes, console_routes
from operations.database.database import Database
from operations.database.tables import CALLS
from operations.inbox.store import Inbox
from operations.keep_running import at_work
from operations.record.call_list import CallList
from operations.record.callbacks import Callback, Callbacks
from tests.bot.server.test_call_list_routes import call
from tests.e2e.browser import Watch, chromium, need_chromium
from tests.e2e.stand_in import ROLE, identify

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.asyncio(loop_scope="module"),
]

CALLS_KEPT = 1000
NUMBER = "+15551230007"


async def _fill(database: Database) -> None:
    now = datetime.now(UTC)
    rows = [
        call(f"c{index}", 0)
        | {"started_at": now - timedelta(minutes=index), "caller": f"+1555123{index:04d}"}
        for index in range(CALLS_KEPT)
    ]
    async with database.transaction() as connection:
        await connection.execute(CALLS.insert(), rows)
    for index in range(60):
        number = f"+1555123{index:04d}"
        asked_at = now - timedelta(minutes=index)
        wanted = Callback(call_id=f"c{index}", number=number, reason="a bill", asked_at=asked_at)
        await Callbacks(database).add(wanted)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def url(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    need_chromium()
    folder: Path = tmp_path_factory.mktemp("lists")
    async with Database(f"sqlite+aiosqlite:///{folder}/holdline.db") as database:
        await _fill(database)
        app, quiet = FastAPI(dependencies=[Depends(identify)]), Disclosures(lambda _: None)
        for router in (
            asset_routes(),
            console_routes(),
            inbox_router(Inbox(database), lambda _: None, quiet),
            call_list_router(CallList(database), quiet),
        ):
            app.include_router(router)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
            async with at_work(server=server.serve(sockets=[listener])):
                yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest_asyncio.fixture(loop_scope="module")
async def page(url: str) -> AsyncIterator[Page]:
    async with async_playwright() as playwright, chromium(playwright) as browser:
        page = await browser.new_page()
        watch = Watch(page, server=url)
        yield page
        assert (watch.errors, watch.foreign) == ([], [])


async def _press_until(page: Page, name: str) -> None:
    """Move the focus by Tab to the first control with this name."""
    for _ in range(40):
        await page.keyboard.press("Tab")
        focused = await page.evaluate("document.activeElement.textContent.trim()")
        if focused == name:
            return
    pytest.fail(f"Tab does not reach {name}")


async def test_an_entry_is_shown_called_closed_and_reopened_by_keyboard(
    page: Page, url: str
) -> None:
    await page.goto(f"{url}/inbox")
    await expect(page.locator("#state")).to_contain_text("60 entries wait")
    await expect(page.locator("#waiting li")).to_have_count(50)

    await _press_until(page, "+1555****00 · show")
    await page.keyboard.press("Enter")
    await expect(page.locator("#waiting li").first).to_contain_text("+15551230000")
    assert await page.evaluate("document.activeElement.href") == "tel:+15551230000"
    await _press_until(page, "Done")
    await page.keyboard.press("Enter")
    await expect(page.locator("#state")).to_contain_text("59 entries wait")
    await expect(page.locator("#done li")).to_have_count(1)

    await page.locator("#done").get_by_role("button", name="Not done yet").press("Enter")
    await expect(page.locator("#state")).to_contain_text("60 entries wait")


async def test_an_operator_who_may_only_look_changes_no_entry(page: Page, url: str) -> None:
    await page.set_extra_http_headers({ROLE: "see"})
    await page.goto(f"{url}/inbox")
    await expect(page.locator("#waiting li")).to_have_count(50)

    buttons = page.locator("#waiting button[data-act]")
    assert await buttons.count() == 100  # each entry's number and "Done"
    assert await buttons.and_(page.locator(":enabled")).count() == 0
    await expect(page.get_by_text("Read-only access")).to_be_visible()


async def test_calls_are_found_among_a_thousand_and_the_address_keeps_the_filter(
    page: Page, url: str
) -> None:
    await page.goto(f"{url}/calls")
    await expect(page.locator("#rows tbody tr")).to_have_count(50)
    await page.get_by_role("button", name="Show older").press("Enter")
    await expect(page.locator("#rows tbody tr")).to_have_count(100)

    await page.get_by_label("Number or its end").fill(NUMBER[-4:])
    await page.keyboard.press("Enter")
    await expect(page.locator("#rows tbody tr")).to_have_count(1)
    await expect(page.locator("#rows tbody tr")).to_contain_text("desk")
    assert page.url.endswith("/calls?number=0007")
    await page.reload()
    await expect(page.locator("#rows tbody tr")).to_have_count(1)
    csv = await page.request.get(f"{url}{await page.locator('#csv').get_attribute('href')}")
    assert len((await csv.text()).splitlines()) == 2

    await page.get_by_role("button", name="Clear").press("Enter")
    await expect(page.locator("#rows tbody tr")).to_have_count(50)
