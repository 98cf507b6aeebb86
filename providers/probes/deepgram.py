"""Deepgram: send half a second of recorded speech, until a result arrives."""

import json
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode

from fallbacks.classification import classify_message
from fallbacks.symptoms import Moment, Symptom
from providers.deepgram import MODEL
from providers.probes.morsels import speech
from providers.probes.question import Question, Verdict, ask
from providers.provider import RungSpec

FINALIZE: Final = json.dumps({"type": "Finalize"})
CLOSE: Final = json.dumps({"type": "CloseStream"})


async def probe(rung: RungSpec, *, timeout_s: float) -> None:
    """Send half a second of speech; any result is an answer, whatever the language.

    Raises:
        ProbeFailedError: No result arrived in time.
    """
    samples, rate_hz = speech()
    query = {
        "model": rung.model or MODEL,
        "language": rung.language,
        "encoding": "linear16",
        "sample_rate": rate_hz,
        "interim_results": "true",
        "mip_opt_out": "true",
    }
    options = {**rung.options, **rung.options.get("extra", {})}
    query |= {
        key: _written(value)
        for key, value in options.items()
        if key != "extra" and value is not None
    }
    question = Question(
        url=f"{rung.url.rstrip('/')}/v1/listen?{urlencode(query, doseq=True)}",
        headers={"Authorization": f"Token {rung.api_key}"},
        messages=(samples, FINALIZE),
        read=_read,
        silence=Symptom.NO_RESULTS,
        goodbye=CLOSE,
    )
    await ask(question, rung, timeout_s=timeout_s)


def _written(value: Any) -> Any:
    return str(value).lower() if isinstance(value, bool) else value


def _read(message: Mapping[str, Any]) -> Verdict:
    match message.get("type"):
        case "Results":
            return True
        case "Error":
            return classify_message("deepgram", message, moment=Moment.ASKED)
        case _:
            return False
