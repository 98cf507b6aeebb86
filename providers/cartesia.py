"""Cartesia: text to speech over its websocket, with word times."""

from typing import Final

from pipecat.services.cartesia.tts import CartesiaTTSService

from providers.http_probe import ask, http_twin
from providers.provider import Rung

MODEL: Final = "sonic-3"
VOICE: Final = "e07c00bc-4134-4eae-9ea4-1a55fb45746b"  # Brooke, of Cartesia's public library
VERSION: Final = "2026-03-01"  # the API version that Pipecat 1.14 speaks


def build(rung: Rung) -> CartesiaTTSService:
    """Return a voice that speaks through this rung at the leg's own rate."""
    return CartesiaTTSService(
        api_key=rung.api_key,
        url=rung.url,
        sample_rate=rung.sample_rate_hz,
        settings=CartesiaTTSService.Settings(
            model=rung.model or MODEL,
            voice=rung.voice or VOICE,
            language=rung.language,
            **rung.options,
        ),
    )


async def probe(rung: Rung, *, timeout_s: float) -> None:
    """List one voice: authenticated, free, no synthesis."""
    await ask(
        http_twin(rung.url, "/voices") + "?limit=1",
        headers={"X-API-Key": rung.api_key, "Cartesia-Version": VERSION},
        timeout_s=timeout_s,
    )
