"""What strangers do to the server while a call goes on: the caller hears nothing of it."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import pytest
from yarl import URL

from bot.http.connection import MOST
from tests.bot.judged_call import judged_call

pytestmark = [pytest.mark.virtual_time, pytest.mark.slow]

TOKEN = "a-token-of-the-console"
HEAD = b"POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\n"
MULTIPART = b"Content-Type: multipart/form-data; boundary=b\r\n"


class Stranger:
    """A connection on which anything may be said."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def say(self, content: bytes) -> bool:
        """Say it; return False when the other side has hung up."""
        try:
            self.writer.write(content)
            await self.writer.drain()
        except ConnectionError:
            return False
        return not self.reader.at_eof()

    async def status(self) -> int:
        """Return the status of the answer; 0 when the connection is closed without one."""
        try:
            line = await self.reader.readline()
        except ConnectionError:
            return 0
        return int(line.split()[1]) if line else 0

    async def closed(self) -> None:
        """Wait until the other side hangs up."""
        try:
            await self.reader.read()
        except ConnectionError:
            return


@asynccontextmanager
async def stranger(port: int) -> AsyncIterator[Stranger]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Stranger(reader, writer)
    finally:
        writer.close()


async def pour(port: int, *, path: bytes, head: bytes, piece: bytes, most_bytes: int) -> int:
    """Send a body until there is an answer, which is read behind a reset too; return its status."""
    loop = asyncio.get_running_loop()
    with socket.socket() as it:
        it.setblocking(False)
        await loop.sock_connect(it, ("127.0.0.1", port))
        await loop.sock_sendall(it, HEAD % path + head + b"\r\n")
        with suppress(ConnectionError):
            for _ in range(most_bytes // len(piece)):
                await loop.sock_sendall(it, piece)
        line = await loop.sock_recv(it, 1000)
        return int(line.split()[1])


async def test_bodies_beyond_measure_are_refused_without_a_token_and_nothing_is_spooled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = tmp_path / "spool"
    spool.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(spool))
    chunk = b"%x\r\n%s\r\n" % (65536, b"x" * 65536)
    part = b"--b\r\nContent-Disposition: form-data; name=f; filename=f\r\n\r\n" + b"x" * 65536
    long, chunked = b"Content-Length: %d\r\n", b"Transfer-Encoding: chunked\r\n"
    async with judged_call(tmp_path, token=TOKEN) as beside:
        port, most = beside.port, 20_000_000
        statuses = [
            await pour(port, path=b"/api/offer", head=long % most, piece=chunk, most_bytes=most),
            await pour(port, path=b"/api/offer", head=chunked, piece=chunk, most_bytes=most),
            await pour(
                port,
                path=b"/sign-in",
                head=MULTIPART + long % 60_000_000,
                piece=part,
                most_bytes=most,
            ),
            await pour(
                port, path=b"/sign-in", head=MULTIPART + chunked, piece=chunk, most_bytes=most
            ),
            await pour(
                port,
                path=b"/sign-in",
                head=MULTIPART + long % 1000,
                piece=part[:1000],
                most_bytes=1000,
            ),
        ]
        assert list(spool.iterdir()) == []

    assert statuses == [413, 413, 413, 413, 401]


async def test_connections_that_say_nothing_are_closed_and_leave_room_for_those_that_do(
    tmp_path: Path,
) -> None:
    async with judged_call(tmp_path) as beside, aiohttp.ClientSession() as session:
        silent = [await asyncio.open_connection("127.0.0.1", beside.port) for _ in range(MOST + 44)]
        async with session.get(f"{beside.url}/healthz") as answer:
            assert answer.status == 200
        begun_s = beside.call.now_s
        for reader, writer in silent:
            await Stranger(reader, writer).closed()
            writer.close()
        assert beside.call.now_s - begun_s < 10.5  # virtual


DROP_BY_DROP = (
    b"POST /api/offer HTTP/1.1\r\nHost: 127.0.0.1\r\n",
    HEAD % b"/api/offer" + b"Content-Length: 1000\r\n\r\n",
    HEAD % b"/api/offer" + b"Transfer-Encoding: chunked\r\n\r\nfff\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nGET /h",
)


async def drip(port: int, said: bytes) -> None:
    async with stranger(port) as it, asyncio.timeout(12):
        goes_on = await it.say(said)
        while goes_on:
            await asyncio.sleep(0.2)
            goes_on = await it.say(b"x")


async def test_a_request_that_comes_drop_by_drop_is_cut_off(tmp_path: Path) -> None:
    async with judged_call(tmp_path) as beside, asyncio.TaskGroup() as tasks:
        for said in DROP_BY_DROP:
            tasks.create_task(drip(beside.port, said))


async def test_a_head_without_end_is_refused(tmp_path: Path) -> None:
    async with judged_call(tmp_path) as beside:
        piece = b"X-Endless: " + b"x" * 1000 + b"\r\n"
        async with stranger(beside.port) as it:
            await it.say(HEAD % b"/")
            for _ in range(100):
                await it.say(piece)
            assert await it.status() in (400, 431, 0)


async def test_one_who_asks_and_does_not_read_is_cut_off(tmp_path: Path) -> None:
    asked = b"GET /client/client.js HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 1000
    async with judged_call(tmp_path) as beside, stranger(beside.port) as it:
        begun_s = beside.call.now_s
        it.writer.transport.pause_reading()  # pyright: ignore[reportAttributeAccessIssue]
        goes_on = await it.say(asked)
        while goes_on:
            await asyncio.sleep(5)
            goes_on = await it.say(b"GET")
            assert beside.call.now_s - begun_s < 60  # virtual


async def test_a_name_that_no_file_can_have_is_not_found(tmp_path: Path) -> None:
    names = ["a" * 300, "%2e%2e%2f" * 50 + "etc", "%00", "site.py"]
    async with judged_call(tmp_path) as beside, aiohttp.ClientSession() as session:
        for name in names:
            url = URL(f"{beside.url}/client/{name}", encoded=True)
            async with session.get(url) as answer:
                assert answer.status == 404
                assert list(await answer.json()) == ["detail"]


NO_OFFERS = (b"{", b"[" * 100_000, b'"' + b"\xff" * 10, b"", b"[]", b'{"sdp": 5}', b"1" * 5000)


async def test_an_offer_that_is_no_json_gets_one_sentence(tmp_path: Path) -> None:
    headers = {"Content-Type": "application/json"}
    async with judged_call(tmp_path) as beside, aiohttp.ClientSession(headers=headers) as session:
        for body in NO_OFFERS:
            async with session.post(f"{beside.url}/api/offer", data=body) as answer:
                told = await answer.json()
            assert answer.status in (400, 422), told
            assert list(told) == ["detail"], told
            assert isinstance(told["detail"], str), told
            assert "\n" not in told["detail"], told
