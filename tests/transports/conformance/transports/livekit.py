"""A telephone behind LiveKit's SIP service: baresip, livekit-sip and livekit-server, all real."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
import soxr

from calls.handover import Destination
from tests.peers.children import UnprovenError
from tests.peers.media_server import MediaServer, running_media_server
from tests.peers.sip_phone import RATE_HZ as PHONE_HZ
from tests.peers.sip_phone import SipPhone, sip_phone
from tests.transports.conformance.server import WorkerPool
from tests.transports.conformance.transport import ELSEWHERE, RATE_HZ, Sound, audible_s

RINGS_S = 60.0  # a guard
SILENT_S = 8.0  # for the exchange to count a telephone as gone; sooner than our first prompt


class PersonAtPhone:
    def __init__(self, phone: SipPhone, server: MediaServer) -> None:
        self._phone = phone
        self._server = server
        self.gone = False  # the phone itself, not only its person

    async def say(self, sound: Sound) -> None:
        narrow = soxr.resample(sound.astype(np.float32), RATE_HZ, PHONE_HZ)
        await self._phone.say(np.clip(narrow, -32768, 32767).astype(np.int16))

    def heard_s(self) -> float:
        return audible_s(self._phone.heard(), PHONE_HZ)

    async def press(self, key: str) -> None:
        await self._phone.press(key)

    def keys_heard(self) -> str:
        return "".join(item["param"] for item in self._phone.told("CALL_DTMF_START"))

    async def hang_up(self) -> None:
        await self._phone.hang_up()

    async def vanish(self) -> None:
        self.gone = True
        self._phone.vanish()

    async def keep_still(self, length_s: float) -> None:
        self._phone.freeze()  # at the end of a file baresip hangs up
        await asyncio.sleep(length_s)
        self._phone.thaw()

    async def reset_line(self) -> None:
        self._server.kill_server()
        await asyncio.to_thread(self._server.start_server)

    @property
    def ended(self) -> bool:
        return bool(self._phone.told("CALL_CLOSED"))


class Livekit:
    name = "livekit"
    peer = "baresip, livekit-sip, livekit-server"
    cannot: Final[dict[str, str]] = {}
    void: Final[dict[str, str]] = {}
    unproven: Final[dict[str, str]] = {}

    def __init__(self) -> None:
        self._server: MediaServer | None = None
        self.elsewhere = ELSEWHERE

    @asynccontextmanager
    async def prepare(self, folder: Path) -> AsyncIterator[dict[str, Any]]:
        async with AsyncExitStack() as exits:
            stack = exits.enter_context(ExitStack())
            try:
                far_end = running_media_server(folder, media_timeout_s=SILENT_S)
                self._server = server = await asyncio.to_thread(stack.enter_context, far_end)
                desk = await exits.enter_async_context(sip_phone(folder / "desk"))
            except UnprovenError as absent:
                pytest.skip(f"unproven: {absent}")
            await server.add_number()
            self.elsewhere = Destination(name=ELSEWHERE.name, number=desk.uri)
            settings = {
                "enabled": True,
                "url": server.websocket_url,
                "api_key": server.key,
                "api_secret": server.secret,
            }
            yield {"transports": {"livekit": settings}, "port": server.webhook_port}

    @asynccontextmanager
    async def call(self, pool: WorkerPool) -> AsyncIterator[PersonAtPhone]:
        assert self._server
        with tempfile.TemporaryDirectory() as folder:
            async with sip_phone(Path(folder), lines=2) as phone:  # a REFER is a call in addition
                await phone.dial(self._server.uri())
                await phone.until("CALL_ESTABLISHED", within_s=RINGS_S)
                await pool.notes.until("CallStarted")
                person = PersonAtPhone(phone, self._server)
                yield person
                if not (person.gone or person.ended):
                    await phone.hang_up()


TRANSPORT = Livekit()
