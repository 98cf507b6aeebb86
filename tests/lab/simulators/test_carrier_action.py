"""The carrier asks the `action` of a `<Connect>` when a stream is over and the call is not."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import numpy as np
import pytest
from aiohttp import web
from twilio.request_validator import RequestValidator
from twilio.twiml.voice_response import Connect, Stream, VoiceResponse

from lab.simulators.carrier.carrier import RATE_HZ, Carrier
from tests.kit.served import served

pytestmark = pytest.mark.virtual_time

TOKEN = "12345"
LOUD = bytes([0x80])  # the loudest code of mu-law


@dataclass
class Agent:
    """Answers the webhook, and the action as often as it has answers left."""

    returns: int
    url: str = ""
    sockets: list[web.WebSocketResponse] = field(default_factory=list)
    starts: list[dict[str, object]] = field(default_factory=list)
    asked: list[tuple[str, bool]] = field(default_factory=list)  # call status, signed by Twilio

    def connect(self) -> web.Response:
        response, connect = VoiceResponse(), Connect(action=f"{self.url}/after")
        connect.append(Stream(url=self.url.replace("http", "ws") + "/media"))
        response.append(connect)
        return web.Response(text=str(response), content_type="text/xml")

    async def voice(self, _request: web.Request) -> web.Response:
        return self.connect()

    async def after(self, request: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        proof = request.headers["X-Twilio-Signature"]
        signed = RequestValidator(TOKEN).validate(str(request.url), form, proof)
        self.asked.append((form["CallStatus"], signed))
        if len(self.asked) <= self.returns:
            return self.connect()
        over = VoiceResponse()
        over.hangup()
        return web.Response(text=str(over), content_type="text/xml")

    async def media(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.sockets.append(socket)
        async for message in socket:
            if message.type is not web.WSMsgType.TEXT:
                break
            said = message.json()
            if said["event"] == "start":
                self.starts.append(said["start"])
        return socket

    async def stream(self, number: int) -> str:
        async with asyncio.timeout(20):
            while len(self.starts) <= number:  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.005)
        return str(self.starts[number]["streamSid"])

    async def play(self, number: int, seconds: float) -> None:
        sid = await self.stream(number)
        payload = base64.b64encode(LOUD * round(seconds * RATE_HZ)).decode()
        message = {"event": "media", "streamSid": sid, "media": {"payload": payload}}
        await self.sockets[number].send_json(message)


@asynccontextmanager
async def agent(*, returns: int) -> AsyncIterator[Agent]:
    it, app = Agent(returns), web.Application()
    app.router.add_post("/twilio/voice", it.voice)
    app.router.add_post("/after", it.after)
    app.router.add_get("/media", it.media)
    async with served(app, shutdown_timeout=1) as it.url:
        yield it


@pytest.mark.parametrize("code", [None, 1011], ids=["reset", "closed with an error"])
async def test_a_call_outlives_its_stream_and_gets_another(code: int | None) -> None:
    async with agent(returns=1) as it, Carrier(it.url, TOKEN) as caller:
        first = await it.stream(0)
        await caller.break_off(code)
        second = await it.stream(1)

        assert it.asked == [("in-progress", True)]
        assert first != second
        assert {start["callSid"] for start in it.starts} == {caller.phone.call_sid}
        assert len(caller.lost_at) == 1
        assert not caller.ended.is_set()


async def test_a_lost_streams_queue_is_never_heard() -> None:
    async with agent(returns=1) as it, Carrier(it.url, TOKEN) as caller:
        await it.play(0, 2.0)
        await asyncio.sleep(0.5)
        await caller.break_off()
        await it.play(1, 0.3)
        heard = await caller.listen(quiet_s=0.2)

        seconds = np.count_nonzero(np.abs(caller.heard().astype(int)) > 500) / RATE_HZ
        assert seconds == pytest.approx(0.8, abs=0.03)
        assert heard.size


async def test_a_hang_up_in_the_action_ends_the_call() -> None:
    async with agent(returns=0) as it, Carrier(it.url, TOKEN) as caller:
        await it.stream(0)
        await it.sockets[0].close()
        await asyncio.wait_for(caller.ended.wait(), 5)

        assert caller.ended_by == "agent"
        assert len(it.asked) == 1


async def test_a_caller_who_hangs_up_is_not_connected_again() -> None:
    async with agent(returns=1) as it, Carrier(it.url, TOKEN) as caller:
        await it.stream(0)
        await caller.hang_up()
        await asyncio.sleep(1)

        assert (it.asked, len(it.starts)) == ([], 1)
