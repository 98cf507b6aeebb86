"""Hostile clients at the server during a call, which must not affect its caller."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import pytest
from loguru import logger
from yarl import URL

from bot.server.limits import MAX_CONNECTIONS
from lab.simulators.carrier.carrier import Carrier
from operations.telemetry import logs
from tests.bot.judged_call import AUTH_TOKEN, judged_call

pytestmark = [pytest.mark.virtual_time, pytest.mark.slow]

TOKEN = "a-token-of-the-console"
HEAD = b"POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\n"
MULTIPART = b"Content-Type: multipart/form-data; boundary=b\r\n"


class Stranger:
    """A raw connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def say(self, content: bytes) -> bool:
        """Send bytes; return False if the other side has hung up."""
        try:
            self.writer.write(content)
            await self.writer.drain()
        except ConnectionError:
            return False
        return not self.reader.at_eof()

    async def status(self) -> int:
        """Return the status of the answer; 0 if the connection is closed without one."""
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
    """Send a body until there is an answer, also after a reset; return its status."""
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


async def test_overlarge_bodies_are_refused_without_a_token_and_nothing_is_spooled(
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


async def test_silent_connections_are_closed_and_leave_room_for_others(
    tmp_path: Path,
) -> None:
    async with judged_call(tmp_path) as beside, aiohttp.ClientSession() as session:
        silent = [
            await asyncio.open_connection("127.0.0.1", beside.port)
            for _ in range(MAX_CONNECTIONS + 44)
        ]
        async with session.get(f"{beside.url}/healthz") as answer:
            assert answer.status == 200
        async with Carrier(beside.url, AUTH_TOKEN) as another:
            assert (await another.listen()).size > 8000
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


async def endless_header(port: int) -> int:
    """Send a header without end; return the status."""
    piece = b"X-Endless: " + b"x" * 1000 + b"\r\n"
    async with stranger(port) as it:
        await it.say(HEAD % b"/")
        for _ in range(100):
            await it.say(piece)
        return await it.status()


NO_FILES = ("a" * 300, "%2e%2e%2f" * 50 + "etc", "%00", "site.py")
NO_OFFERS = (b"{", b"[" * 100_000, b'"' + b"\xff" * 10, b"", b"[]", b'{"sdp": 5}', b"1" * 5000)


async def test_slow_endless_and_odd_requests_are_cut_off_or_refused_in_a_sentence(
    tmp_path: Path,
) -> None:
    headers = {"Content-Type": "application/json"}
    async with judged_call(tmp_path) as beside, aiohttp.ClientSession(headers=headers) as session:
        async with asyncio.TaskGroup() as tasks:
            for said in DROP_BY_DROP:
                tasks.create_task(drip(beside.port, said))
        assert await endless_header(beside.port) in (400, 431, 0)
        for name in NO_FILES:
            url = URL(f"{beside.url}/client/{name}", encoded=True)
            async with session.get(url) as answer:
                assert answer.status == 404
                assert list(await answer.json()) == ["detail"]
        for body in NO_OFFERS:
            async with session.post(f"{beside.url}/api/offer", data=body) as answer:
                told = await answer.json()
            assert answer.status in (400, 422), told
            assert list(told) == ["detail"], told
            assert isinstance(told["detail"], str), told
            assert "\n" not in told["detail"], told


async def test_a_client_that_does_not_read_is_cut_off(tmp_path: Path) -> None:
    asked = b"GET /client/client.js HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 1000
    async with judged_call(tmp_path) as beside, stranger(beside.port) as it:
        begun_s = beside.call.now_s
        it.writer.transport.pause_reading()  # pyright: ignore[reportAttributeAccessIssue]
        goes_on = await it.say(asked)
        while goes_on:
            await asyncio.sleep(5)
            goes_on = await it.say(b"GET")
            assert beside.call.now_s - begun_s < 60  # virtual


BAD_FRAMES = (
    b"\x81\x82\x00\x00\x00\x00\xff\xfe",  # text that is no UTF-8
    b"\xff\xff\xff\xff\xff\xff\xff\xff",  # no frame
    b"\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff",  # a frame of eight exabytes
)


async def abuse_socket(port: int, frame: bytes) -> None:
    async with stranger(port) as it:
        await it.say(
            b"GET /twilio/media HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        assert await it.status() == 101
        await it.say(frame)
        await it.closed()


async def abort_webhook(port: int) -> None:
    async with stranger(port) as it:
        await it.say(HEAD % b"/twilio/voice" + b"Content-Length: 500\r\n\r\nFrom=%2B1")
        it.writer.transport.abort()


async def test_broken_connections_leave_no_traceback_and_few_lines(
    tmp_path: Path, log_file: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async with judged_call(tmp_path) as beside, aiohttp.ClientSession() as session:
        for _ in range(20):
            await abort_webhook(beside.port)
            for frame in BAD_FRAMES:
                await abuse_socket(beside.port, frame)
            async with stranger(beside.port) as it:
                await it.say(b"\x16\x03\x01 no HTTP\r\n\r\n")
                await it.closed()
            url = f"{beside.url}/client/{'n' * 300}"
            async with session.get(url, headers={"Cookie": "holdline=\xff"}) as answer:
                assert answer.status == 404

    logs.flush()
    lines = log_file.read_text().splitlines()  # noqa: ASYNC240 - no task waits for it
    assert [line for line in lines if line.startswith("    ")] == []
    assert len([line for line in lines if " WARNING " in line]) < 30, lines
    assert "Traceback" not in capfd.readouterr().err


class Pipe:
    """A stopped terminal: it accepts 64 kB and then nothing."""

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()

    def write(self, text: str) -> int:
        return os.write(self.writing, text.encode())

    def flush(self) -> None:
        """Nothing is buffered."""

    def isatty(self) -> bool:
        return False

    def close(self) -> None:
        os.close(self.reading)  # a writer meets a broken pipe


async def test_a_blocked_terminal_does_not_stop_calls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Pipe()
    monkeypatch.setattr("sys.stderr", terminal)
    logs.set_up(level="INFO", folder=tmp_path)
    async with judged_call(tmp_path):
        for number in range(5000):
            logger.warning("{} {}", number, "x" * 500)
    lost = logs.WRITERS[0]._lost
    terminal.close()
    logger.remove()

    assert lost > 1000
