"""Our line into a room, with a media server that publishes our track late, or never reports it."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from livekit import rtc

from fallbacks.retrying import STABLE_S
from transports.livekit import line as livekit_line
from transports.livekit import room as livekit_room
from transports.livekit.line import REJOIN_PAUSE_S, REPUBLICATIONS, SUBSCRIBE_S, LivekitLine
from transports.livekit.room import Handlers, LineError, RoomPlace
from transports.livekit.room_watch_rules import RoomWatch
from transports.livekit.words import CLIENT_INITIATED

pytestmark = pytest.mark.virtual_time

SERVER_SHUTDOWN = 3  # livekit_models.proto, DisconnectReason
CALLER = SimpleNamespace(
    identity="sip_1",
    attributes={"sip.callID": "SCL_1", "sip.callStatus": "active"},
    kind=rtc.ParticipantKind.PARTICIPANT_KIND_SIP,
)


class SlowServer:
    """Lets the agent in, and refuses some of its republished tracks."""

    def __init__(self, *, refuses: int, takes_up: bool) -> None:
        self.offered = 0
        self._refuses = refuses
        self._takes_up = takes_up
        self.ears: Any = {}
        self.flooded: Any = None
        self._away_until_s = 0.0

    async def join(self, _place: Any, _source: Any, ears: Handlers, flooded: Any) -> Any:
        self.flooded = flooded
        if asyncio.get_running_loop().time() < self._away_until_s:
            raise LineError("the media server did not let us in")
        self.ears = ears
        ears["participant_connected"](CALLER)
        return SimpleNamespace(disconnect=self._part)

    async def publish(self, _room: Any, _source: Any) -> None:
        self.offered += 1
        if self.offered <= self._refuses:
            raise LineError("the media server did not take our track")
        if self._takes_up:
            self.ears["local_track_subscribed"](None)

    def restart(self, *, away_s: float = 0.0) -> None:
        """Vanish and return, with a caller's gateway that subscribes to nothing by itself."""
        self._away_until_s = asyncio.get_running_loop().time() + away_s
        self.ears["disconnected"](SERVER_SHUTDOWN)

    async def _part(self) -> None:
        """The agent has left."""


@asynccontextmanager
async def watched_line(
    server: SlowServer, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[LivekitLine]:
    """Open a line into the server's room while the block runs."""
    monkeypatch.setattr(livekit_line, "join", server.join)
    monkeypatch.setattr(livekit_line, "publish", server.publish)
    loop = asyncio.get_running_loop()
    place = RoomPlace(url="ws://127.0.0.1:1", room="call-1", token=lambda: "")
    line = LivekitLine(place, clock=loop.time)
    await line.open()
    watching = loop.create_task(line.watch())
    async with asyncio.timeout(200):
        yield line
    await line.close()
    await watching


async def usable_after_s(server: SlowServer, monkeypatch: pytest.MonkeyPatch) -> float:
    """Return how long writers had to wait."""
    async with watched_line(server, monkeypatch) as line:
        began_s = line.clock()
        await line.usable.wait()
        return line.clock() - began_s


async def test_nothing_is_said_over_a_track_that_the_server_has_not_published(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = SlowServer(refuses=REPUBLICATIONS + 2, takes_up=True)

    waited_s = await usable_after_s(server, monkeypatch)

    assert server.offered == REPUBLICATIONS + 3
    assert waited_s == pytest.approx(SUBSCRIBE_S * server.offered, abs=0.5)


async def test_a_track_is_republished_after_each_restart_of_the_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = SlowServer(refuses=0, takes_up=True)
    async with watched_line(server, monkeypatch) as line:
        for _ in range(REPUBLICATIONS + 1):
            await line.usable.wait()
            server.restart()
            assert not line.usable.is_set()
        await line.usable.wait()

    assert server.offered == REPUBLICATIONS + 2


async def test_nothing_is_said_while_the_library_reconnects_and_publishes_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = SlowServer(refuses=0, takes_up=True)
    async with watched_line(server, monkeypatch) as line:
        await line.usable.wait()
        usable: list[bool] = []
        for event, *said in (
            ("reconnecting",),
            ("local_track_republished", None, "TR_1"),
            ("reconnected",),
            ("local_track_subscribed", None),
        ):
            server.ears[event](*said)
            usable.append(line.usable.is_set())

    assert usable == [False, False, False, True]


@pytest.mark.parametrize("away_s", [9.0, 25.0])
async def test_a_returning_server_is_joined_within_two_seconds_each_time(
    monkeypatch: pytest.MonkeyPatch, away_s: float
) -> None:
    server = SlowServer(refuses=0, takes_up=True)
    async with watched_line(server, monkeypatch) as line:
        for _ in range(2):
            await line.usable.wait()
            await asyncio.sleep(2 * STABLE_S)
            back_s = line.clock() + away_s
            server.restart(away_s=away_s)
            await line.usable.wait()

            assert not line.stay.over
            assert line.clock() - back_s < REJOIN_PAUSE_S + SUBSCRIBE_S + 0.1


async def test_a_caller_whose_subscription_is_never_reported_is_talked_to_anyway(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = SlowServer(refuses=0, takes_up=False)

    waited_s = await usable_after_s(server, monkeypatch)

    assert server.offered == REPUBLICATIONS
    assert waited_s == pytest.approx(SUBSCRIBE_S * (REPUBLICATIONS + 1), abs=0.5)


class SilentRoom:
    """The library's room; one of its methods gets no answer from the server."""

    def __init__(self, silent: str) -> None:
        self.asked = Counter[str]()
        self.remote_participants: dict[str, Any] = {}
        self._silent = silent
        names = ("publish_track", "unpublish_track", "publish_dtmf")
        methods = {name: partial(self._ask, name) for name in names}
        self.local_participant = SimpleNamespace(track_publications={"TR_1": None}, **methods)
        self.connect, self.disconnect = partial(self._ask, "connect"), partial(self._ask, "leave")

    def on(self, _event: str, heard: Any = None) -> Any:
        return heard or (lambda handler: handler)

    async def _ask(self, name: str, *_: Any, **__: Any) -> None:
        self.asked[name] += 1
        if name == self._silent:
            await asyncio.Event().wait()


@pytest.mark.parametrize(
    "silent", ["connect", "unpublish_track", "publish_track", "publish_dtmf", "leave"]
)
async def test_a_server_that_never_answers_delays_neither_a_call_nor_its_end(
    monkeypatch: pytest.MonkeyPatch, silent: str
) -> None:
    room = SilentRoom(silent)
    monkeypatch.setattr(livekit_room.rtc, "Room", lambda: room)
    place = RoomPlace(url="ws://127.0.0.1:1", room="call-1", token=lambda: "")
    line = LivekitLine(place, clock=asyncio.get_running_loop().time)

    with nullcontext() if silent == "leave" else pytest.raises(LineError):
        async with asyncio.timeout(livekit_room.JOIN_S + 2 * livekit_room.COMMAND_S):
            await line.open()
            await line.press("1", code=1)
    async with asyncio.timeout(2 * livekit_room.COMMAND_S):
        await line.close()

    assert room.asked[silent] >= 1
    assert room.asked["leave"] >= 1


def caller(status: str, reason: int = 0) -> Any:
    """Return the caller as the library shows it, at the end with the reason for leaving."""
    attributes = CALLER.attributes | {"sip.callStatus": status}
    return SimpleNamespace(
        identity=CALLER.identity,
        attributes=attributes,
        kind=CALLER.kind,
        disconnect_reason=reason,
    )


@pytest.mark.parametrize(
    ("said", "over", "code"),
    [
        ([("participant_attributes_changed", {}, caller("hangup"))], "caller_hung_up", 1),
        ([("participant_disconnected", caller("active", 5)), ("disconnected", 5)], "line_ended", 5),
        ([("disconnected", 5), ("participant_disconnected", caller("active", 5))], "line_ended", 5),
        ([("participant_disconnected", caller("active", 4))], "line_ended", 4),
        ([("participant_disconnected", caller("active", 1))], "line_lost", 1),
        (
            [
                ("participant_disconnected", caller("active", SERVER_SHUTDOWN)),
                ("participant_connected", caller("active")),
            ],
            "",
            0,
        ),
    ],
    ids=[
        "the caller hangs up",
        "the room is deleted",
        "the same, and we learn of ourselves first",
        "the caller is removed",
        "the gateway is stopped",
        "the caller comes back",
    ],
)
async def test_a_line_says_who_ended_it(
    monkeypatch: pytest.MonkeyPatch, said: list[tuple[Any, ...]], over: str, code: int
) -> None:
    server = SlowServer(refuses=0, takes_up=True)
    async with watched_line(server, monkeypatch) as line:
        await line.usable.wait()
        for event, *about in said:
            server.ears[event](*about)

        assert (line.stay.over, line.left_reason) == (over, code)


async def test_a_program_that_leaves_before_the_caller_has_come_does_not_end_the_stay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = SlowServer(refuses=0, takes_up=True)
    async with watched_line(server, monkeypatch) as line:
        await line.usable.wait()
        line.party, line.stay = None, RoomWatch(0.0)  # as before the caller came
        program = caller("", CLIENT_INITIATED)
        program.identity, program.kind = "recorder", rtc.ParticipantKind.PARTICIPANT_KIND_EGRESS
        server.ears["participant_disconnected"](program)

        assert (line.stay.over, line.left_reason) == ("", 0)
