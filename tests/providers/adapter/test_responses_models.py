"""A model that keeps one websocket between its answers: OpenAI's Responses service."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from pipecat.processors.aggregators.llm_context import LLMContext

from fallbacks.failure import Kind
from providers.adapter.model import build
from tests.kit.bench import rung_spec
from tests.providers.adapter.test_model import ask

pytestmark = pytest.mark.virtual_time

SERVICE = "pipecat.services.openai.responses.llm:OpenAIResponsesLLMService"
WORDS = ["costs ", "forty ", "euros."]


class ResponsesServer:
    """Answers with the number of the request and `WORDS`."""

    def __init__(self, *, cuts: int = 0, hangs: int = 0, refused: int = 0) -> None:
        self.hangs = hangs  # the request that is not answered further after two words
        self.cuts = cuts  # the request whose connection is lost after two words
        self.refused = refused  # handshakes that are still refused
        self.asked = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if self.refused:
            self.refused -= 1
            raise web.HTTPUnauthorized
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            if json.loads(message.data)["type"] == "response.create":
                self.asked += 1
                await self._send_answer(request, socket, self.asked)
        return socket

    async def _send_answer(self, request: web.Request, socket: Any, number: int) -> None:
        response = {"id": f"r{number}", "model": "m", "output": []}
        await socket.send_json({"type": "response.created", "response": response})
        for sent, word in enumerate([f"{number} ", *WORDS]):
            if number == self.hangs and sent == 2:
                await asyncio.sleep(60.0)
            if number == self.cuts and sent == 2:
                request.transport.abort()  # type: ignore[union-attr]
                return
            await socket.send_json({"type": "response.output_text.delta", "delta": word})
            await asyncio.sleep(0.02)
        await socket.send_json({"type": "response.completed", "response": response})


@asynccontextmanager
async def model_at(server: ResponsesServer) -> AsyncIterator[Any]:
    app = web.Application()
    app.router.add_get("/", server.answer)
    async with TestServer(app) as http:
        url = str(http.make_url("/")).replace("http", "ws")
        model = build(rung_spec("llm", "pipecat", url, service=SERVICE, model="m", timeout_s=2.0))
        yield model
        await model.close()


async def test_an_answer_whose_connection_is_lost_is_not_begun_again() -> None:
    async with model_at(ResponsesServer(cuts=1)) as model:
        cut, whole = await ask(model), await ask(model)

    assert cut.text == "1 costs "
    assert cut.failure is not None
    assert cut.failure.kind is Kind.CUT
    assert (whole.text, whole.failure) == ("2 costs forty euros.", None)


async def test_a_refused_connection_is_a_failure_at_once_and_the_next_answer_connects() -> None:
    async with model_at(ResponsesServer(refused=2)) as model, asyncio.timeout(1.0):
        refused, whole = await ask(model), await ask(model)

    assert refused.failure is not None
    assert refused.failure.kind is Kind.AUTH
    assert (whole.text, whole.failure) == ("1 costs forty euros.", None)


async def test_answers_on_one_connection_do_not_mix() -> None:
    async with model_at(ResponsesServer()) as model:
        question = LLMContext([{"role": "user", "content": "How much?"}])
        async with aclosing(model.ask(question, on_answered=lambda: None)) as left:
            await anext(left)
        both = await asyncio.gather(ask(model), ask(model))
        last = await ask(model)

    texts = [got.text for got in (*both, last)]
    assert texts == [f"{number} costs forty euros." for number in (2, 3, 4)]


async def test_an_answer_that_hung_and_was_left_does_not_delay_the_next_one() -> None:
    async with model_at(ResponsesServer(hangs=1)) as model:
        question = LLMContext([{"role": "user", "content": "How much?"}])
        async with aclosing(model.ask(question, on_answered=lambda: None)) as left:
            await anext(left)
        async with asyncio.timeout(0.5):
            got = await ask(model)

    assert (got.text, got.failure) == ("2 costs forty euros.", None)
