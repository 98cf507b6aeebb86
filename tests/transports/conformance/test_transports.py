"""The same twelve behaviours over every transport, as `scripts/doors_table.py` tabulates them."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pytest
import soundfile

from tests.transports.conformance.server import FAREWELL, GREETING, WorkerPool, become
from tests.transports.conformance.transport import (
    BEHAVIOURS,
    RATE_HZ,
    FarEnd,
    Sound,
    Transport,
    hear_out,
    hear_something,
)

pytestmark = [
    pytest.mark.peers,
    pytest.mark.slow,
    pytest.mark.long,
    pytest.mark.asyncio(loop_scope="module"),
]

CALLER = Path(__file__).parents[2] / "fixtures" / "callers" / "01_hours.wav"
ASKS_S = (4.0, 5.362)  # "What are your opening hours?", as its notes say
GREETED_S = 1.0  # of sound: the greeting has some 2 s
KEYS = "1234567890*" * 3 + "123"
LOST = ("connection_lost", "line_lost", "device_lost", "caller_hung_up")

Record: TypeAlias = Callable[[str, object], None]


@pytest.fixture(scope="module")
def question() -> Sound:
    sound, rate_hz = soundfile.read(CALLER, dtype="int16")
    assert rate_hz == RATE_HZ
    begin, end = (round(item * rate_hz) for item in ASKS_S)
    rest = np.zeros(RATE_HZ // 5, np.int16)
    return np.concatenate([sound[begin:end], rest])


@asynccontextmanager
async def calling(transport: Transport, pool: WorkerPool) -> AsyncIterator[FarEnd]:
    """Place a call, and check that nothing of it is left."""
    pool.notes.forget()
    async with transport.call(pool) as far:
        yield far
    await pool.empty()


async def greeted(pool: WorkerPool, far: FarEnd) -> float:
    """Return how much was heard when the greeting was over."""
    await pool.notes.until("TurnEnded", turn=0)
    await hear_out(far)
    return far.heard_s()


@pytest.fixture
def does(
    request: pytest.FixtureRequest, transport: Transport, record_property: Record
) -> Callable[..., bool]:
    """Return whether a transport has a behaviour; the result goes into the table."""

    def ask(behaviour: str) -> bool:
        assert behaviour in BEHAVIOURS
        record_property("transport", transport.name)
        record_property("peer", transport.peer)
        record_property("behaviour", behaviour)
        if why := transport.void.get(behaviour):
            record_property("found", f"void: {why}")
            pytest.skip(f"has no meaning here: {why}")
        if why := transport.unproven.get(behaviour):
            record_property("found", f"unproven: {why}")
            pytest.skip(f"unproven: {why}")
        why = transport.cannot.get(behaviour)
        record_property("found", f"refuses: {why}" if why else "does")
        return why is None

    return ask


async def test_a_call_is_answered(
    transport: Transport, pool: WorkerPool, does: Callable[..., bool]
) -> None:
    assert does("answer")

    async with calling(transport, pool):
        started = await pool.notes.until("CallStarted")

        assert started["transport"] == pool.leg.facts.transport
        assert pool.leg.facts.direction == "inbound"


async def test_the_caller_is_greeted(
    transport: Transport, pool: WorkerPool, does: Callable[..., bool]
) -> None:
    assert does("greet")

    async with calling(transport, pool) as far:
        await pool.notes.until("TurnEnded", turn=0)
        await hear_out(far)

        assert far.heard_s() > GREETED_S
    assert [note["text"] for note in pool.notes.all("AgentSaid", turn=0)] == [GREETING]


async def test_a_question_is_answered(
    transport: Transport, pool: WorkerPool, does: Callable[..., bool], question: Sound
) -> None:
    assert does("turn")

    async with calling(transport, pool) as far:
        before_s = await greeted(pool, far)
        await far.say(question)
        await pool.notes.until("TurnEnded", turn=1)

        assert await hear_out(far, since_s=before_s) > GREETED_S
    assert "hours" in pool.notes.all("TranscriptFinal")[0]["text"]
    assert "open" in pool.notes.all("AgentSaid", turn=1)[0]["text"]


async def test_the_agent_falls_silent_when_it_is_interrupted(
    transport: Transport, pool: WorkerPool, does: Callable[..., bool], question: Sound
) -> None:
    assert does("barge_in")

    async with calling(transport, pool) as far:
        before_s = await greeted(pool, far)
        await far.say(question)
        await hear_something(far, since_s=before_s)
        await far.say(question)
        await pool.notes.until("BargedIn", turn=1)
        await pool.notes.until("TurnEnded", turn=1, interrupted=True)
        await pool.notes.until("AnswerHeard", turn=2)


def context_of(pool: WorkerPool) -> object:
    """Return the messages that the model is given in the one call."""
    pipeline = pool.one_call._pipeline
    return pipeline.dialogue.memory.messages if pipeline else ()


async def test_keys_reach_us(
    transport: Transport, pool: WorkerPool, does: Callable[..., bool]
) -> None:
    can = does("keys_in")

    async with calling(transport, pool) as far:
        await greeted(pool, far)
        assert pool.leg.facts.keys is can
        if can:
            for key in KEYS:
                await far.press(key)
            await become(lambda: f"Keys pressed: {KEYS}" in str(context_of(pool)))
            assert len(pool.notes.all("KeyPressed")) == len(KEYS)


async def test_keys_reach_the_far_end(
    transport: Transport, pool: WorkerPool, does: Callable[..., bool]
) -> None:
    can = does("keys_out")

    async with calling(transport, pool) as far:
        await greeted(pool, far)
        assert await pool.leg.press("42") is can
        await become(lambda: far.keys_heard() == ("42" if can else ""))


async def test_a_caller_is_transferred_or_told_that_it_is_impossible(
    transport: Transport, pool: WorkerPool, does: Callable[..., bool], question: Sound
) -> None:
    can = does("transfer")

    async with calling(transport, pool) as far:
        before_s = await greeted(pool, far)
        assert pool.leg.facts.transfers is can
        found = await pool.leg.transfer(transport.elsewhere, ring_s=20.0)
        if can:
            assert found == "connected"
            return
        assert found == "not_offered"
        await far.say(question)  # a refusal loses no caller
        await hear_something(far, since_s=before_s)


async def test_a_caller_who_hangs_up_has_ended_the_call(
    transport: Transport, pool: WorkerPool, does: Callable[..., bool]
) -> None:
    assert does("they_hang_up")

    async with calling(transport, pool) as far:
        await greeted(pool, far)
        await far.hang_up()
        ended = await pool.notes.until("CallEnded")

    assert ended["reason"] == "caller_hung_up"


async def test_we_say_goodbye_and_hang_up(
    transport: Transport, pool: WorkerPool, does: Callable[..., bool]
) -> None:
    assert does("we_hang_up")

    async with calling(transport, pool) as far:
        before_s = await greeted(pool, far)
        await pool.one_call.end("shutdown")
        ended = await pool.notes.until("CallEnded")
        await become(lambda: far.ended)

        assert far.heard_s() > before_s + 0.3
    assert ended["reason"] == "shutdown"
    assert FAREWELL in [note["text"] for note in pool.notes.all("AgentSaid")]


async def test_a_caller_who_vanishes_is_noticed(
    transport: Transport, pool: WorkerPool, does: Callable[..., bool]
) -> None:
    assert does("vanish")

    async with calling(transport, pool) as far:
        await greeted(pool, far)
        await far.vanish()
        ended = await pool.notes.until("CallEnded")

    assert ended["reason"] in LOST


async def test_three_seconds_without_any_sound_do_not_end_the_call(
    transport: Transport, pool: WorkerPool, does: Callable[..., bool], question: Sound
) -> None:
    assert does("gap")

    async with calling(transport, pool) as far:
        before_s = await greeted(pool, far)
        await far.keep_still(3.0)
        assert not pool.notes.all("CallEnded")
        await far.say(question)
        await pool.notes.until("AnswerHeard", turn=1)
        await hear_something(far, since_s=before_s)


async def test_a_line_that_is_lost_comes_back_or_the_call_ends(
    transport: Transport, pool: WorkerPool, does: Callable[..., bool], question: Sound
) -> None:
    can = does("reconnect")

    async with calling(transport, pool) as far:
        await greeted(pool, far)
        await far.reset_line()
        if not can:
            ended = await pool.notes.until("CallEnded")
            assert ended["reason"]
            return
        await pool.notes.until("LineRestored")
        before_s = far.heard_s()
        await far.say(question)
        await pool.notes.until("AnswerHeard", turn=1)
        await hear_something(far, since_s=before_s)
