"""One call for a host that is not our server: Pipecat's runner hands us a connection."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from fastapi import WebSocket
from loguru import logger
from pipecat.runner.types import LiveKitRunnerArguments
from pipecat.transports.smallwebrtc.connection import SmallWebRTCConnection

from bot import clock
from bot.call.call import Call
from bot.call.switchboard import SwitchboardFullError
from bot.call.watching import watch_leg
from bot.config.folders import keep_private
from bot.config.loading import load
from bot.config.settings import Settings
from bot.programs.hosted_calls import calls_of_host
from bot.server.media_door import START_S, read_start
from bot.tools.own_modules import find_own_modules
from bot.workers.opening import open_process
from bot.workers.process import Process
from operations.record.record_keeper import record_keeper
from operations.telemetry import logs
from transports.media_stream.leg import CarriedCall
from transports.media_stream.line import NORMAL, close
from transports.media_stream.messages import POLICY, Started
from transports.twilio.dialect import TWILIO
from transports.twilio.leg import TwilioLeg
from transports.webrtc.leg import WebrtcLeg

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
