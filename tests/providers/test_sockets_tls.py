"""Sockets to providers: no certificates read in a call, and no compression."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from openai import APIStatusError
from websockets.asyncio.server import ServerConnection, serve

from bot.call.models import VoiceModels, warm_up
from providers import cartesia, deepgram, elevenlabs, openai
from providers.provider import RungSpec, Stage
from providers.sockets import tls_context, tls_for
from tests.kit.bench import rung_spec
from tests.kit.certificate import write_certificate

Connect = Callable[[str], Awaitable[None]]


@pytest.fixture
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Trust a certificate of our own, and forget it afterwards."""
    both = write_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(both))
    tls_context.cache_clear()
    yield both
    tls_context.cache_clear()


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that grows with every reading of the certificates."""
    times: list[str] = []

    def noting(whole: Callable[..., None]) -> Callable[..., None]:
        def noted(context: ssl.SSLContext, *args: Any, **named: Any) -> None:
            times.append("read")
            whole(context, *args, **named)

        return noted

    for name in ("load_default_certs", "load_verify_locations"):
        monkeypatch.setattr(ssl.SSLContext, name, noting(getattr(ssl.SSLContext, name)))
    return times


@asynccontextmanager
async def provider(both: Path, offers: list[str | None] | None = None) -> AsyncIterator[str]:
    """Run a TLS websocket server that accepts everything, and yield its address.

    Args:
        both: Key and certificate.
        offers: Receives the extensions that each connection offers.
    """
    secure = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    secure.load_cert_chain(both)

    async def listen(socket: ServerConnection) -> None:
        assert socket.request
        if offers is not None:
            offers.append(socket.request.headers.get("Sec-WebSocket-Extensions"))
        async for _ in socket:
            pass

    async with serve(listen, "127.0.0.1", 0, ssl=secure) as server:
        yield f"wss://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def rung(kind: str, url: str) -> RungSpec:
    stages: dict[str, Stage] = {"deepgram": "stt", "openai": "llm"}
    stage = stages.get(kind, "tts")
    return rung_spec(stage, kind, url, name=kind, voice="v")


async def connect_cartesia(url: str) -> None:
    socket = await cartesia.build(rung("cartesia", url))._websocket_connect(url)
    await socket.close()


async def connect_elevenlabs(url: str) -> None:
    socket = await elevenlabs.build(rung("elevenlabs", url))._websocket_connect(url)
    await socket.close()


async def connect_deepgram(url: str) -> None:
    service = deepgram.build(rung("deepgram", url))
    async with service._client.listen.v1.connect(model="nova-3"):
        pass


async def connect_openai(url: str) -> None:
    async with openai.share(rung("openai", url.replace("wss:", "https:"))) as client:
        with pytest.raises(APIStatusError) as refused:  # by the socket's server, behind its TLS
            await client.models.list()
    assert refused.value.status_code == HTTPStatus.UPGRADE_REQUIRED


@pytest.mark.parametrize(
    "connect", [connect_cartesia, connect_elevenlabs, connect_deepgram, connect_openai]
)
async def test_the_certificates_are_read_once_however_often_we_connect(
    trusted: Path, read: list[str], connect: Connect
) -> None:
    async with asyncio.timeout(20), provider(trusted) as url:
        for _ in range(3):
            await connect(url)

    assert read == ["read"]


async def test_the_certificates_are_read_before_the_first_call(
    trusted: Path, read: list[str]
) -> None:
    await warm_up(await asyncio.to_thread(VoiceModels.load))
    before = len(read)

    async with asyncio.timeout(20), provider(trusted) as url:
        await connect_deepgram(url)
        await connect_cartesia(url)

    assert len(read) == before


@pytest.mark.parametrize("connect", [connect_cartesia, connect_elevenlabs, connect_deepgram])
async def test_no_socket_for_sound_offers_to_compress(trusted: Path, connect: Connect) -> None:
    offers = list[str | None]()

    async with asyncio.timeout(20), provider(trusted, offers) as url:
        await connect(url)

    assert offers == [None]


def test_an_address_without_tls_gets_none() -> None:
    assert tls_for("ws://127.0.0.1:1") is None
    assert tls_for("wss://127.0.0.1:1") is tls_context()
