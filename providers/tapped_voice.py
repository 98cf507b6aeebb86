"""A speaking service of Pipecat's that tells at once what its socket says, and how it dies.

Pipecat's own word of a dead voice comes late or never: it reconnects in silence and writes down
the words that nobody heard as spoken. So we listen at the socket itself, before Pipecat does, and
what is told carries the attempt that it belongs to: a late message is known by its context.
"""

import asyncio
import json
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

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

from calls.voice import ATTEMPT, VoiceEar
from fallbacks.classification import (
    classify_close,
    classify_error,
    classify_http,
    classify_message,
    classify_symptom,
)
from fallbacks.failure import Failure, Finding, failed
from fallbacks.retry_after import retry_after_s
from fallbacks.symptoms import Moment, Symptom
from providers.sockets import keep_services_here, tls_for

GONE: Final = 1006  # RFC 6455 section 7.1.5: closed without a close frame


@dataclass(slots=True)
class VoiceContext:
    """What the provider speaks now."""

    name: str
    attempt: int
    flowing: bool = False


class VoiceTap:
    """Knows the context that is spoken, and makes a failure of what ends it.

    Attributes:
        context: What is spoken now.
    """

    def __init__(self, rung_name: str, *, kind: str) -> None:
        """Prepare.

        Args:
            rung_name: Whose failures these are.
            kind: The provider, as the tables of symptoms call it.
        """
        self.context: VoiceContext | None = None
        self._rung_name = rung_name
        self._kind = kind
        self._dismissed: object = None  # the socket that said its last word: its closing is no news

    def open_context(self, name: object) -> VoiceContext | None:
        """Return the context of this name if it is the one that is spoken now."""
        return self.context if self.context and self.context.name == name else None

    async def tell_done(self, ear: VoiceEar, context: VoiceContext) -> None:
        """Tell that a context was spoken to its end."""
        self.context = None
        await ear.spoken(context.attempt)

    async def tell_error(
        self,
        ear: VoiceEar,
        message: Mapping[str, Any],
        *,
        name: object = None,
        last: bool = False,
        socket: object = None,
    ) -> None:
        """Tell of an error message.

        Args:
            ear: Whom to tell.
            message: The message.
            name: The context it names; None means the one that is spoken.
            last: The provider closes the socket behind its errors: who asks it for something in
                between would meet the same failure twice.
            socket: The one that it closes then.
        """
        context = self.context if name is None else self.open_context(name)
        if not context:
            return
        found = classify_message(self._kind, message, moment=self._moment)
        self.context = None
        failure = self._failure(found, "an error in the stream")
        if last:
            self._dismissed = socket
            await ear.lost(failure)
        else:
            await ear.failed(context.attempt, failure)

    async def tell_garbage(self, ear: VoiceEar, error: Exception) -> None:
        """Tell of a message that cannot be read, if anything is spoken."""
        if self.context:
            context, self.context = self.context, None
            found = classify_symptom(Symptom.GARBAGE)
            await ear.failed(context.attempt, self._failure(found, type(error).__name__))

    async def tell_closed(self, ear: VoiceEar, closed: ConnectionClosed, *, socket: object) -> None:
        """Tell that a socket closed, unless that was told with its last error."""
        if socket is self._dismissed:
            return
        code, reason = (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else (GONE, "")
        found = classify_close(self._kind, code, reason, moment=self._moment)
        self.context = None
        await ear.lost(None if found.harmless else self._failure(found, f"closed with {code}"))

    async def tell_unreachable(self, ear: VoiceEar, error: Exception) -> None:
        """Tell that no socket could be had."""
        await ear.unreachable(self._refusal(error))

    @property
    def _moment(self) -> Moment:
        if self.context is None:
            return Moment.IDLE
        return Moment.FLOWING if self.context.flowing else Moment.ASKED

    def _refusal(self, error: Exception) -> Failure:
        if not isinstance(error, InvalidStatus):
            return self._failure(classify_error(error), type(error).__name__)
        answer = error.response
        try:
            body = json.loads(answer.body or b"")
        except ValueError:
            body = None
        return failed(
            classify_http(self._kind, answer.status_code, body),
            "tts",
            provider=self._rung_name,
            reason=f"{answer.status_code} at the upgrade",
            retry_after_s=retry_after_s(dict(answer.headers.raw_items())),
        )

    def _failure(self, found: Finding, reason: str) -> Failure:
        return failed(found, "tts", provider=self._rung_name, reason=reason)


OPEN_S: Final = 3.0  # a handshake that hangs longer is tried again (chosen); ten by default


class ClosedVoice(WebsocketTTSService):
    """A voice whose socket is closed at the end, however the end is cut short."""

    async def _disconnect_websocket(self) -> None:
        """Disconnect as Pipecat does; where that is cut short, the socket is closed all the same.

        ElevenLabs is given two seconds to say the rest of what it was asked; the end of a call does
        not wait for so long. Pipecat then forgets the socket: open, and read by nobody.
        """
        socket = self._websocket
        try:
            await super()._disconnect_websocket()
        finally:
            if socket and socket.state is not State.CLOSED:
                socket.transport.abort()


class TappedVoice(ClosedVoice):
    """A voice over a socket that carries contexts; a provider adds how to read its messages."""

    def __init__(self, *, rung_name: str, kind: str, **kwargs: Any) -> None:
        """Prepare.

        Args:
            rung_name: Whose failures these are.
            kind: The provider, as the tables of symptoms call it.
            kwargs: Pipecat's own.
        """
        # What it measures is told under this name. Texts of one context are joined as they are.
        keep_services_here()
        super().__init__(
            name=rung_name,
            append_trailing_space=True,
            max_consecutive_zero_audio_contexts=0,  # the ladder counts them; 3 are for good
            **kwargs,
        )
        self.tap = VoiceTap(rung_name, kind=kind)
        self._ear: VoiceEar | None = None
        self._attempt = 0
        self._later: TTSUpdateSettingsFrame | None = None  # what it speaks keeps its settings
        self._one_at_a_time = asyncio.Lock()  # connects

    def listen(self, ear: VoiceEar) -> None:
        """Tell `ear` from now on."""
        self._ear = ear

    async def revive(self) -> None:
        """Connect anew; Pipecat's own reconnecting leaves a voice deaf that had given up."""
        await self.set_usable(True)
        await self._disconnect()
        await self._connect()

    @abstractmethod
    async def read_message(self, ear: VoiceEar, message: Mapping[str, Any]) -> None:
        """Read one message of the provider and tell what it says."""

    def for_pipecat(self, message: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Return a message as Pipecat can read it; None: it must not, the context is over."""
        return message

    def create_context_id(self) -> str:
        """Return the context of the next text, and remember for which attempt it speaks."""
        name = super().create_context_id()
        if self.tap.context is None or self.tap.context.name != name:
            self.tap.context = VoiceContext(name, self._attempt)
        return name

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Note for which attempt a reply is, and that an interruption ends it."""
        match frame:
            case TTSUpdateSettingsFrame():
                self._later = frame
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
        """Apply the settings that came while a context was spoken: they are locked in it."""
        later, self._later = self._later, None
        if later:
            await super().process_frame(later, direction)
            self.tap.context = None  # Pipecat names one for what follows, and nothing was asked yet

    async def _websocket_connect(self, uri: str, **kwargs: Any) -> ClientConnection:
        """Connect as Pipecat does, sooner tired, and listen at the new socket.

        Nothing is compressed: it is sound, in base64, and what would compress and read it takes
        160 kB for each socket of a call.
        """
        kwargs.setdefault("compression", None)
        if secure := tls_for(uri):
            kwargs.setdefault("ssl", secure)
        if self._ear is None:
            socket: ClientConnection = await super()._websocket_connect(uri, **kwargs)
            self._tap(socket, None)
            return socket
        await self._ear.connecting()
        try:
            socket = await super()._websocket_connect(uri, open_timeout=OPEN_S, **kwargs)
        except (OSError, EOFError, WebSocketException) as error:  # a time-out is an OSError, too
            await self.tap.tell_unreachable(self._ear, error)
            raise
        except asyncio.CancelledError:  # a barge-in, while it connects for another language
            await self._ear.lost(None)
            raise
        self._tap(socket, self._ear)
        return socket

    async def _connect_websocket(self) -> None:
        """Connect, and tell of it only when the service itself knows its new socket.

        A text that comes while Pipecat reconnects is no reason for a second socket: the text would
        go to one, and Pipecat would listen to the other. Who comes second finds the first one's.
        """
        async with self._one_at_a_time:
            before = self._websocket
            await super()._connect_websocket()
            if self._ear and self._websocket and self._websocket is not before:
                await self._ear.connected()

    def _tap(self, socket: ClientConnection, ear: VoiceEar | None) -> None:
        """Have everything that is received told first; iterating over a socket receives, too."""
        receive = socket.recv

        async def receive_and_tell(decode: bool | None = None) -> Any:  # noqa: FBT001 - websockets' own signature
            while True:
                try:
                    message = await receive(decode)
                except ConnectionClosed as closed:
                    if ear:
                        await self.tap.tell_closed(ear, closed, socket=socket)
                    raise
                if (for_pipecat := await self._pass_on(ear, message)) is not None:
                    return for_pipecat

        socket.recv = receive_and_tell  # type: ignore[method-assign]

    async def _pass_on(self, ear: VoiceEar | None, message: str | bytes) -> str | bytes | None:
        """Tell what a message says; return what Pipecat gets of it, None: nothing."""
        try:
            read = json.loads(message)
            passed = self.for_pipecat(read)
            if ear:
                await self.read_message(ear, read)
        except (ValueError, TypeError, AttributeError, KeyError) as odd:  # not JSON, or not this
            if ear:
                await self.tap.tell_garbage(ear, odd)
            return message
        if passed is None:
            return None
        return message if passed is read else json.dumps(passed)
