"""The do-not-call page in a browser: with the keyboard, small, light and dark."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, Literal

import pytest
from playwright.async_api import Page, expect

from bot.server.do_not_call_routes import do_not_call_router
from calls.events import Event, OperatorActed
from campaigns.store.contacts import Contacts
from operations.database.database import Database
from tests.e2e.browser import Watch
from tests.e2e.conftest import Served
from tests.e2e.test_console import PHONE
from tests.e2e.test_schemes import HARD_TO_READ

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.asyncio(loop_scope="module"),  # one browser for all of them
]

WIDER: Final = "document.documentElement.scrollWidth > document.documentElement.clientWidth"


@asynccontextmanager
async def opened(page: Page, served: Served, folder: Path) -> AsyncIterator[list[str]]:
    """Open the page of an empty list, small; yield what operators did."""
    acted: list[str] = []

    def take(event: Event) -> None:
        if isinstance(event, OperatorActed):
            acted.append(event.action)

    async with Database(f"sqlite+aiosqlite:///{folder}/own.db") as database:
        router = do_not_call_router(Contacts(database), region="DE", emit=take)
        served.stand_in.app.include_router(router)
        await page.set_viewport_size(PHONE)
        await page.goto(f"{served.url}/do-not-call")
        await expect(page.locator("#entries .empty")).to_have_text("No number is on the list.")
        await page.get_by_label("Your name").fill("Mary")
        yield acted


async def add(page: Page, number: str) -> None:
    await page.get_by_label("Number", exact=True).fill(number)
    await page.keyboard.press("Enter")


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_an_entry_is_added_and_shown_with_the_keyboard(
    page: Page, served: Served, watch: Watch, tmp_path: Path, scheme: Literal["light", "dark"]
) -> None:
    await page.emulate_media(color_scheme=scheme)
    async with opened(page, served, tmp_path) as acted:
        rows = page.locator("tbody tr")
        await page.get_by_label("Words").fill("No calls, please. " * 12)
        await add(page, "030 901820")

        await expect(page.locator("#told")).to_have_text("+4930****20 is on the list.")
        await expect(rows).to_contain_text(["console: Mary"])
        await expect(page.get_by_text("+4930901820")).to_have_count(0)
        await page.get_by_role("button", name="Show numbers and words").press("Enter")
        await expect(rows).to_contain_text(["+4930901820"])
        assert acted == ["list", "unmask"]
        assert not await page.evaluate(WIDER)
        assert await page.evaluate(HARD_TO_READ) == []
        await page.screenshot(path=tmp_path / "page.png", full_page=True)
    assert (watch.errors, watch.foreign) == ([], [])


async def test_an_entry_is_removed_and_an_ambiguous_number_refused(
    page: Page, served: Served, tmp_path: Path
) -> None:
    async with opened(page, served, tmp_path) as acted:
        said = page.locator("#told")
        await add(page, "4915112345678")
        await expect(said).to_contain_text("+494915112345678 or +4915112345678")
        await add(page, "030 901820")
        await expect(page.locator("tbody tr")).to_have_count(1)

        await page.get_by_label("Number", exact=True).fill("030 901820")
        await page.locator("#change").get_by_role("button", name="Remove").press("Enter")
        await expect(said).to_have_text("+4930****20 is off the list and may be called again.")
        await expect(page.locator("#entries .empty")).to_be_visible()
        assert acted == ["list", "unlist"]


async def test_a_row_is_searched_and_removed_and_a_file_is_imported(
    page: Page, served: Served, tmp_path: Path
) -> None:
    file = tmp_path / "registry.csv"
    file.write_text("030 901820\n030 901821\n", encoding="utf-8")
    async with opened(page, served, tmp_path) as acted:
        rows = page.locator("tbody tr")
        async with page.expect_file_chooser() as chosen:
            await page.get_by_role("button", name="Import a file").press("Enter")
        await (await chosen.value).set_files(file)
        await expect(page.get_by_role("dialog")).to_contain_text("2 added")
        await page.keyboard.press("Escape")
        await expect(rows).to_have_count(2)

        await page.get_by_label("Number or its last digits").fill("030 901821")
        await page.keyboard.press("Enter")
        await expect(rows).to_have_count(1)
        await rows.get_by_role("button", name="Remove").press("Enter")
        await expect(page.get_by_role("dialog")).to_contain_text("+4930901821")
        await page.get_by_role("dialog").get_by_role("button", name="Remove").click()
        await expect(page.locator("#entries .empty")).to_have_text("No number on the list matches.")
        async with page.expect_download() as saved:
            await page.get_by_role("link", name="Export as CSV").click()
        exported = (await (await saved.value).path()).read_text(encoding="utf-8")

    assert "+4930901820" in exported
    assert "+4930901821" not in exported
    assert acted == ["list", "unmask", "unmask", "unlist", "unmask"]
