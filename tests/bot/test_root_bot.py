"""`bot.py` at the root: Pipecat's own runner in front of our calls."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import numpy as np
import pytest
import yaml
from aiortc import (
    AudioStreamTrack,
    MediaStreamTrack,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError

from lab.process import RunningLab
from lab.simulators.carrier.carrier import Carrier
from lab.simulators.carrier.webhook import CallInstructions, read_twiml
from tests.bot.serving import configuration, free_port
from tests.e2e.conftest import network

__all__ = ["network"]

ROOT = Path(__file__).parents[2]
GREETING = "Hello, this is Holdline. How can I help?"
FAREWELL = "Thank you for calling. Goodbye."
PROXY = "phone.example.com"
RATE_HZ = 8_000


@asynccontextmanager
async def hosted(
    lab: RunningLab,
    folder: Path,
    *arguments: str,
    environment: Mapping[str, str] | None = None,
) -> AsyncIterator[str]:
    """Run `python bot.py` while the block runs; return its address."""
    async with hosting(lab, folder, *arguments, environment=environment) as (url, _):
        yield url


@asynccontextmanager
async def hosting(
    lab: RunningLab,
    folder: Path,
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    drain_s: float = 5,
) -> AsyncIterator[tuple[str, asyncio.subprocess.Process]]:
    """Run `python bot.py` while the block runs; yield its address and the process."""
    port = free_port()
    tree, keys = configuration(lab, port, folder / "logs")
    tree["shutdown"] = {"drain_s": drain_s}
    keys |= environment or {}
    (folder / "holdline.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(ROOT / "bot.py"), *arguments,
        "--host", "127.0.0.1", "--port", str(port),
        env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **keys},
        cwd=folder, stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        await answering(url, process)
        yield url, process
    finally:
        if process.returncode is None:
            process.terminate()
        async with asyncio.timeout(20):
            await process.wait()


async def answering(url: str, process: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(90), aiohttp.ClientSession() as session:
        while process.returncode is None:
            try:
                async with session.get(f"{url}/client/") as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientConnectionError:
                pass
            await asyncio.sleep(0.1)
    raise RuntimeError(f"bot.py ended with {process.returncode}")


def entries(folder: Path) -> list[dict[str, object]]:
    paths = (folder / "logs" / "calls").glob("*.jsonl")
    return [json.loads(line) for path in paths for line in path.read_text().splitlines()]


def said(folder: Path) -> list[object]:
    return [entry["text"] for entry in entries(folder) if entry["event"] == "AgentSaid"]


async def until_ended(folder: Path) -> dict[str, object]:
    async with asyncio.timeout(15):
        while True:
            for entry in entries(folder):
                if entry["event"] == "CallEnded":
                    return entry
            await asyncio.sleep(0.1)


class BrowserPage:
    """A browser without a page: offers a call, pings and listens."""

    def __init__(self) -> None:
        self.heard_s = 0.0
        self.heard = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._line = RTCPeerConnection()
        self._line.addTrack(AudioStreamTrack())
        channel = self._line.createDataChannel("chat")

        async def ping() -> None:
            while channel.readyState == "open":
                channel.send("ping: 1")
                await asyncio.sleep(0.2)

        channel.on("open", lambda: self._tasks.append(asyncio.ensure_future(ping())))
        self._line.on("track", lambda of: self._tasks.append(asyncio.ensure_future(self._hear(of))))

    async def call(self, url: str) -> None:
        """Offer a call and apply the answer, as our page does."""
        async with aiohttp.ClientSession() as session, session.get(f"{url}/api/offer") as needs:
            assert (needs.status, await needs.json()) == (200, {"ice_servers": []})
        await self._line.setLocalDescription(await self._line.createOffer())
        mine = self._line.localDescription
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{url}/api/offer", json={"sdp": mine.sdp, "type": mine.type}) as answer,
        ):
            theirs = await answer.json()
        await self._line.setRemoteDescription(
            RTCSessionDescription(sdp=theirs["sdp"], type=theirs["type"])
        )

    async def hang_up(self, reason: str = "") -> None:
        """Close the connection."""
        for task in self._tasks:
            task.cancel()
        await self._line.close()

    async def _hear(self, track: MediaStreamTrack) -> None:
        while True:
            try:
                frame = await track.recv()
            except MediaStreamError:
                return
            if np.abs(frame.to_ndarray().astype(np.int32)).max() > 300:  # type: ignore[union-attr]
                self.heard_s += 0.02
            if self.heard_s > 1.0:
                self.heard.set()


@pytest.fixture
def ring_at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """Point Twilio's number at the runner."""

    async def ring(
        session: aiohttp.ClientSession, form: Mapping[str, str], *, base_url: str, **_: str
    ) -> CallInstructions:
        async with session.post(f"{base_url}/", data=form) as answer:  # the runner's address
            return read_twiml(await answer.text())

    monkeypatch.setattr("lab.simulators.carrier.manner.ring", ring)


@pytest.mark.slow
@pytest.mark.usefixtures("ring_at_the_root")
async def test_a_telephone_call_through_pipecats_runner_says_goodbye_at_sigterm(
    tmp_path: Path, lab: RunningLab
) -> None:
    async with (
        asyncio.timeout(150),
        hosting(lab, tmp_path, "-t", "twilio", "--proxy", PROXY, drain_s=1) as (url, process),
        Carrier(url, "no token", public_url=f"https://{PROXY}") as call,
    ):
        await call.listen(within_s=50)  # it loads everything again for each caller
        process.terminate()
        await call.ended.wait()
        code = await process.wait()

    assert code == 0
    assert call.complaints == []
    assert said(tmp_path) == [GREETING, FAREWELL]
    assert (await until_ended(tmp_path))["reason"] == "shutdown"


@pytest.mark.slow
@pytest.mark.usefixtures("network")
async def test_sigterm_waits_for_a_browsers_call_through_pipecats_runner_no_longer_than_it_may(
    tmp_path: Path, lab: RunningLab
) -> None:
    async with (
        asyncio.timeout(150),
        hosting(lab, tmp_path, "-t", "webrtc", drain_s=1) as (url, process),
    ):
        page = BrowserPage()
        await page.call(url)
        async with asyncio.timeout(50):
            await page.heard.wait()
        process.terminate()
        assert await process.wait() == 0
        await page.hang_up()

    assert (await until_ended(tmp_path))["reason"] == "shutdown"
    assert str(said(tmp_path)[0]).startswith("Hello, this is Holdline.")


async def post_slowly(url: str, body: bytes) -> tuple[int, bool]:
    """Announce a body's length, send a part, and return the answer and whether a reason was named.

    If the client sends on after the refusal, it finds the connection closed, sooner or later.
    """
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    head = f"POST /files HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Type: multipart/form-data; "
    head += f"boundary=x\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body[:1000])
    answer = (await reader.readuntil(b"\r\n\r\n")).decode()
    writer.close()
    return int(answer.split()[1]), "\r\nserver:" in answer.lower()


@pytest.mark.slow
async def test_unauthenticated_clients_are_bounded_in_pipecats_runner_too(
    tmp_path: Path, lab: RunningLab
) -> None:
    large = b"x" * 200_000
    compressed = {"Sec-WebSocket-Extensions": "permessage-deflate"}
    async with (
        asyncio.timeout(90),
        hosting(lab, tmp_path, "-t", "twilio", "--proxy", PROXY) as (url, _),
        aiohttp.ClientSession() as session,
    ):
        refused, named = await post_slowly(url, large)
        async with session.ws_connect(f"{url}/ws", compress=15, headers=compressed) as socket:
            deflates = socket.compress

    assert (refused, deflates, named) == (413, 0, False)


def test_a_mistake_is_one_line_and_exit_2(tmp_path: Path) -> None:
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, ROOT / "bot.py", "-t", "webrtc"],
        capture_output=True, text=True, cwd=tmp_path, env={"PATH": os.environ["PATH"]}, check=False,
    )  # fmt: skip

    assert done.returncode == 2
    assert "names OPENAI_API_KEY, which is not set" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_root_bot_stays_ten_lines() -> None:
    code = [line for line in (ROOT / "bot.py").read_text().splitlines() if line.strip()]

    assert len(code) <= 10
