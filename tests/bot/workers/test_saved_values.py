"""Values stored for other workers, and which one is dropped when full."""

import weakref
from dataclasses import dataclass
from pathlib import Path

import pytest

from bot.workers.pool import MAX_KEPT, KeyValueStore, SingleProcess
from bot.workers.saved_values import MAX_LEFT_S, SavedValues
from calls.events import Event
from calls.leg_progress import StatusCallback
from tests.transports.twilio_server import WorkerPool
from transports.media_stream.tokens import Kept, StreamedCalls
from transports.media_stream.webhooks import CarrierHost, StatusCallbacks


async def test_the_oldest_value_of_the_same_kind_is_dropped() -> None:
    room = KeyValueStore(clock=lambda: 0.0, most=2)
    await room.keep("call one", 1, for_s=60)
    for name in ("progress one", "progress two", "progress three"):
        await room.keep(name, name, for_s=60)

    assert await room.take("call one") == 1
    assert await room.take("progress one") is None
    assert await room.take("progress three") == "progress three"


async def test_an_expired_value_is_dropped_first() -> None:
    moments = iter([0.0, 0.0, 10.0, 10.0, 10.0])
    room = KeyValueStore(clock=lambda: next(moments), most=2)
    await room.keep("call old but good", 1, for_s=60)
    await room.keep("call too old", 2, for_s=5)
    await room.keep("call new", 3, for_s=60)

    assert await room.take("call old but good") == 1
    assert await room.take("call new") == 3


async def test_a_call_can_be_resumed_however_many_others_were_stored_meanwhile() -> None:
    pool, told = SingleProcess(why_closed=str, clock=lambda: 0.0), list[Event]()
    host = CarrierHost(
        addresses=(),
        answer=WorkerPool().answer,
        emit=told.append,
        clock=lambda: 0.0,
        pool=pool,
    )
    streamed_calls, callbacks = StreamedCalls(pool, "twilio"), StatusCallbacks(host, "twilio")
    kept = Kept(call_sid="CA1")
    await streamed_calls.keep(kept)
    for number in range(MAX_KEPT):
        said = StatusCallback(call_ref=f"CA-other-{number}", ref="", status="ringing")
        await callbacks.take(said)

    assert await streamed_calls.forget("CA1") == kept


async def test_a_renewed_value_does_not_displace_another() -> None:
    room = KeyValueStore(clock=lambda: 0.0, most=2)
    await room.keep("call one", 1, for_s=60)
    await room.keep("call two", 2, for_s=60)
    await room.keep("call two", 3, for_s=60)

    assert (await room.take("call one"), await room.take("call two")) == (1, 3)


async def test_a_value_that_is_not_taken_in_time_expires() -> None:
    class Words:
        pass

    now, words = [0.0], Words()
    kept = weakref.ref(words)
    room = KeyValueStore(clock=lambda: now[0])
    await room.keep("call one", words, for_s=60)
    del words
    now[0] = 60.0
    await room.keep("call two", 2, for_s=60)

    assert kept() is None


def session(role: str, network: str) -> dict[str, str]:
    return {"role": role, "network": network}


@pytest.mark.parametrize(
    ("flood", "lost"),
    [
        ([session("see", "192.0.2.1")], []),  # a wall board that signs in with each request
        ([session("see", f"192.0.2.{number}") for number in range(250)], []),
        ([session("act", "192.0.2.1")], []),
        ([session("see", "203.0.113.5")], ["session 3"]),  # the address of an operator who sees
    ],
)
async def test_sign_ins_end_no_session_of_another_role_or_network(
    flood: list[dict[str, str]], lost: list[str]
) -> None:
    room = KeyValueStore(clock=lambda: 0.0, most=300)
    operators = [("act", "203.0.113.5"), ("act", "203.0.113.6"), ("see", "203.0.113.5")]
    for number, (role, network) in enumerate(operators, 1):
        await room.keep(f"session {number}", session(role, network), for_s=60)
    for number in range(600):
        await room.keep(f"session f{number}", flood[number % len(flood)], for_s=60)

    ended = [name for name in ("session 1", "session 2", "session 3") if not await room.read(name)]
    assert ended == lost
    assert len(room._kept["session"]) == 300


@dataclass
class Restarting:
    """A store that is saved in a file, and the time."""

    path: Path
    utc_s: float = 1_000_000.0

    def start(self) -> KeyValueStore:
        began_s = self.utc_s  # the monotonic clock starts from 0
        saved = SavedValues(kind="session", path=self.path, utc_s=lambda: self.utc_s)
        return KeyValueStore(clock=lambda: self.utc_s - began_s, saved=saved)


async def test_sessions_outlive_a_restart_and_end_at_their_time(tmp_path: Path) -> None:
    it = Restarting(tmp_path / "new" / "sessions.json")
    before = it.start()
    await before.keep("session a", session("act", "192.0.2.1"), for_s=100)
    await before.keep("call x", "a state", for_s=100)
    it.utc_s += 60
    after = it.start()

    assert await after.read("session a") == session("act", "192.0.2.1")
    assert await after.read("call x") is None
    assert it.path.stat().st_mode & 0o077 == 0
    it.utc_s += 39
    assert await after.read("session a")
    it.utc_s += 2
    assert await after.read("session a") is None
    assert await it.start().read("session a") is None


@pytest.mark.parametrize("dropped", ["session a", "session"])
async def test_a_sign_out_outlives_a_restart(tmp_path: Path, dropped: str) -> None:
    it = Restarting(tmp_path / "sessions.json")
    before = it.start()
    for name in ("session a", "session b"):
        await before.keep(name, session("act", "192.0.2.1"), for_s=100)
    await it.start().drop(dropped)  # after a restart
    after = it.start()

    assert await after.read("session a") is None
    assert (await after.read("session b") is None) is (dropped == "session")


async def test_a_sign_out_that_cannot_be_saved_removes_the_file(tmp_path: Path) -> None:
    it = Restarting(tmp_path / "sessions.json")
    room = it.start()
    await room.keep("session a", session("act", "192.0.2.1"), for_s=100)

    def fail(_: str) -> None:
        raise OSError("the disk is full")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("bot.workers.saved_values.os.fsync", fail)
        await room.drop("session a")

    assert not it.path.exists()
    assert await it.start().read("session a") is None


@pytest.mark.parametrize(
    "text", ["", "{", "5", "[[1, 2]]", '[["session a", "soon", {}]]', "\x00", "[" * 100_000, "[]"]
)
async def test_a_damaged_file_only_signs_operators_out(tmp_path: Path, text: str) -> None:
    it = Restarting(tmp_path / "sessions.json")
    it.path.write_text(text, encoding="utf-8")
    room = it.start()
    await room.keep("session b", session("act", "192.0.2.1"), for_s=100)

    assert await room.read("session a") is None
    assert await it.start().read("session b")


async def test_a_clock_that_was_set_back_prolongs_no_session(tmp_path: Path) -> None:
    it = Restarting(tmp_path / "sessions.json")
    await it.start().keep("session a", session("act", "192.0.2.1"), for_s=100)
    it.utc_s -= 10 * MAX_LEFT_S
    room = it.start()
    it.utc_s += MAX_LEFT_S + 1

    assert await room.read("session a") is None
