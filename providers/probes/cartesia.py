"""Cartesia: synthesise two words, until the first sound arrives."""

import json
from collections.abc import Mapping
from typing import Any, Final

from fallbacks.classification import classify_message, classify_symptom
from fallbacks.symptoms import Moment, Symptom
from providers.cartesia import MODEL, VERSION, VOICE
from providers.probes.morsels import WORDS, audible
from providers.probes.question import Question, Verdict, ask
from providers.provider import RungSpec

CONTEXT: Final = "probe"


async def probe(rung: RungSpec, *, timeout_s: float) -> None:
    """Synthesise two words.

    Raises:
        ProbeFailedError: No sound arrived in time.
    """
    request = {
        "transcript": WORDS,
        "continue": False,
        "context_id": CONTEXT,
        "model_id": rung.model or MODEL,
        "voice": {"mode": "id", "id": rung.voice or VOICE},
        "language": rung.language,
        "output_format": {
            "container": "raw",
            "encoding": "pcm_s16le",
            "sample_rate": rung.sample_rate_hz,
        },
        "max_buffer_delay_ms": 0,
    }
    question = Question(
        url=rung.url,
        headers={"X-API-Key": rung.api_key, "Cartesia-Version": VERSION},
        messages=(json.dumps(request),),
        read=_read,
        silence=Symptom.NO_AUDIO,
        goodbye=json.dumps({"context_id": CONTEXT, "cancel": True}),
    )
    await ask(question, rung, timeout_s=timeout_s)


def _read(message: Mapping[str, Any]) -> Verdict:
    match message.get("type"):
        case "chunk":
            return audible(message.get("data"))
        case "error":
            return classify_message("cartesia", message, moment=Moment.ASKED)
        case "done":
            return classify_symptom(Symptom.SHORT_AUDIO)
        case _:
            return False
