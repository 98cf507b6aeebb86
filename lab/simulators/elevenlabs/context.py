"""ElevenLabs' multi-context websocket: up to five contexts, each with audio and character times.

Source: ElevenLabs API reference (multi-context websocket), elevenlabs-python's wire types, error
texts as clients reported them.
"""

import asyncio
import base64
import itertools
import json
import random
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import WSCloseCode, WSMsgType, web

from lab.simulators import faults
from lab.simulators.admission import Admission
from lab.simulators.faults import Fault
from lab.simulators.instance import Instance
from lab.simulators.voices.pieces import (
    AudioPiece,
    ByteShift,
    Character,
    characters,
    characters_in_piece,
    encode,
)
from lab.simulators.voices.sockets import SocketContext, VoiceSocket
from lab.simulators.voices.speaking import UtteranceOver, spoken_text
from lab.simulators.voices.voices import SimulatedVoice, Speech, UnknownLanguageError, speak

CHUNK_S: Final = (0.15, 0.35)  # chosen: fewer and longer pieces than Cartesia's
ERROR_OF_STATUS: Final[Mapping[int, str]] = {
    400: "invalid_parameters",
    401: "invalid_api_key",
    402: "quota_exceeded",
    403: "missing_permissions",
    404: "voice_not_found",
    429: "too_many_concurrent_requests",
    503: "system_busy",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """The settings that the socket's URL fixes for all its contexts."""

    encoding: str
    rate_hz: int
    language: str
    auto: bool
    inactivity_s: float


class ElevenLabsChannel:
    """A context's messages on its socket."""

    def __init__(self, socket: "ElevenLabsSocket", name: str) -> None:
        self.closing = False
        self._socket = socket
        self._name = name
        self._shift = ByteShift()
        self._dice = random.Random(name)  # noqa: S311 - a simulation's dice, not a secret
        self._aligned: tuple[Speech, tuple[Character, ...]] | None = None

    def piece_end(self, speech: Speech, start: int) -> int:
        """Return the end of a piece: at least one character begins in it, and one after it."""
        end = start + round(self._dice.uniform(*CHUNK_S) * speech.rate_hz)
        begins = [speech.index(char.start_s) for char in self._aligned_characters(speech)]
        end = max(end, 1 + next((at for at in begins if at >= start), len(speech.samples)))
        return end if begins and begins[-1] >= end else len(speech.samples)

    async def send(self, piece: AudioPiece, fault: Fault | None) -> None:
        """Send audio with the characters that begin in it."""
        mistake = fault.what if isinstance(fault, faults.Mistaken) else ""
        audio = self._shift.pass_on(
            encode(piece.samples, self._socket.format.encoding), tear=mistake == "odd_pcm"
        )
        found = (
            ()
            if piece.speech is None
            else characters_in_piece(piece, self._aligned_characters(piece.speech))
        )
        aligned = None if mistake == "null_alignment" or not found else _in_ms(found)
        message: dict[str, Any] = {
            "audio": base64.b64encode(audio).decode(),
            "isFinal": None,
            "alignment": aligned,
            "normalizedAlignment": aligned,
            "contextId": str(uuid.uuid4()) if mistake == "wrong_context" else self._name,
        }
        await self._socket.send(_with_snake_keys(message) if mistake == "snake_case" else message)

    async def final(self, fault: Fault | None) -> None:
        """Report that the context is complete."""
        message = {"isFinal": True, "contextId": self._name}
        snake = fault == faults.Mistaken(what="snake_case")
        await self._socket.send(_with_snake_keys(message) if snake else message)

    async def garbage(self) -> None:
        """Send text that is not JSON."""
        await self._socket.send('{"audio":"')

    async def failure(self, status: int, code: str | None, *, with_id: bool) -> None:
        """Send an error frame; one with the context's id also closes the socket."""
        self.closing = with_id
        await self._socket.error(
            code or ERROR_OF_STATUS.get(status, "internal_server_error"),
            context_id=self._name if with_id else None,
            close=with_id,
        )

    async def refuse(self, code: str, *, message: str | None = None) -> None:
        """Send an error frame and close the socket."""
        self.closing = True
        await self._socket.error(code, message=message, context_id=self._name, close=True)

    async def quota(self, code: str | None) -> None:
        """Send the error of an account without credit, and close the socket."""
        await self.refuse(code or "quota_exceeded")

    async def close(self) -> None:
        """Close the socket cleanly, with code 1000."""
        self.closing = True
        await self._socket.close()

    def reset(self) -> None:
        """Break the socket."""
        self._socket.reset()

    def _aligned_characters(self, speech: Speech) -> tuple[Character, ...]:
        """Return a speech's characters with their times; computed once for each speech."""
        if self._aligned is None or self._aligned[0] is not speech:
            self._aligned = (speech, characters(speech))
        return self._aligned[1]


def _in_ms(found: Sequence[Character]) -> dict[str, list[Any]]:
    """Return characters with times as ElevenLabs sends them over a websocket, in ms."""
    starts = [round(char.start_s * 1000) for char in found]
    ends = [round(char.end_s * 1000) for char in found]
    return {
        "chars": [char.text for char in found],
        "charStartTimesMs": starts,
        "charDurationsMs": [end - start for start, end in zip(starts, ends, strict=True)],
    }


def _with_snake_keys(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return the message with snake-case keys, which newer servers are reported to use."""
    return {
        _snake_key(key): _with_snake_keys(value) if isinstance(value, Mapping) else value
        for key, value in message.items()
    }


def _snake_key(key: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in key)


QUEUED_S: Final = 0.05  # about how long requests above the plan's limit wait before they fail


@dataclass(slots=True, kw_only=True)
class ElevenLabsAccount:
    """An account's limits, and its use.

    Attributes:
        concurrent: Generations at once (30 for flash models on the Scale plan).
        character_limit: Characters in a month (Scale: 2 million credits).
        idle_s: Seconds without any message after which the server closes a socket.
    """

    concurrent: int = 30
    character_limit: int = 2_000_000
    idle_s: float = 180.0
    generating: int = 0
    character_count: int = 0

    async def begin(self, characters: int) -> str | None:
        """Start a generation, which `end` ends; return an error's code if it is not allowed now."""
        if self.character_count + characters > self.character_limit:
            return "quota_exceeded"
        if self.generating >= self.concurrent:
            await asyncio.sleep(QUEUED_S)
        if self.generating >= self.concurrent:
            return "too_many_concurrent_requests"
        self.generating += 1
        self.character_count += characters
        return None

    def end(self) -> None:
        """Record the end of a generation."""
        self.generating -= 1


CHUNK_SCHEDULE: Final = (120, 160, 250, 290)  # characters before audio, without auto_mode


@dataclass(frozen=True, slots=True, kw_only=True)
class ElevenLabsInput:
    """A message to a context."""

    text: str = ""
    flush: bool = False
    close: bool = False


class ElevenLabsContext(SocketContext[ElevenLabsInput]):
    """One piece of speech on a socket."""

    def __init__(
        self, socket: "ElevenLabsSocket", name: str, *, admission: Admission, settings: Any
    ) -> None:
        self._channel = ElevenLabsChannel(socket, name)
        super().__init__(socket.instance, name, admission=admission, channel=self._channel)
        self.settings = settings
        self.over = False  # if true, the client may open another context with this id
        self._socket = socket
        self._closed = False
        self._schedule = itertools.chain(CHUNK_SCHEDULE, itertools.repeat(CHUNK_SCHEDULE[-1]))
        self._threshold = next(self._schedule)

    @property
    def is_closing(self) -> bool:
        """Whether the context itself is closing the socket."""
        return self._channel.closing

    def put(self, given: ElevenLabsInput) -> bool:
        """Queue a message; return False if there are too many."""
        if self._inbox.full():
            return False
        if self._closed:  # messages after close_context are ignored
            return True
        self._closed = given.close
        self._queue_input(given, given.text, self._socket.format.language)
        return True

    async def _run(self) -> None:
        """Speak, record how the context ended, and remove it from the socket."""
        last: Speech | None = None
        try:
            last = await self._speak_texts()
            self._admission.close("done")
        except (UtteranceOver, ConnectionError):
            self._admission.close("connection gone")
        except UnknownLanguageError as unknown:
            self._admission.mark_malformed(str(unknown))
            await self._channel.refuse("invalid_parameters", message=str(unknown))
        finally:
            self._admission.close("connection gone")  # no effect if it is already closed
        try:
            await self._continue_late(last)
            await self._socket.forget(self)
        except ConnectionError:
            return

    async def _speak_texts(self) -> Speech | None:
        """Speak texts until the context is closed; return the last speech, `None` without any."""
        closed, spoken = False, None
        while not closed:
            fresh = self._inbox.empty()
            text, closed = await self._wait_for_text()
            if text.strip():
                spoken = await self._speak_text(text, fresh=fresh or not self._utterance.begun)
        fault = self._admission.fault_now()
        self.over = True
        if fault != faults.Mistaken(what="no_final"):
            await self._channel.final(fault)
        return spoken

    async def _continue_late(self, last: Speech | None) -> None:
        """Repeat the last speech, if a fault demands output after a cancel."""
        fault = self._admission.fault_now()
        if last is not None and isinstance(fault, faults.LateAfterCancel):
            await self._utterance.repeat(last, for_s=fault.delay_s)

    async def _speak_text(self, text: str, *, fresh: bool) -> Speech:
        """Speak a text as one generation; raise `UtteranceOver` if the plan does not allow it."""
        refused = await self._socket.plan.begin(len(text))
        if refused is not None:
            await self._channel.refuse(refused)
            raise UtteranceOver
        try:
            speech = await speak(
                spoken_text(text, self._admission.fault_now()),
                voice=self._socket.voice.faster(float((self.settings or {}).get("speed") or 1.0)),
                rate_hz=self._socket.format.rate_hz,
                language=self._socket.format.language,
            )
            await self._utterance.say(speech, fresh=fresh)
        finally:
            self._socket.plan.end()
        return speech

    async def _wait_for_text(self) -> tuple[str, bool]:
        """Return the next text, and whether the context ends after it.

        After `inactivity_s` without a message it ends without text.
        """
        while True:
            try:
                async with asyncio.timeout(self._socket.format.inactivity_s):
                    given = await self._inbox.get()
            except TimeoutError:
                return "", True
            self._text += given.text
            if given.flush or self._is_enough():
                text, self._text = self._text, ""
                return self._with_space(text), given.close
            if given.close:  # text that was not flushed is dropped
                return "", True

    def _is_enough(self) -> bool:
        """Return whether the text is long enough to speak; if so, set the next threshold."""
        if self._socket.format.auto:
            return bool(self._text.strip())
        if len(self._text) < self._threshold:
            return False
        self._threshold = next(self._schedule)
        return True

    def _with_space(self, text: str) -> str:
        """Return a flash model's text: with a leading space, except for the first one."""
        return text if text[:1].isspace() or not self._utterance.begun else f" {text}"


CONTEXTS: Final = 5  # open contexts on one socket
REASON_BYTES: Final = 123  # the size of a close frame's reason (RFC 6455, 5.5)
SERVER_FAULTS: Final = ("internal_server_error",)  # closed with 1011; everything else with 1008

MESSAGES: Final[Mapping[str, str]] = {
    "max_active_conversations": (
        "Maximum simultaneous contexts per WebSocket connection exceeded (5). "
        "Please close existing contexts before creating new ones."
    ),
    "input_timeout_exceeded": (
        "Have not received a new text input within the timeout of 180.0 seconds. "
        "Streaming input terminated. Please make sure to send new text input in time."
    ),
    "quota_exceeded": "This request exceeds your quota.",
    "invalid_api_key": "Invalid API key",
    "voice_not_found": "A voice with this voice_id was not found.",
    "too_many_concurrent_requests": "Too many concurrent requests.",
    "system_busy": "The system is experiencing heavy traffic, please try again.",
    "voice_settings_changed": "Voice settings cannot be changed after the first message.",
}


class ElevenLabsSocket(VoiceSocket[ElevenLabsContext]):
    """One websocket of one client."""

    def __init__(
        self,
        instance: Instance,
        voice: SimulatedVoice,
        *,
        request: web.Request,
        plan: ElevenLabsAccount,
        fixed: Format,
    ) -> None:
        super().__init__(instance, voice, request)
        self.plan = plan
        self.format = fixed
        self._draining = False

    async def error(
        self, code: str, *, message: str | None = None, context_id: str | None, close: bool
    ) -> None:
        """Send an error frame; with `close`, close the socket with its first words as reason."""
        number = (
            WSCloseCode.INTERNAL_ERROR if code in SERVER_FAULTS else WSCloseCode.POLICY_VIOLATION
        )
        text = message or MESSAGES.get(code, f"The request failed: {code}.")
        frame = {"message": text, "error": code, "code": int(number)}
        await self.send(frame | ({"contextId": context_id} if context_id else {}))
        if close:
            await self.ws.close(code=number, message=text.encode()[:REASON_BYTES])

    async def forget(self, context: ElevenLabsContext) -> None:
        """Forget a context that is over; after close_socket, close the socket with the last one."""
        if self._contexts.get(context.name) is context:
            del self._contexts[context.name]
        if self._draining and not self._contexts:
            await self.close()

    async def _read(self, tasks: asyncio.TaskGroup) -> None:
        """Take messages until the client closes the socket, or sends none for `idle_s`."""
        while True:
            try:
                message = await self.ws.receive(timeout=self.plan.idle_s)
            except TimeoutError:
                await self.error("input_timeout_exceeded", context_id=None, close=True)
                return
            if message.type is not WSMsgType.TEXT:
                return
            try:
                body = json.loads(message.data)
            except json.JSONDecodeError:
                body = None
            await self._handle_message(body, tasks)

    async def _handle_message(self, body: Any, tasks: asyncio.TaskGroup) -> None:
        """Close, drain or speak as the message asks; close the socket if it is no object."""
        if not isinstance(body, dict):
            self._upgrade.mark_malformed("not a JSON object")
            await self.error("invalid_message", context_id=None, close=True)
        elif body.get("close_socket"):
            await self._finish_contexts()
        elif body.get("context_id") is not None or (body.get("text") or "").strip():
            await self._give_to_context(body, tasks)

    async def _give_to_context(self, body: Mapping[str, Any], tasks: asyncio.TaskGroup) -> None:
        """Give a message to its context; the first text of an id opens one."""
        name = str(body.get("context_id") or "default")
        context = self._contexts.get(name)
        context = None if context is None or context.over else context
        given = ElevenLabsInput(
            text=str(body.get("text") or ""),
            flush=bool(body.get("flush")),
            close=bool(body.get("close_context")),
        )
        settings = body.get("voice_settings")
        if context is None and "text" not in body:
            return  # a flush or close for a context that has already ended
        if context is None:
            context = await self._open_context(name, settings, tasks)
        elif settings is not None and settings != context.settings:
            self._upgrade.mark_malformed("voice_settings changed inside a context")
            await self.error("voice_settings_changed", context_id=name, close=True)
            return
        if context is not None and not context.put(given):
            await self.error("too_many_messages", context_id=name, close=True)

    async def _open_context(
        self, name: str, settings: Any, tasks: asyncio.TaskGroup
    ) -> ElevenLabsContext | None:
        """Open and start a context; close the socket and return `None` if it has too many."""
        if len(self._contexts) >= CONTEXTS:
            await self.error("max_active_conversations", context_id=None, close=True)
            return None
        context = ElevenLabsContext(
            self, name, admission=self._admit_context(name), settings=settings
        )
        self._contexts[name] = context
        context.start(tasks)
        return context

    async def _finish_contexts(self) -> None:
        """Finish every context; the last one closes the socket."""
        self._draining = True
        for context in self._contexts.values():
            context.put(ElevenLabsInput(flush=True, close=True))
        if not self._contexts:
            await self.close()
