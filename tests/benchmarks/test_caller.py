"""The load test's caller holds a real call: rings, speaks, echoes marks, waits, hangs up."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
from aiohttp import web

from benchmarks.caller import HeldCall, Script, hold_call
from benchmarks.heard import judge_call
from lab.callers import RATE_HZ, WORD_PAUSE_S, encode, sound_of
from lab.simulators.ears.known import BLOCK
from tests.kit.served import served

pytestmark = pytest.mark.virtual_time

QUESTION = "Goodbye."
GREETING = "Hello."
ANSWER = "Goodbye, and thank you for calling."
SAID = bytes([1]) * BLOCK * 25  # half a second of something that is not silence
MUTE = b"\xff"


def voice(text: str) -> bytes:
    pause = np.zeros(round(WORD_PAUSE_S * RATE_HZ), np.int16)
    words = [sound_of(item, instance="cartesia") for item in text.split()]
    return encode(np.concatenate([part for word in words for part in (word, pause)]))


def script(url: str) -> Script:
    sounds = {
        word: sound_of(word, instance="cartesia").size / RATE_HZ
        for word in f"{GREETING} {ANSWER}".split()
    }
    return Script(
        url=url, auth_token="t", greeting=GREETING, phrases={QUESTION: SAID}, sounds=sounds
    )


class Door:
    """Greets, answers when the caller has spoken and is quiet, and keeps what it was sent."""

    def __init__(self, *, hangs_up: bool = False) -> None:
        self.url = ""
        self.events: list[str] = []
        self.marks: list[str] = []
        self.heard = b""
        self._hangs_up = hangs_up

    async def voice(self, request: web.Request) -> web.Response:
        stream = f'<Connect><Stream url="{self.url}/twilio/media"/></Connect>'
        return web.Response(text=f"<Response>{stream}</Response>", content_type="application/xml")

    async def media(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        spoke = False
        async for message in socket:
            told: dict[str, Any] = json.loads(message.data)
            self.events.append(told["event"])
            match told:
                case {"event": "start"}:
                    await self._say(socket, GREETING)
                case {"event": "mark", "mark": {"name": name}}:
                    self.marks.append(name)
                case {"event": "media", "media": {"payload": payload}}:
                    piece = base64.b64decode(payload)
                    self.heard += piece.strip(MUTE)
                    if spoke and not piece.strip(MUTE) and self._hangs_up:
                        await socket.close()
                    elif spoke and not piece.strip(MUTE):
                        await self._say(socket, ANSWER)
                    spoke = bool(piece.strip(MUTE))
        return socket

    async def _say(self, socket: web.WebSocketResponse, text: str) -> None:
        payload = base64.b64encode(voice(text)).decode()
        await socket.send_json({"event": "media", "streamSid": "x", "media": {"payload": payload}})
        await socket.send_json({"event": "mark", "streamSid": "x", "mark": {"name": text}})


@asynccontextmanager
async def door(each: Door) -> AsyncIterator[str]:
    app = web.Application()
    app.add_routes([web.post("/twilio/voice", each.voice), web.get("/twilio/media", each.media)])
    async with served(app) as each.url:
        yield each.url


async def at_once(_index: int) -> None:
    pass


async def hold(each: Door) -> HeldCall:
    held = HeldCall(number=0, rang_at=asyncio.get_running_loop().time())
    async with door(each) as url:
        await hold_call(script(url), held, questions=[QUESTION], cue=at_once)
    return held


async def test_a_call_runs_to_its_end_and_can_be_judged() -> None:
    each = Door()

    held = await hold(each)

    (turn,) = judge_call(held, started_at=held.rang_at).turns
    assert held.error == ""
    assert each.heard == SAID
    assert each.events[-1] == "stop"
    assert turn.whole
    assert 0.0 < turn.first_word_s < 0.1


async def test_a_mark_comes_back_when_its_sound_was_played() -> None:
    each = Door()

    await hold(each)

    assert each.marks == [GREETING, ANSWER]


async def test_a_call_that_is_cut_off_loses_its_turn_and_nothing_else() -> None:
    held = await hold(Door(hangs_up=True))

    (turn,) = judge_call(held, started_at=held.rang_at).turns
    assert not turn.whole
    assert not held.refused


async def test_a_refused_caller_is_counted_separately() -> None:
    class Full(Door):
        async def voice(self, request: web.Request) -> web.Response:
            return web.Response(text='<Response><Reject reason="busy"/></Response>')

    held = await hold(Full())

    assert held.refused
    assert held.turns == []


@pytest.mark.parametrize("hold_on", [False, True])
async def test_a_call_whose_stream_is_lost_goes_on_in_the_next_one(*, hold_on: bool) -> None:
    class Replaced(Door):
        """Loses the stream after the question, and answers in the next one."""

        def __init__(self) -> None:
            super().__init__(hangs_up=True)
            self.asked = 0

        async def voice(self, request: web.Request) -> web.Response:
            self.asked += 1
            if self.asked == 2 and hold_on:
                text = f'<Pause length="1"/><Redirect>{self.url}/twilio/voice</Redirect>'
            else:
                stream = f'<Stream url="{self.url}/twilio/media"/>'
                text = f'<Connect action="{self.url}/twilio/voice">{stream}</Connect>'
            return web.Response(text=f"<Response>{text}</Response>")

        async def _say(self, socket: web.WebSocketResponse, text: str) -> None:
            await super()._say(socket, text if self.asked == 1 else ANSWER)

    held = await hold(Replaced())

    (turn,) = judge_call(held, started_at=held.rang_at).turns
    assert turn.whole
    assert len(held.lost_s) == 1
    assert held.error == ""


async def test_a_call_that_is_not_continued_says_why() -> None:
    class Gone(Door):
        async def voice(self, request: web.Request) -> web.Response:
            if self.events:
                return web.Response(status=503, text="no server")
            stream = f'<Stream url="{self.url}/twilio/media"/>'
            text = f'<Connect action="{self.url}/twilio/voice">{stream}</Connect>'
            return web.Response(text=f"<Response>{text}</Response>")

    held = await hold(Gone(hangs_up=True))

    assert "503: no server" in held.error
