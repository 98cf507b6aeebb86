"""Simulated providers with protocols of their own, and how an owner's rungs name their services."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Final

from aiohttp import web

from lab.simulators.openai.request import ChatRequest
from lab.simulators.openai.simulator import OpenAISimulator
from lab.simulators.openai.stream import AnswerStream
from tests.providers.adapter import own_models, own_recogniser, own_voices

MODULES: Final = (own_models, own_recogniser, own_voices)
RUNGS: Final[Mapping[str, Mapping[str, Any]]] = {
    "stt": {"service": "own_recogniser:OwnRecogniser"},
    "llm": {"service": "own_models:OwnModel", "path": "/ask"},
    "tts": {"service": "own_voices:SocketVoice", "path": "/v1/speak", "rate_hz": 16_000},
}
"""By stage: the service, in a file next to the configuration, and its rung's other settings."""


def copy_services(folder: Path) -> None:
    """Put the services next to the configuration in a folder, as an owner would."""
    folder.mkdir(parents=True, exist_ok=True)
    for module in MODULES:
        source = Path(str(module.__file__))
        (folder / source.name).write_text(source.read_text(encoding="utf-8"), encoding="utf-8")


class OwnStream(AnswerStream):
    """Lines of JSON: a text, or the reason of the end."""

    keep_alive = b""
    garbage = b'{"text\x00\n'

    def encode(self, chunk: Mapping[str, Any]) -> bytes:
        choice = chunk["choices"][0]
        if choice["finish_reason"]:
            return json.dumps({"why": choice["finish_reason"]}).encode() + b"\n"
        return json.dumps({"text": choice["delta"].get("content") or ""}).encode() + b"\n"

    def encode_error(self, status: int, code: str | None) -> bytes:
        return json.dumps({"error": code or status}).encode() + b"\n"

    def encode_end(self) -> bytes:
        return b""


class OwnModelSimulator(OpenAISimulator):
    """One account at the owner's model."""

    kind: ClassVar[str] = "own-model"
    base_path = ""
    stream = OwnStream

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/ask", self.chat)]

    def is_authorised(self, request: web.Request) -> bool:
        return request.headers.get("token") == self.api_key

    def error_response(
        self, status: int, *, code: str | None = None, retry_after_s: float | None = None
    ) -> web.Response:
        del retry_after_s
        return web.json_response({"error": code or status}, status=status)

    def read(self, body: Any, request: web.Request) -> ChatRequest:
        del request
        return ChatRequest(model="own", messages=body["messages"], tools=[], stream=True)
