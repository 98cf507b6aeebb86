"""One call for a host that is not our server: Pipecat's runner hands us a connection."""

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

from bot import clock
from bot.call.call import Call, watch_leg
from bot.call.switchboard import Switchboard, SwitchboardFullError
from bot.config.folders import keep_private
from bot.config.loading import load
from bot.config.settings import Settings
from bot.server.limits import bounds
from bot.server.media_door import START_S, read_start
from bot.tools.own_modules import find_own_modules
from bot.workers.process import CLOSE_S, Process, open_process
from operations.record.record_keeper import record_keeper
from operations.telemetry import logs
from transports.media_stream.leg import CarriedCall
from transports.media_stream.line import NORMAL, close
from transports.media_stream.messages import POLICY, Started
from transports.twilio.dialect import TWILIO
from transports.twilio.leg import TwilioLeg
from transports.webrtc.leg import WebrtcLeg

# The calls of a host that is not our server: each opens a house of its own, and all end together.
#
# A host calls `bot.bot` and hands over a connection, nothing else; so its calls are found by the
# context in which it does so.


class HostedCalls:
    """Those in progress, and how they end."""

    def __init__(self) -> None:
        """Begin with none."""
        self._switchboards: set[Switchboard] = set()
        self._here = 0
        self._closing = False
        self._empty = asyncio.Event()
        self._empty.set()

    @contextmanager
    def one(self) -> Iterator[None]:
        """Count a call, from its connection until all that was opened for it is closed."""
        self._here += 1
        self._empty.clear()
        try:
            yield
        finally:
            self._here -= 1
            if not self._here:
                self._empty.set()

    @contextmanager
    def at(self, switchboard: Switchboard) -> Iterator[None]:
        """Have the call at this switchboard end with the others.

        Raises:
            SwitchboardFullError: They are being ended.
        """
        if self._closing:
            raise SwitchboardFullError("We are closing. Please call again in a few minutes.")
        self._switchboards.add(switchboard)
        try:
            yield
        finally:
            self._switchboards.discard(switchboard)

    async def close(self, *, drain_s: float) -> None:
        """Take no call any more, and return when those in progress have ended.

        Args:
            drain_s: How long a call may go on before it says goodbye.
        """
        self._closing = True
        ends = [switchboard.close(drain_s=drain_s) for switchboard in self._switchboards]
        for failed in await asyncio.gather(*ends, return_exceptions=True):
            if isinstance(failed, Exception):
                logger.error("{}", failed)
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._empty.wait()
        except TimeoutError:
            logger.warning("what a call had opened was not closed within {:g} s", CLOSE_S)

    def hurry(self) -> None:
        """Have `close` wait for no call any more."""
        for switchboard in tuple(self._switchboards):
            switchboard.hurry()


HOSTED: Final[ContextVar[HostedCalls]] = ContextVar("the calls of our host")


def calls_of_host() -> HostedCalls:
    """Return the calls of the host in whose context we are; of another host, this call alone."""
    return HOSTED.get(None) or HostedCalls()


# For the HTTP connections that remain after the calls have ended and all that these had opened is
# closed: uvicorn begins to wait only then, and cancels behind it what it still finds.
SERVER_CLOSE_S: Final = 3.0


class HostedServer(uvicorn.Server):
    """Uvicorn, which ends on a signal when the calls have, and by itself: that is no failure."""

    def __init__(self, config: uvicorn.Config, calls: HostedCalls, *, drain_s: float) -> None:
        """Prepare; calls may go on for `drain_s` after a signal, and are cut at a second one."""
        super().__init__(config)
        self._calls = calls
        self._drain_s = drain_s
        self._signals = 0
        self._asked_to_stop = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop on a first signal; on a second one, of either kind, stop at once.

        Uvicorn's own would raise the signal again behind the end, and so end us by it.
        """
        self._signals += 1
        if self._signals > 1:
            self._loop.call_soon_threadsafe(self._hurry)
        self._loop.call_soon_threadsafe(self._asked_to_stop.set)

    async def main_loop(self) -> None:
        """Serve until the calls have ended, once they are to."""
        async with asyncio.TaskGroup() as tasks:
            ending = tasks.create_task(self._end_calls(), name="end the calls when asked")
            await super().main_loop()
            ending.cancel()

    async def _end_calls(self) -> None:
        await self._asked_to_stop.wait()
        for server in self.servers:
            server.close()  # who comes now is taken by nobody
        await self._calls.close(drain_s=self._drain_s)
        self.should_exit = True

    def _hurry(self) -> None:
        self.force_exit = True
        self._calls.hurry()


def run_hosted(app: Any, *, host: str, port: int, drain_s: float) -> None:
    """Serve a host's application until a signal; its calls then end as in `holdline serve`."""

    async def run() -> None:
        calls = HostedCalls()
        HOSTED.set(calls)  # requests are answered in copies of this context
        config = uvicorn.Config(
            app, host=host, port=port, timeout_graceful_shutdown=round(SERVER_CLOSE_S), **bounds()
        )
        await HostedServer(config, calls, drain_s=drain_s).serve()

    asyncio.run(run())


if TYPE_CHECKING:
    from transports.livekit.leg import LivekitLeg


async def answer(runner_args: Any) -> None:
    """Run one call on the connection in `runner_args`, with the configuration found here.

    The log becomes ours: the runner's own level prints what callers say.

    Raises:
        TypeError: There is no connection in it that we know.
        ConfigError: The configuration is wrong.
    """
    connection = getattr(runner_args, "webrtc_connection", None)
    websocket = getattr(runner_args, "websocket", None)
    loaded = load()
    find_own_modules(loaded)
    settings = loaded.settings
    keep_private()
    logs.set_up(
        level=settings.logs.level,
        folder=settings.logs.dir,
        json_lines=settings.logs.format == "json",
    )
    with calls_of_host().one():
        if isinstance(connection, SmallWebRTCConnection):
            await _unless_too_late(_answer_browser(settings, connection), connection.disconnect)
        elif isinstance(websocket, WebSocket):
            part = partial(close, websocket, NORMAL)
            await _unless_too_late(_answer_twilio(settings, websocket), part)
        elif isinstance(runner_args, LiveKitRunnerArguments):
            await _unless_too_late(_answer_room(settings, runner_args))
        else:
            raise TypeError(
                f"holdline takes calls over webrtc, twilio and livekit from a host, "
                f"not {type(runner_args).__name__}"
            )


@asynccontextmanager
async def _open(settings: Settings) -> AsyncIterator[Process]:
    """Open a house for one call, which ends with the host's others.

    Raises:
        SwitchboardFullError: They are being ended.
    """
    async with open_process(settings, words=False, keeper=record_keeper(settings)) as process:
        with calls_of_host().at(process.switchboard):
            yield process


async def _unless_too_late(
    talk: Awaitable[None], part: Callable[[], Awaitable[None]] | None = None
) -> None:
    """Have a caller talk; part with one who comes while the calls are being ended."""
    try:
        await talk
    except* SwitchboardFullError:
        logger.warning("a caller came while the calls were being ended, and was not answered")
        if part is not None:
            await part()


async def _answer_browser(settings: Settings, connection: SmallWebRTCConnection) -> None:
    async with _open(settings) as process:
        leg = WebrtcLeg(connection)
        call = process.call(leg)
        leg.part_with(lambda: {"type": "ended", "reason": call.reason})
        await _converse(process, leg, call)


async def _answer_twilio(settings: Settings, websocket: WebSocket) -> None:
    async with _open(settings) as process:
        await _talk_to_twilio(process, websocket)


async def _talk_to_twilio(process: Process, websocket: WebSocket) -> None:
    started: object = None
    with suppress(TimeoutError):
        async with asyncio.timeout(START_S):
            started = await read_start(websocket, TWILIO)
    if not isinstance(started, Started):
        logger.warning("a socket did not begin as Twilio's streams do, and was closed")
        await close(websocket, POLICY)
        return
    call = CarriedCall(
        call_ref=started.call_sid,
        caller=started.parameters.get("from", ""),
        called=started.parameters.get("to", ""),
    )
    leg = TwilioLeg(
        websocket, call, started.stream_sid, tell=process.switchboard.tell, clock=clock.monotonic
    )
    try:
        await process.switchboard.answer(leg)
    finally:
        await close(websocket, NORMAL)


async def _answer_room(settings: Settings, given: LiveKitRunnerArguments) -> None:
    # Late: their library has 28 MB, which who is handed no room does without.
    from transports.livekit.leg import LivekitLeg  # noqa: PLC0415
    from transports.livekit.line import LivekitLine  # noqa: PLC0415
    from transports.livekit.room import LineError, RoomPlace  # noqa: PLC0415

    place = RoomPlace(url=given.url, room=given.room_name, token=lambda: given.token or "")
    line = LivekitLine(place, clock=clock.monotonic)
    try:
        await line.open()  # ahead of everything that takes time: a telephone rings until then
        async with _open(settings) as process:
            if not await line.caller_came():
                logger.warning("nobody came into the room {}", given.room_name)
                return
            leg = LivekitLeg(line, tell=process.switchboard.tell)
            call = process.call(leg)
            await _converse(process, leg, call)
    except* LineError as refused:
        logger.warning("{}: {}", given.room_name, refused.exceptions[0])
    finally:
        await line.close()


async def _converse(process: Process, leg: "WebrtcLeg | LivekitLeg", call: Call) -> None:
    async with asyncio.TaskGroup() as tasks:
        watch = tasks.create_task(watch_leg(leg, call), name="watch the line")
        try:
            await process.switchboard.answer(leg, call)
        finally:
            watch.cancel()
