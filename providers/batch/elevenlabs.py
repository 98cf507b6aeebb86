"""ElevenLabs: a whole text in one request."""

import json
from typing import Final
from urllib.parse import quote

from providers.batch.post import BatchRequest, check_sound, http_base, patience_s, post
from providers.elevenlabs import MODEL, VOICE
from providers.provider import RungSpec

MULTILINGUAL: Final = ("eleven_flash_v2_5", "eleven_turbo_v2_5")  # those that take a language


async def synthesise(rung: RungSpec, text: str) -> bytes:
    """Return a text as linear 16-bit samples at the rung's rate.

    Raises:
        ServiceError: ElevenLabs failed; holds the failure.
    """
    model = rung.model or MODEL
    body = {"text": text, "model_id": model}
    if model in MULTILINGUAL:
        body["language_code"] = rung.language.partition("-")[0]
    voice = quote(rung.voice or VOICE, safe="")
    request = BatchRequest(
        url=f"{http_base(rung.url)}/v1/text-to-speech/{voice}/stream",
        query={"output_format": f"pcm_{rung.sample_rate_hz}"},
        headers={"xi-api-key": rung.api_key, "Content-Type": "application/json"},
        body=json.dumps(body).encode(),
        within_s=patience_s(rung, text),
    )
    return check_sound(await post(request, rung), rung, text)
