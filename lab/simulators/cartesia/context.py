"""Cartesia's websocket: a socket has several contexts, each of which queues text and streams audio.

Source: Cartesia API reference, version 2026-03-01 (websocket, contexts, flushing, buffering,
concurrency).
"""

import asyncio
import base64
import json
import uuid
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import WSMsgType, web

from lab.simulators import faults
from lab.simulators.admission import Admission
from lab.simulators.cartesia.request import (
    STRUCTURED_SINCE,
    CartesiaBadRequest,
    Generation,
    parse,
    problem,
)
from lab.simulators.faults import Fault
from lab.simulators.instance import Instance
from lab.simulators.voices.pieces import AudioPiece, ByteShift, encode, uneven_ends
from lab.simulators.voices.sockets import SocketContext, VoiceSocket
from lab.simulators.voices.speaking import UtteranceOver, spoken_text
from lab.simulators.voices.voices import SimulatedVoice, Speech, UnknownLanguageError, speak

SENTENCE_ENDS: Final = (".", "!", "?", "\u3002")  # where managed buffering releases its text


@dataclass(slots=True, kw_only=True)
class CartesiaAccount:
    """The account's limits, and its current use.

    Attributes:
        contexts: Contexts at once (15 on the Scale plan); sockets may be ten times as many.
        idle_s: Seconds without a message after which the server closes a socket.
        expiry_s: Seconds after its last audio when a context expires.
    """

    contexts: int = 15
    idle_s: float = 300.0
    expiry_s: float = 1.0
    open_contexts: int = 0
    open_sockets: int = 0

    @property
    def sockets(self) -> int:
        """The allowed number of sockets at once."""
        return 10 * self.contexts


class CartesiaContext(SocketContext[Generation]):
    """One piece of speech."""

    def __init__(
        self, socket: "CartesiaSocket", first: Generation, *, admission: Admission
    ) -> None:
        self._channel = CartesiaChannel(socket, first, admission=admission)
        super().__init__(
            socket.instance, first.context_id, admission=admission, channel=self._channel
        )
        self._socket = socket
        self._asked = first
        self._cancelled = False
        self._ended = False

    def start(self, tasks: asyncio.TaskGroup) -> asyncio.Task[None]:
        """Start speaking, as a task of the socket."""
        task = super().start(tasks)
        # If the task is cancelled before its first step, its `finally` does not run.
        task.add_done_callback(lambda _: self._socket.forget(self))
        return task

    @property
    def is_closing(self) -> bool:
        """Whether the context itself is closing the socket."""
        return self._channel.closing

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
        self._queue_input(asked, asked.transcript, asked.language)

    def cancel(self) -> None:
        """Drop the text that is not being spoken yet; audio in progress is still sent."""
        self._cancelled = True
        self._admission.close("cancelled")
        if not self._utterance.begun and self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        """Speak, and record how the context ended; report an unknown language as an error."""
        try:
            await self._speak_texts()
            self._admission.close("done")
        except (UtteranceOver, ConnectionError):
            self._admission.close("connection gone")
        except UnknownLanguageError as unknown:
            self._admission.mark_malformed(str(unknown))
            await self._socket.error(400, message=str(unknown), context_id=self.name)
        except TimeoutError:
            self._admission.close("expired")
        finally:
            self._admission.close("connection gone")  # no effect if it is already closed

    async def _speak_texts(self) -> None:
        """Speak the context's texts, then send `done`; stop after a cancel, without `done`."""
        more, spoken = True, None
        while more and not self._cancelled:
            fresh = self._inbox.empty()  # then the next audio has the delay of a first output
            text, flush, more = await self._wait_for_text()
            if text.strip():
                spoken = await self._synthesise_text(text)
                await self._utterance.say(spoken, fresh=fresh or not self._utterance.begun)
            if flush and not self._cancelled:
                await self._channel.flush_done()
        fault = self._admission.fault_now()
        if self._cancelled and spoken and isinstance(fault, faults.LateAfterCancel):
            await self._utterance.repeat(spoken, for_s=fault.delay_s)
        self._socket.forget(self)  # first: the client may use the id again at once
        if not self._cancelled and fault != faults.Mistaken(what="no_final"):
            await self._channel.done()

    async def _synthesise_text(self, text: str) -> Speech:
        return await speak(
            spoken_text(text, self._admission.fault_now()),
            voice=self._socket.voice.faster(self._asked.speed),
            rate_hz=self._asked.rate_hz,
            language=self._asked.language,
        )

    async def _wait_for_text(self) -> tuple[str, bool, bool]:
        """Return the next text, whether to send `flush_done` after it, and whether more may follow.

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
                return self._take_text(), False, True
            self._text += asked.transcript
            unbuffered = asked.buffer_s == 0
            if unbuffered or asked.flush or not asked.more:
                reported = asked.flush or (unbuffered and bool(asked.transcript))
                return self._take_text(), reported, asked.more
            if self._text.rstrip().endswith(SENTENCE_ENDS):
                return self._take_text(), False, True

    @property
    def _expiry_s(self) -> float | None:
        """How long to wait for more text; `None`, for ever, before the first audio."""
        return self._socket.plan.expiry_s if self._utterance.begun else None

    def _take_text(self) -> str:
        text, self._text = self._text, ""
        return text


class CartesiaChannel:
    """A context's events on its socket."""

    def __init__(
        self, socket: "CartesiaSocket", asked: Generation, *, admission: Admission
    ) -> None:
        self.closing = False
        self.piece_end = uneven_ends(admission)
        self._socket = socket
        self._asked = asked
        self._shift = ByteShift()
        self._flushes = 1

    async def send(self, piece: AudioPiece, fault: Fault | None) -> None:
        """Send the times of the words that begin, then the audio."""
        audio = self._shift.pass_on(
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
        self._socket.reset()

    async def flush_done(self) -> None:
        """Report that all audio for the text up to the flush was sent."""
        event = _event_of_context("flush_done", self._asked.context_id, flush_done=True)
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
    chunk = _event_of_context("chunk", name, data=data, step_time=step_ms)
    if not (piece.words and asked.timestamps) or mistake == "null_alignment":
        return [chunk]
    times = {
        "words": [word.text for word in piece.words],
        "start": [round(word.start_s, 4) for word in piece.words],
        "end": [round(word.end_s, 4) for word in piece.words],
    }
    return [_event_of_context("timestamps", name, word_timestamps=times), chunk]


def _event_of_context(kind: str, context_id: str, **fields: Any) -> dict[str, Any]:
    """Return an event with `fields`, and with what every event of a context contains."""
    event = {"type": kind, "context_id": context_id, "status_code": 206, "done": False}
    return event | fields


class CartesiaSocket(VoiceSocket[CartesiaContext]):
    """One websocket of one client."""

    def __init__(
        self,
        instance: Instance,
        voice: SimulatedVoice,
        *,
        request: web.Request,
        plan: CartesiaAccount,
        version: str,
    ) -> None:
        super().__init__(instance, voice, request)
        self.plan = plan
        self._structured = version >= STRUCTURED_SINCE
        self._open_contexts: set[CartesiaContext] = set()

    async def serve(self) -> web.WebSocketResponse:
        """Serve until one side closes."""
        self.plan.open_sockets += 1
        try:
            return await super().serve()
        finally:
            self.plan.open_sockets -= 1

    async def error(
        self,
        status: int,
        *,
        code: str | None = None,
        message: str | None = None,
        context_id: str | None = None,
    ) -> None:
        """Send an error in the shape of the client's version; the socket stays open."""
        event: dict[str, Any] = {"type": "error", "done": True, "status_code": status}
        words = problem(status, code=code, message=message, context_id=context_id or "")
        event |= words if self._structured else {"error": f"{words['title']}: {words['message']}"}
        if context_id is not None:
            event["context_id"] = context_id
        await self.send(event)

    def forget(self, context: CartesiaContext) -> None:
        """Forget a context that is over; its id may be used again."""
        if context in self._open_contexts:
            self._open_contexts.remove(context)
            self.plan.open_contexts -= 1
        if self._contexts.get(context.name) is context:
            del self._contexts[context.name]

    async def _read(self, tasks: asyncio.TaskGroup) -> None:
        """Take messages until the client closes the socket, or sends none for `idle_s`."""
        while True:
            try:
                message = await self.ws.receive(timeout=self.plan.idle_s)
            except TimeoutError:
                await self.close()
                return
            if message.type is not WSMsgType.TEXT:
                return
            await self._handle_message(message.data, tasks)

    async def _handle_message(self, text: str, tasks: asyncio.TaskGroup) -> None:
        """Carry out a message; answer an invalid one with an error, and keep the socket open."""
        context_id = None
        try:
            body = json.loads(text)
            context_id = body.get("context_id") if isinstance(body, dict) else None
            await self._obey_message(body, tasks)
        except (CartesiaBadRequest, json.JSONDecodeError) as wrong:
            self._upgrade.mark_malformed(str(wrong))
            await self.error(400, message=str(wrong), context_id=context_id)

    async def _obey_message(self, body: Any, tasks: asyncio.TaskGroup) -> None:
        """Cancel a context, or give it text; the first text of an id opens its context.

        Raises:
            CartesiaBadRequest: The message is invalid.
        """
        if isinstance(body, dict) and body.get("cancel"):
            if context := self._contexts.get(str(body.get("context_id"))):
                context.cancel()
            return
        asked = parse(body)
        if not asked.context_id:
            raise CartesiaBadRequest("context_id is required.")
        if asked.container != "raw":
            raise CartesiaBadRequest("output_format.container must be raw on the websocket.")
        context = self._contexts.get(asked.context_id)
        if context is None:
            context = await self._open_context(asked, tasks)
        if context is not None:
            context.put(asked)

    async def _open_context(
        self, asked: Generation, tasks: asyncio.TaskGroup
    ) -> CartesiaContext | None:
        """Open a context; if the account has too many, send an error and return `None`."""
        if self.plan.open_contexts >= self.plan.contexts:
            await self.error(429, context_id=asked.context_id)
            return None
        context = CartesiaContext(self, asked, admission=self._admit_context(asked.context_id))
        self._contexts[asked.context_id] = context
        self._open_contexts.add(context)
        self.plan.open_contexts += 1
        context.start(tasks)
        return context
