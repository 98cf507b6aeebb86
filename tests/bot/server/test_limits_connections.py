"""Invalid frames and floods of messages on a websocket of the server."""

import asyncio
import base64
import json
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn

from bot.server.limits import (
    FRAMES_AT_ONCE,
    FRAMES_BEFORE_CALL,
    FRAMES_PER_S,
    PIECE_BYTES,
    UNREAD_BYTES,
    BoundedSocket,
)
from lab.simulators.carrier.carrier import Carrier
from tests.transports.twilio_server import TOKEN, pool, until

pytestmark = pytest.mark.virtual_time

MASK = b"aaaa"
PING, EMPTY, CONTINUED = (bytes([first, 0x80]) + MASK for first in (0x89, 0x81, 0x00))
BEGUN_TEXT = bytes([0x01, 0x80]) + MASK


@asynccontextmanager
async def raw_socket(
    port: int, *, path: str = "/twilio/media", header: str = "Host: here"
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Open a websocket by hand: no library sends such frames."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        f"GET {path} HTTP/1.1\r\n{header}\r\nUpgrade: websocket\r\n".encode()
        + b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "
        + base64.b64encode(os.urandom(16))
        + b"\r\n\r\n"
    )
    await reader.readuntil(b"\r\n\r\n")
    try:
        yield reader, writer
    finally:
        writer.close()


@pytest.fixture
def pieces(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Record how many frames the loop parses at a time."""
    found: list[int] = []
    handle = BoundedSocket.handle_events

    def noting(self: BoundedSocket) -> None:
        found.append(len(self.conn.events))
        handle(self)

    monkeypatch.setattr(BoundedSocket, "handle_events", noting)
    return found


async def over(reader: asyncio.StreamReader) -> None:
    """Return when the server has ended the connection."""
    async with asyncio.timeout(20):
        try:
            while await reader.read(65_536):
                pass
        except ConnectionError:
            return


@pytest.mark.parametrize(
    "flood",
    [PING * 40_000, EMPTY * 40_000, BEGUN_TEXT + CONTINUED * 40_000],
    ids=["pings", "empty messages", "pieces of one message"],
)
async def test_an_unauthenticated_flood_of_frames_closes_its_socket_unread(
    flood: bytes, pieces: list[int]
) -> None:
    async with pool() as it, raw_socket(it.port) as (reader, writer):
        writer.write(flood)
        await over(reader)
        await until(lambda: bool(it.told))

        assert max(pieces) <= PIECE_BYTES // len(PING) + 1
        assert sum(pieces) <= FRAMES_BEFORE_CALL + PIECE_BYTES // len(PING) + 1
        assert it.calls == []


async def test_a_refused_socket_is_not_read(pieces: list[int]) -> None:
    async with pool() as it, raw_socket(it.port) as (reader, writer):
        writer.write(EMPTY * 3)
        await until(lambda: bool(it.told))
        before = sum(pieces)
        writer.write(PING * 40_000)
        await over(reader)

        assert sum(pieces) - before <= FRAMES_BEFORE_CALL + PIECE_BYTES // len(PING) + 1


IGNORED = '{"event":"media","media":{"track":"outbound","payload":""}}'
FRAME_HEAD_BYTES = 6  # RFC 6455, 5.2: of a short message of a client


async def test_a_flood_after_the_start_is_read_at_the_pace_of_a_call(pieces: list[int]) -> None:
    async with pool() as it, Carrier(it.url, TOKEN) as caller:
        await it.call()
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        for _ in range(1_500):
            await caller.send_raw(IGNORED)
        await caller.press("1")  # read after them
        await until(lambda: it.calls[0].ears.keys == ["1"])

        in_piece = PIECE_BYTES // (len(IGNORED) + FRAME_HEAD_BYTES) + 1
        over = 1_500 - FRAMES_AT_ONCE - in_piece  # the last piece may be overspent
        assert loop.time() - began_s >= over / FRAMES_PER_S
        assert max(pieces) <= in_piece
        assert not caller.ended.is_set()
        assert it.reasons() == []


async def test_a_peer_that_reads_no_answer_to_its_pings_is_cut_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[BoundedSocket] = []
    connect = BoundedSocket.connection_made

    def connection_made(self: BoundedSocket, transport: asyncio.Transport) -> None:
        made.append(self)
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        connect(self, transport)

    monkeypatch.setattr(BoundedSocket, "connection_made", connection_made)
    ping = bytes([0x89, 0x80 | 125]) + MASK + bytes(125)
    async with pool() as it, Carrier(it.url, TOKEN) as caller:
        call = await it.call()
        wire = caller._stream.socket._writer.transport
        assert wire
        wire.pause_reading()
        for _ in range(40):
            wire.write(ping * 200)
            await asyncio.sleep(1)
        most = made[-1].transport.get_write_buffer_size()
        await until(lambda: bool(call.gone_for))

        assert made[-1].transport.is_closing()
        assert most < UNREAD_BYTES + 200 * len(ping)


async def test_messages_delayed_by_a_stalled_line_are_read_at_once() -> None:
    async with pool() as it, Carrier(it.url, TOKEN) as caller:
        call = await it.call()
        payload = base64.b64encode(bytes(160)).decode()
        media = json.dumps({"event": "media", "media": {"payload": payload}})
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        for _ in range(250):
            await caller.send_raw(media)
        await caller.press("1")
        await until(lambda: call.ears.keys == ["1"])

        assert loop.time() - began_s < 1
        assert len(call.ears.audio) >= 250 * 320


BAD_TEXT = bytes([0x81, 0x82]) + MASK + b"\x9e\x9f"  # 0xff 0xfe
CLOSE = bytes([0x88, 0x80]) + MASK
START = bytes([0x81, 0x80 | 2]) + MASK + bytes(a ^ b for a, b in zip(b"{}", MASK, strict=False))


@asynccontextmanager
async def application(app: Callable[..., Awaitable[None]]) -> AsyncIterator[tuple[int, Any]]:
    """Serve an ASGI application on sockets of our class; yield the port and the server."""
    config = uvicorn.Config(app, port=0, ws=BoundedSocket, lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(server._serve())
        await until(lambda: server.started)
        yield server.servers[0].sockets[0].getsockname()[1], server
        server.should_exit = True


async def closing_twice(scope: Any, receive: Any, send: Any) -> None:
    """Accept, and close on the first message, and again; as a route and its framework may."""
    await receive()
    await send({"type": "websocket.accept"})
    while (await receive())["type"] != "websocket.disconnect":
        await send({"type": "websocket.close", "code": 1000})
        await send({"type": "websocket.close", "code": 1011})
    await send({"type": "websocket.close", "code": 1000})


ORDERS = (
    *((BAD_TEXT + CLOSE,), (CLOSE + BAD_TEXT,), (BAD_TEXT + BAD_TEXT,), (START + BAD_TEXT,)),
    *((START, BAD_TEXT), (START + CLOSE,), (START, CLOSE), (CLOSE, CLOSE), (CLOSE,)),
)


async def test_no_order_of_closes_ends_in_a_traceback(caplog: pytest.LogCaptureFixture) -> None:
    async with application(closing_twice) as (port, _):
        for pieces in ORDERS:
            async with raw_socket(port) as (reader, writer):
                for piece in pieces:
                    writer.write(piece)
                    await asyncio.sleep(0.05)
                await over(reader)

    assert "Traceback" not in caplog.text
    assert [item for item in caplog.records if item.levelname == "ERROR"] == []


async def test_a_server_that_stops_closes_no_closing_socket_again(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[BoundedSocket] = []
    close = BoundedSocket.handle_close

    def handle_close(self: BoundedSocket, event: Any) -> None:
        made.append(self)
        self.shutdown()  # at this moment
        close(self, event)

    monkeypatch.setattr(BoundedSocket, "handle_close", handle_close)
    async with application(closing_twice) as (port, _), raw_socket(port) as (reader, writer):
        writer.write(CLOSE)
        await over(reader)

    assert len(made) == 1
    assert "Traceback" not in caplog.text
