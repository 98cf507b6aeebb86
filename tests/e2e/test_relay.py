"""Calls through a TURN server: Debian's coturn, and a page that allows no other path."""

import asyncio
import re
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from lab.process import lab_process
from tests.bot.serving import free_port
from tests.e2e.browser import Watch, need_chromium
from tests.e2e.conftest import own_address
from tests.e2e.coturn import PASSWORD, USER, relay
from tests.e2e.severable_serve import severable
from tests.e2e.talking import SPEAKER, answered, spoken, talking

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.peers]

RELAY_ONLY = """
    window.RTCPeerConnection = class extends RTCPeerConnection {
        constructor(settings) {
            super({ ...settings, iceTransportPolicy: "relay" });
            window.line = this;
        }
    };
"""
# The path of our sound, as the browser reports it: our end, through which server, and how many
# checks were answered there. Of two relays both are "nominated"; only the transport knows which is
# in use.
WAY = """async () => {
    const stats = await line.getStats();
    const transport = [...stats.values()].find(({ type }) => type === "transport");
    const pair = stats.get(transport?.selectedCandidatePairId);
    const mine = stats.get(pair?.localCandidateId);
    const by = mine ? `${mine.candidateType} ${mine.url}` : "";
    return { by, answers: pair?.responsesReceived ?? 0 };
}"""
LOOK_S = 0.1
BACK_S = 60.0  # a guard: it takes four seconds
SECRET = {"RELAY_PASSWORD": PASSWORD}


def through(*urls: str) -> dict[str, object]:
    """Return the configuration with these relays."""
    servers = [{"url": url, "username": USER, "credential_env": "RELAY_PASSWORD"} for url in urls]
    return {
        "transports": {"webrtc": {"ice_servers": servers}},
        # Else a caller who waits for the line would be prompted meanwhile.
        "agent": {"silence": {"prompt_after_s": 3600}},
    }


async def way(page: Page) -> tuple[str, int]:
    """Return the path in use, and how many of its checks were answered."""
    # Not `wait_for_function`: to it any promise is true.
    found = await page.evaluate(WAY)
    return found["by"], found["answers"]


async def back_through(page: Page, url: str) -> None:
    """Wait until the server answers over this relay: its checks take the path of the sound."""
    since: int | None = None
    async with asyncio.timeout(BACK_S):
        while True:
            by, answers = await way(page)
            if url not in by:
                since = None
            elif since is None:
                since = answers
            elif answers > since:
                break
            await asyncio.sleep(LOOK_S)
    await expect(page.get_by_text("In a call")).to_be_visible(timeout=BACK_S * 1000)


async def test_a_call_goes_through_a_relay_and_on_through_the_next_when_it_dies(
    network: None, tmp_path: Path
) -> None:
    need_chromium()
    address = own_address() or "10.99.0.1"
    async with (
        relay(address, str(tmp_path)) as first,
        relay(address, str(tmp_path)) as second,
        lab_process() as lab,
        severable(
            lab, tmp_path, free_port(), changes=through(first.url, second.url), environment=SECRET
        ) as server,
        talking(scripts=(SPEAKER, RELAY_ONLY)) as page,
    ):
        watch = Watch(page, server=server.url)
        await page.goto(server.url + "/client/")
        await page.get_by_role("button", name="Call", exact=True).click()
        assert "How can I help?" in await answered(page, 1)
        used, _ = await way(page)
        assert used.startswith("relay turn:")

        dying, other = (first, second) if first.url in used else (second, first)
        dying.kill()
        await back_through(page, other.url)
        await page.evaluate("window.say", spoken("01_hours"))

        answer = page.locator(".said[data-who=agent]:not(.growing) .words")
        told = answer.filter(has_text=re.compile(r"\bopen\b"))
        await expect(told).to_have_count(1, timeout=BACK_S * 1000)
        await expect(page.get_by_text("In a call")).to_be_visible()
        assert first.allocations + second.allocations >= 2
        assert watch.errors == []
        assert watch.foreign == []


async def test_a_relay_that_is_down_does_not_delay_callers(network: None, tmp_path: Path) -> None:
    need_chromium()
    nobody = f"turn:127.0.0.1:{free_port()}?transport=udp"
    async with (
        lab_process() as lab,
        severable(
            lab, tmp_path, free_port(), changes=through(nobody), environment=SECRET
        ) as server,
        talking() as page,
    ):
        await page.goto(server.url + "/client/")
        await page.get_by_role("button", name="Call", exact=True).click()

        assert "How can I help?" in await answered(page, 1)
