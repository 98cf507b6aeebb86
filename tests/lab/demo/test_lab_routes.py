"""A demo describes its lab over HTTP."""

import httpx
from fastapi import FastAPI

from lab.demo.lab_routes import lab_router
from lab.process import RunningLab

LAB = RunningLab(
    control_url="http://127.0.0.1:9",
    control_token="secret-of-the-control",
    instances=[
        {"name": "cartesia", "kind": "cartesia", "url": "ws://127.0.0.1:9/tts/websocket"}
        | {"port": 9, "api_key": "key-of-the-lab"},
    ],
)


async def test_a_command_without_keys_is_given_the_simulated_ladders() -> None:
    app = FastAPI()
    app.include_router(lab_router(LAB))
    transport = httpx.ASGITransport(app)

    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        answer = await client.get("/api/lab/stages")

    assert answer.json()["tts"] == [
        {
            "name": "cartesia",
            "kind": "cartesia",
            "url": "ws://127.0.0.1:9/tts/websocket",
            "api_key": "key-of-the-lab",
        }
    ]
    assert "secret-of-the-control" not in answer.text
