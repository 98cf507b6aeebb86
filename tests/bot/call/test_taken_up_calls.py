"""A resumed call continues the counters of the process in which it began."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from loguru import logger

from bot.workers.pool import KeyValueStore
from calls.events import AgentSaid, CallbackWanted, CallEnded, CallMoved, CallRecorded
from calls.known_calls import KnownCalls
from calls.resume import UNSAVED_ENTRIES, ResumeState
from calls.resume_parts import join_parts, split
from campaigns.order_gate import LEASE_S, RENEW_S, Order
from operations.database.database import Database
from runtime import clock
from tests.bot.call.transfer.transfer_bench import RATE_HZ, WARM, People, Telephone, pool
from tests.kit.dials import orders_of
from transports.leg import MOVED
from transports.parked import ParkedCall

pytestmark = [
    pytest.mark.virtual_time,
    pytest.mark.slow,
    pytest.mark.usefixtures("quiet_log"),
]

NOTICE = "This call is recorded."
RECORDED = {"resumed": "I am back.", "recording": {"enabled": True, "notice": NOTICE}}
BACK = RECORDED["resumed"]


def lost(*, said: str = f"{NOTICE} Hello.", late_s: float = 0.0) -> Telephone:
    """Return the telephone of a call whose process was lost a second ago.

    Its state was stored `late_s` late, by a store that stood still.
    """
    now = clock.monotonic() + late_s
    messages = [{"role": "system", "content": "x"}, {"role": "assistant", "content": said}]
    state = ResumeState(
        call_id="c1", began_at=now - 50.0, kept_at=now - 1.0, entries=7, messages=messages
    )
    caller = Telephone()
    caller.parked = ParkedCall(KeyValueStore(clock=clock.monotonic), "parked phone 1", state)
    return caller


def recordings(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*.wav")]


async def test_a_calls_length_includes_its_time_in_all_processes(tmp_path: Path) -> None:
    async with pool(tmp_path, agent={"max_call_s": 60.0}, people=None, caller=lost()) as there:
        await there.until(lambda: there.events(CallEnded), within_s=30.0)
        (ended,) = there.events(CallEnded)

        assert ended.reason == "max_length"


async def test_a_notice_that_was_heard_is_not_repeated_and_recording_continues(
    tmp_path: Path,
) -> None:
    async with pool(tmp_path, agent=RECORDED, people=None, caller=lost()) as there:
        await there.until(lambda: there.events(CallRecorded))

        assert [event.text for event in there.events(AgentSaid)] == [BACK]
    assert recordings(tmp_path) == ["c1-7.wav"]


async def test_an_unconfirmed_notice_is_repeated(tmp_path: Path) -> None:
    async with pool(tmp_path, agent=RECORDED, people=None, caller=lost(said="Hello.")) as there:
        await there.until(lambda: len(there.events(AgentSaid)) > 1)

        assert [event.text for event in there.events(AgentSaid)] == [NOTICE, BACK]


@pytest.mark.parametrize("is_lost", [False, True])
async def test_a_call_that_is_only_beginning_can_be_taken_up(
    tmp_path: Path, *, is_lost: bool
) -> None:
    async with pool(tmp_path, agent=RECORDED, people=None, caller=Telephone()) as there:
        caller = lost(late_s=60.0) if is_lost else Telephone()
        state = there.process.call(caller).resume_state()

        assert join_parts(*split(state)).call_id == state.call_id


@pytest.mark.parametrize(
    ("part", "kept"),
    [
        ("ending", {"reason": "shutdown"}),
        ("transfer", {"to": "desk"}),
        ("keys", 5),
        ("ending", {"reason": 5, "words": "", "final": True}),
        ("menu", {"stage": "llm", "at": 1e300, "taken": {}, "explained": False}),
        ("callbacks", [{"call_id": "c1", "number": "", "reason": "", "asked_at": "0001-01-01"}]),
        ("wanted", {"turn": "x", "when": "", "reason": ""}),
    ],
)
async def test_a_part_that_cannot_be_restored_is_left_out(
    tmp_path: Path, part: str, kept: Any
) -> None:
    caller = lost()
    assert caller.parked
    assert caller.parked.state
    caller.parked.state = replace(caller.parked.state, under_way={part: kept})
    agent, told = WARM | {"resumed": BACK}, list[str]()
    sink = logger.add(told.append, level="ERROR")
    async with pool(tmp_path, agent=agent, people=People(), caller=caller) as there:
        await there.until(lambda: there.events(AgentSaid) or there.events(CallEnded))

        assert [event.text for event in there.events(AgentSaid)] == [BACK]
        assert not there.events(CallbackWanted)
    logger.remove(sink)
    assert [line.count(f"{part} of a resumed call") for line in told] == [1]


async def test_the_numbers_of_the_lost_process_are_not_reused(tmp_path: Path) -> None:
    async with pool(tmp_path, agent=RECORDED, people=None, caller=lost()) as there:
        await there.until(lambda: there.events(AgentSaid))

        numbers = [item.number for item in there.notes.entries if item.call_id == "c1"]
    assert numbers == list(range(7 + UNSAVED_ENTRIES + 1, 7 + UNSAVED_ENTRIES + 1 + len(numbers)))


async def test_a_call_that_another_process_placed_goes_on_counting_as_a_call_now(
    tmp_path: Path,
) -> None:
    caller = lost()
    caller.facts = replace(caller.facts, dial_id="one-7")
    async with pool(tmp_path, agent={}, people=None, caller=caller) as there:
        gate = there.process.shared.gate
        assert not await gate.admit(Order(id="one-7", source="api", by="Mary", number="+15550142"))
        gate.leave("one-7")
        await asyncio.sleep(RENEW_S + 1.0)
        async with Database(f"sqlite+aiosqlite:///{tmp_path}/holdline.db") as database:
            (row,) = await orders_of(database)

    assert row.until_s > row.at_s + LEASE_S


@pytest.mark.parametrize("learns_s", [1.0, 40.0])
async def test_a_call_that_another_process_has_taken_up_falls_silent(
    tmp_path: Path, learns_s: float
) -> None:
    store, long = KeyValueStore(clock=clock.monotonic), "one two three four five. " * 40
    caller = Telephone()
    caller.parked = ParkedCall(store, "parked phone 1")
    async with pool(tmp_path, agent={"greeting": long}, people=None, caller=caller) as there:
        await there.until(lambda: caller.line.heard().any())
        reachable, store.keep = store.keep, unanswered  # type: ignore[method-assign]
        taken = await store.take_up("parked phone 1")
        assert taken
        await asyncio.sleep(learns_s)  # it cannot reach the store meanwhile, and goes on
        assert caller.line.heard()[-RATE_HZ:].any()
        store.keep = reachable  # type: ignore[method-assign]
        await there.until(caller.over.is_set, within_s=12.0)
        silent_since = caller.line.heard().size
        await there.until(lambda: there.events(CallMoved))
        assert there.call
        await there.call

        assert caller.line.heard().size - silent_since <= 0.1 * RATE_HZ
        assert not there.events(CallEnded)
        assert await store.read("parked phone 1") == taken.value


async def test_a_part_that_ends_after_the_call_has_come_back_leaves_the_call_in_progress(
    tmp_path: Path,
) -> None:
    caller, again = lost(), lost()
    async with pool(tmp_path, agent={}, people=None, caller=caller) as there:
        await there.until(lambda: there.events(AgentSaid))
        assert caller.parked
        process, known = there.process, KnownCalls()
        back = asyncio.create_task(process.switchboard.answer(again, process.call(again)))
        await caller.parked._key_values.take_up("parked phone 1")
        await there.until(lambda: caller.why == MOVED, within_s=15.0)
        assert there.call
        await there.call
        await again.put_down()
        await back
        await there.until(lambda: there.events(CallEnded))
        parts = [item for item in there.notes.entries if item.call_id == "c1"]

    states = [known.add(item) for item in parts]
    assert all(states)
    assert type(parts[-1].event) is CallEnded


class CutOffTelephone(Telephone):
    """A telephone whose machine loses its network."""

    cut_off = False

    @property
    def is_lost(self) -> bool:
        return self.cut_off


@pytest.mark.parametrize(
    ("back_s", "taken", "moves"),
    [(0.5, True, True), (12.0, True, True), (12.0, False, False), (50.0, True, False)],
)
async def test_a_machine_that_is_cut_off_asks_the_store_before_it_ends_a_call(
    tmp_path: Path, back_s: float, *, taken: bool, moves: bool
) -> None:
    store, caller = KeyValueStore(clock=clock.monotonic), CutOffTelephone()
    caller.parked = ParkedCall(store, "parked phone 1")
    async with pool(tmp_path, agent={}, people=None, caller=caller) as there:
        await there.until(lambda: there.events(AgentSaid))
        await asyncio.sleep(2.0)  # the state is stored meanwhile
        if taken:
            await store.take_up("parked phone 1")
        store.keep = unanswered  # type: ignore[method-assign]
        reachable, store.epoch = store.epoch, unknown  # type: ignore[method-assign]
        caller.cut_off = True
        await caller.put_down()
        await asyncio.sleep(back_s)
        store.epoch = reachable  # type: ignore[method-assign]
        await there.until(lambda: there.events(CallMoved) or there.events(CallEnded))

        assert bool(there.events(CallMoved)) == moves


async def unknown(token: str) -> int:
    raise LookupError(token)


async def unanswered(*_: object, **__: object) -> bool:
    return True
