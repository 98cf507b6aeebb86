"""One call for a host that is not our server: Pipecat's runner hands us a browser's connection."""

import asyncio
from typing import Any

from pipecat.transports.smallwebrtc.connection import SmallWebRTCConnection

from bot.config.loading import load
from bot.process import open_house
from transports.webrtc import WebrtcLeg


async def answer(runner_args: Any) -> None:
    """Run one call on the connection in `runner_args`, with the configuration found here.

    Raises:
        TypeError: There is no browser's connection in it.
        ConfigError: The configuration is wrong.
    """
    connection = getattr(runner_args, "webrtc_connection", None)
    if not isinstance(connection, SmallWebRTCConnection):
        raise TypeError(
            f"holdline takes a WebRTC call from a host, not {type(runner_args).__name__}; "
            "for telephones run `holdline serve`"
        )
    leg = WebrtcLeg(connection)
    async with open_house(load().settings, words=False) as house, asyncio.TaskGroup() as tasks:
        watch = tasks.create_task(leg.watch(), name="watch the browser")
        try:
            await house.switchboard.answer(leg)
        finally:
            watch.cancel()
