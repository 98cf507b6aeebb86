"""A provider's limits apply to all workers together, over real connections."""

import asyncio
from typing import Any

import pytest

from bot.health.policies import build_policies
from bot.workers.pool_client import SharedLimits
from bot.workers.wire import LINE_BYTES
from configuration.settings import Settings
from fallbacks.deadline import Deadline
from processors.ladder.gate import RungGate
from tests.bot.workers.lines import Lines, lines
from transports.pool import KeepOutcome


def settings_with(**limits: int) -> Settings:
    mind = {"kind": "openai", "name": "mind", "url": "http://127.0.0.1:9/v1", "api_key": "k"}
    stages = {
        "stt": [{"name": "ears", "kind": "local"}],
        "llm": [mind | {"limits": limits}],
        "tts": [{"name": "voice", "kind": "local"}],
    }
    return Settings.model_validate({"stages": stages})


def gates_of(it: Lines, settings: Settings) -> list[RungGate]:
    """Give each worker its own gates with shared limits; return the model's."""
    found: list[Any] = []
    for joined in it.joined:
        policies = build_policies(settings, 0.0)
        SharedLimits(joined, policies.values())
        found.append(policies["llm"].gates["mind"])
    return found


async def enter(gate: RungGate, number: int, within_s: float = 60.0) -> int | None:
    now = asyncio.get_running_loop().time()
    return await gate.enter(f"call {number}", until=Deadline(at=now + within_s))


async def test_a_burst_on_one_worker_gets_the_whole_limit_and_no_more() -> None:
    settings = settings_with(concurrent=3)
    async with lines(settings) as it:
        here, there = gates_of(it, settings)
        await it.open()
        most, answered = 0, 0

        async def ask(number: int) -> None:
            nonlocal most, answered
            gate = there if number == 9 else here
            ticket = await enter(gate, number)
            most = max(most, here.inside + there.inside)
            for _ in range(3):
                await it.settle()
            gate.leave(ticket or 0)
            answered += ticket is not None

        async with asyncio.TaskGroup() as asking:
            for number in range(10):
                asking.create_task(ask(number))

    assert (most, answered) == (3, 10)


async def test_a_worker_without_the_limit_keeps_no_place() -> None:
    limited = settings_with(concurrent=4)
    async with lines(limited) as it, asyncio.timeout(10):
        SharedLimits(it.joined[0], build_policies(settings_with(), 0.0).values())
        policies: Any = build_policies(limited, 0.0)
        SharedLimits(it.joined[1], policies.values())
        await it.open()  # the first one is alone, and borrows unused places

        entered = [enter(policies["llm"].gates["mind"], number) for number in range(4)]
        assert None not in await asyncio.gather(*entered)


async def test_a_lost_worker_returns_its_places() -> None:
    settings = settings_with(concurrent=2)
    async with lines(settings) as it:
        here, there = gates_of(it, settings)
        await it.open()
        taken = [here.seat(), here.seat(), there.seat()]
        while None in taken[:1]:
            await it.settle()
            taken[0] = here.seat()
        it.office.lose(it.desks[0])  # type: ignore[arg-type]
        while there.inside < 2:
            await it.settle()
            there.seat()

    assert there.inside == 2


async def test_requests_a_minute_are_counted_over_all_workers() -> None:
    settings = settings_with(per_minute=3)
    async with lines(settings) as it:
        here, there = gates_of(it, settings)
        await it.open()
        passed = [await enter(gate, number) for number, gate in enumerate((here, there, here))]
        it.office.broadcast_state()
        await it.settle()

        assert None not in passed
        assert not there.has_room
        assert await enter(there, 4, within_s=0.05) is None


async def test_calls_that_outlive_the_supervisor_get_their_answers() -> None:
    settings = settings_with(per_minute=1)
    async with lines(settings) as it, asyncio.timeout(10):
        here, there = gates_of(it, settings)
        await it.open()
        assert await enter(there, 1) is not None
        it.office.broadcast_state()
        await it.settle()
        it.desks[0].wire.close()
        await it.joined[0].wire.gone.wait()

        assert here.has_room
        assert await enter(here, 2) is not None


async def test_a_waiter_that_gave_up_uses_no_request_of_the_minute() -> None:
    settings = settings_with(per_minute=600)  # one in a tenth of a second, once all are used
    async with lines(settings) as it:
        here, there = gates_of(it, settings)
        await it.open()
        for number in range(600):
            await enter(here, number)
        tries = [await enter(gate, 1, within_s=0.001) for gate in (here, there) * 100]

        assert tries.count(None) > 150
        assert await enter(there, 2, within_s=10.0) is not None  # after those it would be 15 s


async def test_guaranteed_requests_are_allowed_once_for_all_workers() -> None:
    settings = settings_with(concurrent=3)
    async with lines(settings) as it:
        policies = build_policies(settings, 0.0)
        SharedLimits(it.joined[0], policies.values())

        assert [policies["tts"].allowance.take() for _ in range(2)] == [True, False]


@pytest.mark.virtual_time
@pytest.mark.parametrize("why", ["it is gone", "it hangs", "the value is too long"])
async def test_a_value_that_the_supervisor_has_not_confirmed_may_be_stored_nowhere(
    why: str,
) -> None:
    async with lines(settings_with()) as it:
        await it.open()
        if why == "it is gone":
            it.desks[0].wire.close()
            await it.joined[0].wire.gone.wait()
        elif why == "it hangs":
            it.desks[0].wire.answer("keep", lambda _: asyncio.sleep(60.0))
        value = "x" * (LINE_BYTES if why == "the value is too long" else 1)
        outcome = await it.joined[0].key_values.keep("parked c", value, for_s=60.0)

    assert outcome is KeepOutcome.UNKNOWN
