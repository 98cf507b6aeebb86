"""The parts that stand before Pipecat's classes of voices, and report to the stage.

A part sees what the service produces before Pipecat plays it (`voice_reports.py`). The service
takes no decision of its own: it does not reconnect, does not write itself off, and its error frames
go to the stage as failures. A voice that does not fall silent on request (`facts.cancels`) gets a
new connection at each interruption, because its late sound would come with the next answer's name.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Coroutine, Iterator
from contextlib import aclosing, contextmanager
from typing import TYPE_CHECKING, Any, Final

from loguru import logger
from pipecat.frames.frames import (
    AudioRawFrame,
    ErrorFrame,
    Frame,
    InterruptionFrame,
    LLMFullResponseStartFrame,
    StartFrame,
    TTSAudioRawFrame,
    TTSUpdateSettingsFrame,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessorSetup
from pipecat.services.tts_service import InterruptibleTTSService, WebsocketTTSService
from pipecat.utils.context.word_timestamp_tracker import WordTimestamp
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, WebSocketException

from calls.voice import ATTEMPT, HELD_SETTINGS, VoiceEar
from fallbacks.classification import classify_symptom
from fallbacks.failure import Failure, Kind, Scope, finding
from fallbacks.paces import REOPEN_S
from fallbacks.symptoms import Moment, Symptom
from providers.adapter.failures import failure_in, service_failure
from providers.adapter.voice_reports import AttemptReports, InvalidOutputError
from providers.provider import RungSpec
from providers.sockets import tls_for

ABANDON_S: Final = 1.0  # a service that has not stopped by then is abandoned (chosen)
CHUNK_S: Final = 0.1  # chosen: as the pieces of voices with a websocket
CANNOT_BE_SILENCED: Final = InvalidOutputError(
    "it cannot be silenced or reconnected", finding(Kind.PROTOCOL, Scope.REQUEST, permanent=True)
)
TOLD: Final = "reported"  # the metadata key of sound that was reported to the stage

if TYPE_CHECKING:
    Service = WebsocketTTSService  # what stands behind a part
else:
    Service = object


class VoicePart(Service):
    """The part of every voice; it stands before Pipecat's class."""

    behind: type | None = None  # stands behind Pipecat's class
    reports: AttemptReports

    def __init__(self, *, rung: RungSpec, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.take_rung(rung)

    def take_rung(self, rung: RungSpec) -> None:
        """Begin a call on this rung with fresh state; also called for a copied voice."""
        self.reports = AttemptReports(rung)
        self._rung = rung
        self._opening = 0  # how many of our own steps may connect now
        self._guesses = False  # whether it asks Pipecat to which context its sound belongs
        self._cannot_be_silenced = False  # so its sound may belong to an earlier attempt
        self._measured = False  # whether the text in progress was
        self._settled = False  # whether the outcome of connecting was reported
        # The stage may revive the voice while an interruption reconnects it. Without the lock, the
        # second would close the first one's new socket, and the reports would be out of order.
        self._reconnecting = asyncio.Lock()
        self._held_settings = deque[TTSUpdateSettingsFrame](maxlen=HELD_SETTINGS)
        if not self._settings.model:  # Deepgram's voices are its models; the bill names them
            self._settings.model = self._settings.voice
            self._sync_model_name_to_metrics()

    @property
    def chunk_size(self) -> int:
        """The bytes of an HTTP body that are read at once; Pipecat waits for half a second."""
        return int(self.sample_rate * CHUNK_S) * 2  # 2 bytes for each sample

    def listen(self, ear: VoiceEar) -> None:
        """Report to `ear` from now on."""
        self.reports.ear = ear

    async def revive(self) -> None:
        """Reconnect; a voice without a connection is ready at once."""
        await self.set_usable(True)
        await self.reconnect()

    async def setup(self, setup: FrameProcessorSetup) -> None:
        """Set the service up, and report whether it is connected."""
        await self._connect_and_report(super().setup(setup))

    async def start(self, frame: StartFrame) -> None:
        """Start the service, which may connect only now."""
        with self._may_connect():
            await super().start(frame)

    async def cleanup(self) -> None:
        """Release the service and its socket, and its SDK's client unless calls share it."""
        try:
            await within(super().cleanup())
        finally:
            abort(self)
            client: Any = getattr(self, "_client", None)
            if self._rung.shared is None and hasattr(client, "with_options"):
                await within(client.close())

    async def reconnect(self) -> None:
        """Open a new connection if the service has one, and drop what the old one still sends.

        Returns once the listener has one of these reports; its errors are reported, not raised:

        - The service has a connection: `connecting`, then `connected` or `unreachable`.
        - It has none, and its sound may belong to an earlier attempt: `unreachable`, for the rest
          of the call.
        - It has none, and needs none: `connected`.
        - There is no listener: nothing is done; Pipecat's own connection is left as it is.
        """
        async with self._reconnecting:
            if self.reports.ear and hasattr(self, "_connect"):
                await self.reports.ear.connecting()
                await self._disconnect_for_good()
                await self._connect_and_report(self._connect(), within_s=REOPEN_S + ABANDON_S)
            elif self.reports.ear and self._cannot_be_silenced:
                await self.reports.ear.unreachable(self.reports.invalid(CANNOT_BE_SILENCED))
            elif self.reports.ear:
                await self.reports.ear.connected()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Remember a reply's attempt; hold settings back; end the attempt on an interruption.

        Settings that arrive during an attempt are applied at the next reply or interruption.
        """
        match frame:
            case TTSUpdateSettingsFrame():
                self._held_settings.append(frame)
                if self.reports.context is None:
                    await self._apply_settings(direction)
                return
            case LLMFullResponseStartFrame():
                await self._apply_settings(direction)
                self.reports.start_attempt(frame.metadata.get(ATTEMPT, 0))
                if self._cannot_be_silenced:
                    await self._report_failure(self.reports.invalid(CANNOT_BE_SILENCED))
            case InterruptionFrame():
                self.reports.forget()
            case _:
                pass
        await super().process_frame(frame, direction)
        if isinstance(frame, InterruptionFrame):
            await self._fall_silent()
            await self._apply_settings(direction)

    async def push_frame(
        self, frame: Frame, direction: FrameDirection = FrameDirection.DOWNSTREAM
    ) -> None:
        """Push a frame; report sound that the service pushes without a context."""
        if isinstance(frame, TTSAudioRawFrame) and TOLD not in frame.metadata:
            for item in await self._report_item(self.reports.newest, frame):
                await super().push_frame(item, direction)
            return
        await super().push_frame(frame, direction)

    async def push_error_frame(
        self,
        error: ErrorFrame,
        force_treat_as_permanent: bool = False,  # noqa: FBT001, FBT002 - Pipecat's own signature
    ) -> None:
        """Report an error to the stage; without a listener, Pipecat may write the service off."""
        failure = failure_in(error, self._rung, moment=self.reports.moment)
        if self.reports.ear is None:
            permanent = force_treat_as_permanent or failure.permanent
            await super().push_error_frame(error, permanent)
        else:
            await self._report_failure(failure)

    async def set_usable(self, is_usable: bool) -> None:  # noqa: FBT001 - Pipecat's own signature
        """Keep the service usable: the stage decides whether it is."""
        await super().set_usable(is_usable or self.reports.ear is not None)

    def create_context_id(self) -> str:
        """Return the context of the next text, which belongs to the attempt in progress."""
        name = super().create_context_id()
        self.reports.add_context(name)
        return name

    def get_active_audio_context_id(self) -> str | None:
        """Return the context in progress, for services whose protocol has none.

        A service that asks for it does not know which attempt its sound belongs to.
        """
        self._guesses = True
        return super().get_active_audio_context_id()

    async def tts_process_generator(
        self, context_id: str, generator: AsyncGenerator[Frame | None, None]
    ) -> None:
        """Synthesise a text; an error that escapes from it is reported like any other."""
        try:
            checked = self._check_items(context_id, generator)
            await super().tts_process_generator(context_id, checked)
        except InvalidOutputError as error:
            await self._report_failure(self.reports.invalid(error))
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:  # a `SystemExit` of one rung must not end all calls
            stop_if_cancelled()  # else the service raised `CancelledError` itself
            if self.reports.ear is None:
                raise
            await self._report_failure(
                service_failure(error, self._rung, moment=self.reports.moment)
            )
        stop_if_cancelled()

    async def start_tts_usage_metrics(self, text: str) -> None:
        """Measure what is billed; `_synthesize_text` does it if the service has not."""
        self._measured = True
        await super().start_tts_usage_metrics(text)

    async def _synthesize_text(self, text: str, context_id: str) -> None:
        """Synthesise a text, and measure it if the service itself does not.

        The reports learn when the text is sent, and when its request has ended.
        """
        self._measured = False
        self.reports.note_text_sent(context_id)
        await super()._synthesize_text(text, context_id)
        if not self._measured:
            await self.start_tts_usage_metrics(text)
        await self.reports.end_request(context_id)

    async def append_to_audio_context(
        self, context_id: str | None, frame: Frame | WordTimestamp | None
    ) -> None:
        """Report an item of a context, and pass it on to Pipecat, unless it is late."""
        if isinstance(frame, ErrorFrame) and self.reports.ear is not None:
            if not self.reports.is_late(context_id):
                await self.push_error_frame(frame)
            return
        for item in await self._report_item(context_id, frame):
            await super().append_to_audio_context(context_id, item)

    async def on_turn_context_completed(self) -> None:
        """Report the end of an attempt whose sound has ended, too."""
        await super().on_turn_context_completed()
        try:
            await self.reports.end_text()
        except InvalidOutputError as error:
            await self._report_failure(self.reports.invalid(error))

    async def on_audio_context_interrupted(self, context_id: str) -> None:
        """Let the service cancel a context, within a limit.

        If it takes longer than `ABANDON_S`, its socket is aborted.
        """
        if not await within(super().on_audio_context_interrupted(context_id)):
            abort(self)

    async def cancel_task(
        self,
        task: asyncio.Task[Any],
        timeout: float | None = None,  # noqa: ASYNC109 - Pipecat's own signature
    ) -> None:
        """Cancel a task; abandon one that swallows that, and abort the socket.

        Args:
            task: The task.
            timeout: How long to wait for its end, in seconds; `ABANDON_S` if it is `None`.
        """
        if task is not asyncio.current_task():
            task.cancel()
            if not (await asyncio.wait({task}, timeout=timeout or ABANDON_S))[0]:
                logger.warning("{}: abandoned {}, which does not stop", self, task.get_name())
                abort(self)
                return
        await super().cancel_task(task, timeout)

    async def _report_item(self, name: str | None, item: Any) -> list[Any]:
        """Report an item of a context to the stage; return the items that Pipecat should get.

        None if the item is late or invalid; an invalid one is reported as a failure.
        """
        reports = self.reports
        is_output = isinstance(item, AudioRawFrame | WordTimestamp)
        if reports.ear is not None and is_output and reports.is_late(name):
            return []
        try:
            items = list(reports.converted(item))
            for part in items:
                if isinstance(part, TTSAudioRawFrame):
                    part.metadata[TOLD] = True
                if not reports.is_late(name):
                    await reports.report(str(name), part)
        except InvalidOutputError as error:
            await self._report_failure(reports.invalid(error))
            return []
        return items

    async def _check_items(
        self, name: str, generator: AsyncGenerator[Frame | None, None]
    ) -> AsyncGenerator[Frame | None, None]:
        """Yield what `run_tts` yields; put samples together that were torn between two pieces.

        Raises:
            InvalidOutputError: It is no frame, or the sound ends with half a sample.
        """
        torn = b""
        async with aclosing(generator) as items:
            async for item in items:
                stop_if_cancelled()
                if item is not None and not isinstance(item, Frame):
                    raise InvalidOutputError(f"a {type(item).__name__} in place of a frame")
                if isinstance(item, TTSAudioRawFrame) and isinstance(item.audio, bytes):
                    self.reports.is_inline = True
                    whole = torn + item.audio
                    item.audio, torn = whole[: len(whole) & ~1], whole[len(whole) & ~1 :]
                yield item
        if torn:
            raise InvalidOutputError("half a sample", classify_symptom(Symptom.ODD_AUDIO))

    async def _report_failure(self, failure: Failure) -> None:
        """Report a failure: of the connection that is being opened, or else of the attempt.

        Of one connection, only the first outcome is reported.
        """
        if not self._opening:
            await self.reports.fail(failure)
        elif self.reports.ear is not None and not self._settled:
            self._settled = True
            await self.reports.ear.unreachable(failure)

    async def _connect_and_report(
        self, work: Coroutine[Any, Any, None], within_s: float | None = None
    ) -> None:
        """Let the service connect, and report the outcome, unless its socket has reported it.

        Without a listener, an error is raised.

        Args:
            work: The service's own connecting.
            within_s: The time limit; `None` for the default one of `within`.
        """
        self._settled = False
        with self._may_connect():
            try:
                if not await within(work, within_s):
                    await self._report_failure(
                        service_failure(TimeoutError(), self._rung, moment=Moment.IDLE)
                    )
            except Exception as error:
                if self.reports.ear is None:
                    raise
                await self._report_failure(service_failure(error, self._rung, moment=Moment.IDLE))
        if not self._settled and self.reports.ear is not None:
            await self.reports.ear.connected()

    async def _disconnect_for_good(self) -> None:
        """Disconnect, and abort the socket; errors of a connection that ends so are only logged.

        A service that takes too long is abandoned.
        """
        self._settled = True
        with self._may_connect():
            try:
                await within(self._disconnect())
            except Exception as error:  # noqa: BLE001 - the connection is given up anyway
                logger.debug("{}: {} while disconnecting", self, type(error).__name__)
        abort(self)
        if hasattr(self, "_websocket"):
            self._websocket = None  # it counts as open until the loop has closed it

    async def _fall_silent(self) -> None:
        """Reconnect if sound of the interrupted attempt may still come."""
        sounding, self.reports.expects_sound = self.reports.expects_sound, False
        if sounding and not self._rung.facts.cancels and self.reports.ear is not None:
            self._cannot_be_silenced = self._guesses and not hasattr(self, "_connect")
            await self.reconnect()

    async def _apply_settings(self, direction: FrameDirection) -> None:
        """Apply the settings that were held back during an attempt, and forget that attempt.

        The service may connect again for them.
        """
        while self._held_settings:
            self.reports.forget()
            with self._may_connect():
                await super().process_frame(self._held_settings.popleft(), direction)

    @contextmanager
    def _may_connect(self) -> Iterator[None]:
        """During the block, let the service open connections; blocks may be nested."""
        self._opening += 1
        try:
            yield
        finally:
            self._opening -= 1


class SocketPart(VoicePart):
    """The part of a voice with one of Pipecat's websockets."""

    _ended_socket: object = None  # its end must not be reported
    _was_connected = False

    async def _websocket_connect(self, uri: str, **kwargs: Any) -> Any:
        """Connect as Pipecat does, with a shorter time-out, and report how it goes.

        The listener is told of the beginning, of a failure, and later of the socket's end.
        """
        if secure := tls_for(uri):
            kwargs.setdefault("ssl", secure)
        ear = self.reports.ear
        if ear is None:
            return await super()._websocket_connect(uri, **kwargs)
        await ear.connecting()
        try:
            socket = await super()._websocket_connect(uri, **{"open_timeout": REOPEN_S, **kwargs})
        except (OSError, EOFError, WebSocketException) as error:  # includes timeouts
            self._settled = True
            await self.reports.report_unreachable(ear, error)
            raise
        except asyncio.CancelledError:
            await ear.lost(None)
            raise
        self._wrap_receiving(socket, ear)
        return socket

    async def _connect_websocket(self) -> None:
        """Connect if we, or its first text, ask for that; report it once the socket is stored."""
        ear = self.reports.ear
        if ear is not None and self._was_connected and not self._opening:
            return
        before = self._websocket
        await super()._connect_websocket()
        if ear is not None and self._websocket and self._websocket is not before:
            self._settled = self._was_connected = True
            await ear.connected()

    async def _maybe_try_reconnect(self, *args: Any, **kwargs: Any) -> bool:
        """Do not reconnect: the stage does, and knows the reason already."""
        if self.reports.ear is None:
            return await super()._maybe_try_reconnect(*args, **kwargs)
        return False

    async def _handle_interruption(self, frame: InterruptionFrame, direction: Any) -> None:
        """Interrupt as Pipecat does, but do not let the service reconnect by itself."""
        if isinstance(self, InterruptibleTTSService) and self.reports.ear is not None:
            self._bot_speaking = self._tts_started = False  # it would reconnect by itself
        await super()._handle_interruption(frame, direction)

    async def _disconnect(self) -> None:
        """Disconnect as Pipecat does; abort the socket if that takes too long.

        The end of this socket is no longer reported.
        """
        self._ended_socket = self._websocket
        if not await within(super()._disconnect()):
            abort(self)

    def _wrap_receiving(self, socket: ClientConnection, ear: VoiceEar) -> None:
        """Replace the socket's `recv`, so that its end is reported to the listener, once.

        Iterating over the socket uses `recv`, too. An end that `_disconnect` has caused is not
        reported.
        """
        receive = socket.recv

        async def receive_and_report(decode: bool | None = None) -> Any:  # noqa: FBT001 - websockets' own signature
            try:
                return await receive(decode)
            except ConnectionClosed as closed:
                if socket is not self._ended_socket:
                    self._ended_socket = socket
                    await self.reports.report_closed(ear, closed, socket=socket)
                raise

        socket.recv = receive_and_report  # type: ignore[method-assign]


async def within(work: Coroutine[Any, Any, Any], limit_s: float | None = ABANDON_S) -> bool:
    """Await work and raise its errors; return False if it was cancelled at the limit."""
    task = asyncio.get_running_loop().create_task(work)
    try:
        done, _ = await asyncio.wait({task}, timeout=limit_s)
    except asyncio.CancelledError:
        task.cancel()
        raise
    if done:
        task.result()
        return True
    task.cancel()
    task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
    return False


def stop_if_cancelled() -> None:
    """End a task whose cancellation was swallowed: it is abandoned, and another does its work.

    Raises:
        asyncio.CancelledError: The current task was cancelled.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def abort(service: Any) -> None:
    """Break the socket of a service, if it has one that can be."""
    transport = getattr(getattr(service, "_websocket", None), "transport", None)
    if transport is not None:
        transport.abort()
