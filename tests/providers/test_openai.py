"""OpenAI, against its simulator; its requests, against a server without checks."""

import asyncio
import inspect
from typing import Any, ClassVar

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from pipecat.frames.frames import LLMContextFrame
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.services.openai.llm import OpenAILLMService

from providers.catalog import provider
from providers.openai import IDLE_S, build, share
from tests.kit.bench import rung_spec, running
from tests.providers.llm_conformance import ASKED, LlmConformance
from tests.providers.recording_server import Asked, notebook

pytestmark = pytest.mark.virtual_time


class TestOpenAI(LlmConformance):
    kind: ClassVar[str] = "openai"
    model: ClassVar[str] = "gpt-4.1-mini"


async def asked(**changes: Any) -> tuple[Asked, dict[str, Any]]:
    async with notebook() as book:
        url = f"http://127.0.0.1:{book.port}/v1"
        rung = rung_spec("llm", "openai", url, **changes)
        async with running(provider("llm", "openai").build(rung)) as bench:
            await bench.put(LLMContextFrame(LLMContext(list(ASKED))))
            found = await book.first_message()
            await bench.worker.cancel()
        return found


async def test_the_rungs_model_options_and_instructions_are_requested() -> None:
    _, body = await asked(
        model="gpt-4.1-nano", options={"temperature": 0.2}, instructions="Be brief."
    )

    assert (body["model"], body["temperature"], body["stream"]) == ("gpt-4.1-nano", 0.2, True)
    assert body["messages"][0]["content"] == "Be brief."


async def test_the_key_is_a_bearer_token() -> None:
    request, _ = await asked(api_key="KEY")

    assert request.path == "/v1/chat/completions"
    assert request.headers["Authorization"] == "Bearer KEY"


def test_its_client_asks_once_and_waits_as_long_as_the_rung_says() -> None:
    rung = rung_spec("llm", "openai", timeout_s=7.0)
    service: Any = build(rung)

    assert service._client.max_retries == 0
    assert service._client.timeout.read == 7.0
    assert service._client.timeout.connect == 1.0


async def test_an_unneeded_connection_is_closed() -> None:
    both = asyncio.Barrier(2)
    lines: list[asyncio.Transport] = []

    async def answer(request: web.Request) -> web.Response:
        if request.transport:
            lines.append(request.transport)
        if len(lines) <= both.parties:
            await both.wait()
        return web.json_response({"data": [], "object": "list"})

    app = web.Application()
    app.router.add_get("/models", answer)
    async with TestServer(app) as server:
        rung = rung_spec("llm", "openai", str(server.make_url("/")))
        async with share(rung) as client, asyncio.timeout(3 * IDLE_S):
            await asyncio.gather(client.models.list(), client.models.list())
            await client.models.list()
            assert len({*lines}) == both.parties
            assert not any(line.is_closing() for line in lines)

            await asyncio.sleep(IDLE_S + 1.0)
            await client.models.list()

            while not all(line.is_closing() for line in lines[:3]):  # noqa: ASYNC110 - there is no event
                await asyncio.sleep(0.1)
            assert not lines[-1].is_closing()


def test_pipecat_still_makes_its_client_in_the_method_that_we_override() -> None:
    parameters = inspect.signature(OpenAILLMService.create_client).parameters

    assert [*parameters][:3] == ["self", "api_key", "base_url"]
    assert "self.create_client(" in inspect.getsource(inspect.getmodule(OpenAILLMService.__base__))
