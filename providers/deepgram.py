"""Deepgram: speech to text over its streaming websocket."""

from typing import Final

from pipecat.services.deepgram.stt import DeepgramSTTService

from providers.http_probe import ask, http_twin
from providers.provider import Rung

MODEL: Final = "nova-3"


def build(rung: Rung) -> DeepgramSTTService:
    """Return a recogniser that streams to this rung."""
    return DeepgramSTTService(
        api_key=rung.api_key,
        base_url=rung.url,
        sample_rate=rung.sample_rate_hz,
        mip_opt_out=True,  # the caller's voice is not for training
        settings=DeepgramSTTService.Settings(
            model=rung.model or MODEL,
            language=rung.language,
            interim_results=True,
            smart_format=False,  # waits for whole entities before it answers
            **rung.options,
        ),
    )


async def probe(rung: Rung, *, timeout_s: float) -> None:
    """List the key's projects: authenticated, free, no audio."""
    await ask(
        http_twin(rung.url, "/v1/projects"),
        headers={"Authorization": f"Token {rung.api_key}"},
        timeout_s=timeout_s,
    )
