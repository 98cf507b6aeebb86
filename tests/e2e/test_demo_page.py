"""A person talks on the demo's page: a real browser, real audio, the whole pipeline."""

import asyncio
import json
import os
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import soundfile
from playwright.async_api import Browser, Playwright, async_playwright, expect
from playwright.async_api import TimeoutError as PlaywrightTimeoutError

from tests.e2e.browser import ALLOWED, FLAGS, Watch, need_chromium
from tests.e2e.demo_server import Demo
from tests.e2e.talking import (
    ANSWER_S,
    SPEAKER,
    greeted,
    loud_s,
    spoken,
    talking,
    told,
)

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.asyncio(loop_scope="module"),  # one demo for all of them
]

LEG_ENDS_S = 15.0  # it takes eight; ICE alone would take thirty
HEALED_S = 20.0  # probes of a mended provider come after 1, 2, 5 s
RESUME = """(token) => sessionStorage.setItem(
    "holdline.call", JSON.stringify({call_id: "lost", resume_token: token, seen: Date.now()})
)"""


async def test_a_call_is_answered_and_ended(demo: Demo) -> None:
    """More turns are in test_served_page.py."""
    async with talking() as page:
        watch = Watch(page, server=demo.url)
        assert "Holdline" in await greeted(page, demo.url)
        greeting_s = await loud_s(page)
        assert greeting_s > 1.0

        assert re.search(r"\bopen\b", await told(page, spoken("01_hours")))

        (caller,) = await page.locator(".said[data-who=caller] .words").all_inner_texts()
        assert "opening hours" in caller.lower()
        await expect(page.locator(".turn .total")).to_have_count(1)
        assert await loud_s(page) > greeting_s + 1.0
        await expect(page.locator("audio")).to_have_js_property("paused", value=False)

        await page.evaluate("window.say", spoken("07_two_utterances", 1))
        await expect(page.get_by_text("Call ended", exact=True)).to_be_visible(
            timeout=ANSWER_S * 1000
        )
        await expect(page.get_by_text("The agent has ended the call.")).to_be_visible()
        assert watch.errors == []
        assert watch.foreign == []
    assert demo.events("CallEnded")[-1]["reason"] == "agent_hung_up"
    assert demo.events("BargedIn") == []


async def test_an_opening_microphone_interrupts_no_speech(demo: Demo, tmp_path: Path) -> None:
    silence = tmp_path / "silence.wav"
    soundfile.write(silence, [0.0] * 48_000 * 20, 48_000, subtype="PCM_16")
    seen = len(demo.entries)
    capture = f"--use-file-for-fake-audio-capture={silence}%noloop"
    async with talking(capture, scripts=()) as page:
        assert "How can I help?" in await greeted(page, demo.url + "/client/")

        await page.get_by_role("button", name="Hang up").click()
        await demo.entry("CallEnded", after=seen, within_s=10.0, reason="caller_hung_up")
    facts = {entry["event"] for entry in demo.entries[seen:]}
    assert not facts & {"BargedIn", "CallerStarted", "TranscriptFinal"}


async def test_a_killed_browser_ends_its_leg_and_the_call_can_be_resumed(
    demo: Demo, tmp_path: Path
) -> None:
    token = await killed_in_a_call(demo, tmp_path)

    async with talking() as page:
        await page.goto(demo.url + "/client/")
        await page.evaluate(RESUME, token)
        await page.reload()  # which takes the call up by itself

        lines = page.locator(".said[data-who=agent]")
        await expect(lines.first).to_be_visible(timeout=ANSWER_S * 1000)
        words = " ".join(await lines.all_inner_texts())
        assert "How can I help?" not in words  # no second greeting for the caller
        await page.get_by_role("button", name="Hang up").click()


async def connected(playwright: Playwright, orders: str) -> Browser:
    """Send commands to a browser; Chromium now and then answers no debugger for half a minute."""
    for _ in range(2):
        try:
            return await playwright.chromium.connect_over_cdp(orders, timeout=10_000)
        except PlaywrightTimeoutError:
            continue
    return await playwright.chromium.connect_over_cdp(orders)


async def killed_in_a_call(demo: Demo, profile: Path) -> str:
    """Call from a browser and kill it; return the token that its page held."""
    async with doomed(profile) as (process, orders), async_playwright() as playwright:
        browser = await connected(playwright, orders)
        page = await browser.contexts[0].new_page()
        await page.add_init_script(SPEAKER)
        await greeted(page, demo.url + "/client/")
        kept = json.loads(await page.evaluate("sessionStorage.getItem('holdline.call')"))
        os.killpg(process.pid, signal.SIGKILL)
        ended = {"call_id": kept["call_id"], "cause": "call_ended"}
        await demo.entry("PhaseMoved", within_s=LEG_ENDS_S, **ended)
    return kept["resume_token"]


@asynccontextmanager
async def doomed(profile: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """Run a browser in a process group of its own; yield it and its debugging address."""
    process = await asyncio.create_subprocess_exec(
        *(need_chromium(), "--headless", "--remote-debugging-port=0", ALLOWED, *FLAGS),
        f"--user-data-dir={profile}",
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        yield process, await endpoint(process)
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def endpoint(process: asyncio.subprocess.Process) -> str:
    """Return Chromium's debugging address, as it prints it."""
    assert process.stderr is not None
    async with asyncio.timeout(20):
        async for line in process.stderr:
            if found := re.search(rb"ws://\S+", line):
                return found[0].decode()
    raise AssertionError("Chromium did not start")
