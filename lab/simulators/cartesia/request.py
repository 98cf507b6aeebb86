"""Validates Cartesia clients' requests as the API does, with the API's error texts.

Source: Cartesia API reference, version 2026-03-01 (TTS websocket, TTS bytes, API errors).
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from lab.simulators.voices.pieces import ENCODINGS

RATES_HZ: Final = (8000, 16000, 22050, 24000, 44100, 48000)
BUFFER_MS: Final = (0, 5000)
MANAGED_BUFFER_MS: Final = 3000  # the default since managed buffering
STRUCTURED_SINCE: Final = "2026-03-01"  # errors became objects with this version

TITLES: Final[Mapping[int, tuple[str, str]]] = {
    400: ("Bad request", "The request could not be understood."),
    401: ("Unauthorized", "Invalid API key."),
    402: ("Credits exhausted", "You have used up the credits of your plan."),
    403: ("Forbidden", "Your plan does not allow this."),
    404: ("Not found", "The requested voice was not found."),
    408: ("Request timeout", "The request took too long."),
    429: ("Too many concurrent requests", "You have exceeded your plan's concurrency limit."),
    500: ("Internal server error", "Something went wrong."),
    503: ("Service unavailable", "The service is temporarily unavailable."),
}
CODES: Final[Mapping[int, str]] = {
    402: "quota_exceeded",
    404: "voice_not_found",
    429: "concurrency_limited",
}


class CartesiaBadRequest(Exception):  # noqa: N818 - an answer to the client, not an error of the lab
    """The API would answer 400; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """A message or body with a request for speech.

    Attributes:
        fixed: The fields that must not change inside a context.
    """

    transcript: str
    context_id: str
    more: bool
    flush: bool
    buffer_s: float
    timestamps: bool
    encoding: str
    container: str
    rate_hz: int
    language: str
    speed: float
    fixed: Mapping[str, Any]


def parse(body: object) -> Generation:
    """Read a generation request.

    Raises:
        CartesiaBadRequest: It is invalid.
    """
    if not isinstance(body, Mapping):
        raise CartesiaBadRequest("The request must be a JSON object.")
    _check_required(body)
    output = body["output_format"]
    delay_ms = body.get("max_buffer_delay_ms", MANAGED_BUFFER_MS)
    if not isinstance(delay_ms, int) or not BUFFER_MS[0] <= delay_ms <= BUFFER_MS[1]:
        raise CartesiaBadRequest("max_buffer_delay_ms must be between 0 and 5000.")
    return Generation(
        transcript=body["transcript"],
        context_id=str(body.get("context_id") or ""),
        more=bool(body.get("continue", False)),
        flush=bool(body.get("flush", False)),
        buffer_s=delay_ms / 1000,
        timestamps=bool(body.get("add_timestamps", False)),
        encoding=str(output.get("encoding", "pcm_s16le")),
        container=str(output["container"]),
        rate_hz=output["sample_rate"],
        language=str(body.get("language") or "en"),
        speed=_read_speed(body),
        fixed={key: body.get(key) for key in ("model_id", "voice", "output_format", "language")},
    )


def _check_required(body: Mapping[str, Any]) -> None:
    """Raise `CartesiaBadRequest` for the first required field that is absent or wrong."""
    if not isinstance(body.get("transcript"), str):
        raise CartesiaBadRequest("transcript is required.")
    if not isinstance(body.get("model_id"), str) or not body["model_id"]:
        raise CartesiaBadRequest("model_id is required.")
    voice = body.get("voice")
    if not _names_voice(voice):
        raise CartesiaBadRequest("voice must be an id, or an object with mode id and an id.")
    output = body.get("output_format")
    if not isinstance(output, Mapping) or output.get("container") not in ("raw", "wav", "mp3"):
        raise CartesiaBadRequest("output_format.container must be raw, wav or mp3.")
    if output.get("sample_rate") not in RATES_HZ:
        raise CartesiaBadRequest(f"output_format.sample_rate must be one of {RATES_HZ}.")
    if output["container"] != "mp3" and output.get("encoding") not in ENCODINGS:
        raise CartesiaBadRequest(f"output_format.encoding must be one of {', '.join(ENCODINGS)}.")


def _names_voice(voice: object) -> bool:
    if isinstance(voice, Mapping):
        return voice.get("mode", "id") == "id" and bool(voice.get("id"))
    return isinstance(voice, str) and bool(voice)


def _read_speed(body: Mapping[str, Any]) -> float:
    """Return the requested speed, 1.0 if none; raise `CartesiaBadRequest` outside 0.6 to 1.5."""
    asked = (body.get("generation_config") or {}).get("speed", 1.0)
    if not isinstance(asked, int | float) or not 0.6 <= asked <= 1.5:
        raise CartesiaBadRequest("generation_config.speed must be between 0.6 and 1.5.")
    return float(asked)


def problem(
    status: int, *, code: str | None = None, message: str | None = None, context_id: str = ""
) -> dict[str, Any]:
    """Return the structured error of a status, as in a body and in an event."""
    title, usual = TITLES.get(status, ("Error", "The request failed."))
    number = str(uuid.uuid4())
    return {
        "error_code": code or CODES.get(status),
        "title": title,
        "message": message or usual,
        "request_id": f"{number}:{context_id}:{uuid.uuid4()}" if context_id else number,
        "doc_url": "https://docs.cartesia.ai/use-the-api/api-errors",
    }
