"""A person calls `holdline serve` from its page, with the console's credential."""

import re
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from lab.process import lab_process
from tests.bot.serving import free_port
from tests.e2e.browser import Watch, need_chromium
from tests.e2e.severable_serve import Severable, severable
from tests.e2e.talking import ANSWER_S, answered, spoken, talking, told

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.asyncio(loop_scope="module"),  # one server for all of them
]

TOKEN = "the-tokens-of-tests-are-long"
BACK_S = 30.0  # a guard: it takes two seconds, and five when the call is placed again
KEEP_THE_STATES = """
    window.states = [];
    new MutationObserver(() => states.push(document.documentElement.dataset.call)).observe(
        document.documentElement, { attributeFilter: ["data-call"] },
    );
"""
CALL_ID = "JSON.parse(sessionStorage.getItem('holdline.call')).call_id"
CAME_BACK = "() => states.slice(-2).join() === 'reconnecting,in_call'"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(
    network: None, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Severable]:
    need_chromium()
    folder = tmp_path_factory.mktemp("serve")
    environment = {"HOLDLINE_TOKEN": TOKEN}
    async with (
        lab_process() as lab,
        severable(lab, folder, free_port(), changes={}, environment=environment) as running,
    ):
        yield running


async def called(page: Page, server: Severable) -> None:
    """Sign in at the console, call, and hear the greeting to its end."""
    await page.goto(server.url + "/")
    await page.get_by_label("Token").fill(TOKEN)
    await page.get_by_role("button", name="Sign in").click()
    await page.get_by_role("button", name="Call", exact=True).click()
    assert "How can I help?" in await answered(page, 1)
    await page.evaluate(KEEP_THE_STATES)


def happened(server: Severable) -> str:
    """Return the record of the latest call, to explain a failure."""
    calls = server.config.parent.rglob("calls/*.jsonl")
    return max(calls, key=lambda each: each.stat().st_mtime).read_text(encoding="utf-8")


async def came_back(page: Page) -> None:
    await page.wait_for_function(CAME_BACK, timeout=BACK_S * 1000)


async def test_a_conversation_with_barge_in_keys_and_a_muted_microphone(
    server: Severable,
) -> None:
    async with talking() as page:
        watch = Watch(page, server=server.url)
        await called(page, server)
        watch.errors.clear()  # the sign-in page came with 401, which the browser notes

        agent = page.locator(".said[data-who=agent]")
        await page.evaluate("window.say", spoken("08_barge_in"))
        await expect(agent).to_have_count(2, timeout=ANSWER_S * 1000)
        await page.evaluate("window.say", spoken("08_barge_in", 1))
        await expect(page.get_by_text("You spoke over the agent.")).to_be_visible(
            timeout=ANSWER_S * 1000
        )
        said = await answered(page, 3)
        assert re.search(r"euros|cost|price", said), happened(server)

        await page.keyboard.press("5")
        await expect(page.get_by_text("Key pressed")).to_be_visible()
        await answered(page, 4)  # keys are a turn of the caller's, and answered

        await page.get_by_role("button", name="Mute").click()
        heard = await page.locator(".said[data-who=caller]").count()
        await page.evaluate("window.say", spoken("01_hours"))
        await page.get_by_role("button", name="Mute").click()
        assert "book" in await told(page, spoken("03_booking"))
        assert await page.locator(".said[data-who=caller]").count() == heard + 1
        assert await page.locator(".part[data-part=ear_s]").count() > 0
        assert watch.errors == []
        assert watch.foreign == []


async def test_the_call_continues_over_a_new_path(server: Severable) -> None:
    async with talking() as page:
        await called(page, server)
        before = await page.evaluate(CALL_ID)

        server.sever()
        await came_back(page)

        assert re.search(r"\bopen\b", await told(page, spoken("01_hours")))
        await expect(page.get_by_text("The line was restored after")).to_be_visible()
        assert await page.evaluate(CALL_ID) == before
        await page.get_by_role("button", name="Hang up").click()


async def test_after_a_crash_the_page_returns_and_says_what_is_lost(
    network: None, tmp_path: Path
) -> None:
    """The page is public: with the server, the sessions of its console have ended."""
    changes = {"transports": {"webrtc": {"enabled": True, "public": True}}}
    environment = {"HOLDLINE_TOKEN": TOKEN}
    async with (
        lab_process() as lab,
        severable(lab, tmp_path, free_port(), changes=changes, environment=environment) as server,
        talking() as page,
    ):
        await page.goto(server.url + "/client/")
        await page.get_by_role("button", name="Call", exact=True).click()
        greetings = page.locator(".said[data-who=agent]").filter(has_text="How can I help?")
        await expect(greetings).to_have_count(1, timeout=ANSWER_S * 1000)
        await page.evaluate(KEEP_THE_STATES)

        await server.stop(signal.SIGKILL)
        await expect(page.get_by_text("Reconnecting…")).to_be_visible()
        await server.start()
        await came_back(page)

        await expect(page.get_by_text("the agent starts over")).to_be_visible()
        await expect(greetings).to_have_count(1, timeout=ANSWER_S * 1000)
        await page.get_by_role("button", name="Hang up").click()


async def test_an_orderly_stop_is_announced(server: Severable) -> None:
    async with talking() as page:
        await called(page, server)

        await server.stop()

        await expect(page.get_by_text("The server was shut down")).to_be_visible()
        await server.start()
