"""The carrier against a bare agent: signatures, pace, heard sound, marks, clear, hang-up."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from twilio.request_validator import RequestValidator
from twilio.twiml.voice_response import Connect, Stream, VoiceResponse

from lab.simulators import mulaw
from lab.simulators.carrier.carrier import RATE_HZ, Carrier
from lab.simulators.carrier.line import Burst, CarrierEar
from lab.simulators.carrier.webhook import signature
from tests.kit.served import served
from tests.kit.waiting import until

pytestmark = pytest.mark.virtual_time

TOKEN = "12345"
ACCOUNT = "AC" + "0" * 32
LOUD = bytes([0x80])  # the loudest code of mu-law


class Agent:
    """A server that answers the webhook and records the media socket's messages."""

    def __init__(self) -> None:
        self.url = ""
        self.came: list[tuple[float, dict[str, object]]] = []  # when, what
        self.valid: list[bool] = []
        self.answer = self.connect
        self.socket = web.WebSocketResponse()
        self.open = asyncio.Event()

    def connect(self) -> str:
        response, connect = VoiceResponse(), Connect()
        stream = Stream(url=self.url.replace("http", "ws") + "/media")
        stream.parameter(name="token", value="one & only")
        connect.append(stream)
        response.append(connect)
        return str(response)

    async def voice(self, request: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        proof = request.headers["X-Twilio-Signature"]
        self.valid.append(RequestValidator(TOKEN).validate(str(request.url), form, proof))
        return web.Response(text=self.answer(), content_type="text/xml")

    async def media(self, request: web.Request) -> web.WebSocketResponse:
        await self.socket.prepare(request)
        self.open.set()
        async for message in self.socket:
            self.came.append((asyncio.get_running_loop().time(), json.loads(message.data)))
        return self.socket

    async def send(self, event: str, caller: Carrier, **fields: object) -> None:
        message = {"event": event, "streamSid": caller.phone.stream_sid} | fields
        await self.socket.send_json(message)

    async def play(self, caller: Carrier, seconds: float) -> None:
        payload = base64.b64encode(LOUD * round(seconds * RATE_HZ)).decode()
        await self.send("media", caller, media={"payload": payload})

    def events(self, name: str) -> list[dict[str, object]]:
        return [message for _, message in self.came if message["event"] == name]


@asynccontextmanager
async def agent() -> AsyncIterator[Agent]:
    it, app = Agent(), web.Application()
    app.router.add_post("/twilio/voice", it.voice)
    app.router.add_get("/media", it.media)
    async with served(app, shutdown_timeout=1) as it.url:
        yield it


@given(st.dictionaries(st.text(min_size=1, max_size=5), st.text(max_size=5), max_size=5))
def test_any_form_is_signed_as_twilios_library_signs_it(form: dict[str, str]) -> None:
    url = "https://agent.example.com/twilio/voice"

    assert signature(TOKEN, url, form) == RequestValidator(TOKEN).compute_signature(url, form)


@given(st.integers(-32768, 32767))
def test_mu_law_is_off_by_at_most_half_a_step(sample: int) -> None:
    there_and_back = int(mulaw.decode(mulaw.encode(np.array([sample], dtype=np.int16)))[0])

    assert abs(there_and_back - sample) <= max(8, abs(sample) / 16)


async def test_the_webhook_is_signed_and_the_start_carries_the_parameters() -> None:
    async with agent() as it, Carrier(it.url, TOKEN) as caller:
        await until(lambda: len(it.came) >= 3)

        assert it.valid == [True]
        assert it.came[0][1] == {"event": "connected", "protocol": "Call", "version": "1.0.0"}
        start = it.came[1][1]["start"]
        assert isinstance(start, dict)
        assert start["customParameters"] == {"token": "one & only"}
        assert start["callSid"] == caller.phone.call_sid


async def test_media_flows_every_20_ms_in_silence_too_and_does_not_drift() -> None:
    async with agent() as it, Carrier(it.url, TOKEN) as caller:
        await until(lambda: caller.now_s >= 1.0)
        at_s = caller.now_s
        media = it.events("media")

        assert abs(len(media) - at_s / 0.02) <= 4
        assert [m["media"]["chunk"] for m in media[:3]] == ["1", "2", "3"]  # type: ignore[index]
        assert {len(m["media"]["payload"]) for m in media} == {216}  # type: ignore[index]
        assert len({m["sequenceNumber"] for m in media}) == len(media)


async def test_audio_is_heard_from_its_arrival_and_to_the_sample() -> None:
    async with agent() as it, Carrier(it.url, TOKEN) as caller:
        await it.open.wait()
        at_s = caller.now_s
        await it.play(caller, 0.1)
        await it.play(caller, 0.1)
        heard = await caller.listen(quiet_s=0.1)

        assert np.count_nonzero(heard) == 0.2 * RATE_HZ
        assert caller.heard_at == [pytest.approx(at_s, abs=0.05)]
        assert len(caller.heard()) == pytest.approx(caller.now_s * RATE_HZ, abs=100)


async def test_a_mark_is_echoed_when_its_audio_was_played_and_not_before() -> None:
    async with agent() as it, Carrier(it.url, TOKEN) as caller:
        await it.open.wait()
        await it.play(caller, 0.2)
        await it.send("mark", caller, mark={"name": "m1"})
        at_s = asyncio.get_running_loop().time()
        await until(lambda: it.events("mark"))
        came_s = next(when for when, message in it.came if message["event"] == "mark")

        assert 0.19 < came_s - at_s < 0.3
        assert it.events("mark")[0]["mark"] == {"name": "m1"}


async def test_a_clear_silences_at_once_and_echoes_the_pending_marks() -> None:
    async with agent() as it, Carrier(it.url, TOKEN) as caller:
        await it.open.wait()
        await it.play(caller, 5.0)
        await it.send("mark", caller, mark={"name": "m1"})
        await asyncio.sleep(0.1)
        await it.send("clear", caller)
        await until(lambda: it.events("mark"))
        heard = caller.heard()

        assert 0.05 * RATE_HZ < np.count_nonzero(heard) < 0.3 * RATE_HZ
        assert caller.now_s < 2


async def test_errors_that_twilio_would_report_are_recorded() -> None:
    async with agent() as it, Carrier(it.url, TOKEN) as caller:
        await it.open.wait()
        await it.socket.send_bytes(b"\x00")
        await it.socket.send_str("{")
        await it.socket.send_json({"event": "clear", "streamSid": "MZ-other"})
        await it.send("say", caller)
        await until(lambda: len(caller.complaints) == 4)

        assert [text[:5] for text in caller.complaints] == ["31950", "31951", "31951", "31951"]


def test_an_ear_plays_late_audio_late_and_queued_audio_in_order() -> None:
    ear = CarrierEar()

    ear.hear(LOUD * 80, at_s=0.1)
    ear.hear(LOUD * 80, at_s=0.1)
    ear.hear(LOUD * 80, at_s=1.0)

    assert ear.bursts == [Burst(800, 960), Burst(8000, 8080)]
    assert np.flatnonzero(ear.recording(2.0)).tolist() == [*range(800, 960), *range(8000, 8080)]


def test_an_ear_forgets_cleared_sound() -> None:
    ear = CarrierEar()
    ear.hear(LOUD * 800, at_s=0.0)
    ear.mark("a")
    ear.hear(LOUD * 800, at_s=0.0)
    ear.mark("b")

    pending = ear.clear(at_s=0.05)
    ear.hear(LOUD * 80, at_s=0.2)

    assert pending == ["a", "b"]
    assert np.flatnonzero(ear.recording(1.0)).tolist() == [*range(400), *range(1600, 1680)]
    assert ear.take_due_marks(1.0) == []
