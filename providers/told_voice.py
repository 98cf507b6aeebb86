"""A speaking service of Pipecat's that tells at once what its socket says, and how it dies.

Pipecat's own word of a dead voice comes late or never: it reconnects in silence and writes down
the words that nobody heard as spoken. So we listen at the socket itself, before Pipecat does, and
what is told carries the attempt that it belongs to: a late message is known by its context.
"""

import json
import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
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
from websockets.http11 import Response

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

OPEN_S: Final = 3.0  # a handshake that hangs longer is tried again (chosen); ten by default
GONE: Final = 1006  # RFC 6455 section 7.1.5: closed without a close frame


@dataclass(slots=True)
class VoiceContext:
    """What the provider speaks now."""

    name: str
    attempt: int
    flowing: bool = False


class TappedVoice(WebsocketTTSService):
    """A voice over a socket that carries contexts; a provider adds how to read its messages."""

    def __init__(self, *, rung_name: str, kind: str, **kwargs: Any) -> None:
        """Prepare.

        Args:
            rung_name: Whose failures these are.
            kind: The provider, as the tables of symptoms call it.
            kwargs: Pipecat's own.
        """
        super().__init__(name=rung_name, **kwargs)  # what it measures is told under this name
        self._rung_name = rung_name
        self._kind = kind
        self._ear: VoiceEar | None = None
        self._attempt = 0
        self._context: VoiceContext | None = None
        self._later: TTSUpdateSettingsFrame | None = None  # what it speaks keeps its settings
        self._ended: object = None  # the socket that said its last word; its closing is no news

    def listen(self, ear: VoiceEar) -> None:
        """Tell `ear` from now on."""
        self._ear = ear

    async def revive(self) -> None:
        """Connect anew; Pipecat's own reconnecting leaves a voice deaf that had given up."""
        await self.set_usable(True)
        await self._disconnect()
        await self._connect()

    @abstractmethod
    async def told(self, ear: VoiceEar, message: Mapping[str, Any]) -> None:
        """Read one message of the provider and tell what it says."""

    def stale(self, message: Mapping[str, Any]) -> bool:
        """Return whether a message is of a context that is over, and Pipecat must not see it."""
        del message
        return False

    def create_context_id(self) -> str:
        """Return the context of the next text, and remember for which attempt it speaks."""
        name = super().create_context_id()
        if self._context is None or self._context.name != name:
            self._context = VoiceContext(name, self._attempt)
        return name

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Note for which attempt a reply is, and that an interruption ends it."""
        match frame:
            case TTSUpdateSettingsFrame():
                self._later = frame
                if self._context is None:
                    await self._settle(direction)
                return
            case LLMFullResponseStartFrame():
                await self._settle(direction)
                self._attempt = frame.metadata.get(ATTEMPT, 0)
            case InterruptionFrame():
                self._context = None
            case _:
                pass
        await super().process_frame(frame, direction)
        if isinstance(frame, InterruptionFrame):
            await self._settle(direction)

    async def _settle(self, direction: FrameDirection) -> None:
        """Take the settings that came while a context was spoken: they are locked in it."""
        later, self._later = self._later, None
        if later:
            await super().process_frame(later, direction)
            self._context = None  # Pipecat names one for what follows, and nothing was asked yet

    def open_context(self, name: object) -> VoiceContext | None:
        """Return the context of this name if it is the one that is spoken now."""
        return self._context if self._context and self._context.name == name else None

    async def tell_done(self, ear: VoiceEar, context: VoiceContext) -> None:
        """Tell that a context was spoken to its end."""
        self._context = None
        await ear.spoken(context.attempt)

    async def tell_error(
        self, ear: VoiceEar, message: Mapping[str, Any], *, name: object = None, last: bool = False
    ) -> None:
        """Tell of an error message.

        Args:
            ear: Whom to tell.
            message: The message.
            name: The context it names; None means the one that is spoken.
            last: The provider closes the socket behind its errors: who asks it for something in
                between would meet the same failure twice.
        """
        context = self._context if name is None else self.open_context(name)
        if not context:
            return
        found = classify_message(self._kind, message, moment=self._moment)
        self._context = None
        failure = self._failure(found, "an error in the stream")
        if last:
            self._ended = self._websocket
            await ear.lost(failure)
        else:
            await ear.failed(context.attempt, failure)

    @property
    def _moment(self) -> Moment:
        if self._context is None:
            return Moment.IDLE
        return Moment.FLOWING if self._context.flowing else Moment.ASKED

    async def _websocket_connect(self, uri: str, **kwargs: Any) -> ClientConnection:
        """Connect as Pipecat does, sooner tired, and listen at the new socket."""
        if self._ear is None:
            socket: ClientConnection = await super()._websocket_connect(uri, **kwargs)
            self._tap(socket, None)
            return socket
        await self._ear.connecting()
        try:
            socket = await super()._websocket_connect(uri, open_timeout=OPEN_S, **kwargs)
        except (OSError, EOFError, WebSocketException) as error:  # a time-out is an OSError, too
            await self._ear.unreachable(self._refused(error))
            raise
        self._tap(socket, self._ear)
        return socket

    async def _connect_websocket(self) -> None:
        """Connect, and tell of it only when the service itself knows its new socket."""
        await super()._connect_websocket()
        if self._ear and self._websocket:
            await self._ear.connected()

    def _tap(self, socket: ClientConnection, ear: VoiceEar | None) -> None:
        """Have everything that is received told first; iterating over a socket receives, too."""
        receive = socket.recv

        async def receive_and_tell(decode: bool | None = None) -> Any:  # noqa: FBT001 - websockets' own signature
            while True:
                try:
                    message = await receive(decode)
                except ConnectionClosed as closed:
                    if ear and socket is not self._ended:
                        await self._closed(ear, closed)
                    raise
                if await self._received(ear, message):
                    return message

        socket.recv = receive_and_tell  # type: ignore[method-assign]

    async def _received(self, ear: VoiceEar | None, message: str | bytes) -> bool:
        """Tell what a message says; return whether Pipecat may see it."""
        try:
            read = json.loads(message)
            stale = self.stale(read)
            if ear:
                await self.told(ear, read)
        except (
            ValueError,
            TypeError,
            AttributeError,
            KeyError,
        ) as odd:  # not JSON, or not this
            if ear and self._context:
                context, self._context = self._context, None
                found = classify_symptom(Symptom.GARBAGE)
                await ear.failed(context.attempt, self._failure(found, type(odd).__name__))
            return True
        return not stale

    async def _closed(self, ear: VoiceEar, closed: ConnectionClosed) -> None:
        code, reason = (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else (GONE, "")
        found = classify_close(self._kind, code, reason, moment=self._moment)
        self._context = None
        await ear.lost(None if found.harmless else self._failure(found, f"closed with {code}"))

    def _refused(self, error: Exception) -> Failure:
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
            retry_after_s=retry_after_s(dict(answer.headers.raw_items()), utc_s=_sent_at_s(answer)),
        )

    def _failure(self, found: Finding, reason: str) -> Failure:
        return failed(found, "tts", provider=self._rung_name, reason=reason)


def _sent_at_s(answer: Response) -> float:
    """When an answer was sent, by its own clock; without one no date in it means anything."""
    date = answer.headers.get("date")
    return parsedate_to_datetime(date).timestamp() if date else math.inf
