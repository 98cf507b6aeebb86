"""Sound goes to a recogniser uncompressed, past every queue, and in order."""

import asyncio
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from websockets.asyncio.server import ServerConnection, serve

from providers.sockets import DirectSocket, SoundSocket

with warnings.catch_warnings():  # what Deepgram's SDK uses
    warnings.simplefilter("ignore", DeprecationWarning)
    from websockets.legacy.client import WebSocketClientProtocol, connect

pytestmark = pytest.mark.virtual_time

SOUND = bytes(320)  # deflated, a few bytes would be left of it


class Counting(ServerConnection):
    """Counts the bytes that came over the wire."""

    arrived_bytes = 0

    def data_received(self, data: bytes) -> None:
        self.arrived_bytes += len(data)
        super().data_received(data)


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[WebSocketClientProtocol, asyncio.Future[Counting]]]:
    met: asyncio.Future[Counting] = asyncio.get_running_loop().create_future()

    async def answer(connection: ServerConnection) -> None:
        assert isinstance(connection, Counting)
        met.set_result(connection)
        await connection.send("words " * 100)
        await connection.wait_closed()

    async with serve(answer, "127.0.0.1", 0, create_connection=Counting) as server:
        port = server.sockets[0].getsockname()[1]
        async with connect(f"ws://127.0.0.1:{port}") as client:
            yield client, met


async def test_sound_is_sent_uncompressed_and_compressed_messages_are_read() -> None:
    async with asyncio.timeout(10.0), connected() as (client, met):
        assert [extension.name for extension in client.extensions] == ["permessage-deflate"]
        assert isinstance(client, DirectSocket)
        server = await met
        before_bytes = server.arrived_bytes

        SoundSocket(client).send(SOUND)

        assert await client.recv() == "words " * 100
        assert await server.recv() == SOUND
        assert server.arrived_bytes - before_bytes > len(SOUND)


async def test_a_socket_whose_far_end_reads_nothing_soon_stops_accepting_sound() -> None:
    async with asyncio.timeout(10.0), connected() as (client, met):
        server = await met
        server.transport.pause_reading()
        socket = SoundSocket(client)
        while socket.free:
            socket.send(SOUND * 100)

        assert client.transport.get_write_buffer_size() > len(SOUND)
        server.transport.resume_reading()


async def test_a_closed_socket_accepts_no_sound() -> None:
    async with asyncio.timeout(10.0), connected() as (client, _):
        socket = SoundSocket(client)
        assert socket.free
        await client.close()

        assert not socket.free
