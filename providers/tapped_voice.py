"""A Pipecat TTS service with a tap on its socket: reports messages and failures at once.

Pipecat reports a dead voice late or never: it reconnects silently, and records words as spoken that
the caller never heard. So we read the socket's messages before Pipecat does. Each report names its
attempt; late messages are recognised by their context.
"""

import asyncio
import json
from abc import abstractmethod
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipecat.frames.frames import (
    Frame,
    InterruptionFrame,
    LLMFullResponseStartFrame,
    TTSUpdateSettingsFrame,
)
from pipecat.processors.frame_processor import FrameDirection
from pipecat.services.tts_service import WebsocketTTSService
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.protocol import State

from calls.voice import ATTEMPT, HELD_SETTINGS, VoiceEar
from fallbacks.classification import (
    classify_close,
    classify_error,
    classify_http,
    classify_message,
    classify_symptom,
)
from fallbacks.failure import Failure, Finding, failed
from fallbacks.paces import REOPEN_S
from fallbacks.retry_after import retry_after_s
from fallbacks.symptoms import Moment, Symptom
from providers.sockets import code_and_reason, forbid_redirects, tls_for
from runtime.http import parse_json


@dataclass(slots=True)
class VoiceContext:
    """The context being spoken."""

    name: str
    attempt: int
    flowing: bool = False  # whether audio has arrived


class VoiceTap:
    """Tracks the context being spoken, and turns its errors into failures.

    Attributes:
        context: The context being spoken; `None` if there is none.
    """

    def __init__(self, rung_name: str, *, kind: str) -> None:
        """Create a tap without a context.

        Args:
            rung_name: The rung that failures are reported for.
            kind: The provider, as in the symptom tables.
        """
        self.context: VoiceContext | None = None
        self._rung_name = rung_name
        self._kind = kind
        self._reported_socket: object = None  # its last error was reported, so its close is not

    def find_context(self, name: object) -> VoiceContext | None:
        """Return the context with this name if it is being spoken, or else `None`."""
        return self.context if self.context and self.context.name == name else None

    async def report_done(self, ear: VoiceEar, context: VoiceContext) -> None:
        """Report that a context was spoken to its end; later messages of it are ignored."""
        self.context = None
        await ear.spoken(context.attempt)

    async def report_error(
        self,
        ear: VoiceEar,
        message: Mapping[str, Any],
        *,
        name: object = None,
        last: bool = False,
        socket: object = None,
    ) -> None:
        """Report an error message of the context being spoken; ignore any other.

        Args:
            ear: The stage's listener.
            message: The message.
            name: The context that the message names; `None` for the one being spoken.
            last: Whether the provider closes the socket after the error; the close is then not
                reported, so that a request sent in between does not fail twice.
            socket: The socket that the provider closes.
        """
        context = self.context if name is None else self.find_context(name)
        if not context:
            return
        found = classify_message(self._kind, message, moment=self._current_moment)
        self.context = None  # only now: `_current_moment` depends on it
        failure = self._failure_of_voice(found, "an error in the stream")
        if last:
            self._reported_socket = socket
            await ear.lost(failure)
        else:
            await ear.failed(context.attempt, failure)

    async def report_garbage(self, ear: VoiceEar, error: Exception) -> None:
        """Report an unreadable message as a failure of the context being spoken, if any."""
        if self.context:
            context, self.context = self.context, None
            found = classify_symptom(Symptom.GARBAGE)
            await ear.failed(context.attempt, self._failure_of_voice(found, type(error).__name__))

    async def report_closed(
        self, ear: VoiceEar, closed: ConnectionClosed, *, socket: object
    ) -> None:
        """Report that a socket closed, unless its last error was already reported.

        The context being spoken is over. `lost` gets no failure if the close is harmless.
        """
        if socket is self._reported_socket:
            return
        code, reason = code_and_reason(closed)
        found = classify_close(self._kind, code, reason, stage="tts", moment=self._current_moment)
        self.context = None
        await ear.lost(
            None if found.harmless else self._failure_of_voice(found, f"closed with {code}")
        )

    async def report_unreachable(self, ear: VoiceEar, error: Exception) -> None:
        """Report that connecting failed."""
        await ear.unreachable(self._failure_to_connect(error))

    @property
    def _current_moment(self) -> Moment:
        """What is in progress: nothing, a request without audio so far, or audio."""
        if self.context is None:
            return Moment.IDLE
        return Moment.FLOWING if self.context.flowing else Moment.ASKED

    def _failure_to_connect(self, error: Exception) -> Failure:
        """Return why connecting failed, by the server's answer to the upgrade or the exception."""
        if not isinstance(error, InvalidStatus):
            return self._failure_of_voice(classify_error(error), type(error).__name__)
        answer = error.response
        try:
            body = parse_json(bytes(answer.body or b""))
        except ValueError:
            body = None
        return failed(
            classify_http(self._kind, answer.status_code, body),
            "tts",
            provider=self._rung_name,
            reason=f"{answer.status_code} at the upgrade",
            retry_after_s=retry_after_s(dict(answer.headers.raw_items())),
        )

    def _failure_of_voice(self, found: Finding, reason: str) -> Failure:
        return failed(found, "tts", provider=self._rung_name, reason=reason)


class ClosedVoice(WebsocketTTSService):
    """A voice that always closes its socket at the end, even if disconnecting is cancelled."""

    async def _disconnect_websocket(self) -> None:
        """Disconnect as Pipecat does; if that is cancelled, close the socket anyway.

        Pipecat gives ElevenLabs two seconds to finish speaking, and the end of a call cancels that
        wait. Pipecat then forgets the socket, which would stay open without a reader.
        """
        socket = self._websocket
        try:
            await super()._disconnect_websocket()
        finally:
            if socket and socket.state is not State.CLOSED:
                socket.transport.abort()


class TappedVoice(ClosedVoice):
    """A voice over a socket with contexts; a provider's subclass reads its messages."""

    def __init__(self, *, rung_name: str, kind: str, **kwargs: Any) -> None:
        """Create a voice for one call.

        Args:
            rung_name: The rung that failures are reported for.
            kind: The provider, as in the symptom tables.
            kwargs: Pipecat's arguments.
        """
        forbid_redirects()
        super().__init__(
            name=rung_name,  # metrics carry this name
            append_trailing_space=True,  # the texts of a context are joined without a separator
            max_consecutive_zero_audio_contexts=0,  # the ladder counts them, not Pipecat
            **kwargs,
        )
        self.tap = VoiceTap(rung_name, kind=kind)
        self._ear: VoiceEar | None = None
        self._attempt = 0
        self._held_settings = deque[TTSUpdateSettingsFrame](maxlen=HELD_SETTINGS)
        self._connecting = asyncio.Lock()  # only one task connects at a time

    def listen(self, ear: VoiceEar) -> None:
        """Report to `ear` from now on."""
        self._ear = ear

    async def revive(self) -> None:
        """Reconnect; after Pipecat gives up, its own reconnect would not restart the reader."""
        await self.set_usable(True)
        await self._disconnect()
        await self._connect()

    @abstractmethod
    async def read_message(self, ear: VoiceEar, message: Mapping[str, Any]) -> None:
        """Read one message of the provider and report it."""

    def convert_for_pipecat(self, message: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Return a message in the form that Pipecat reads; `None` if its context is over."""
        return message

    def create_context_id(self) -> str:
        """Return the context of the next text; if it is new, it becomes the one being spoken."""
        name = super().create_context_id()
        if self.tap.context is None or self.tap.context.name != name:
            self.tap.context = VoiceContext(name, self._attempt)
        return name

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Remember a reply's attempt; hold settings back; end the context on an interruption.

        Settings that arrive during an attempt are applied at the next reply or interruption.
        """
        match frame:
            case TTSUpdateSettingsFrame():
                self._held_settings.append(frame)
                if self.tap.context is None:
                    await self._apply_settings(direction)
                return
            case LLMFullResponseStartFrame():
                await self._apply_settings(direction)
                self._attempt = frame.metadata.get(ATTEMPT, 0)
            case InterruptionFrame():
                self.tap.context = None
            case _:
                pass
        await super().process_frame(frame, direction)
        if isinstance(frame, InterruptionFrame):
            await self._apply_settings(direction)

    async def _apply_settings(self, direction: FrameDirection) -> None:
        """Apply settings that arrived while a context was spoken, which must not change then."""
        while self._held_settings:
            await super().process_frame(self._held_settings.popleft(), direction)
            # Pipecat has named a context for later text, but nothing was requested yet.
            self.tap.context = None

    async def _websocket_connect(self, uri: str, **kwargs: Any) -> ClientConnection:
        """Connect as Pipecat does, and tap the new socket.

        With a listener, the time-out is shorter; `connecting` is reported first, and a failure or a
        cancellation before it is raised.

        Nothing is compressed: the messages contain audio in base64, and the compression state takes
        160 kB per socket.
        """
        kwargs.setdefault("compression", None)
        if secure := tls_for(uri):
            kwargs.setdefault("ssl", secure)
        if self._ear is None:
            socket: ClientConnection = await super()._websocket_connect(uri, **kwargs)
            self._tap_socket(socket, None)
            return socket
        await self._ear.connecting()
        try:
            socket = await super()._websocket_connect(uri, open_timeout=REOPEN_S, **kwargs)
        except (OSError, EOFError, WebSocketException) as error:  # includes timeouts
            await self.tap.report_unreachable(self._ear, error)
            raise
        except asyncio.CancelledError:  # a barge-in while the voice reconnects for another language
            await self._ear.lost(None)
            raise
        self._tap_socket(socket, self._ear)
        return socket

    async def _connect_websocket(self) -> None:
        """Connect; report that only after the service has stored its new socket.

        A text that arrives while Pipecat reconnects must not open a second socket: the text would
        go to one, and Pipecat would listen to the other. The second call reuses the first socket.
        """
        async with self._connecting:
            before = self._websocket
            await super()._connect_websocket()
            if self._ear and self._websocket and self._websocket is not before:
                await self._ear.connected()

    def _tap_socket(self, socket: ClientConnection, ear: VoiceEar | None) -> None:
        """Report every message on receipt, by wrapping `recv`, which iteration uses, too."""
        receive = socket.recv

        async def receive_and_report(decode: bool | None = None) -> Any:  # noqa: FBT001 - websockets' own signature
            while True:
                try:
                    message = await receive(decode)
                except ConnectionClosed as closed:
                    if ear:
                        await self.tap.report_closed(ear, closed, socket=socket)
                    raise
                converted = await self._report_and_convert(ear, message)
                if converted is not None:
                    return converted

        socket.recv = receive_and_report  # type: ignore[method-assign]

    async def _report_and_convert(
        self, ear: VoiceEar | None, message: str | bytes
    ) -> str | bytes | None:
        """Report a message; return it as Pipecat should get it, or `None` if it should not.

        One that cannot be read is reported as garbage, and goes to Pipecat unchanged.
        """
        try:
            parsed = parse_json(message)
            converted = self.convert_for_pipecat(parsed)
            if ear:
                await self.read_message(ear, parsed)
        except (ValueError, TypeError, AttributeError, KeyError) as error:  # a malformed message
            if ear:
                await self.tap.report_garbage(ear, error)
            return message
        if converted is None:
            return None
        return message if converted is parsed else json.dumps(converted)
