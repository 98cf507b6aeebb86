"""Hostile clients at the media socket during a call on the same server."""

import asyncio
import json
import zlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest

from calls.events import InputRefused
from tests.bot.call.long_call import held_bytes, open_descriptors
from tests.bot.carrier_server import CARRIERS, TWILIO_FIRST, OpenRoutes, open_routes
from tests.bot.judged_call import judged_call
from tests.bot.server.test_limits_connections import (
    BEGUN_TEXT,
    CONTINUED,
    EMPTY,
    MASK,
    PING,
    over,
    raw_socket,
)

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


@pytest.fixture
async def doors(carrier: str) -> AsyncIterator[OpenRoutes]:
    async with open_routes(carrier) as opened:
        yield opened


@pytest.mark.parametrize("carrier", CARRIERS)
async def test_messages_before_a_start_stall_no_call(tmp_path: Path, doors: OpenRoutes) -> None:
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


@pytest.mark.parametrize("carrier", TWILIO_FIRST)
async def test_a_hundred_idle_sockets_do_not_block_a_caller(
    tmp_path: Path, doors: OpenRoutes
) -> None:
    async with (
        judged_call(tmp_path, changes=doors.changes()) as beside,
        AsyncExitStack() as open_ones,
    ):
        for _ in range(100):
            await open_ones.enter_async_context(doors.media_socket(beside.port))
        callers = [await open_ones.enter_async_context(doors.caller(beside.url)) for _ in range(3)]
        heard = await asyncio.gather(*(caller.listen(within_s=20) for caller in callers))

        assert all(item.size for item in heard)
        # One is dropped, and the place of a caller whose call has begun is free again.
        assert beside.refusals.count("too_many_sockets_without_a_start") == 1


@pytest.mark.parametrize("carrier", TWILIO_FIRST)
async def test_a_flooding_callers_own_socket_does_not_affect_other_calls(
    tmp_path: Path, doors: OpenRoutes
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
        refused = {told.call_id for told in beside.told if isinstance(told.event, InputRefused)}
        assert len(refused) == 1  # it stands in the record of the flooder's call, not apart from it
        assert "" not in refused


WARM_FLOODS = 2  # the first calls load libraries
FLAT_BYTES = 16_000_000  # of the calls after them: what was said, and the lab's record of it
MORE_FILES = 6  # a provider may be connected again in the call beside
RAW_FLOODS = {
    "pings": PING * 20_000,
    "empty messages": EMPTY * 20_000,
    "pieces of one message": BEGUN_TEXT + CONTINUED * 20_000,
    "a message that is too big": bytes([0x01, 0x80 | 127]) + (1 << 40).to_bytes(8, "big") + MASK,
}


@pytest.mark.parametrize("carrier", TWILIO_FIRST)
async def test_floods_after_the_start_do_not_affect_other_calls(
    tmp_path: Path, doors: OpenRoutes
) -> None:
    """Two callers at once send each flood on the socket of their own call."""
    floods, held = RAW_FLOODS | {"a compressed message": bomb()}, list[int]()
    async with judged_call(tmp_path, changes=doors.changes()) as beside:
        opened = open_descriptors()
        for flood in floods.values():
            async with doors.caller(beside.url) as one, doors.caller(beside.url) as other:
                await asyncio.gather(*(item.listen(within_s=20) for item in (one, other)))
                for item in (one, other):
                    wire = item._stream.socket._writer.transport
                    assert wire
                    wire.write(flood)
                await asyncio.sleep(8)
                one.vanish()
                other.vanish()
            held.append(held_bytes())
        await asyncio.sleep(40)  # a lost stream may return
        assert beside.seats() == 1
        opened = open_descriptors() - opened
    print(f"{opened} descriptors more, {(held[-1] - held[WARM_FLOODS]) / 1e6:.1f} MB")  # noqa: T201 - for `-s`
    assert opened <= MORE_FILES
    assert held[-1] - held[WARM_FLOODS] < FLAT_BYTES, str(held)


def bomb() -> bytes:
    """Return a compressed text of a megabyte, as one masked frame that says it is compressed."""
    squeezed = zlib.compressobj(wbits=-15)
    data = squeezed.compress(b" " * 1_000_000) + squeezed.flush(zlib.Z_SYNC_FLUSH)
    data = data[:-4]
    mask = b"\0\0\0\0"
    return bytes([0xC1, 0x80 | 126]) + len(data).to_bytes(2, "big") + mask + data
