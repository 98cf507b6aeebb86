"""The event stream of an OpenAI-compatible server, read as tolerantly as the specification asks.

Source: WHATWG HTML 9.2 (server-sent events). The SDK's decoder knows the fields and line ends, but
returns events without data, which its reader then takes for broken JSON; it keeps a byte order
mark, which hides the first event, and does not say that it has read `[DONE]`.
"""

import codecs
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final, cast

from loguru import logger
from openai._streaming import ServerSentEvent, SSEDecoder

DONE: Final = "[DONE]"
FINISHED: Final = '{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}'
"""The piece of an answer that `[DONE]` stands for where the server has sent no `finish_reason`."""


class EventStream(SSEDecoder):
    """Decodes one answer: pieces of it and errors come through, keep-alives are skipped.

    What begins like a JSON object is meant as a piece, and fails the answer if it cannot be read.
    """

    def __init__(self, rung_name: str) -> None:
        super().__init__()
        self._rung_name = rung_name
        self._malformed = 0

    async def aiter_bytes(self, iterator: AsyncIterator[bytes]) -> AsyncIterator[ServerSentEvent]:
        """Yield the events that belong to the answer."""
        try:
            async for event in super().aiter_bytes(_text(iterator)):
                if event.data.lstrip().startswith(DONE):
                    yield ServerSentEvent(data=FINISHED)
                    yield ServerSentEvent(data=DONE)
                elif read := self._read(event):
                    yield read
        finally:
            if self._malformed:
                logger.warning(
                    "{}: skipped {} malformed keep-alives in one answer's event stream",
                    self._rung_name,
                    self._malformed,
                )

    def _read(self, event: ServerSentEvent) -> ServerSentEvent | None:
        """Return an event as the SDK can read it; `None` if it does not belong to the answer."""
        text = event.data.strip()
        data: object = text
        if text[:1] in ("{", "["):
            try:
                data = json.loads(text)
            except ValueError:
                if text.startswith("{"):
                    return event  # the SDK raises
        if isinstance(data, list):  # Gemini's errors are in one
            data = next(iter(cast("list[object]", data)), None)
            event = ServerSentEvent(event=event.event, data=json.dumps(data))
        if error := _error_in(event.event, data):
            return ServerSentEvent(data=json.dumps({"error": error}))
        if isinstance(data, Mapping):
            return event
        self._malformed += bool(text)
        return None


async def _text(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Return valid UTF-8 without a byte order mark, and with a blank line after the last event."""
    decoder = codecs.getincrementaldecoder("utf-8-sig")(errors="replace")
    async for chunk in chunks:
        yield decoder.decode(chunk).encode()
    yield b"\n\n"


def _error_in(name: str | None, data: object) -> object:
    """Return the error that an event reports; `None` if it reports none.

    Most servers send OpenAI's `error`; others name the event `error`, or the object, and some put
    the status next to an `error` that is a sentence.
    """
    if not isinstance(data, Mapping):
        return {"message": str(data)} if name == "error" else None
    body = cast("Mapping[str, Any]", data)
    error = body.get("error")
    if isinstance(error, Mapping) and error:
        return cast("Mapping[str, Any]", error)
    named = "error" in (name, body.get("object"), body.get("type"))
    if error or named:
        return body
    choices = body.get("choices")
    ended = (
        [one for one in choices if isinstance(one, Mapping)] if isinstance(choices, list) else []
    )
    return next((one.get("error") or one for one in ended if _is_error(one)), None)


def _is_error(choice: Mapping[str, Any]) -> bool:
    return bool(choice.get("error")) or choice.get("finish_reason") == "error"
