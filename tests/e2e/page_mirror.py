"""Measures the round trip to a page and back, with an echo in the agent's place."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import numpy as np
from aiohttp import web
from aiortc import MediaStreamTrack, RTCPeerConnection, RTCSessionDescription

from lab.drill.sound import RATE_HZ
from tests.e2e.browser_telephone import BrowserTelephone
from tests.peers.echo import REST_S, SETTLED_S, TONE_S, TONES, onsets
from transports.webrtc.intake import hand_on_early

PATIENT_S: Final = 30.0  # a guard
PAGE: Final = """<!doctype html><meta charset="utf-8"><title>mirror</title>
<button id="call">Call</button><button id="end">Hang up</button><audio autoplay></audio>
<script>
document.documentElement.dataset.call = "talking";
document.querySelector("#call").onclick = async () => {
  const sound = await navigator.mediaDevices.getUserMedia({ audio: true });
  const line = (window.line = new RTCPeerConnection({ iceServers: [] }));
  line.addTrack(sound.getAudioTracks()[0]);
  const loudspeaker = document.querySelector("audio");
  line.ontrack = ({ track }) => (loudspeaker.srcObject = new MediaStream([track]));
  await line.setLocalDescription(await line.createOffer());
  while (line.iceGatheringState !== "complete") await new Promise((next) => setTimeout(next, 20));
  const { sdp, type } = line.localDescription;
  const answer = await fetch("/offer", { method: "POST", body: JSON.stringify({ sdp, type }) });
  await line.setRemoteDescription(await answer.json());
};
document.querySelector("#end").onclick = () => line.close();
window.held = async () => {
  for (const each of (await line.getStats()).values())
    if (each.type === "inbound-rtp") return [each.jitterBufferDelay, each.jitterBufferEmittedCount];
};
</script>"""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageWay:
    """The measured delays of tones.

    Attributes:
        round_s: The round trip of each tone, from the page's microphone to its loudspeaker.
        buffer_s: The mean delay in the page's jitter buffer.
    """

    round_s: list[float]
    buffer_s: float


async def measure_page() -> PageWay:
    """Return the round-trip delays of several tones from the page to the echo and back."""
    wave = 12_000 * np.sin(2 * np.pi * 600 * np.arange(round(TONE_S * RATE_HZ)) / RATE_HZ)
    rest = np.zeros(round(REST_S * RATE_HZ))
    tones = np.concatenate([wave, rest] * TONES).astype(np.int16)
    async with _mirror() as url, BrowserTelephone(url) as telephone:
        await asyncio.sleep(SETTLED_S)
        before = await telephone.page.evaluate("held()")
        began_s = await telephone.say(tones) - telephone.mouth_s - tones.size / RATE_HZ
        async with asyncio.timeout(PATIENT_S):
            while len(heard := onsets(telephone.heard())) < TONES:  # noqa: ASYNC110 - sound comes
                await asyncio.sleep(0.05)
        after = await telephone.page.evaluate("held()")
    return PageWay(
        round_s=[
            at / RATE_HZ - began_s - number * (TONE_S + REST_S) for number, at in enumerate(heard)
        ],
        buffer_s=(after[0] - before[0]) / (after[1] - before[1]),
    )


@asynccontextmanager
async def _mirror() -> AsyncIterator[str]:
    """Serve a page whose every sound returns at once; yield its address."""
    lines: list[RTCPeerConnection] = []

    async def show(_: web.Request) -> web.Response:
        return web.Response(text=PAGE, content_type="text/html")

    async def answer(request: web.Request) -> web.Response:
        lines.append(line := RTCPeerConnection())

        @line.on("track")
        def give_back(track: MediaStreamTrack) -> None:
            line.addTrack(track)

        offer = json.loads(await request.text())
        await line.setRemoteDescription(RTCSessionDescription(**offer))
        await line.setLocalDescription(await line.createAnswer())
        hand_on_early(line)  # as our own door has it
        ours = line.localDescription
        return web.json_response({"sdp": ours.sdp, "type": ours.type})

    app = web.Application()
    app.add_routes([web.get("/client/", show), web.post("/offer", answer)])
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        for rtc_peer_connection in lines:
            await rtc_peer_connection.close()
        await runner.cleanup()
