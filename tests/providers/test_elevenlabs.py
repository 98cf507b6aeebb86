"""ElevenLabs, against its simulator; its requests, against a server without checks."""

import base64
from typing import Any, ClassVar

import pytest
from pipecat.frames.frames import (
    InterruptionFrame,
    LLMFullResponseEndFrame,
    TTSSpeakFrame,
    TTSTextFrame,
    TTSUpdateSettingsFrame,
)
from pipecat.services.settings import TTSSettings

from providers.catalog import provider
from providers.provider import RungSpec
from tests.kit.bench import running
from tests.providers.recording_server import Asked, Notebook, notebook
from tests.providers.tts_conformance import SimulatedTts, reply

pytestmark = pytest.mark.virtual_time


class TestElevenLabs(SimulatedTts):
    kind: ClassVar[str] = "elevenlabs"
    model: ClassVar[str] = "eleven_flash_v2_5"


def rung_of(book: Notebook, **changes: Any) -> RungSpec:
    given = {"name": "it", "stage": "tts", "kind": "elevenlabs", "sample_rate_hz": 16_000}
    return RungSpec(
        **{**given, "url": f"ws://127.0.0.1:{book.port}", "api_key": "KEY", **changes},
    )


async def asked(*, rate_hz: int = 8000, **changes: Any) -> Asked:
    async with notebook() as book:
        rung = rung_of(book, sample_rate_hz=rate_hz, **changes)
        async with running(provider("tts", "elevenlabs").build(rung), rate_hz=rate_hz) as bench:
            await bench.put(TTSSpeakFrame("Hello there."))
            request, _ = await book.first_message()
            await bench.worker.cancel()
        return request


async def test_the_rungs_voice_model_and_language_are_requested() -> None:
    request = await asked(voice="VOICE", model="eleven_turbo_v2_5", language="es")

    assert request.path == "/v1/text-to-speech/VOICE/multi-stream-input"
    assert request.query["model_id"] == "eleven_turbo_v2_5"
    assert request.query["language_code"] == "es"


@pytest.mark.parametrize("rate_hz", [8000, 16000, 24000])
async def test_the_legs_rate_is_requested(rate_hz: int) -> None:
    request = await asked(rate_hz=rate_hz)

    assert request.query["output_format"] == f"pcm_{rate_hz}"


async def test_the_key_is_in_its_header_and_not_in_the_url() -> None:
    request = await asked()

    assert request.headers["xi-api-key"] == "KEY"
    assert "KEY" not in str(dict(request.query))


def letters(context: str, text: str) -> dict[str, Any]:
    """Return a message as ElevenLabs sends it: sound and the time of each letter."""
    return {
        "contextId": context,
        "audio": base64.b64encode(bytes(1600)).decode(),
        "alignment": {
            "chars": list(text),
            "charStartTimesMs": [10 * at for at in range(len(text))],
            "charDurationsMs": [10] * len(text),
        },
    }


async def test_letters_that_come_late_do_not_mix_with_the_next_replys() -> None:
    async with notebook() as book:
        service = provider("tts", "elevenlabs").build(rung_of(book))
        async with running(service) as bench:
            await bench.put(*reply("Hello there, this is cut."))
            _, opening = await book.first_message(lambda told: "context_id" in told)
            over = opening["context_id"]
            await book.emit(letters(over, "Hello there, this"))
            await bench.first(TTSTextFrame)
            await bench.put(InterruptionFrame())
            await bench.first(InterruptionFrame)
            since = len(bench.out)

            await bench.put(*reply("Goodbye now."))
            _, opening = await book.first_message(lambda told: told.get("context_id", over) != over)
            now = opening["context_id"]
            await book.emit(letters(now, "Good"), letters(over, " is"), letters(now, "bye now. "))
            await book.emit({"contextId": now, "isFinal": True})
            await bench.first(LLMFullResponseEndFrame, since=since)

    words = [frame.text for frame in bench.all(TTSTextFrame, since=since)]
    assert words == ["Goodbye", "now."]


@pytest.mark.parametrize(
    ("model", "connections"), [("eleven_multilingual_v2", 1), ("eleven_flash_v2_5", 2)]
)
async def test_another_language_is_a_new_connection_only_if_it_is_in_the_address(
    model: str, connections: int
) -> None:
    async with notebook() as book:
        service = provider("tts", "elevenlabs").build(rung_of(book, model=model))
        async with running(service) as bench:
            await bench.put(TTSUpdateSettingsFrame(delta=TTSSettings(language="es")))
            await bench.put(TTSSpeakFrame("Hola."))
            await book.first_message(lambda told: "Hola" in str(told.get("text")))
            await bench.worker.cancel()

    assert len(book.asked) == connections
