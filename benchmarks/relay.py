"""A relay on loopback that delays what is sent in both directions, and keeps its order."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

HOST: Final = "127.0.0.1"
PIECE_BYTES: Final = 65_536
PIECES: Final = 1000  # in transit at most; then the sender waits


@asynccontextmanager
async def relay(port: int, *, away_s: float, at: tuple[str, int] = (HOST, 0)) -> AsyncIterator[int]:
    """Yield a port that relays to `port` with this delay each way, including the handshake.

    A TCP handshake takes one round trip before anything is sent. `at` is the address that
    listens.
    """

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await asyncio.sleep(2 * away_s)
            far_reader, far_writer = await asyncio.open_connection(HOST, port)
            async with asyncio.TaskGroup() as ways:
                ways.create_task(_carry_delayed(reader, far_writer, away_s=away_s))
                ways.create_task(_carry_delayed(far_reader, writer, away_s=away_s))
        except* OSError:
            writer.close()

    server = await asyncio.start_server(connect, *at)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def _carry_delayed(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, away_s: float
) -> None:
    """Pass on what comes from one side, each piece `away_s` later; then close the other side."""
    loop = asyncio.get_running_loop()
    pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(PIECES)

    async def arrive() -> None:
        while True:
            at, piece = await pieces.get()
            await asyncio.sleep(at - loop.time())
            if not piece:
                break
            writer.write(piece)
            await writer.drain()
        writer.close()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(arrive())
        while True:
            piece = await reader.read(PIECE_BYTES)
            await pieces.put((loop.time() + away_s, piece))
            if not piece:
                break
