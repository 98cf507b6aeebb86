"""Calls whose sound goes through a TURN server: Debian's, and a page that allows no other way."""

import re
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from bot.lab.process import lab_process
from tests.bot.serving import free_port
from tests.e2e.browser import Watch, need_chromium
from tests.e2e.conftest import own_address
from tests.e2e.coturn import PASSWORD, USER, relay
from tests.e2e.severable_serve import severable
from tests.e2e.talking import SPEAKER, answered, spoken, talking, told

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.peers]

RELAY_ONLY = """
    window.RTCPeerConnection = class extends RTCPeerConnection {
        constructor(settings) {
            super({ ...settings, iceTransportPolicy: "relay" });
            window.line = this;
        }
    };
"""
# Which way the sound goes, as the browser says: our end of it, and through which server.
WAY = """async () => {
    const stats = [...(await line.getStats()).values()];
    const pair = stats.find(({ type, nominated, state }) =>
        type === "candidate-pair" && nominated && state === "succeeded");
    const mine = stats.find(({ id }) => id === pair?.localCandidateId);
    return mine ? `${mine.candidateType} ${mine.url}` : "";
}"""
ON_ITS_WAY = f"async (url) => (await ({WAY})()).includes(url)"
BACK_S = 30.0  # a guard: it takes three seconds
SECRET = {"RELAY_PASSWORD": PASSWORD}


def through(*urls: str) -> dict[str, object]:
    """Return the configuration with these relays."""
    servers = [{"url": url, "username": USER, "credential_env": "RELAY_PASSWORD"} for url in urls]
    return {"transports": {"webrtc": {"ice_servers": servers}}}


async def way(page: Page) -> str:
    return await page.evaluate(WAY)


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
        used = await way(page)
        assert used.startswith("relay turn:")

        dying, other = (first, second) if first.url in used else (second, first)
        dying.kill()
        await page.wait_for_function(ON_ITS_WAY, arg=other.url, timeout=BACK_S * 1000)

        assert re.search(r"\bopen\b", await told(page, spoken("01_hours")))
        await expect(page.get_by_text("In a call")).to_be_visible()
        assert first.allocations + second.allocations >= 2
        assert watch.errors == []
        assert watch.foreign == []


async def test_a_relay_that_is_down_keeps_nobody_waiting(network: None, tmp_path: Path) -> None:
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
