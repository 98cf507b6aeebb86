"""Keys and callers' words go only to the provider's configured address."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from fallbacks.failure import Failure, Kind
from providers import openai
from providers.catalog import PROVIDERS, provider
from providers.provider import ProbeFailedError, Provider, RungSpec, Stage
from tests.kit.bench import rung_spec, running
from tests.kit.waiting import until
from tests.providers.adapter.test_voice import attempt
from tests.providers.test_tapped_voice import Ear

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

REMOTE = [item for item in PROVIDERS if item.url]


def remote(stage: Stage) -> list[str]:
    return [item.kind for item in REMOTE if item.stage == stage]


@asynccontextmanager
async def listening(answer: Answer) -> AsyncIterator[int]:
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


class Elsewhere:
    """Another host, and one in the provider's place that points there."""

    def __init__(self, scheme: str) -> None:
        self.scheme = scheme
        self.asked = 0  # requests to the host in the provider's place
        self.reached: list[bytes] = []  # requests to the other host
        self.port = 0

    async def point(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(
            b"HTTP/1.1 307 Temporary Redirect\r\nContent-Length: 0\r\nConnection: close\r\n"
            + f"Location: {self.scheme}://127.0.0.1:{self.port}/\r\n\r\n".encode()
        )
        writer.close()

    async def reach(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reached.append(await reader.readline())
        writer.close()


@asynccontextmanager
async def redirected(stage: Stage, kind: str) -> AsyncIterator[tuple[RungSpec, Elsewhere]]:
    scheme = provider(stage, kind).facts.schemes[-1]
    found = Elsewhere(scheme)
    async with listening(found.reach) as found.port, listening(found.point) as port:
        yield (
            rung_spec(stage, kind, f"{scheme}://127.0.0.1:{port}", api_key="sk-of-ours"),
            found,
        )


@pytest.mark.parametrize("item", REMOTE, ids=lambda item: f"{item.stage}-{item.kind}")
async def test_a_probe_follows_no_redirect(item: Provider) -> None:
    async with redirected(item.stage, item.kind) as (rung, elsewhere):
        with pytest.raises(ProbeFailedError) as failed:
            await item.probe_for_real(rung, timeout_s=5.0)

    assert failed.value.failure(rung).kind is Kind.PROTOCOL
    assert (elsewhere.asked, elsewhere.reached) == (1, [])


@pytest.mark.parametrize("kind", remote("tts"))
async def test_a_voice_follows_no_redirect(kind: str) -> None:
    async with redirected("tts", kind) as (rung, elsewhere):
        ear, service = Ear(), provider("tts", kind).build(rung)
        service.listen(ear)  # type: ignore[attr-defined]
        async with running(service, rate_hz=8000) as bench:
            if "connected" in ear.told:  # a voice without a connection asks only for speech
                await bench.put(*attempt(1, "What a caller hears."))
                await until(lambda: len(ear.told) > 1, within_s=5.0)
            await bench.worker.cancel()

    told = [event[1] if isinstance(event, tuple) else event for event in ear.told]
    failure = next(event for event in told if isinstance(event, Failure))
    assert failure.kind is Kind.PROTOCOL
    assert elsewhere.asked
    assert elsewhere.reached == []


@pytest.mark.virtual_time
@pytest.mark.parametrize("kind", remote("stt"))
async def test_a_recogniser_follows_no_redirect(kind: str) -> None:
    async with redirected("stt", kind) as (rung, elsewhere):
        service = provider("stt", kind).build(rung)
        async with running(service, rate_hz=8000) as bench:
            await bench.worker.cancel()

    assert elsewhere.asked
    assert elsewhere.reached == []


async def test_a_model_follows_no_redirect() -> None:
    async with redirected("llm", "openai") as (rung, elsewhere), openai.share(rung) as client:
        with pytest.raises(openai.openai.APIStatusError) as refused:
            await client.chat.completions.create(
                model="any", messages=[{"role": "user", "content": "what a caller says"}]
            )

    assert openai.sdk_failure_of(refused.value, "it", flowing=False).kind is Kind.PROTOCOL
    assert elsewhere.reached == []
