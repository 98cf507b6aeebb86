"""ElevenLabs: text to speech over its multi-context websocket, with character times."""

from typing import Final

from pipecat.services.elevenlabs.tts import ElevenLabsTTSService

from providers.http_probe import ask, http_twin
from providers.provider import Rung

MODEL: Final = "eleven_flash_v2_5"
VOICE: Final = "21m00Tcm4TlvDq8ikWAM"  # Rachel, of ElevenLabs' default voices


def build(rung: Rung) -> ElevenLabsTTSService:
    """Return a voice that speaks through this rung at the leg's own rate."""
    return ElevenLabsTTSService(
        api_key=rung.api_key,
        url=rung.url.rstrip("/"),
        sample_rate=rung.sample_rate_hz,
        settings=ElevenLabsTTSService.Settings(
            model=rung.model or MODEL,
            voice=rung.voice or VOICE,
            language=rung.language,
            **rung.options,
        ),
    )


async def probe(rung: Rung, *, timeout_s: float) -> None:
    """Read the subscription: it shows the key and the quota, and costs nothing."""
    await ask(
        http_twin(rung.url, "/v1/user/subscription"),
        headers={"xi-api-key": rung.api_key},
        timeout_s=timeout_s,
    )
