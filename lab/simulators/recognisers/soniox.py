"""A simulated Soniox: `/transcribe-websocket`.

Source: soniox.com/docs/stt/api-reference/websocket-api, and Pipecat's `SonioxSTTService`.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from aiohttp import WSMsgType, web

from lab.simulators.admission import Admission
from lab.simulators.deepgram.sender import StreamOver
from lab.simulators.ears.heard import HeardAudio, RecognisedWord
from lab.simulators.recognisers.stream import RecogniserDialect, RecogniserInstance, Said

MODELS: Final = ("stt-rt-v5", "stt-rt-v4", "stt-rt-v3", "stt-rt-preview")
TYPES: Final[Mapping[int, str]] = {
    400: "Bad request",
    401: "Unauthorized",
    402: "Payment required: the balance is exhausted",
    408: "Request timeout",
    429: "Too many requests",
    503: "Service unavailable",
}
FIN: Final = "<fin>"


class SonioxDialect(RecogniserDialect):
    """Words as tokens; those that are final are sent once, the others again with each message."""

    def __init__(self) -> None:
        self._final_ms = 0

    def opening(self) -> Sequence[Mapping[str, Any]]:
        """Return nothing: Soniox confirms no stream."""
        return ()

    def results(self, heard: HeardAudio, *, asked: bool) -> Sequence[Mapping[str, Any]]:
        """Return one message; `<fin>` in it answers a request to finish."""
        final = heard.what != "interim"
        tokens = [token for word in heard.words for token in _word_tokens(word, final=final)]
        if final:
            self._final_ms = round(heard.end_s * 1000)
        if asked:
            tokens.append({"text": FIN, "is_final": True, "confidence": 1.0})
        return (self._tokens_message(tokens, total_ms=round(heard.end_s * 1000)),)

    def error(self, status: int, code: str | None) -> Mapping[str, Any]:
        """Return Soniox's error."""
        text = code or TYPES.get(status, "Internal error")
        return {"tokens": [], "error_code": status, "error_message": text}

    def said(self, text: str) -> Said:
        """Return what a message asks for; an empty one is the end of the audio."""
        if not text:
            return "end"
        try:
            kind = json.loads(text)["type"]
        except (ValueError, TypeError, KeyError):
            return "unknown"
        known: Mapping[str, Said] = {"finalize": "finish", "keepalive": "ignore"}
        return known.get(kind, "unknown")

    def closing(self) -> Sequence[Mapping[str, Any]]:
        """Return the last message."""
        return ({**self._tokens_message([], total_ms=self._final_ms), "finished": True},)

    def _tokens_message(self, tokens: list[dict[str, Any]], *, total_ms: int) -> Mapping[str, Any]:
        return {
            "tokens": tokens,
            "final_audio_proc_ms": self._final_ms,
            "total_audio_proc_ms": total_ms,
        }


def _word_tokens(word: RecognisedWord, *, final: bool) -> list[dict[str, Any]]:
    """Return a word as one or two tokens; only the first begins with a space."""
    start_ms, end_ms = round(word.start_s * 1000), round(word.end_s * 1000)
    cut = len(word.text) // 2 if len(word.text) > 5 else 0
    middle_ms = (start_ms + end_ms) // 2
    parts = [(f" {word.text}", start_ms, end_ms)]
    if cut:
        first, second = word.text[:cut], word.text[cut:]
        parts = [(f" {first}", start_ms, middle_ms), (second, middle_ms, end_ms)]
    return [
        {
            "text": text,
            "start_ms": start,
            "end_ms": end,
            "confidence": round(word.confidence, 3),
            "is_final": final,
        }
        for text, start, end in parts
    ]


class SonioxSimulator(RecogniserInstance):
    """One simulated Soniox project on its own port."""

    kind: ClassVar[str] = "soniox"
    path: ClassVar[str] = "/transcribe-websocket"

    def error_response(
        self, status: int, *, code: str | None = None, retry_after_s: float | None = None
    ) -> web.Response:
        """Return Soniox's answer for an HTTP error."""
        headers = {} if retry_after_s is None else {"retry-after": f"{retry_after_s:g}"}
        text = code or TYPES.get(status, "Internal error")
        body = {"error_code": status, "error_message": text}
        return web.json_response(body, status=status, headers=headers)

    async def open(
        self, request: web.Request, admission: Admission, ws: web.WebSocketResponse
    ) -> tuple[RecogniserDialect, int]:
        """Read the configuration, which is the first message; send an error if it is wrong.

        Raises:
            StreamOver: Soniox would refuse it, or it does not come.
        """
        del request
        message = await ws.receive()
        if message.type is not WSMsgType.TEXT:
            raise StreamOver("the first message is not the configuration")
        config: Any = json.loads(message.data)
        admission.request.details["config"] = config
        wrong = _problem_in_configuration(config)
        if wrong:
            error = {"tokens": [], "error_code": 400, "error_message": wrong}
            await ws.send_str(json.dumps(error))
            await ws.close(code=1008)
            raise StreamOver(wrong)
        return SonioxDialect(), config["sample_rate"]


def _problem_in_configuration(config: Mapping[str, Any]) -> str:
    """Return what Soniox would refuse in a configuration; empty if nothing."""
    if config.get("model") not in MODELS:
        return "Invalid model"
    if config.get("audio_format") != "pcm_s16le" or config.get("num_channels") != 1:
        return "this simulator hears pcm_s16le of one channel"
    rate_hz = config.get("sample_rate")
    if not isinstance(rate_hz, int) or not 8000 <= rate_hz <= 48000:
        return "Invalid sample rate"
    hints = config.get("language_hints")
    if hints is not None and not all(isinstance(hint, str) and len(hint) == 2 for hint in hints):
        return "Invalid language hint"
    return ""
