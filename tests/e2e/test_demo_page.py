"""A person opens the demo's page and talks: a real browser, real audio, the whole pipeline."""

import asyncio
import base64
import io
import json
import os
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio
import soundfile
import yaml
from playwright.async_api import Browser, Page, Playwright, async_playwright, expect
from playwright.async_api import TimeoutError as PlaywrightTimeoutError

from tests.e2e.browser import ALLOWED, CHROMIUM, FLAGS, Watch, chromium
from tests.e2e.demo_server import ROOT, Demo, running_demo

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.asyncio(loop_scope="module"),  # one demo for all of them
]

CALLERS = ROOT / "tests" / "fixtures" / "callers"
SPEAKER = (Path(__file__).parent / "speaker.js").read_text(encoding="utf-8")
ANSWER_S = 15.0  # far more than an answer takes, also on a busy machine
LOUD = 0.01  # root mean square: -40 dBFS, speech is at least ten times as strong
LEG_ENDS_S = 5.0
HEALED_S = 20.0  # probes of a mended provider come after 1, 2, 5 s
RESUME = """(token) => sessionStorage.setItem(
    "holdline.call", JSON.stringify({call_id: "lost", resume_token: token, seen: Date.now()})
)"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def demo(network: None, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Demo]:
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    async with running_demo(tmp_path_factory.mktemp("demo")) as running:
        yield running


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


@asynccontextmanager
async def talking(demo: Demo, *flags: str, script: str = SPEAKER) -> AsyncIterator[Page]:
    async with async_playwright() as playwright, chromium(playwright, ALLOWED, *flags) as browser:
        page = await browser.new_page(viewport={"width": 1280, "height": 900})
        await page.add_init_script(script)
        yield page


async def test_three_turns_are_talked_on_the_page(demo: Demo) -> None:
    async with talking(demo) as page:
        watch = Watch(page, server=demo.url)
        assert "Holdline" in await greeted(page, demo.url)
        greeting_s = await loud_s(page)
        assert greeting_s > 1.0

        assert re.search(r"\bopen\b", await told(page, spoken("01_hours")))
        assert re.search(r"euros|cost|price", await told(page, spoken("08_barge_in", 1)))
        assert "book" in await told(page, spoken("03_booking"))

        caller = await page.locator(".said[data-who=caller] .words").all_inner_texts()
        assert len(caller) == 3
        assert "opening hours" in caller[0].lower()
        assert "cost" in caller[1].lower()
        await expect(page.locator(".turn .total")).to_have_count(3)
        assert await loud_s(page) > greeting_s + 3.0
        await expect(page.locator("audio")).to_have_js_property("paused", value=False)
        await picture(page)

        await page.evaluate("window.say", spoken("07_two_utterances", 1))
        await expect(page.get_by_text("Call ended")).to_be_visible(timeout=ANSWER_S * 1000)
        assert watch.errors == []
        assert watch.foreign == []
    assert demo.events("CallEnded")[-1]["reason"] == "agent_hung_up"
    assert demo.events("BargedIn") == []


async def picture(page: Page) -> None:
    """Take the README's picture when asked to: SCREENSHOT=docs/images/console.png."""
    if path := os.environ.get("SCREENSHOT"):
        await page.screenshot(path=ROOT / path, full_page=True)


async def broken(page: Page, provider: str, fault: str, **fields: str) -> None:
    """Switch a fault of a simulated provider on."""
    await page.get_by_label(f"What goes wrong with {provider}", exact=True).select_option(fault)
    for label, value in fields.items():
        await page.get_by_label(f"{label.replace('_', ' ')}, {provider}", exact=True).fill(value)
    switch = page.get_by_role("switch", name=f"Break {provider}", exact=True)
    await switch.click()
    await expect(switch).to_be_checked()


async def test_a_voice_that_dies_and_a_model_that_is_down_show_as_failovers(demo: Demo) -> None:
    async with talking(demo) as page:
        watch = Watch(page, server=demo.url)
        await greeted(page, demo.url)

        await broken(page, "cartesia", "cut", after_words="4")
        hours = await told(page, spoken("01_hours"))
        await broken(page, "openai", "http", status="503")
        again = await told(page, spoken("01_hours"))

        assert re.search(r"\bopen\b", hours)
        assert re.search(r"\bopen\b", again)
        moves = page.locator(".turn .moves li")
        await expect(moves.filter(has_text="Voice: cartesia → elevenlabs")).to_have_count(1)
        await expect(moves.filter(has_text="Model: openai → openai-b")).to_have_count(1)
        line = page.locator(".said[data-who=agent]:not(.growing)").nth(1)
        await expect(line.locator(".speakers .voice")).to_have_text(["cartesia", "elevenlabs"])
        await expect(page.locator("[data-rung=elevenlabs] .works")).to_have_text("speaks now")
        await expect(page.locator("[data-rung=openai-b] .works")).to_have_text("answers now")
        await expect(page.locator("[data-rung=openai] [data-tone=good]")).to_have_count(0)
        await picture(page)
        assert watch.errors == []
        for provider in ("cartesia", "openai"):
            await page.get_by_role("switch", name=f"Break {provider}", exact=True).click()

        healthy = page.locator("[data-rung] [data-tone=good]")
        await expect(healthy).to_have_count(6, timeout=HEALED_S * 1000)
        await page.get_by_role("button", name="Hang up").click()


async def test_a_microphone_that_opens_interrupts_nobody(demo: Demo, tmp_path: Path) -> None:
    silence = tmp_path / "silence.wav"
    soundfile.write(silence, [0.0] * 48_000 * 20, 48_000, subtype="PCM_16")
    seen = len(demo.entries)
    capture = f"--use-file-for-fake-audio-capture={silence}%noloop"
    async with talking(demo, capture, script="") as page:
        assert "How can I help?" in await greeted(page, demo.url + "/client/")

        await page.get_by_role("button", name="Hang up").click()
        await demo.entry("CallEnded", after=seen, within_s=2.0, reason="caller_hung_up")
    facts = {each["event"] for each in demo.entries[seen:]}
    assert not facts & {"BargedIn", "CallerStarted", "TranscriptFinal"}


async def test_a_killed_browser_ends_its_leg_and_the_call_can_be_taken_up_again(
    demo: Demo, tmp_path: Path
) -> None:
    token = await killed_in_a_call(demo, tmp_path)

    async with talking(demo) as page:
        await page.goto(demo.url + "/client/")
        await page.evaluate(RESUME, token)
        await page.reload()
        await page.get_by_role("button", name="Take the call up again").click()

        words = await answered(page, 1)
        assert "How can I help?" not in words  # no greeting for somebody who has been greeted
        await page.get_by_role("button", name="Hang up").click()


async def connected(playwright: Playwright, orders: str) -> Browser:
    """Take orders to a browser; Chromium now and then answers no debugger for half a minute."""
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
        ended = {"call_id": kept["call_id"], "reason": "line_lost"}
        await demo.entry("CallEnded", within_s=LEG_ENDS_S, **ended)
    return kept["resume_token"]


@asynccontextmanager
async def doomed(profile: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """Run a browser in a process group of its own; yield it and where it takes orders."""
    process = await asyncio.create_subprocess_exec(
        *(str(CHROMIUM), "--headless", "--remote-debugging-port=0", ALLOWED, *FLAGS),
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
    """Return where Chromium takes orders, as it prints it."""
    assert process.stderr is not None
    async with asyncio.timeout(20):
        async for line in process.stderr:
            if found := re.search(rb"ws://\S+", line):
                return found[0].decode()
    raise AssertionError("Chromium did not start")
