"""A simulated AssemblyAI: `/v3/ws`.

Source: AssemblyAI's "Universal-Streaming" and "Universal-3 Pro (Streaming)", and Pipecat's
`AssemblyAISTTService`.
"""

import hmac
import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from aiohttp import web

from lab.simulators.admission import Admission
from lab.simulators.clock import utc_now
from lab.simulators.deepgram.sender import StreamOver
from lab.simulators.ears.heard import HeardAudio
from lab.simulators.recognisers.stream import Message, RecogniserDialect, RecogniserInstance, Said

MODELS: Final = ("universal-3-6-pro", "u3-rt-pro", "universal-streaming-english")
SESSION_S: Final = 3 * 3600  # the longest session
TEXTS: Final[Mapping[int, str]] = {
    400: "Invalid request",
    401: "Unauthorized Connection: Missing or invalid API key",
    402: "Insufficient account balance",
    429: "Too many concurrent sessions",
    503: "Service unavailable",
}


class AssemblyDialect(RecogniserDialect):
    """A turn is sent again and again as it grows; silence produces no message."""

    def __init__(self) -> None:
        self._turn = 0

    def opening(self) -> Sequence[Message]:
        """Return the session's beginning."""
        expires_at = int(utc_now().timestamp()) + SESSION_S
        return ({"type": "Begin", "id": str(uuid.uuid4()), "expires_at": expires_at},)

    def results(self, heard: HeardAudio, *, asked: bool) -> Sequence[Message]:
        """Return a turn; without words only if the client forced its end.

        A final result ends the turn: the next one has the next number.
        """
        final = heard.what != "interim"
        if not heard.words and not asked:
            return ()
        turn = {
            "type": "Turn",
            "turn_order": self._turn,
            "turn_is_formatted": final,
            "end_of_turn": final,
            "transcript": " ".join(word.text for word in heard.words),
            "end_of_turn_confidence": 1.0 if final else 0.1,
            "words": [
                {
                    "start": round(word.start_s * 1000),
                    "end": round(word.end_s * 1000),
                    "text": word.text,
                    "confidence": round(word.confidence, 3),
                    "word_is_final": final,
                }
                for word in heard.words
            ],
        }
        self._turn += final
        return (turn,)

    def error(self, status: int, code: str | None) -> Message:
        """Return AssemblyAI's error."""
        text = code or TEXTS.get(status, "Internal error")
        return {"type": "Error", "error_code": status, "error": text}

    def said(self, text: str) -> Said:
        """Return what a message asks for."""
        try:
            kind = json.loads(text)["type"]
        except (ValueError, TypeError, KeyError):
            return "unknown"
        known: Mapping[str, Said] = {
            "ForceEndpoint": "finish",
            "Terminate": "end",
            "UpdateConfiguration": "ignore",
            "KeepAlive": "ignore",
        }
        return known.get(kind, "unknown")

    def closing(self) -> Sequence[Message]:
        """Return the session's end."""
        end = {"audio_duration_seconds": 1.0, "session_duration_seconds": 1.0}
        return ({"type": "Termination", **end},)


class AssemblySimulator(RecogniserInstance):
    """One simulated AssemblyAI account on its own port."""

    kind: ClassVar[str] = "assemblyai"
    path: ClassVar[str] = "/v3/ws"
    endpoint_s: ClassVar[float | None] = 0.3

    def is_authorised(self, request: web.Request) -> bool:
        """Accept the bare key in the header."""
        given = request.headers.get("Authorization", "").encode()
        return hmac.compare_digest(given, self.api_key.encode())

    def error_response(
        self, status: int, *, code: str | None = None, retry_after_s: float | None = None
    ) -> web.Response:
        """Return AssemblyAI's answer for an HTTP error."""
        headers = {} if retry_after_s is None else {"retry-after": f"{retry_after_s:g}"}
        body = {"error": code or TEXTS.get(status, "Internal error")}
        return web.json_response(body, status=status, headers=headers)

    async def open(
        self, request: web.Request, admission: Admission, ws: web.WebSocketResponse
    ) -> tuple[RecogniserDialect, int]:
        """Read the query; if it is wrong, send an error and close the socket first.

        Raises:
            StreamOver: AssemblyAI would refuse it.
        """
        del admission
        wrong = _problem_in_query(request.query)
        if wrong:
            await ws.send_str(json.dumps({"type": "Error", "error_code": 3006, "error": wrong}))
            await ws.close(code=3006)
            raise StreamOver(wrong)
        return AssemblyDialect(), int(request.query["sample_rate"])


def _problem_in_query(query: Mapping[str, Any]) -> str:
    """Return what AssemblyAI would refuse in a query; empty if nothing."""
    if query.get("speech_model") not in MODELS:
        return "Invalid speech model"
    if query.get("encoding") != "pcm_s16le":
        return "this simulator hears pcm_s16le"
    rate = query.get("sample_rate", "")
    if not rate.isdecimal() or not 8000 <= int(rate) <= 48000:
        return "Invalid sample rate"
    return ""
