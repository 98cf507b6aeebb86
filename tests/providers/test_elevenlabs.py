"""ElevenLabs, against its simulator; what it asks, against a server without opinions."""

from typing import Any, ClassVar

import pytest
from pipecat.frames.frames import TTSSpeakFrame

from providers.catalog import provider
from providers.provider import Rung
from tests.providers.bench import running
from tests.providers.notebook import Asked, notebook
from tests.providers.tts_conformance import SimulatedTts


class TestElevenLabs(SimulatedTts):
    kind: ClassVar[str] = "elevenlabs"
    model: ClassVar[str] = "eleven_flash_v2_5"


async def asked(*, rate_hz: int = 8000, **changes: Any) -> Asked:
    async with notebook() as book:
        rung = Rung(
            name="it",
            stage="tts",
            kind="elevenlabs",
            url=f"ws://127.0.0.1:{book.port}",
            sample_rate_hz=rate_hz,
            api_key="KEY",
            **changes,
        )
        async with running(provider("tts", "elevenlabs").build(rung), rate_hz=rate_hz) as bench:
            await bench.put(TTSSpeakFrame("Hello there."))
            request, _ = await book.first_message()
            await bench.worker.cancel()
        return request


async def test_the_rungs_voice_model_and_language_are_asked_for() -> None:
    request = await asked(voice="VOICE", model="eleven_turbo_v2_5", language="es")

    assert request.path == "/v1/text-to-speech/VOICE/multi-stream-input"
    assert request.query["model_id"] == "eleven_turbo_v2_5"
    assert request.query["language_code"] == "es"


@pytest.mark.parametrize("rate_hz", [8000, 16000, 24000])
async def test_the_legs_rate_is_asked_for(rate_hz: int) -> None:
    request = await asked(rate_hz=rate_hz)

    assert request.query["output_format"] == f"pcm_{rate_hz}"


async def test_the_key_travels_in_its_header_and_not_in_the_url() -> None:
    request = await asked()

    assert request.headers["xi-api-key"] == "KEY"
    assert "KEY" not in str(dict(request.query))
