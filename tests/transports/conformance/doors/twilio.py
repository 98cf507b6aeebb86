"""Twilio's Media Streams, by the lab's carrier."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import soxr

from faultlab.carrier.carrier import Carrier
from tests.transports.conformance.door import RATE_HZ, Sound, audible_s
from tests.transports.conformance.house import House

AUTH_TOKEN = "a-twilio-auth-token"
PHONE_HZ = 8_000
CANNOT: Final = {
    "keys_out": "Media Streams carry none",
    "transfer": "the call is handed on by the carrier's REST API, which is not used yet",
    "reconnect": "the call ends with its media socket",
}
VOID: Final[dict[str, str]] = {}


class TwilioCaller:
    def __init__(self, carrier: Carrier) -> None:
        self._carrier = carrier
        self._send, carrier._send = carrier._send, self._send_unless_still
        self._still = False

    async def say(self, sound: Sound) -> None:
        narrow = soxr.resample(sound.astype(np.float32), RATE_HZ, PHONE_HZ)
        await self._carrier.say(np.clip(narrow, -32768, 32767).astype(np.int16))

    def heard_s(self) -> float:
        return audible_s(self._carrier.heard(), PHONE_HZ)

    async def press(self, key: str) -> None:
        await self._carrier.press(key)

    def keys_heard(self) -> str:
        return ""

    async def hang_up(self) -> None:
        await self._carrier.hang_up()

    async def vanish(self) -> None:
        self._carrier.vanish()

    async def keep_still(self, length_s: float) -> None:
        self._still = True
        await asyncio.sleep(length_s)
        self._still = False

    async def reset_line(self) -> None:
        self._carrier.vanish()

    @property
    def ended(self) -> bool:
        return self._carrier.ended.is_set()

    async def _send_unless_still(self, message: dict[str, Any]) -> None:
        if not (self._still and message["event"] == "media"):
            await self._send(message)


class Twilio:
    name = "twilio"
    peer = "the lab's carrier"
    cannot = CANNOT
    void = VOID

    @asynccontextmanager
    async def prepare(self, folder: Path) -> AsyncIterator[dict[str, Any]]:
        del folder
        yield {"transports": {"twilio": {"enabled": True, "auth_token": AUTH_TOKEN}}}

    @asynccontextmanager
    async def call(self, house: House) -> AsyncIterator[TwilioCaller]:
        async with Carrier(house.url, AUTH_TOKEN) as carrier:
            await house.notes.until("CallStarted")
            yield TwilioCaller(carrier)


DOOR = Twilio()
