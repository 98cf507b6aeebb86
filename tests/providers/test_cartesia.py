"""Cartesia, against its simulator; its requests, against a server without checks."""

from typing import Any, ClassVar

import pytest
from pipecat.frames.frames import TTSSpeakFrame

from providers.catalog import provider
from tests.kit.bench import rung_spec, running
from tests.providers.recording_server import notebook
from tests.providers.tts_conformance import SimulatedTts

pytestmark = pytest.mark.virtual_time


class TestCartesia(SimulatedTts):
    kind: ClassVar[str] = "cartesia"
    model: ClassVar[str] = "sonic-3"


async def asked(**changes: Any) -> tuple[dict[str, str], dict[str, Any]]:
    async with notebook() as book:
        rung = rung_spec("tts", "cartesia", f"ws://127.0.0.1:{book.port}/tts/websocket", **changes)
        async with running(provider("tts", "cartesia").build(rung), rate_hz=8000) as bench:
            await bench.put(TTSSpeakFrame("Hello there."))
            request, message = await book.first_message()
            await bench.worker.cancel()
        return {**request.query, **request.headers, "path": request.path}, message


async def test_voice_model_language_and_rate_are_requested() -> None:
    _, message = await asked(voice="VOICE", model="sonic-turbo", language="es")

    assert message["voice"] == {"mode": "id", "id": "VOICE"}
    assert (message["model_id"], message["language"]) == ("sonic-turbo", "es")
    assert message["output_format"]["sample_rate"] == 8000
    assert message["output_format"]["encoding"] == "pcm_s16le"
    assert message["add_timestamps"] is True


async def test_the_key_and_the_version_have_headers_of_their_own() -> None:
    request, _ = await asked(api_key="KEY")

    assert request["path"] == "/tts/websocket"
    assert "KEY" in (request.get("X-API-Key"), request.get("api_key"))
    assert request.get("Cartesia-Version") or request.get("cartesia_version")
