"""A server that replaces Holdline's in tests of the pages alone.

It answers a call with a real peer connection that plays a tone, and sends what a test requests.
"""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

from aiortc import RTCDataChannel, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack
from fastapi import Depends, FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from bot.server.credentials import Identity, Role
from bot.server.pages.site import asset_routes, client_routes, console_routes
from calls.sentences import event_sentence
from tests.e2e.severing import sever
from transports.webrtc import ice_restart
from transports.webrtc.ice_restart import names_in, transports_of

TOKEN = "token-of-the-first-call"
ROLE = "x-role"
WAV = b"RIFF"
BEAT_S = 1.0
LOOK_S = 0.02
ACTIONS = {
    "reset": {"state": "half_open", "retired": False},
    "rest": {"withdrawn": True, "usable": False},
    "return": {"withdrawn": False, "usable": True},
}


def kind_of(shown: Any) -> str:
    """Return the line with the event's name; entries have none."""
    if isinstance(shown, list):
        return "event: calls\n"
    return "event: campaigns\n" if "campaigns" in shown else ""


async def identify(request: Request) -> None:
    """Give the sender the role in the request's header, if it has one."""
    if role := request.headers.get(ROLE):
        request.state.identity = Identity(role=Role(role), shown=role)


class StandIn:
    """The application and the pages' requests."""

    beats = True  # interval of the feed's heartbeat
    store_problem = ""  # in the heartbeat
    found: Sequence[dict[str, Any]] = ()  # in the list of calls
    half_made = 0  # connections whose offer is being answered

    def __init__(self) -> None:
        self.refusal: tuple[int, dict[str, Any]] | None = None
        self.remembers = True
        self.knows_calls = True  # whose ICE a page may want to restart
        self.offers: list[dict[str, Any]] = []
        self.heard: list[str] = []
        self.parted: list[bool] = []  # for each call: whether the page had closed one before
        self.puts: list[tuple[str, list[dict[str, Any]]]] = []
        self.menu: list[dict[str, Any]] = []
        self.instances: list[dict[str, Any]] = []
        self.phrases: list[str] = []
        self.providers: list[dict[str, Any]] = []
        self.acted: list[tuple[str, str, dict[str, Any]]] = []  # action, rung, reason
        self.refuses: dict[str, Any] | None = None  # the answer without force
        self.alerts: list[dict[str, Any]] = []
        self.calls: dict[str, Any] = {
            "live": [],
            "recent": [],
            "turns": [],
            "lately": {"served": 0, "degraded": 0, "hurt": 0, "lost": 0, "failovers": 0},
            "today": {"since": "2026-01-01T00:00:00+00:00", "cost": 0.0, "currency": "USD"},
            "problem": "",
        }
        self.reloads: list[tuple[int, dict[str, Any]]] = []  # the answers, one after the other
        self.call_pages: dict[str, dict[str, Any]] = {}
        self.campaigns: list[dict[str, Any]] = []
        # A campaign's state after each action; `summary`: of a start; `contacts`: of a file.
        self.moves: dict[str, dict[str, Any]] = {}
        self.channel: RTCDataChannel | None = None
        self.opened = asyncio.Event()
        self.gone = asyncio.Event()
        self._peers: list[RTCPeerConnection] = []
        self._live: asyncio.Queue[Any] = asyncio.Queue(10_000)
        self.app = self._application()

    def say(self, **message: Any) -> None:
        """Send a message over the data channel."""
        assert self.channel is not None
        self.channel.send(json.dumps(message))

    def emit(self, **entry: Any) -> None:
        """Put an entry on the live feed, with its sentence."""
        says = event_sentence(str(entry.get("event")), entry, {})
        self._live.put_nowait(entry | {"says": says} if says else entry)

    def show_calls(self, live: list[dict[str, Any]]) -> None:
        """Set the calls in progress, on the live feed as well."""
        self.calls["live"] = live
        self._live.put_nowait(live)

    def show_campaigns(self, campaigns: list[dict[str, Any]], *, problem: str = "") -> None:
        """Set the campaigns, on the live feed as well."""
        self.campaigns = campaigns
        self._live.put_nowait({"campaigns": campaigns, "problem": problem})

    def end_feed(self) -> None:
        """End the live feed of all watchers."""
        self._live.put_nowait(None)

    @property
    def resets(self) -> list[str]:
        """Rungs that an operator wants tried at once."""
        return [name for what, name, _ in self.acted if what == "reset"]

    def sever(self) -> None:
        """Cut the path between page and server from now on, in both directions."""
        for peer in self._peers:
            sever(peer)

    def fall_silent(self) -> None:
        """Stop sending sound; messages still pass."""
        for peer in self._peers:
            peer.getTransceivers()[0].sender.replaceTrack(None)

    async def vanish(self) -> None:
        """Close the connections without a goodbye."""
        for peer in self._peers:
            await peer.close()
        self._peers.clear()

    async def leave(self) -> None:
        """Close the connections for good: a page that returns finds no call."""
        self.refusal = (503, {"detail": "Nobody is here any more."})
        while self.half_made:  # noqa: ASYNC110 - one that is closed meanwhile keeps its sockets
            await asyncio.sleep(LOOK_S)
        await self.vanish()

    def _application(self) -> FastAPI:
        app = FastAPI(dependencies=[Depends(identify)])
        app.include_router(client_routes())
        app.include_router(asset_routes())
        app.include_router(console_routes(has_lab=True))
        app.add_api_route("/api/offer", lambda: {"ice_servers": []}, methods=["GET"])
        app.add_api_route("/api/offer", self._offer, methods=["POST"])
        app.add_api_route("/api/offer", self._candidate, methods=["PATCH"])
        app.add_api_route("/api/live", self._feed)
        app.add_api_route("/api/lab/instances", lambda: self.instances)
        app.add_api_route("/api/lab/faults", lambda: self.menu)
        app.add_api_route("/api/lab/phrases", lambda: self.phrases)
        app.add_api_route("/api/providers", lambda: self.providers)
        app.add_api_route("/api/providers/{name}/{what}", self._act, methods=["POST"])
        app.add_api_route("/api/alerts", lambda: self.alerts)
        app.add_api_route("/api/alerts/{name}/{what}", self._change_alert, methods=["POST"])
        app.add_api_route("/api/campaigns/{name}/summary", self._summary)
        app.add_api_route("/api/campaigns/{name}/contacts", self._take_file, methods=["POST"])
        app.add_api_route(
            "/api/campaigns/{name}/{move:path}", self._move_campaign, methods=["POST"]
        )
        app.add_api_route("/api/inbox", lambda: {"waiting": 0, "entries": []})
        app.add_api_route("/api/reload", self._reload, methods=["POST"])
        app.add_api_route("/api/calls", lambda: self.calls)
        app.add_api_route("/api/calls/{name}", self._call_page)
        app.add_api_route("/api/calls/{name}/audio", lambda: Response(WAV, media_type="audio/wav"))
        path = "/api/lab/instances/{name}/faults"
        app.add_api_route(path, self._break, methods=["PUT", "DELETE"])
        return app

    async def _offer(self, request: Request) -> Response:
        body = await request.json()
        self.offers.append(body)
        if self.refusal:
            status, content = self.refusal
            return JSONResponse(content, status)
        self.half_made += 1
        try:
            restarts = (body.get("request_data") or {}).get("ice_restart")
            return await (self._restart(body) if restarts else self._connect(body))
        finally:
            self.half_made -= 1

    async def _connect(self, body: dict[str, Any]) -> Response:
        peer = RTCPeerConnection()
        self._peers.append(peer)
        peer.on("datachannel", self._meet)
        await peer.setRemoteDescription(RTCSessionDescription(body["sdp"], body["type"]))
        peer.getTransceivers()[0].sender.replaceTrack(AudioStreamTrack())
        for transceiver in peer.getTransceivers():
            transceiver.direction = "sendrecv"
        await peer.setLocalDescription(await peer.createAnswer())
        answer = peer.localDescription
        return JSONResponse({"sdp": answer.sdp, "type": answer.type, "pc_id": "p1"})

    async def _restart(self, body: dict[str, Any]) -> Response:
        if not self.knows_calls:
            return JSONResponse({"detail": "No such call."}, 404)
        peer, theirs = self._peers[-1], names_in(body["sdp"])
        assert theirs is not None
        for way in transports_of(peer):
            await ice_restart.restart(way, theirs)
        await peer.setRemoteDescription(RTCSessionDescription(body["sdp"], body["type"]))
        await peer.setLocalDescription(await peer.createAnswer())
        answer = peer.localDescription
        return JSONResponse({"sdp": answer.sdp, "type": answer.type, "pc_id": "p1"})

    async def _candidate(self, request: Request) -> dict[str, str]:
        await request.json()
        return {"status": "success"}

    def _meet(self, channel: RTCDataChannel) -> None:
        self.parted.append(self.gone.is_set())
        self.channel = channel
        channel.on("message", self.heard.append)
        channel.on("close", self.gone.set)
        self.say(type="call", call_id="c1", resume_token=TOKEN, remembers=self.remembers)
        self.opened.set()

    async def _feed(self) -> StreamingResponse:
        async def lines() -> AsyncIterator[str]:
            yield 'event: settings\ndata: {"budget_s": 1.5}\n\n'
            first = json.dumps({"campaigns": self.campaigns, "problem": ""})
            yield f"event: campaigns\ndata: {first}\n\n"
            while True:
                try:
                    async with asyncio.timeout(BEAT_S):
                        shown = await self._live.get()
                except TimeoutError:
                    beat = json.dumps({"store_problem": self.store_problem})
                    yield f"event: beat\ndata: {beat}\n\n" if self.beats else ""
                    continue
                if shown is None:
                    return
                kind = kind_of(shown)
                yield f"{kind}data: {json.dumps(shown)}\n\n"

        return StreamingResponse(lines(), media_type="text/event-stream")

    async def _break(self, name: str, request: Request) -> list[dict[str, Any]]:
        windows = await request.json() if request.method == "PUT" else []
        self.puts.append((name, windows))
        next(instance for instance in self.instances if instance["name"] == name)["faults"] = (
            windows
        )
        return windows

    async def _act(self, name: str, what: str, request: Request) -> Response:
        word = await request.json()
        self.acted.append((what, name, word))
        if self.refuses and not word.get("force"):
            return JSONResponse(self.refuses, 409)
        rung = next(provider for provider in self.providers if provider["name"] == name)
        rung |= ACTIONS[what]
        return JSONResponse([rung])

    async def _change_alert(self, name: str, what: str, request: Request) -> dict[str, Any]:
        word = await request.json()
        self.acted.append((what, name, word))
        alert = next(item for item in self.alerts if item["key"] == name)
        alert |= {"seen_by": word.get("by", "an operator")}
        if what == "resolve":
            alert |= {"status": "resolved", "resolved_how": "resolved by an operator"}
        return alert

    async def _summary(self) -> dict[str, Any]:
        return self.moves["summary"]

    async def _take_file(self, request: Request) -> Response:
        data = gzip.decompress(await request.body())
        self.acted.append(("contacts", request.url.query, {"data": data}))
        return JSONResponse(self.moves["contacts"])

    async def _move_campaign(self, name: str, move: str, request: Request) -> Response:
        word = await request.json()
        self.acted.append((move, name, word))
        if self.refuses:
            return JSONResponse(self.refuses, 409)
        found = next(campaign for campaign in self.campaigns if campaign["name"] == name)
        return JSONResponse(found | self.moves.get(move, {}))

    async def _reload(self) -> Response:
        status, said = self.reloads.pop(0)
        return JSONResponse(said, status)

    async def _call_page(self, name: str) -> Response:
        if name == "search":
            choices = dict.fromkeys(("agents", "campaigns", "results"), ())
            return JSONResponse({"calls": list(self.found), "choices": choices})
        found = self.call_pages.get(name)
        return JSONResponse(found or {"detail": "There is no such call."}, 200 if found else 404)
