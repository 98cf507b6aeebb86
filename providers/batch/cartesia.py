"""Cartesia: a whole text in one request."""

import json

from providers.batch.post import BatchRequest, check_sound, http_base, patience_s, post
from providers.cartesia import MODEL, VERSION, VOICE
from providers.provider import RungSpec


async def synthesise(rung: RungSpec, text: str) -> bytes:
    """Return a text as linear 16-bit samples at the rung's rate.

    Raises:
        ServiceError: Cartesia failed; holds the failure.
    """
    body = {
        "model_id": rung.model or MODEL,
        "transcript": text,
        "voice": {"mode": "id", "id": rung.voice or VOICE},
        "language": rung.language,
        "output_format": {
            "container": "raw",
            "encoding": "pcm_s16le",
            "sample_rate": rung.sample_rate_hz,
        },
    }
    request = BatchRequest(
        # This kind's url is the whole websocket URL; the batch route is next to it.
        url=f"{http_base(rung.url).rpartition('/')[0]}/bytes",
        headers={
            "X-API-Key": rung.api_key,
            "Cartesia-Version": VERSION,
            "Content-Type": "application/json",
        },
        body=json.dumps(body).encode(),
        within_s=patience_s(rung, text),
    )
    return check_sound(await post(request, rung), rung, text)
