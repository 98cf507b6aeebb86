"""The connection of a recogniser of Pipecat's: opened and closed when the stage says so.

The service never reconnects, sends its own audio again or gives up by itself. Each error ends the
connection and is reported once, as a `Failure`. Messages are read before Pipecat reads them, so
that each of them is a sign of life.
"""

import asyncio
from collections import deque
from collections.abc import Coroutine
from typing import Any, Final, cast

from loguru import logger
from pipecat.frames.frames import (
    ErrorFrame,
    InterimTranscriptionFrame,
    TranscriptionFrame,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessorSetup
from pipecat.services.stt_service import SegmentedSTTService, STTService
from pipecat.services.websocket_service import WebsocketService
from pipecat.utils.time import time_now_iso8601
from websockets.exceptions import ConnectionClosed
from websockets.protocol import State

from fallbacks.classification import classify_close, classify_message, classify_symptom
from fallbacks.failure import Failure, Finding, error_of, failed
from fallbacks.paces import REOPEN_S
from fallbacks.symptoms import Moment, Symptom
from providers.adapter.failures import failure_in, service_failure
from providers.adapter.recogniser_messages import (
    READERS,
    Note,
    PlainReader,
    Reader,
    SegmentReader,
    is_error,
)
from providers.adapter.recogniser_stream import RecogniserStream, Resampler
from providers.provider import RungSpec
from providers.sockets import NO_CLOSE_FRAME, forbid_redirects, tls_for
from runtime.http import parse_json

CONNECT_S: Final = 3.5  # for all of a service's connecting, which may take several requests
LOAD_S: Final = 30.0  # for a local one, which may load models
LEAVE_S: Final = 1.0  # for a service to let go of a connection, and to obey its cancellation
JSON: Final = ("{", "[")  # how messages in JSON begin

_abandoned: set[asyncio.Task[Any]] = set()


async def within(seconds: float, work: Coroutine[Any, Any, object]) -> Exception | None:
    """Do a service's work in time; return its error, or `None`.

    Work that takes too long is cancelled, and returns a `TimeoutError`; if it does not obey that,
    it is abandoned.
    """
    task = asyncio.get_running_loop().create_task(work, name="a service's work")
    try:
        await asyncio.wait({task}, timeout=seconds)
    finally:
        if not task.done():
            task.cancel()
    if not task.done():
        await asyncio.wait({task}, timeout=LEAVE_S)
    if not task.done():
        logger.warning("a recogniser ignores its cancellation; it is abandoned")
        _abandoned.add(task)
        task.add_done_callback(_forget_abandoned)
    if not task.done() or task.cancelled():
        return TimeoutError()
    error = task.exception()
    return error if isinstance(error, Exception) else None


def _forget_abandoned(task: "asyncio.Task[Any]") -> None:
    """Forget a task that has ended after all; read its error, which is logged otherwise."""
    _abandoned.discard(task)
    if not task.cancelled():
        task.exception()  # it is awaited no more


class ConnectedPart(STTService):
    """Stands in front of the class of Pipecat's service.

    Attributes:
        supervised: Whether messages without words are reported, too, as frames without text.
        stream: What was sent and asked for on this connection.
        reader: Reads the service's messages.
    """

    def __init__(self, *, rung: RungSpec, **kwargs: Any) -> None:
        forbid_redirects()
        self.supervised = False
        self.rung = rung
        self.in_segments = isinstance(self, SegmentedSTTService)
        plain = SegmentReader if self.in_segments else PlainReader
        self.reader: Reader = READERS.get(rung.service, plain)()
        self.stream = RecogniserStream(counts=self.reader.counts)
        self.resampler = Resampler(rung.sample_rate_hz)
        self.note = Note()  # of the latest message
        self.pushed = True  # a transcript since the latest message
        self.over = True  # the connection has failed, or is not open yet
        self._number = 0  # of the connection
        self._goes_on = False  # the latest message is an error that ends nothing
        self._socket: Any = None
        super().__init__(**kwargs)

    @property
    def connected(self) -> bool:
        """Whether it can be sent audio."""
        if self.over or not isinstance(self, WebsocketService):
            return not self.over
        socket = cast("Any", self._websocket)
        return socket is not None and getattr(socket, "state", State.OPEN) is State.OPEN

    async def setup(self, setup: FrameProcessorSetup) -> None:
        """Connect, which Pipecat's services do here; a failure is reported.

        It may take `CONNECT_S`, or `LOAD_S` on this machine.
        """
        self._reset_for_connection()
        limit_s = LOAD_S if self.rung.facts.is_local else CONNECT_S
        await self._report_error(await within(limit_s, super().setup(setup)))
        self.resampler = Resampler(self.sample_rate)

    async def reconnect(self) -> bool:
        """Open another connection after aborting the old one; return whether it is open.

        A failure is reported as a frame, not raised.
        """
        self.end()
        own = cast("Any", self)
        for name in ("_disconnect", "_cancel_segment_task"):
            if leave := getattr(self, name, None):
                await within(LEAVE_S, leave())
        if getattr(self, "_receive_task", None) is not None:  # left over: it would not be replaced
            await within(LEAVE_S, self.cancel_task(own._receive_task))  # noqa: SLF001
            own._receive_task = None  # noqa: SLF001 - as all of Pipecat's services name it
        self._reset_for_connection()
        await self.set_usable(True)
        if self.in_segments:
            own._segment_queue = asyncio.Queue()  # noqa: SLF001 - of Pipecat's base class
            own._segment_task = self.create_task(own._segment_task_handler())  # noqa: SLF001
        elif connect := getattr(self, "_connect", None):
            await self._report_error(await within(CONNECT_S, connect()))
        return self.connected

    async def cleanup(self) -> None:
        """End the connection, and release the service in `LEAVE_S`; its errors are ignored."""
        self.end()
        await within(LEAVE_S, super().cleanup())

    def _reset_for_connection(self) -> None:
        """Reset the state: the old connection's audio and requests do not count for the new one."""
        self._number += 1
        self.over = self._goes_on = False
        self.note, self.pushed = Note(), True
        self.stream = RecogniserStream(counts=self.reader.counts)
        self.resampler = Resampler(self.sample_rate)
        for value in vars(self).values():
            if _is_audio(value):  # the service would send it again, and the stage does that
                value.clear()

    def end(self) -> None:
        """End the connection without a closing handshake, which may take half a minute.

        Nothing is reported for it any more.
        """
        self.over = True
        socket, self._socket = self._socket, None
        if (transport := getattr(socket, "transport", None)) is not None:
            transport.abort()

    async def _websocket_connect(self, uri: str, **kwargs: Any) -> Any:
        """Connect as Pipecat does, but give up after `REOPEN_S`, and tap the new socket.

        Each message is read here before Pipecat gets it, and an unexpected close is reported.
        """
        kwargs.setdefault("compression", None)
        kwargs.setdefault("open_timeout", REOPEN_S)
        if secure := tls_for(uri):
            kwargs.setdefault("ssl", secure)
        socket = await cast("Any", super())._websocket_connect(uri, **kwargs)  # noqa: SLF001
        self.stream.base_s = self.stream.sent_s  # another one if the service changed its settings
        self._socket, receive, number = socket, socket.recv, self._number

        async def receive_and_note(decode: bool | None = None) -> Any:  # noqa: FBT001 - websockets' own signature
            if number == self._number:
                await self._settle_note()
            try:
                message = await receive(decode)
            except ConnectionClosed as closed:
                if number == self._number and not getattr(self, "_disconnecting", False):
                    await self._report_error(closed)
                raise
            if number == self._number:
                await self._read_message(message)
            return message

        socket.recv = receive_and_note
        return socket

    async def _read_message(self, message: str | bytes) -> None:
        """Record what a message says before Pipecat reads it.

        An error, or a message that cannot be read, is reported as a failure.
        """
        self._goes_on, self.pushed, self.note = False, False, Note()
        try:
            parsed = parse_json(message) if isinstance(message, str) else None
            if isinstance(parsed, dict) and is_error(parsed):
                await self._report_message(parsed)
            elif isinstance(parsed, dict) or self.reader.parses:
                self.note = self.reader.note(cast("Any", parsed))
                if self.note.hears:
                    self.stream.hears(now_s())
        except (ValueError, TypeError, KeyError, AttributeError):
            if self.reader.parses or str(message).lstrip().startswith(JSON):
                await self.report(classify_symptom(Symptom.GARBAGE), "an unreadable message")

    async def _report_message(self, message: Any) -> None:
        """Report an error message, unless it ends nothing."""
        found = classify_message(self.rung.symptoms, message, moment=self.moment)
        if found.goes_on:
            self._goes_on = True
            logger.warning("{}: it rejects one of our messages and goes on", self.rung.name)
        else:
            await self.report(found, "an error message")

    async def _settle_note(self) -> None:
        """Report a message that Pipecat pushed no transcript for: an answer, or a sign of life.

        Called when the service reads the next message.
        """
        if self.pushed or self.over or not self.supervised:
            return
        now = time_now_iso8601()
        if self.note.answers and self.stream.asked:
            await self.push_frame(TranscriptionFrame("", self._user_id, now))
        elif self.stream.signs(now_s()):
            await self.push_frame(InterimTranscriptionFrame("", self._user_id, now))

    @property
    def moment(self) -> Moment:
        """What is in progress."""
        return Moment.FLOWING if self.stream.flowing else Moment.ASKED

    async def _maybe_try_reconnect(
        self, error_message: str, report_error: Any, error: Exception | None = None
    ) -> bool:
        """Report that the socket is not read any more; the stage reconnects."""
        del error_message, report_error
        if not getattr(self, "_disconnecting", False):
            await self._report_error(error)
            await self._report_close(1000, "the stream ended")
        return False

    async def _report_close(self, code: int, reason: str) -> None:
        """Report the close of a socket as a failure, which ends the connection."""
        symptoms, moment = self.rung.symptoms, self.moment
        await self.report(classify_close(symptoms, code, stage="stt", moment=moment), reason)

    async def _request_reconnect(self) -> None:
        await self._reconnect()

    async def _reconnect(self) -> None:
        """Connect again if a setting changed; report any other reason, the stage reconnects."""
        if self._changes_settings:
            await self._do_reconnect()
        else:
            await self._report_close(NO_CLOSE_FRAME, "it wants to reconnect")

    _changes_settings = False

    async def _update_settings(self, delta: Any) -> dict[str, Any]:
        """Apply settings; meanwhile, the service may reconnect by itself, as they may require."""
        self._changes_settings = True
        try:
            return await super()._update_settings(delta)
        finally:
            self._changes_settings = False

    async def push_error_frame(
        self,
        error: ErrorFrame,
        force_treat_as_permanent: bool = False,  # noqa: FBT001, FBT002 - Pipecat's own signature
    ) -> None:
        """Report an error as a failure; whether to ask again is not the service's decision."""
        del force_treat_as_permanent
        if not self._goes_on:
            await self._push_failure_and_end(failure_in(error, self.rung, moment=self.moment))

    async def _report_error(self, error: BaseException | None) -> None:
        """Report an error as a failure, which ends the connection; `None` is none."""
        if error is not None:
            await self._push_failure_and_end(service_failure(error, self.rung, moment=self.moment))

    async def report(self, found: Finding, reason: str) -> None:
        """Report that the connection failed, and end it; do nothing if it has ended already."""
        await self._push_failure_and_end(
            failed(found, "stt", provider=self.rung.name, reason=reason)
        )

    async def _push_failure_and_end(self, failure: Failure) -> None:
        """Push a failure upstream and end the connection; do nothing if it has ended already."""
        if self.over:
            return
        self.end()
        error = error_of(failure)
        frame = ErrorFrame(str(error), exception=error, processor=self)
        await self.push_frame(frame, FrameDirection.UPSTREAM)


def _is_audio(value: object) -> bool:
    """Return whether an attribute of a service is a buffer of audio."""
    pieces = cast("list[object]", value) if isinstance(value, list | deque) else ()
    is_list = bool(pieces) and all(isinstance(piece, bytes | bytearray) for piece in pieces)
    return is_list or isinstance(value, bytearray)


def now_s() -> float:
    """Return the loop's time, monotonic, in seconds."""
    return asyncio.get_running_loop().time()
