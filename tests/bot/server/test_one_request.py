"""With several processes each answer closes its connection."""

import httpx
from fastapi import FastAPI

from bot.server.limits import OneRequest


async def test_an_answer_closes_its_connection() -> None:
    app = FastAPI()
    app.add_middleware(OneRequest)

    @app.get("/")
    async def root() -> str:
        return "here"

    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://holdline.test"
    ) as client:
        answer = await client.get("/")

    assert (answer.text, answer.headers["connection"]) == ('"here"', "close")
