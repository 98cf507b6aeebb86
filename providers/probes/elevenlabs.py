"""ElevenLabs: synthesise two words, until the first sound arrives."""

import json
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode

from fallbacks.classification import classify_message, classify_symptom
from fallbacks.symptoms import Moment, Symptom
from providers.elevenlabs import MODEL, VOICE
from providers.probes.morsels import WORDS, audible
from providers.probes.question import Question, Verdict, ask
from providers.provider import RungSpec

CONTEXT: Final = "probe"


async def probe(rung: RungSpec, *, timeout_s: float) -> None:
    """Synthesise two words.

    Raises:
        ProbeFailedError: No sound arrived in time.
    """
    voice = quote(rung.voice or VOICE, safe="")
    query = {
        "model_id": rung.model or MODEL,
        "output_format": f"pcm_{rung.sample_rate_hz}",
        "auto_mode": "true",
    }
    messages = (
        {"text": " ", "context_id": CONTEXT},  # opens the context, before any text
        {"text": f"{WORDS} ", "context_id": CONTEXT},
        {"context_id": CONTEXT, "flush": True},
    )
    question = Question(
        url=f"{rung.url.rstrip('/')}/v1/text-to-speech/{voice}/multi-stream-input?{urlencode(query)}",
        headers={"xi-api-key": rung.api_key},
        messages=tuple(json.dumps(message) for message in messages),
        read=_read,
        silence=Symptom.NO_AUDIO,
        goodbye=json.dumps({"close_socket": True}),
    )
    await ask(question, rung, timeout_s=timeout_s)


def _read(message: Mapping[str, Any]) -> Verdict:
    if message.get("error"):
        return classify_message("elevenlabs", message, moment=Moment.ASKED)
    if message.get("audio"):
        return audible(message["audio"])
    ended = message.get("isFinal") or message.get("is_final")
    return classify_symptom(Symptom.SHORT_AUDIO) if ended else False
