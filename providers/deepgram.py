"""Deepgram: speech to text over its streaming websocket."""

import asyncio
import functools
from collections.abc import AsyncGenerator, Mapping
from typing import Any, Final, NoReturn

import deepgram.listen.client  # the SDK would import these two with the first stream, during a call
import deepgram.listen.v1.client
from deepgram.core.api_error import ApiError
from deepgram.core.client_wrapper import BaseClientWrapper
from deepgram.core.events import EventType
from deepgram.environment import DeepgramClientEnvironment
from deepgram.listen.v1.socket_client import AsyncV1SocketClient
from deepgram.listen.v1.types import ListenV1Results
from loguru import logger
from pipecat.frames.frames import (
    Frame,
    InputAudioRawFrame,
    InterimTranscriptionFrame,
    TranscriptionFrame,
)
from pipecat.processors.frame_processor import FrameCallback, FrameDirection
from pipecat.services.deepgram import stt as pipecats
from pipecat.services.deepgram.stt import DeepgramSTTService
from pipecat.utils.time import time_now_iso8601
from websockets.exceptions import ConnectionClosed, SecurityError

from calls.transcript import Heard, HeardWord, OtherReading
from fallbacks.classification import (
    classify_close,
    classify_error,
    classify_http,
    classify_message,
)
from fallbacks.failure import Failure, Kind, error_of, failed
from fallbacks.paces import REOPEN_S
from fallbacks.retry_after import may_ask_again, retry_after_s
from fallbacks.symptoms import Moment
from providers.probing import ask_http, http_twin
from providers.provider import RungSpec
from providers.sockets import NO_CLOSE_FRAME, DirectSocket, SoundSocket, code_and_reason, tls_for

_SDK_HEADERS: Final = BaseClientWrapper(
    api_key="", environment=DeepgramClientEnvironment.PRODUCTION
).get_headers()
_connect: Final = deepgram.listen.v1.client.websockets_client_connect


class _ConnectHere(_connect):  # type: ignore[misc, valid-type] # whichever the SDK has found
    """Connects as the SDK does, but follows no redirect (`providers/sockets.py`)."""

    def handle_redirect(self, uri: str) -> None:
        """Refuse every redirect. The address is untrusted, so it is not logged.

        Raises:
            SecurityError: Always.
        """
        raise SecurityError("a redirect")


class StreamingClient(deepgram.AsyncDeepgramClient):
    """Opens streams; every HTTP call raises. It is cheap enough to create during a call.

    The SDK would give each client an HTTP client that we never use. That one would read all CA
    certificates, which blocks the event loop for 20 ms for each recogniser of each call.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs, httpx_client=_NoHttp())
        wrapper = self._client_wrapper  # would read the SDK's version from disk for each stream
        headers = {**_SDK_HEADERS, **(wrapper.get_custom_headers() or {})}
        headers["Authorization"] = f"Token {wrapper.api_key}"
        wrapper.get_headers = lambda: dict(headers)


class _NoHttp:
    """Takes the place of the HTTP client; every use raises."""

    def __getattr__(self, name: str) -> NoReturn:
        raise NotImplementedError(f"the streaming client has no HTTP client: {name}")


def use_streaming_clients() -> None:
    """Patch Pipecat and the SDK, which accept no client and no TLS context; may be repeated."""
    pipecats.AsyncDeepgramClient = StreamingClient  # pyright: ignore[reportPrivateImportUsage]
    deepgram.listen.v1.client.websockets_client_connect = _connect_lightly


def _connect_lightly(url: str, **kwargs: Any) -> Any:
    """Connect as the SDK does, with cached certificates and without compression.

    The SDK would read the certificates for each socket. The compression state would take 160 kB for
    each recogniser of a call, and audio is sent uncompressed anyway (`providers/sockets.py`).
    """
    kwargs.setdefault("open_timeout", REOPEN_S)
    return _ConnectHere(url, ssl=tls_for(url), compression=None, **kwargs)


MODEL: Final = "nova-3"
FINALIZE: Final = '{"type":"Finalize"}'  # requests pending transcripts. Source: deepgram-docs
# Silence sent at once: a stream with only KeepAlives is closed with NET-0001 10 s after it opens.
OPENING_S: Final = 0.02  # source: deepgram-docs, "Audio Keep Alive"
SEND_S: Final = 5.0  # Pipecat's own bound for a websocket's send; a healthy one takes microseconds
MAX_REASON: Final = 80  # characters of what Deepgram says about a refusal
BAD_REQUEST: Final = 400


class DeepgramRung(DeepgramSTTService):
    """Pipecat's service, with failures reported to a supervising stage.

    A supervised service reports what Pipecat's hides: each lost connection, even a cleanly closed
    one, immediately, as an error with a `Failure`; and each result without words, as a frame
    without text, because it proves that the stream is alive. It does not reconnect by itself;
    Pipecat's would, after four seconds.

    Attributes:
        supervised: Set before `setup`, by a stage that calls `reconnect` after a failure.
    """

    def __init__(self, *, rung_name: str, alternatives: int = 1, **kwargs: Any) -> None:
        """Create a recogniser for one call.

        Args:
            rung_name: The rung that failures are reported for.
            alternatives: The number of readings to request, the best one included.
            kwargs: Pipecat's arguments.
        """
        use_streaming_clients()
        super().__init__(**kwargs)
        self._alternatives = alternatives
        self.supervised = False
        self._rung_name = rung_name
        self._ended_by: Exception | None = None  # how this connection ended
        self._answered = False  # with a result, on this connection
        self._rejection_logged = False  # of one of our messages, on this connection
        self._socket: SoundSocket | None = None  # of this connection, if it is accessible
        self._queued_pieces = 0  # of audio, in our queue

    @property
    def connected(self) -> bool:
        """Whether a stream is open."""
        return self._connection is not None

    async def reconnect(self) -> bool:
        """Open a new stream after aborting the old one; return whether the new one is open."""
        self._connection = None
        if self._socket:  # a closing handshake without an answer would take half a minute or more
            self._socket.abort()
        await self._disconnect()
        await self._connect()
        return self.connected

    def send_at_once(self, sound: bytes) -> bool:
        """Send audio at once, bypassing all queues, and count it for the bill.

        Return False, and do neither, if it has to be queued.
        """
        socket = self._free_socket()
        if socket is None:
            return False
        self._record_stt_audio_usage(sound)
        socket.send(sound)
        return True

    def ask_for_words(self) -> None:
        """Request the pending words now: the caller may have finished.

        Does nothing while audio waits in a queue, because that must be sent first.
        """
        if socket := self._free_socket():
            self.request_finalize()
            socket.say(FINALIZE)

    def _free_socket(self) -> SoundSocket | None:
        """Return the socket for writing past all queues; `None` if audio has to be queued."""
        socket = self._socket
        if socket is None or self._queued_pieces or self._muted or not self.is_usable:
            return None
        return socket if self._connection is not None and socket.free else None

    async def queue_frame(
        self,
        frame: Frame,
        direction: FrameDirection = FrameDirection.DOWNSTREAM,
        callback: FrameCallback | None = None,
    ) -> None:
        """Queue a frame as Pipecat does, and count audio, which later audio must not overtake."""
        self._queued_pieces += isinstance(frame, InputAudioRawFrame)
        await super().queue_frame(frame, direction, callback)

    async def process_audio_frame(
        self, frame: InputAudioRawFrame, direction: FrameDirection
    ) -> None:
        """Send queued audio; later pieces need not wait for it any more."""
        try:
            await super().process_audio_frame(frame, direction)
        finally:
            self._queued_pieces -= 1

    async def run_stt(self, audio: bytes) -> AsyncGenerator[Frame | None, None]:
        """Send audio if a stream is open; report one that blocks as lost, before frames pile up."""
        connection = self._connection
        if connection is not None:
            try:
                async with asyncio.timeout(SEND_S):
                    await connection.send_media(audio)
            except TimeoutError:
                self._connection = None
                await self._push_failure(failed(Kind.TIMEOUT, "stt", provider=self._rung_name))
            except ConnectionClosed:
                self._connection = None  # its listener reports the reason
        yield None

    async def _connection_handler(self) -> None:
        """Run one connection, and report its end as a failure; unsupervised, do as Pipecat does."""
        if not self.supervised:
            await super()._connection_handler()
            return
        self._ended_by, self._answered, self._rejection_logged = None, False, False
        try:
            await self._run_connection_or_retry()
        except Exception as error:  # noqa: BLE001 - the provider's edge: any error is its failure
            self._ended_by = error
        finally:
            self._connection = None
            self._connection_settled.set()
        moment = Moment.FLOWING if self._answered else Moment.ASKED
        await self._push_failure(stream_failure_of(self._ended_by, self._rung_name, moment=moment))

    async def _run_connection_or_retry(self) -> None:
        """Run a connection until it ends; repeat it if the model does not support alternatives.

        From then on, none are requested.
        """
        try:
            await self._run_connection()
        except ApiError as error:
            if self._alternatives == 1 or error.status_code != BAD_REQUEST:
                raise
            self._alternatives = 1
            log_missing_alternatives(self._rung_name)
            await self._run_connection()

    def _build_connect_kwargs(self) -> dict[str, Any]:
        """Add `alternatives` to the query: the SDK has no parameter for it."""
        options = super()._build_connect_kwargs()
        if self._alternatives == 1:
            return options
        query = {"alternatives": str(self._alternatives)}
        return {**options, "request_options": {"additional_query_parameters": query}}

    async def _run_connection(self) -> None:
        """Open a stream and read it until it ends; raise the error if it cannot be opened.

        While `_connection` is set, the caller's audio is sent to it. Afterwards `_ended_by` has
        the reason of the end, also of a clean one.
        """
        keep_alive: asyncio.Task[None] | None = None
        connect = self._client.listen.v1.connect(**self._build_connect_kwargs())
        try:
            async with connect as connection:
                connection.on(EventType.MESSAGE, self._on_message)
                connection.on(EventType.ERROR, self._on_error)
                self._socket = _sound_socket(connection)
                await connection.send_media(bytes(2 * int(self.sample_rate * OPENING_S)))  # silence
                self._connection = connection
                self._connection_settled.set()
                keep_alive = self.create_task(self._keepalive_handler(), f"{self}::keepalive")
                await connection.start_listening()
                self._ended_by = self._ended_by or _close_of(connection)
        finally:
            self._connection = self._socket = None
            if keep_alive:
                await self.cancel_task(keep_alive)

    async def _on_error(self, error: Exception) -> None:
        """Keep the error for the report at the end of the connection, if supervised."""
        if self.supervised:
            self._ended_by = error
            await self.stop_all_metrics()
        else:
            await super()._on_error(error)

    async def push_frame(
        self, frame: Frame, direction: FrameDirection = FrameDirection.DOWNSTREAM
    ) -> None:
        """Push a frame; replace Deepgram's result in it with our own (`Heard`)."""
        if isinstance(frame, TranscriptionFrame | InterimTranscriptionFrame):
            frame.result = heard_of(frame.result, frame.text)
        await super().push_frame(frame, direction)

    async def _on_message(self, message: Any) -> None:
        """Let Pipecat handle a message; if supervised, push results without words as well.

        A rejected message of ours is logged.
        """
        await super()._on_message(message)
        if not self.supervised:
            return
        if not isinstance(message, ListenV1Results):
            self._log_rejection(message)
            return
        self._answered = True
        alternatives = message.channel.alternatives if message.channel else []
        if not alternatives or alternatives[0].transcript:  # Pipecat pushes results with words
            return
        # The answer to our Finalize ends an utterance; any other shows that the stream is alive.
        kind = TranscriptionFrame if self._finalize_pending else InterimTranscriptionFrame
        await self.push_frame(kind("", self._user_id, time_now_iso8601(), result=message))

    def _log_rejection(self, message: Any) -> None:
        """Log the first of our messages that Deepgram rejects on this connection.

        The stream continues, so this is not a failure.
        """
        rejection = None if self._rejection_logged else rejection_of(message)
        if rejection:
            self._rejection_logged = True
            logger.warning(
                "{}: Deepgram rejected one of our messages and goes on: {}",
                self._rung_name,
                rejection,
            )

    async def _push_failure(self, failure: Failure) -> None:
        """Push a failure to the stage, as an error frame."""
        error = error_of(failure)
        await self.push_error(str(error), exception=error)


def heard_of(message: Any, text: str) -> Heard:
    """Return a message's result; the SDK does not check the types of its fields.

    Args:
        message: A `Results` message.
        text: Its transcript.
    """
    found = getattr(getattr(message, "channel", None), "alternatives", None) or ()
    return Heard(
        final=bool(getattr(message, "is_final", False)),
        end_s=_end_s(message),
        words=_timed_words(text.split(), found[0]) if found else (),
        confidence=getattr(found[0], "confidence", None) if found else None,
        others=tuple(
            OtherReading(text=str(item.transcript), confidence=getattr(item, "confidence", None))
            for item in found[1:]
        ),
    )


def _end_s(message: Any) -> float | None:
    """Return where the audio of a result ends, in seconds of the stream; `None` if unknown."""
    start_s, length_s = getattr(message, "start", None), getattr(message, "duration", None)
    if isinstance(start_s, float | int) and isinstance(length_s, float | int):
        return start_s + length_s
    return None


def _timed_words(texts: list[str], best: Any) -> tuple[HeardWord, ...]:
    """Return the transcript's words with their times.

    If Deepgram's list of timed words has another length, the words come from that list.
    """
    timed = [
        word
        for word in getattr(best, "words", None) or ()
        if isinstance(getattr(word, "start", None), float | int)
        and isinstance(getattr(word, "end", None), float | int)
    ]
    if len(timed) != len(texts):  # for example, a numeral can stand for several spoken words
        texts = [str(getattr(word, "punctuated_word", None) or word.word) for word in timed]
    return tuple(
        HeardWord(
            text=text,
            start_s=word.start,
            end_s=word.end,
            confidence=getattr(word, "confidence", None),
        )
        for text, word in zip(texts, timed, strict=True)
    )


@functools.cache
def log_missing_alternatives(rung_name: str) -> None:
    """Log, once per rung and process, that the model does not support alternatives."""
    logger.warning(
        "{}: Deepgram refuses `alternatives` with this model (nova-2 and nova-3 have none); "
        "requests omit it from now on",
        rung_name,
    )


def _sound_socket(connection: AsyncV1SocketClient) -> SoundSocket | None:
    """Return the SDK's socket for direct writing; `None` if its class does not allow that."""
    websocket = connection._websocket  # noqa: SLF001 - the SDK hides it
    return SoundSocket(websocket) if isinstance(websocket, DirectSocket) else None


def rejection_of(message: Any) -> str | None:
    """Return Deepgram's codes for a message that it rejected; `None` if it rejected none.

    Only the codes: the description may quote our message, such as names to listen for.
    """
    kind = getattr(message, "type", None)
    found = classify_message("deepgram", {"type": kind}, moment=Moment.FLOWING)
    if not found.goes_on:
        return None
    codes = (getattr(message, name, None) for name in ("variant", "code"))
    code = next((item for item in codes if isinstance(item, str) and item.isidentifier()), "")
    return f"{f'{kind} {code}'.strip()[:MAX_REASON]} ({found.kind})"


class CleanCloseError(Exception):
    """The server closed the stream cleanly although we had not asked for it."""


def _close_of(connection: AsyncV1SocketClient) -> Exception:
    """Return an exception for a stream that ended without an error."""
    code = getattr(connection._websocket, "close_code", None)  # noqa: SLF001 - the SDK hides it
    return CleanCloseError(code or 1000)


def stream_failure_of(error: Exception | None, rung_name: str, *, moment: Moment) -> Failure:
    """Return the end or refusal of a stream as a failure of a rung.

    A refusal's `dg-error` is in the headers of the handshake's error, which the SDK replaces with
    an error that has the request's headers. Source: deepgram-sdk 7.16 `listen/v1/raw_client.py`.
    """
    match error:
        case ApiError(status_code=int() as status):
            return _failure_of_upgrade(
                status, getattr(error.__context__, "headers", None) or {}, rung_name
            )
        case ConnectionClosed():
            code, text = code_and_reason(error)
            found = classify_close("deepgram", code, text, stage="stt", moment=moment)
            reason = f"closed: {code} {text}".strip()
        case CleanCloseError(args=(int() as code,)):
            found = classify_close("deepgram", code, stage="stt", moment=moment)
            reason = f"closed: {code}"
        case None:
            found = classify_close("deepgram", NO_CLOSE_FRAME, stage="stt", moment=moment)
            reason = "gone"
        case _:
            found, reason = classify_error(error), type(error).__name__
    return failed(found, "stt", provider=rung_name, reason=reason[:MAX_REASON])


def _failure_of_upgrade(status: int, headers: Mapping[str, str], rung_name: str) -> Failure:
    """Return a refused upgrade as a failure, with the provider's wait and whether to ask again."""
    text = str(headers.get("dg-error", ""))[:MAX_REASON]
    return failed(
        classify_http("deepgram", status, text or None),
        "stt",
        provider=rung_name,
        reason=f"{status} {text}".strip(),
        retry_after_s=retry_after_s(headers),
        same_rung=may_ask_again(headers),
    )


def build(rung: RungSpec) -> DeepgramRung:
    """Return a recogniser that streams to this rung."""
    return DeepgramRung(
        rung_name=rung.name,
        alternatives=rung.alternatives,
        api_key=rung.api_key,
        base_url=rung.url,
        sample_rate=rung.sample_rate_hz,
        mip_opt_out=True,  # keep the caller's voice out of training
        settings=DeepgramSTTService.Settings(
            model=rung.model or MODEL,
            language=rung.language,
            interim_results=True,
            smart_format=False,  # it delays results until an entity is complete
            **rung.options,
        ),
    )


async def probe(rung: RungSpec, *, timeout_s: float) -> None:
    """List the key's projects, free of charge, without audio; may raise `ProbeFailedError`."""
    await ask_http(
        http_twin(rung.url, "/v1/projects"),
        headers={"Authorization": f"Token {rung.api_key}"},
        timeout_s=timeout_s,
    )
