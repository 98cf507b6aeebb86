"""Limits of an offer, checked before it is parsed; requests for other workers."""

import asyncio
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from bot.server.webrtc_routes import (
    MAX_ADDRESSES,
    MAX_LINES,
    OFFER_S,
    WebrtcRoutes,
    is_plausible,
)
from tests.bot.workers.lines import lines
from tests.bot.workers.test_pool_client import settings_with

BEGINS = ["v=0", "o=- 1 1 IN IP4 127.0.0.1", "m=audio 9 UDP/TLS/RTP/SAVPF 111"]
CANDIDATE = "a=candidate:1 1 udp 1 127.0.0.1 9 typ host"
# Line ends of `str.splitlines`, which aiortc uses to read an offer.
ENDS = ["\r\n", "\n", "\r", "\v", "\f", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"]
END_NAMES = [ascii(text) for text in ENDS]
FULL: dict[str, list[str]] = {
    "lines": ["a=x"] * (MAX_LINES - len(BEGINS)),
    "media": ["m=application 9 UDP/DTLS/SCTP webrtc-datachannel"],
    "addresses": [CANDIDATE] * MAX_ADDRESSES,
}


@pytest.mark.parametrize("end", ENDS, ids=END_NAMES)
@pytest.mark.parametrize("more", FULL.values(), ids=FULL.keys())
def test_an_offer_one_line_above_the_limit_is_refused(more: list[str], end: str) -> None:
    assert is_plausible(end.join([*BEGINS, *more, ""]))
    assert not is_plausible(end.join([*BEGINS, *more, more[0], ""]))


@pytest.mark.parametrize(
    "sdp",
    ["", "m=audio 9", "v=0", "v=0\r\nm=video 9", "v=0\r\ns=of m=audio"],
    ids=["empty", "no version", "no media", "no audio", "audio in a name alone"],
)
def test_an_offer_without_audio_is_refused(sdp: str) -> None:
    assert not is_plausible(sdp)


@pytest.mark.parametrize("kind", ["audio", "video", "text", "image", "message", ""])
def test_an_offer_of_anything_but_one_sound_and_one_data_line_is_refused(kind: str) -> None:
    """aiortc decodes and keeps each track, and nothing would read it."""
    more = [*BEGINS, *FULL["media"], f"m={kind} 9 UDP/TLS/RTP/SAVPF 96"]

    assert is_plausible("\r\n".join(more[:-1]))
    assert not is_plausible("\r\n".join(more))


REQUESTS: Mapping[str, Mapping[str, Any]] = {
    "POST": {"sdp": "", "type": "offer", "request_data": {"ice_restart": True}},
    "PATCH": {"candidates": []},
}


@pytest.mark.virtual_time
@pytest.mark.parametrize("method", REQUESTS)
async def test_a_worker_waits_as_long_for_anothers_answer_as_that_may_take(method: str) -> None:
    async def answer(_: Mapping[str, Any]) -> Mapping[str, Any]:
        await asyncio.sleep(OFFER_S - 0.1)
        return {"answer": {"pc_id": "w2.7"}}

    webrtc = SimpleNamespace(public=False, ice_servers=())
    settings = SimpleNamespace(transports=SimpleNamespace(webrtc=webrtc))
    switchboard = SimpleNamespace(emit=print, on_closing=lambda _: None, free_seats=9)
    process: Any = SimpleNamespace(settings=settings, switchboard=switchboard)
    async with lines(settings_with()) as it, asyncio.TaskGroup() as tasks:
        await it.open()
        for what in ("offer", "candidates"):
            it.joined[1].peers.answer(what, answer)
        calls: Any = SimpleNamespace(pool=it.joined[0], is_running=lambda _: False)
        routes, app = WebrtcRoutes(process, tasks, calls), FastAPI()
        app.add_api_route("/api/offer", routes.offer, methods=["POST"])
        app.add_api_route("/api/offer", routes.candidates, methods=["PATCH"])
        wire = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=wire, base_url="http://holdline.test") as browser:
            asked = {"pc_id": "w2.7", **REQUESTS[method]}
            found = await browser.request(method, "/api/offer", json=asked)

    assert (found.status_code, found.json()) == (200, {"pc_id": "w2.7"})
