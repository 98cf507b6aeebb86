"""One Cartesia context: texts in, audio and word times out, in order.

Source: Cartesia API reference, version 2026-03-01 (contexts, flushing, buffering).
"""

import asyncio
import base64
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from aiohttp import web

from lab.simulators import faults
from lab.simulators.admission import Admission
from lab.simulators.faults import Fault
from lab.simulators.instance import Instance
from lab.simulators.server import abort
from lab.simulators.voices.pieces import ENCODINGS, AudioPiece, Torn, encode, steady
from lab.simulators.voices.speaking import LabUtterance, UtteranceOver, spoken_text
from lab.simulators.voices.voices import SimulatedVoice, Speech, UnknownLanguageError, speak

# Validates Cartesia clients' requests as the API does, with the API's error texts.
#
# Source: Cartesia API reference, version 2026-03-01 (TTS websocket, TTS bytes, API errors).

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
        speed=_speed(body),
        fixed={key: body.get(key) for key in ("model_id", "voice", "output_format", "language")},
    )


def _check_required(body: Mapping[str, Any]) -> None:
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


def _speed(body: Mapping[str, Any]) -> float:
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


INBOX: Final = 1000  # messages in a context's queue; further ones are refused
SENTENCE_ENDS: Final = (".", "!", "?", "\u3002")  # where managed buffering releases its text


class CartesiaOutlet(Protocol):
    """The interface of a context's socket."""

    instance: Instance
    request: web.Request
    voice: SimulatedVoice

    @property
    def expiry_s(self) -> float:
        """Seconds after its last audio when a context expires."""
        ...

    async def send(self, message: Mapping[str, Any] | str) -> None:
        """Send an event, or text unchanged."""
        ...

    async def error(
        self,
        status: int,
        *,
        code: str | None = None,
        message: str | None = None,
        context_id: str | None = None,
    ) -> None:
        """Send an error."""
        ...

    async def close(self) -> None:
        """Close cleanly."""
        ...

    def forget(self, context: "CartesiaContext") -> None:
        """Drop a context that is over."""
        ...


class CartesiaContext:
    """One piece of speech: texts in, audio and times out, in order."""

    def __init__(self, socket: CartesiaOutlet, first: Generation, *, admission: Admission) -> None:
        self.name = first.context_id
        self._socket = socket
        self._asked = first
        self._admission = admission
        self._channel = CartesiaChannel(socket, first, admission=admission)
        self._utterance = LabUtterance(socket.instance, admission, self._channel)
        self._inbox: asyncio.Queue[Generation] = asyncio.Queue(maxsize=INBOX)
        self._cancelled = False
        self._ended = False
        self._text = ""
        self._task: asyncio.Task[None] | None = None

    def start(self, tasks: asyncio.TaskGroup) -> None:
        """Start speaking, as a task of the socket."""
        self._task = tasks.create_task(self._run(), name=f"context {self.name}")
        # A task that is cancelled before its first step runs no `finally`.
        self._task.add_done_callback(lambda _: self._socket.forget(self))

    def stop(self) -> None:
        """End at once: the socket is gone."""
        if self._task is not None and not self._channel.closing:
            self._task.cancel()

    def put(self, asked: Generation) -> None:
        """Queue more text.

        Raises:
            CartesiaBadRequest: It does not fit this context.
        """
        if self._ended:
            raise CartesiaBadRequest("The context is closed.")
        if asked.fixed != self._asked.fixed:
            raise CartesiaBadRequest(
                "Only transcript, continue and duration may change in a context."
            )
        if self._inbox.full():
            raise CartesiaBadRequest("Too many inputs in this context.")
        self._ended = not asked.more
        self._inbox.put_nowait(asked)
        request = self._admission.request
        request.details["language"] = asked.language
        request.details["text"] = request.details.get("text", "") + asked.transcript
        now_s = self._socket.instance.gate.now_s()
        request.mark("text", now_s, words=len(asked.transcript.split()))

    def cancel(self) -> None:
        """Drop text that has not started; audio in generation still arrives, as documented."""
        self._cancelled = True
        self._admission.close("cancelled")
        if not self._utterance.begun and self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        try:
            await self._speak()
            self._admission.close("done")
        except (UtteranceOver, ConnectionError):
            self._admission.close("connection gone")
        except UnknownLanguageError as unknown:
            self._admission.mark_malformed(str(unknown))
            await self._socket.error(400, message=str(unknown), context_id=self.name)
        except TimeoutError:
            self._admission.close("expired")
        finally:
            self._admission.close("connection gone")

    async def _speak(self) -> None:
        more, spoken = True, None
        while more and not self._cancelled:
            fresh = self._inbox.empty()
            text, flush, more = await self._portion()
            if text.strip():
                spoken = await self._synthesise(text)
                await self._utterance.say(spoken, fresh=fresh or not self._utterance.begun)
            if flush and not self._cancelled:
                await self._channel.flush_done()
        fault = self._admission.fault_now()
        if self._cancelled and spoken and isinstance(fault, faults.LateAfterCancel):
            await self._utterance.repeat(spoken, for_s=fault.delay_s)
        self._socket.forget(self)  # first: the client may use the id again at once
        if not self._cancelled and fault != faults.Mistaken(what="no_final"):
            await self._channel.done()

    async def _synthesise(self, text: str) -> Speech:
        return await speak(
            spoken_text(text, self._admission.fault_now()),
            voice=self._socket.voice.faster(self._asked.speed),
            rate_hz=self._asked.rate_hz,
            language=self._asked.language,
        )

    async def _portion(self) -> tuple[str, bool, bool]:
        """Return the next text, whether its end is reported, and whether more may follow.

        Raises:
            TimeoutError: No message arrived before the context expired.
        """
        while True:
            wait_s = self._asked.buffer_s if self._text else self._expiry_s
            try:
                async with asyncio.timeout(wait_s):
                    asked = await self._inbox.get()
            except TimeoutError:
                if not self._text:
                    raise
                return self._taken(), False, True
            self._text += asked.transcript
            unbuffered = asked.buffer_s == 0
            if unbuffered or asked.flush or not asked.more:
                told = asked.flush or (unbuffered and bool(asked.transcript))
                return self._taken(), told, asked.more
            if self._text.rstrip().endswith(SENTENCE_ENDS):
                return self._taken(), False, True

    @property
    def _expiry_s(self) -> float | None:
        return self._socket.expiry_s if self._utterance.begun else None

    def _taken(self) -> str:
        text, self._text = self._text, ""
        return text


class CartesiaChannel:
    """A context's events on its socket."""

    def __init__(self, socket: CartesiaOutlet, asked: Generation, *, admission: Admission) -> None:
        self.closing = False
        self.piece_end = steady(admission)
        self._socket = socket
        self._asked = asked
        self._torn = Torn()
        self._flushes = 1

    async def send(self, piece: AudioPiece, fault: Fault | None) -> None:
        """Send the times of the words that begin, then the audio."""
        audio = self._torn.pass_on(
            encode(piece.samples, self._asked.encoding),
            tear=fault == faults.Mistaken(what="odd_pcm"),
        )
        for event in piece_events(piece, self._asked, fault=fault, audio=audio):
            await self._socket.send(event | {"flush_id": self._flushes})

    async def garbage(self) -> None:
        """Send text that is not JSON."""
        await self._socket.send('{"type":"chunk","data":')

    async def failure(self, status: int, code: str | None, *, with_id: bool) -> None:
        """Send an error event, which ends the context but not the socket."""
        await self._socket.error(
            status, code=code, context_id=self._asked.context_id if with_id else None
        )

    async def quota(self, code: str | None) -> None:
        """Send the error of an account without credit."""
        await self.failure(402, code, with_id=True)

    async def close(self) -> None:
        """Close the socket cleanly, with code 1000."""
        self.closing = True
        await self._socket.close()

    def reset(self) -> None:
        """Break the socket."""
        abort(self._socket.request.transport)

    async def flush_done(self) -> None:
        """Report that everything up to here was sent."""
        event = _event("flush_done", self._asked.context_id, flush_done=True)
        await self._socket.send(event | {"flush_id": self._flushes})
        self._flushes += 1

    async def done(self) -> None:
        """Report that the context is complete."""
        done = {"type": "done", "context_id": self._asked.context_id}
        await self._socket.send(done | {"status_code": 206, "done": True})


def piece_events(
    piece: AudioPiece, asked: Generation, *, fault: Fault | None, audio: bytes
) -> list[dict[str, Any]]:
    """Return a piece's events: the times of the words that begin in it, then the audio."""
    mistake = fault.what if isinstance(fault, faults.Mistaken) else ""
    name = str(uuid.uuid4()) if mistake == "wrong_context" else asked.context_id
    data = base64.b64encode(audio).decode()
    step_ms = round((piece.end_s - piece.start_s) * 1000, 3)
    chunk = _event("chunk", name, data=data, step_time=step_ms)
    if not (piece.words and asked.timestamps) or mistake == "null_alignment":
        return [chunk]
    times = {
        "words": [word.text for word in piece.words],
        "start": [round(word.start_s, 4) for word in piece.words],
        "end": [round(word.end_s, 4) for word in piece.words],
    }
    return [_event("timestamps", name, word_timestamps=times), chunk]


def _event(kind: str, context_id: str, **fields: Any) -> dict[str, Any]:
    event = {"type": kind, "context_id": context_id, "status_code": 206, "done": False}
    return event | fields
