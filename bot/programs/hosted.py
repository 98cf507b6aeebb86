"""Calls in a host: another server, such as Pipecat's runner, that passes us each connection."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from contextvars import ContextVar
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

import uvicorn
from fastapi import WebSocket
from loguru import logger
from pipecat.runner.types import LiveKitRunnerArguments
from pipecat.transports.smallwebrtc.connection import SmallWebRTCConnection

from bot.call.call import Call, watch_leg
from bot.call.switchboard import Switchboard
from bot.server.limits import bounds
from bot.workers.process import CLOSE_PROCESS_S, Process, open_process
from configuration.folders import keep_private
from configuration.loading import load
from configuration.settings import Settings
from operations.telemetry import logs
from runtime import clock, loops
from transports.media_stream.leg import CarriedCall, StreamLeg
from transports.media_stream.line import NORMAL, close
from transports.media_stream.messages import MULAW, POLICY, Started
from transports.media_stream.sockets import START_S, read_start
from transports.media_stream.stream import Stream
from transports.pool import SwitchboardFullError
from transports.twilio.dialect import TWILIO
from transports.webrtc.leg import WebrtcLeg


class HostedCalls:
    """The calls in progress of one host; drains them or hangs them up together.

    Every call in a host opens a `Process` of its own, but all calls must be drained together. A
    host passes `bot.bot` a connection and nothing else, so a context variable holds this object.
    """

    def __init__(self) -> None:
        self._switchboards: set[Switchboard] = set()
        self._count = 0
        self._closing = False
        self._empty = asyncio.Event()
        self._empty.set()

    @contextmanager
    def count_call(self) -> Iterator[None]:
        """Count a call, from its connection until all its resources are closed."""
        self._count += 1
        self._empty.clear()
        try:
            yield
        finally:
            self._count -= 1
            if not self._count:
                self._empty.set()

    @contextmanager
    def include(self, switchboard: Switchboard) -> Iterator[None]:
        """Include this switchboard's call in `close` and `hurry` while the block runs.

        Raises:
            SwitchboardFullError: `close` has been called.
        """
        if self._closing:
            raise SwitchboardFullError("We are closing. Please call again in a few minutes.")
        self._switchboards.add(switchboard)
        try:
            yield
        finally:
            self._switchboards.discard(switchboard)

    async def close(self, *, drain_s: float) -> None:
        """Take no new calls; let those in progress end, then say goodbye, then cut them off.

        Returns when all resources of the calls are closed, or `CLOSE_PROCESS_S` after the calls
        have ended.

        Args:
            drain_s: How long a call may continue before it says goodbye.
        """
        self._closing = True
        ends = [switchboard.close(drain_s=drain_s) for switchboard in self._switchboards]
        for result in await asyncio.gather(*ends, return_exceptions=True):
            if isinstance(result, Exception):
                logger.error("a call could not be ended: {}", result)
        try:
            async with asyncio.timeout(CLOSE_PROCESS_S):
                await self._empty.wait()
        except TimeoutError:
            logger.warning("the resources of a call were not closed within {:g} s", CLOSE_PROCESS_S)

    def hurry(self) -> None:
        """Hang up all calls, so that `close` returns soon."""
        for switchboard in tuple(self._switchboards):
            switchboard.hurry()


HOSTED: Final[ContextVar[HostedCalls]] = ContextVar("the calls of our host")


def calls_of_host() -> HostedCalls:
    """Return the calls of the current host; without a host, a new object for one call."""
    return HOSTED.get(None) or HostedCalls()


SERVER_CLOSE_S: Final = 3.0  # for open HTTP connections, after `HostedCalls.close`


class HostedServer(uvicorn.Server):
    """A uvicorn server that drains its calls after a signal, and then returns normally."""

    def __init__(self, config: uvicorn.Config, calls: HostedCalls, *, drain_s: float) -> None:
        """Let calls continue for `drain_s` after a signal; a second signal hangs them up."""
        super().__init__(config)
        self._calls = calls
        self._drain_s = drain_s
        self._signals = 0
        self._asked_to_stop = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Drain on the first signal; on a second one, SIGINT or SIGTERM, stop at once.

        Uvicorn's own handler would raise the signal again at the end and so kill the process.
        """
        self._signals += 1
        if self._signals > 1:
            self._loop.call_soon_threadsafe(self._end_at_once)
        self._loop.call_soon_threadsafe(self._asked_to_stop.set)

    async def main_loop(self) -> None:
        """Serve until a stop is requested and the calls have ended."""
        async with asyncio.TaskGroup() as tasks:
            ending = tasks.create_task(self._end_calls(), name="end the calls when asked")
            await super().main_loop()
            ending.cancel()

    async def _end_calls(self) -> None:
        """When asked to stop: refuse connections, drain the calls, and end the server."""
        await self._asked_to_stop.wait()
        for server in self.servers:
            server.close()  # new connections are refused
        await self._calls.close(drain_s=self._drain_s)
        self.should_exit = True

    def _end_at_once(self) -> None:
        self.force_exit = True
        self._calls.hurry()


def run_hosted(app: Any, *, host: str, port: int, drain_s: float) -> None:
    """Serve a host's application until a signal; then drain its calls as `holdline serve` does.

    Blocks until the calls have ended. A call may continue for `drain_s` before it says goodbye.
    """

    async def serve() -> None:
        """Serve until a signal; calls get `drain_s` to end."""
        calls = HostedCalls()
        HOSTED.set(calls)  # requests are answered in copies of this context
        config = uvicorn.Config(
            app, host=host, port=port, timeout_graceful_shutdown=round(SERVER_CLOSE_S), **bounds()
        )
        await HostedServer(config, calls, drain_s=drain_s).serve()

    loops.run(serve())


if TYPE_CHECKING:
    from transports.livekit.leg import LivekitLeg


async def answer(runner_args: Any) -> None:
    """Run one call on the connection in `runner_args`, with the local configuration.

    Replaces the runner's logging, which would print what callers say. From now on, only their owner
    may read the files that this process creates.

    Raises:
        TypeError: `runner_args` holds no connection of a known kind.
        ConfigError: The configuration is invalid.
        UsageError: A tool or a rung does not work as configured.
    """
    connection = getattr(runner_args, "webrtc_connection", None)
    websocket = getattr(runner_args, "websocket", None)
    loaded = load()
    settings = loaded.settings
    keep_private()
    log = settings.logs
    logs.set_up(level=log.level, folder=log.dir, json_lines=log.json_lines)
    with calls_of_host().count_call():
        if isinstance(connection, SmallWebRTCConnection):
            await _run_unless_closing(_answer_browser(settings, connection), connection.disconnect)
        elif isinstance(websocket, WebSocket):
            close_socket = partial(close, websocket, NORMAL)
            await _run_unless_closing(_answer_twilio(settings, websocket), close_socket)
        elif isinstance(runner_args, LiveKitRunnerArguments):
            await _run_unless_closing(_answer_room(settings, runner_args))
        else:
            raise TypeError(
                f"holdline takes calls over webrtc, twilio and livekit from a host, "
                f"not {type(runner_args).__name__}"
            )


@asynccontextmanager
async def _open_for_one_call(settings: Settings) -> AsyncIterator[Process]:
    """Open a process for one call, which is drained with the host's other calls.

    Raises:
        ExceptionGroup: With a `SwitchboardFullError`, if the calls are already being drained.
    """
    async with open_process(settings, words=False, record=True) as process:
        with calls_of_host().include(process.switchboard):
            yield process


async def _run_unless_closing(
    call: Awaitable[None], disconnect: Callable[[], Awaitable[None]] | None = None
) -> None:
    """Run a call; if the host's calls are already being drained, disconnect this one instead."""
    try:
        await call
    except* SwitchboardFullError:
        logger.warning("a call arrived during shutdown and was not answered")
        if disconnect is not None:
            await disconnect()


async def _answer_browser(settings: Settings, connection: SmallWebRTCConnection) -> None:
    """Serve one browser's call in a process of its own, and tell the page why it ended."""
    async with _open_for_one_call(settings) as process:
        leg = WebrtcLeg(connection)
        call = process.call(leg)
        leg.send_on_close(lambda: {"type": "ended", "reason": call.reason})
        await _run_watched_call(process, leg, call)


async def _answer_twilio(settings: Settings, websocket: WebSocket) -> None:
    async with _open_for_one_call(settings) as process:
        await _talk_to_twilio(process, websocket)


async def _talk_to_twilio(process: Process, websocket: WebSocket) -> None:
    """Run the call of a media stream; close a socket that does not begin one within `START_S`."""
    started: object = None
    with suppress(TimeoutError):
        async with asyncio.timeout(START_S):
            started = await read_start(websocket, TWILIO)
    if not isinstance(started, Started):
        logger.warning("closed a WebSocket that did not begin like a Twilio media stream")
        await close(websocket, POLICY)
        return
    call = CarriedCall(
        call_ref=started.call_sid,
        caller=started.parameters.get("from", ""),
        called=started.parameters.get("to", ""),
    )
    stream = Stream(dialect=TWILIO, stream_id=started.stream_sid, ours=MULAW, theirs=MULAW)
    emit = process.switchboard.emit
    leg = StreamLeg(websocket, call, stream, emit=emit, clock=clock.monotonic)
    try:
        await process.switchboard.answer(leg)
    finally:
        await close(websocket, NORMAL)


async def _answer_room(settings: Settings, runner_args: LiveKitRunnerArguments) -> None:
    """Enter a room, wait for its caller and serve their call; log a room that refuses us."""
    # Imported late: LiveKit's library takes 28 MB, and calls without a room do not need it.
    from transports.livekit.leg import LivekitLeg  # noqa: PLC0415
    from transports.livekit.line import LivekitLine  # noqa: PLC0415
    from transports.livekit.room import LineError, RoomPlace  # noqa: PLC0415
    from transports.livekit.words import mask_number  # noqa: PLC0415

    place = RoomPlace(
        url=runner_args.url, room=runner_args.room_name, token=lambda: runner_args.token or ""
    )
    line, shown = LivekitLine(place, clock=clock.monotonic), mask_number(place.room)
    try:
        await line.open()  # first, because a telephone rings until then
        async with _open_for_one_call(settings) as process:
            if not await line.wait_for_caller():
                logger.warning("no caller entered the room {}", shown)
                return
            leg = LivekitLeg(line, emit=process.switchboard.emit)
            call = process.call(leg)
            await _run_watched_call(process, leg, call)
    except* LineError as refused:
        logger.warning("{}: {}", shown, refused.exceptions[0])
    finally:
        await line.close()


async def _run_watched_call(process: Process, leg: "WebrtcLeg | LivekitLeg", call: Call) -> None:
    """Run a call on a leg that notices a lost far end only while it is watched."""
    async with asyncio.TaskGroup() as tasks:
        watch = tasks.create_task(watch_leg(leg, call), name="watch the line")
        try:
            await process.switchboard.answer(leg, call)
        finally:
            watch.cancel()
