"""What strangers do to the media socket, while a caller talks to the same server."""

import asyncio
import json
import zlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from pydantic import SecretStr

from faultlab.carrier.carrier import Carrier
from faultlab.carrier.exotel import ExotelManner, exotel_call
from faultlab.carrier.plivo import PlivoAccount, PlivoManner, plivo_call
from faultlab.carrier.telnyx import TelnyxAccount, TelnyxManner, telnyx_call
from tests.bot.http.test_bounded_socket import EMPTY, PING, over, raw_socket
from tests.bot.judged_call import AUTH_TOKEN, judged_call

KEY, TOKEN = "an-exotel-key", "an-exotel-token"


@dataclass(frozen=True, kw_only=True)
class OpenDoors:
    """A server's doors, and one carrier at which strangers and callers come in."""

    carrier: str
    telnyx: TelnyxAccount
    plivo: PlivoAccount

    @property
    def path(self) -> str:
        return f"/{self.carrier}/media"

    @property
    def header(self) -> str:
        proof = aiohttp.encode_basic_auth(KEY, TOKEN)
        return "Host: here" + f"\r\nAuthorization: {proof}" * (self.carrier == "exotel")

    def changes(self) -> dict[str, Any]:
        telnyx = {
            "enabled": True,
            "api_url": self.telnyx.url,
            "api_key": SecretStr(self.telnyx.api_key),
            "public_key": SecretStr(self.telnyx.public_key),
        }
        plivo = {
            "enabled": True,
            "api_url": self.plivo.url,
            "auth_id": SecretStr(self.plivo.auth_id),
            "auth_token": SecretStr(self.plivo.auth_token),
        }
        exotel = {"enabled": True, "api_key": SecretStr(KEY), "api_token": SecretStr(TOKEN)}
        return {"transports": {"telnyx": telnyx, "plivo": plivo, "exotel": exotel}}

    def caller(self, url: str) -> Carrier:
        match self.carrier:
            case "telnyx":
                call = Carrier(url, "", phone=telnyx_call(), manner=TelnyxManner(self.telnyx))
                self.telnyx.know(call)
                return call
            case "plivo":
                call = Carrier(url, "", phone=plivo_call(), manner=PlivoManner(self.plivo))
                self.plivo.know(call)
                return call
            case "exotel":
                manner = ExotelManner(key=KEY, token=TOKEN)
                return Carrier(url, "", phone=exotel_call(), manner=manner)
            case _:
                return Carrier(url, AUTH_TOKEN)

    @asynccontextmanager
    async def media_socket(
        self, port: int, *, compress: int = 0
    ) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        headers = {}
        if self.carrier == "exotel":
            headers = {"Authorization": aiohttp.encode_basic_auth(KEY, TOKEN)}
        url = f"ws://127.0.0.1:{port}{self.path}"
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.ws_connect(url, compress=compress) as socket,
        ):
            yield socket


pytestmark = [
    pytest.mark.virtual_time,
    pytest.mark.slow,
    pytest.mark.usefixtures("quiet_log"),
]

DEEP = {
    "deep": "[" * 8_000,
    "nested": '{"event":' * 1_500 + "1" + "}" * 1_500,
    "digits": json.dumps({"event": "start", "start": "DIGITS"}).replace('"DIGITS"', "9" * 15_000),
    "no number": '{"event": NaN}',
    "wrong types": '{"event": {"event": []}, "start": [[]], "streamSid": null}',
    "big": "x" * 100_000,
}


@pytest.fixture(params=["twilio", "telnyx", "plivo", "exotel"])
async def doors(request: pytest.FixtureRequest) -> AsyncIterator[OpenDoors]:
    """Every carrier's account, and whose door the strangers come to."""
    async with TelnyxAccount() as telnyx, PlivoAccount() as plivo:
        yield OpenDoors(carrier=request.param, telnyx=telnyx, plivo=plivo)


async def test_what_is_sent_before_a_start_stalls_nobody(tmp_path: Path, doors: OpenDoors) -> None:
    async with judged_call(tmp_path, changes=doors.changes()) as beside:
        for _ in range(5):
            for text in DEEP.values():
                async with doors.media_socket(beside.port, compress=15) as socket:
                    assert socket.compress == 0
                    await socket.send_str(text)
                    await socket.send_str(text)
                    assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE
        for flood in (PING, EMPTY, bomb()):
            async with raw_socket(beside.port, path=doors.path, header=doors.header) as raw:
                reader, writer = raw
                writer.write(flood * 10_000)
                await over(reader)
        async with doors.media_socket(beside.port) as idle:
            began_s = asyncio.get_running_loop().time()
            assert (await idle.receive()).type is aiohttp.WSMsgType.CLOSE
            assert asyncio.get_running_loop().time() - began_s == pytest.approx(2, abs=0.1)

    assert set(beside.refusals) - {"closed_before_start"} == {
        "flood_before_start",
        "incomplete_message",
        "message_too_big",
        "no_start",
        "no_start_in_time",
        "not_json",
    }


async def test_a_hundred_idle_sockets_keep_no_caller_out(tmp_path: Path, doors: OpenDoors) -> None:
    async with (
        judged_call(tmp_path, changes=doors.changes()) as beside,
        AsyncExitStack() as open_ones,
    ):
        for _ in range(100):
            await open_ones.enter_async_context(doors.media_socket(beside.port))
        callers = [await open_ones.enter_async_context(doors.caller(beside.url)) for _ in range(3)]
        heard = await asyncio.gather(*(each.listen(within_s=20) for each in callers))

        assert all(each.size for each in heard)
        # One makes room, and the place of a caller whose call has begun is free again.
        assert beside.refusals.count("too_many_sockets_without_a_start") == 1


async def test_a_caller_s_own_socket_may_flood_and_hurts_nobody_else(
    tmp_path: Path, doors: OpenDoors
) -> None:
    async with (
        judged_call(tmp_path, changes=doors.changes()) as beside,
        doors.caller(beside.url) as flooder,
    ):
        await flooder.listen(within_s=20)
        second = json.dumps({"event": "media", "media": {"payload": "////" * 2_666}})
        mark = json.dumps({"event": "mark", "mark": {"name": "h999999"}})
        try:
            for text in ("{}", second, mark) * 1_000:
                await flooder.send_raw(text)
        except ConnectionError:
            pass
        await asyncio.sleep(20)

        assert "audio_faster_than_time" in beside.refusals


def bomb() -> bytes:
    """Return a compressed text of a megabyte, as one masked frame that says it is compressed."""
    squeezed = zlib.compressobj(wbits=-15)
    data = squeezed.compress(b" " * 1_000_000) + squeezed.flush(zlib.Z_SYNC_FLUSH)
    data = data[:-4]
    mask = b"\0\0\0\0"
    return bytes([0xC1, 0x80 | 126]) + len(data).to_bytes(2, "big") + mask + data
