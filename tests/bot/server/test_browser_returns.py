"""A page that reconnects before our slow server has noticed the lost line."""

import asyncio
from pathlib import Path

import pytest

from calls.events import CallEnded, CallFailed
from lab.simulators.lab import Lab
from tests.bot.judged_call import listening
from tests.bot.server.peer import on_loopback, peer

__all__ = ["on_loopback"]

pytestmark = [
    pytest.mark.virtual_time,
    pytest.mark.slow,
    pytest.mark.usefixtures("on_loopback", "quiet_log"),
]

RECOGNISERS = ("deepgram", "deepgram-b")


async def test_a_page_keeps_its_conversation_while_its_old_call_ends_slowly(
    tmp_path: Path,
) -> None:
    """After a network cut a recogniser does not close either: that takes two seconds."""
    async with (
        listening(tmp_path, {}, None) as beside,
        peer(beside.url) as first,
        peer(beside.url) as second,
        peer(beside.url) as third,
    ):
        await first.call()
        token = (await first.until_told("call"))["resume_token"]
        await first.until_told("said")
        for recogniser in RECOGNISERS:
            cut(beside.lab, recogniser)
        first.vanish()
        await second.call(request_data={"resume_token": token})
        back = await second.until_told("call")
        await second.until_told("said")
        await asyncio.sleep(3)
        ended = [event.reason for event in beside.events if isinstance(event, CallEnded)]
        seats = beside.seats()
        second.vanish()
        await third.call(request_data={"resume_token": back["resume_token"]})
        again = await third.until_told("call")
        failed = [event for event in beside.events if isinstance(event, CallFailed)]

    assert (back["remembers"], again["remembers"]) == (True, True)
    assert (ended, seats, failed) == (["line_lost"], 1, [])


def cut(lab: Lab, name: str) -> None:
    """Drop everything that is sent to a provider on the existing connections."""
    runner = lab.instance(name).server._runner
    assert runner is not None
    assert runner.server is not None
    for connection in runner.server.connections:
        assert connection.transport is not None
        connection.transport.pause_reading()  # type: ignore[attr-defined]
