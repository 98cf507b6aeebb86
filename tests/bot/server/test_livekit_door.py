"""LiveKit's webhook and rooms, with a media server that admits no agent."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, NoReturn

import httpx
import pytest
from aiohttp import web
from livekit import api

from bot.call.waiting_answers import REASON
from bot.server.application import Extras, application
from bot.workers.pool import WorkerPool
from bot.workers.process import Process, open_process
from calls.dialled import ANSWERED
from calls.events import Event, ProviderFailed
from calls.handover import Destination
from calls.resume import ResumeState
from configuration.settings import Settings
from tests.kit.stages import STAGES
from tests.transports.livekit.test_leg import StillLine
from tests.transports.livekit.test_routes import KEY, SECRET, event, proof
from tests.transports.twilio_server import until
from transports.leg import Clock, LegFacts
from transports.livekit import line as livekit_line
from transports.livekit import people as livekit_people
from transports.livekit import rooms as livekit_rooms
from transports.livekit import routes
from transports.livekit.dialling import Dialled
from transports.livekit.leg import LivekitLeg
from transports.livekit.people import LivekitPeople
from transports.livekit.room import RoomPlace
from transports.livekit.rooms import AGENT, SERVER
from transports.pool import SEAT_RETRY_S

GUARD_S = 30.0
ELSEWHERE: Any = SimpleNamespace(facts=LegFacts(transport="webrtc", sample_rate_hz=16_000))


@dataclass
class LockedServer:
    """Has one room with a telephone in it, and lets no agent join."""

    url: str = ""
    joins: int = 0
    kept: int = 0
    deleted: list[str] = field(default_factory=list)
    rooms: list[str] = field(default_factory=list)
    keeps_rooms: bool = False
    instead: tuple[int, str] | None = None  # the answer of another server in its place
    agents: list[str] = field(default_factory=list)  # the servers of those that joined
    agents_live: bool = True  # otherwise LiveKit has removed them
    listed: int = 0  # the participants of a room
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, request: web.Request) -> web.Response:
        self.changed.set()
        if self.instead is not None:
            status, said = self.instead
            return web.Response(status=status, text=said, content_type="application/json")
        return await self._answer(request)

    async def _answer(self, request: web.Request) -> web.Response:
        method = request.path.rpartition("/")[2]
        body = await request.read()
        if request.path.startswith("/rtc"):
            self.joins += 1
            return web.Response(status=401, text="no")
        if method == "DeleteRoom" and self.keeps_rooms:
            self.kept += 1
            return web.Response(status=503, text="no")
        if method == "DeleteRoom":
            self.deleted.append(api.DeleteRoomRequest.FromString(body).room)
            return _protobuf(api.DeleteRoomResponse())
        if method == "ListParticipants":
            self.listed += 1
            self.changed.set()
            return _protobuf(api.ListParticipantsResponse(participants=self._participants()))
        found = [api.Room(name=room, sid=f"RM_{room}", num_participants=1) for room in self.rooms]
        return _protobuf(api.ListRoomsResponse(rooms=found))

    def _participants(self) -> list[api.ParticipantInfo]:
        phone = api.ParticipantInfo(
            identity="sip_1",
            kind=api.ParticipantInfo.SIP,
            attributes={"sip.phoneNumber": "+493012345678"},
        )
        if not (self.agents and self.agents_live):
            return [phone]
        return [phone, api.ParticipantInfo(identity=AGENT, attributes={SERVER: self.agents[-1]})]

    async def until(self, true: Any) -> None:
        async with asyncio.timeout(GUARD_S):
            while not true():
                self.changed.clear()
                await self.changed.wait()


def _protobuf(message: Any) -> web.Response:
    return web.Response(body=message.SerializeToString(), content_type="application/protobuf")


@asynccontextmanager
async def locked_server() -> AsyncIterator[LockedServer]:
    server, app = LockedServer(), web.Application()
    app.router.add_route("*", "/{path:.*}", server.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = f"ws://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        await runner.cleanup()


class DoorNotes:
    """Keeps the events."""

    def __init__(self) -> None:
        self.entries: list[Any] = []
        self.more = asyncio.Event()

    async def hear(self, entry: Any) -> None:
        self.entries.append(entry.event)
        self.more.set()

    async def until(self, kind: str) -> Any:
        async with asyncio.timeout(GUARD_S):
            while not (found := [e for e in self.entries if type(e).__name__ == kind]):
                self.more.clear()
                await self.more.wait()
        return found[0]


class JoinedLine(StillLine):
    """A line into a room with a caller in it."""

    def __init__(self, place: RoomPlace, *, clock: Clock) -> None:
        super().__init__()
        self.place, self.clock = place, clock

    async def open(self) -> None:
        """The agent is in the room."""

    async def wait_for_caller(self) -> bool:
        return True

    def give_up(self) -> None:
        """The caller is in the room already."""

    async def watch(self) -> str:
        await asyncio.Event().wait()
        return ""


class EmptyLine(JoinedLine):
    """A line into a room without participants."""

    async def wait_for_caller(self) -> bool:
        return False


class EndedCall:
    """A call without speech."""

    call_id = "ended"

    def __init__(self, leg: LivekitLeg) -> None:
        self._leg = leg

    def emit(self, fact: Event) -> None:
        """Ignored."""

    async def run(self) -> None:
        await self._leg.hang_up("agent_hung_up")

    async def settle(self) -> None:
        """Its line was not lost."""


@dataclass(kw_only=True)
class Opened:
    """A door that is open."""

    client: httpx.AsyncClient
    process: Process
    server: LockedServer
    notes: DoorNotes

    async def post(self, body: bytes, shown: str | None = None) -> int:
        headers = {"Authorization": proof(body) if shown is None else shown}
        answer = await self.client.post("/livekit/webhook", content=body, headers=headers)
        return answer.status_code


def _asking(
    process: Process, tasks: asyncio.TaskGroup, pool: WorkerPool | None
) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(application(process, tasks, Extras(), pool)),
        base_url="http://127.0.0.1:8080",
    )


@asynccontextmanager
async def opened(
    tmp_path: Path,
    *,
    call: Any = None,
    media_server: LockedServer | None = None,
    pool: WorkerPool | None = None,
    **tree: Any,
) -> AsyncIterator[Opened]:
    async with nullcontext(media_server) if media_server else locked_server() as server:
        livekit = {"enabled": True, "url": server.url, "api_key": KEY, "api_secret": SECRET}
        settings = Settings.model_validate(
            {
                "stages": STAGES,
                "logs": {"dir": tmp_path},
                "storage": {"url": f"sqlite+aiosqlite:///{tmp_path}/holdline.db"},
                "transports": {"livekit": livekit},
                **tree,
            }
        )
        notes = DoorNotes()
        async with (
            open_process(settings, words=False, listeners=[notes]) as process,
            asyncio.TaskGroup() as tasks,
            _asking(replace(process, call=call or process.call), tasks, pool) as client,
        ):
            yield Opened(client=client, process=process, server=server, notes=notes)
            await process.switchboard.close(drain_s=0.0, goodbye_s=0.0)


class LastingCall:
    """A call at another door, which lasts until it is told to end."""

    call_id = "lasting"

    def __init__(self) -> None:
        self.began, self.over = asyncio.Event(), asyncio.Event()

    async def run(self) -> None:
        self.began.set()
        await self.over.wait()

    async def end(self, reason: str) -> None:
        self.over.set()

    async def move(self, *, at_quiet: bool) -> None:
        """There is no other machine."""

    async def cancel(self, reason: str) -> None:
        self.over.set()

    async def settle(self) -> None:
        """Its line was not lost."""


@asynccontextmanager
async def only_seat_taken(door: Opened) -> AsyncIterator[None]:
    """Keep a call at another door in progress while the block runs."""
    call = LastingCall()
    async with asyncio.TaskGroup() as beside:
        beside.create_task(door.process.switchboard.answer(ELSEWHERE, call))
        await call.began.wait()
        try:
            yield
        finally:
            call.over.set()


def _ignore(_: Event) -> None:
    """Ignored."""


def started(name: str, event_id: str = "EV_1", *, sid: str = "") -> bytes:
    room = {"name": name, "sid": sid or f"RM_{name}"}
    return event(event="room_started", id=event_id, createdAt=_now(), room=room)


def _now() -> str:
    from runtime import clock  # noqa: PLC0415

    return str(int(clock.utc_now().timestamp()))


async def test_a_dispatched_room_is_joined_once_however_often_it_is_announced(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path) as door:
        told = [await door.post(started("call-1", f"EV_{number}")) for number in (1, 2, 2)]
        await door.notes.until("ProviderFailed")  # after the last try of one call
        await door.process.switchboard.close(drain_s=0.0, goodbye_s=0.0)

    assert told == [204, 204, 200]
    (failed,) = [entry for entry in door.notes.entries if isinstance(entry, ProviderFailed)]
    assert failed.provider == "livekit"
    assert door.server.joins


async def test_a_room_that_refused_the_agent_is_tried_again_while_a_caller_waits(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path) as door:
        await door.post(started("call-1"))
        await door.notes.until("ProviderFailed")
        joins = door.server.joins
        door.server.rooms = ["call-1"]
        await door.server.until(lambda: door.server.joins > joins)

    assert not door.server.deleted


async def test_a_contact_without_a_brief_is_hung_up_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def not_to_be_found(_: str) -> None:
        return None

    monkeypatch.setattr(routes, "LivekitLine", JoinedLine)
    async with opened(tmp_path) as door:
        door.process.shared.briefs.look_up = not_to_be_found
        await door.post(started("call-dial-7"))
        refused = await door.notes.until("CallRefused")
        await door.server.until(lambda: door.server.deleted)

    assert refused.reason == "no_brief"
    assert door.server.deleted == ["call-dial-7"]


async def test_a_failed_call_leaves_no_caller_in_the_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mistaken(*_: object) -> NoReturn:
        raise ZeroDivisionError

    monkeypatch.setattr(routes, "LivekitLine", JoinedLine)
    async with opened(tmp_path, call=mistaken) as door:
        await door.post(started("call-1"))
        failed = await door.notes.until("CallFailed")

    assert failed.error == "ZeroDivisionError"
    assert door.server.deleted == ["call-1"]


@pytest.mark.parametrize("instead", [(200, "<title>Soon back</title>"), (502, '"no upstream"')])
async def test_a_server_that_is_not_livekit_ends_no_call(
    tmp_path: Path, instead: tuple[int, str]
) -> None:
    async with opened(tmp_path) as door:
        door.server.instead = instead
        failed = await door.notes.until("ProviderFailed")
        door.server.instead, door.server.rooms = None, ["call-1"]
        await door.server.until(lambda: door.server.joins)

    assert "media server" in failed.error


async def test_a_caller_without_a_seat_is_refused_by_closing_the_room(tmp_path: Path) -> None:
    async with opened(tmp_path, server={"max_calls": 1}) as door, only_seat_taken(door):
        await door.post(started("call-1"))
        await door.server.until(lambda: door.server.deleted)

    assert door.server.deleted == ["call-1"]
    assert not door.server.joins
    refused = await door.notes.until("CallRefused")
    assert (refused.transport, refused.reason) == ("livekit", "full")


async def test_a_room_that_could_not_be_closed_is_closed_later(tmp_path: Path) -> None:
    async with opened(tmp_path, server={"max_calls": 1}) as door, only_seat_taken(door):
        door.server.keeps_rooms = True
        await door.post(started("call-1"))
        await door.notes.until("ProviderFailed")
        door.server.keeps_rooms = False
        door.server.rooms = ["call-1"]
        await door.server.until(lambda: door.server.deleted)

    assert set(door.server.deleted) == {"call-1"}


async def test_a_caller_whose_call_has_ended_is_hung_up_on_once_the_server_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "LivekitLine", JoinedLine)
    async with opened(tmp_path, call=EndedCall) as door:
        door.server.keeps_rooms = True
        door.server.rooms = ["call-1"]
        await door.post(started("call-1"))
        await door.server.until(lambda: door.server.kept)
        door.server.keeps_rooms = False
        await door.server.until(lambda: door.server.deleted)

    assert door.server.deleted == ["call-1"]


async def test_a_recreated_room_gets_no_second_agent_while_its_call_lasts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[JoinedLine] = []
    lasts = LastingCall()

    def next_line(place: RoomPlace, *, clock: Clock) -> JoinedLine:
        lines.append(JoinedLine(place, clock=clock))
        return lines[-1]

    def made(leg: LivekitLeg) -> Any:
        call_id = f"call {len(lines)}"
        return SimpleNamespace(
            call_id=call_id, emit=_ignore, run=lasts.run, end=lasts.end, cancel=lasts.cancel
        )

    monkeypatch.setattr(routes, "LivekitLine", next_line)
    async with opened(tmp_path, call=made) as door:
        await door.post(started("call-1"))
        await lasts.began.wait()
        await door.post(started("call-1", "EV_2", sid="RM_anew"))
        await door.post(started("call-2", "EV_3"))
        await until(lambda: len(lines) >= 2)
        lasts.over.set()

    assert [line.place.room for line in lines] == ["call-1", "call-2"]


async def test_a_room_with_the_agent_of_another_server_is_left_alone_until_livekit_removes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with locked_server() as media_server:

        class EnteringLine(JoinedLine):
            async def open(self) -> None:
                claims = api.TokenVerifier(KEY, SECRET).verify(self.place.token())
                media_server.agents.append((claims.attributes or {})[SERVER])
                media_server.changed.set()

        def made(_: LivekitLeg) -> Any:
            lasts = LastingCall()
            return SimpleNamespace(
                call_id="1", emit=_ignore, run=lasts.run, end=lasts.end, cancel=lasts.cancel
            )

        monkeypatch.setattr(routes, "LivekitLine", EnteringLine)
        async with opened(tmp_path / "old", call=made, media_server=media_server) as old:
            media_server.rooms = ["call-1"]
            await old.post(started("call-1"))
            await media_server.until(lambda: media_server.agents)
            async with opened(tmp_path / "new", call=made, media_server=media_server) as new:
                listed = media_server.listed
                await new.post(started("call-1"))
                await media_server.until(lambda: media_server.listed >= listed + 2)  # also polled
                in_mid_call = len(media_server.agents)
                media_server.agents_live = False
                await media_server.until(lambda: len(media_server.agents) == 2)

    assert in_mid_call == 1
    assert len(set(media_server.agents)) == 2


class KeptCall(EndedCall):
    """A call that ends as its process is killed: its stored state stays."""

    found: ClassVar[list[ResumeState | None]] = []

    def __init__(self, leg: LivekitLeg) -> None:
        super().__init__(leg)
        self._place = leg.parked
        self.found.append(leg.before)

    async def run(self) -> None:
        assert self._place
        await self._place.keep(ResumeState(call_id="kept"))


@pytest.mark.parametrize("full", [False, True])
async def test_a_room_with_a_stored_call_is_resumed_once_there_is_a_seat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, full: bool
) -> None:
    monkeypatch.setattr(KeptCall, "found", found := [])
    monkeypatch.setattr(routes, "LivekitLine", JoinedLine)
    async with opened(tmp_path, call=KeptCall, server={"max_calls": 1}) as door:
        await door.post(started("call-1"))
        await until(lambda: len(found) == 1)
        async with only_seat_taken(door) if full else nullcontext():
            await door.post(started("call-1", "EV_2", sid="RM_anew"))
            await asyncio.sleep(3 * SEAT_RETRY_S if full else 0.0)
            assert not door.server.deleted
        await until(lambda: len(found) == 2)

    assert [state and state.call_id for state in found] == [None, "kept"]


async def test_a_stored_call_that_finds_no_seat_in_time_gets_a_callback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(KeptCall, "found", found := [])
    monkeypatch.setattr(routes, "LivekitLine", JoinedLine)
    monkeypatch.setattr(routes, "HELD_S", 2 * SEAT_RETRY_S)
    async with opened(tmp_path, call=KeptCall, server={"max_calls": 1}) as door:
        await door.post(started("call-1"))
        await until(lambda: len(found) == 1)
        async with only_seat_taken(door):
            await door.post(started("call-1", "EV_2", sid="RM_anew"))
            await door.server.until(lambda: door.server.deleted)
        (callback,) = await door.process.shared.last_resort.callbacks.waiting()

    assert (callback.call_id, callback.number) == ("kept", "+493012345678")
    assert callback.reason == REASON


async def test_a_room_to_be_closed_later_does_not_block_the_exit(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path) as door:
        people = door.process.shared.people.for_caller("webrtc")
        assert isinstance(people, LivekitPeople)
        door.server.keeps_rooms = True
        people.rooms.delete_later("person-1")

    assert not [task for task in asyncio.all_tasks() if task.get_name() == "close person-1"]


async def test_a_person_who_answers_but_never_enters_the_room_was_not_reached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def answered(*_: object) -> Dialled:
        return Dialled(verdict=ANSWERED)

    monkeypatch.setattr(livekit_people, "dial", answered)
    monkeypatch.setattr(livekit_people, "LivekitLine", EmptyLine)
    async with opened(tmp_path) as door:
        people = door.process.shared.people.for_caller("webrtc")
        assert isinstance(people, LivekitPeople)

        result = await people.call_person(
            Destination(name="desk", number="sip:desk@example.org"), ring_s=1
        )

        assert result == "failed"
        assert door.server.deleted


async def test_a_room_to_be_closed_later_stays_open_once_it_is_answered_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(livekit_rooms, "DELETE_AGAIN_S", 0.1)
    monkeypatch.setattr(routes, "LivekitLine", JoinedLine)
    lasts = LastingCall()

    def made(_: LivekitLeg) -> Any:
        return SimpleNamespace(
            call_id="1", emit=_ignore, run=lasts.run, end=lasts.end, cancel=lasts.cancel
        )

    async with opened(tmp_path, call=made) as door:
        people = door.process.shared.people.for_caller("webrtc")
        assert isinstance(people, LivekitPeople)
        people.rooms.delete_later("call-1")
        await door.post(started("call-1"))
        await lasts.began.wait()
        await asyncio.sleep(0.2)
        deleted = list(door.server.deleted)
        lasts.over.set()

    assert deleted == []


async def test_a_caller_who_enters_a_room_that_was_left_as_empty_is_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [EmptyLine, JoinedLine]

    def next_line(place: RoomPlace, *, clock: Clock) -> JoinedLine:
        return lines.pop(0)(place, clock=clock)

    monkeypatch.setattr(routes, "LivekitLine", next_line)
    async with opened(tmp_path, call=EndedCall) as door:
        await door.post(started("call-1"))
        await door.server.until(lambda: len(lines) == 1)
        door.server.rooms = ["call-1"]
        await door.server.until(lambda: door.server.deleted)  # after the call

    assert not lines


async def test_a_room_may_take_as_long_as_any_call_to_close(tmp_path: Path) -> None:
    call = LastingCall()
    async with opened(tmp_path) as door, asyncio.TaskGroup() as beside:
        switchboard = door.process.switchboard
        beside.create_task(switchboard.answer(ELSEWHERE, call))
        await call.began.wait()
        beside.create_task(switchboard.close(drain_s=GUARD_S))
        await door.post(started("call-1"))  # a caller who rings now hears busy
        await door.notes.until("CallRefused")
        people = door.process.shared.people.for_caller("webrtc")
        assert isinstance(people, LivekitPeople)
        await people.rooms.delete("person-1")  # the other party of that call's caller
        await door.server.until(lambda: len(door.server.deleted) == 2)
        call.over.set()

    assert sorted(door.server.deleted) == ["call-1", "person-1"]
    assert not [entry for entry in door.notes.entries if type(entry).__name__ == "CallFailed"]
    with pytest.raises(RuntimeError, match="closed"):  # let go of with the process
        await people.rooms.delete("person-1")


async def test_a_draining_server_leaves_a_caller_to_a_server_that_answers(tmp_path: Path) -> None:
    call = LastingCall()
    async with opened(tmp_path) as door, asyncio.TaskGroup() as beside:
        beside.create_task(door.process.switchboard.answer(ELSEWHERE, call))
        await call.began.wait()
        beside.create_task(door.process.switchboard.close(drain_s=GUARD_S))
        await door.post(started("call-1"))
        await door.server.until(lambda: door.server.listed)  # no agent is there
        door.server.agents = ["another"]
        await door.server.until(lambda: door.server.listed >= 2)
        call.over.set()

    assert not door.server.deleted
    assert not [event for event in door.notes.entries if type(event).__name__ == "CallRefused"]


async def test_a_room_whose_webhook_was_lost_is_found(tmp_path: Path) -> None:
    async with opened(tmp_path) as door:
        door.server.rooms = ["meeting", "call-2"]
        await door.server.until(lambda: door.server.joins)

    assert door.server.joins


async def test_a_forged_webhook_is_refused_and_another_applications_room_is_ignored(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path) as door:
        for shown in ("", "a.b.c", proof(b"another body")):
            assert await door.post(started("call-1"), shown) == 401
        assert await door.post(started("meeting")) == 204
        await door.process.switchboard.close(drain_s=0.0, goodbye_s=0.0)

    assert (await door.notes.until("InputRefused")).transport == "livekit"
    assert not door.server.joins


@pytest.mark.virtual_time
async def test_a_stopping_server_does_not_wait_in_the_room_of_a_refused_dial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    joined, loop = asyncio.Event(), asyncio.get_running_loop()

    async def leave() -> None:
        """The agent leaves at once."""

    async def join_empty(*_: object) -> Any:
        joined.set()
        return SimpleNamespace(disconnect=leave)

    monkeypatch.setattr(livekit_line, "join", join_empty)
    async with opened(tmp_path) as door:
        await door.post(started("call-dial-one-7"))
        await joined.wait()
        stopped_at = loop.time()

    assert loop.time() - stopped_at < 1.0
