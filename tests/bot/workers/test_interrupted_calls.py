"""Which calls of a lost worker are counted as lost: those that no process goes on with."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from bot.workers import interrupted_calls
from bot.workers.interrupted_calls import STORED_S, InterruptedCalls
from bot.workers.pool import KeyValueStore
from tests.bot.workers.lines import lines
from tests.bot.workers.test_pool_client import settings_with
from tests.bot.workers.test_shared_values import machine
from tests.share_servers import running_redis
from transports.parked import PREFIX

HERE, ELSEWHERE = "here", "elsewhere"  # where another process takes a call up


class Store(KeyValueStore):
    """The store of several machines, which may be away."""

    away = False

    async def epoch(self, token: str) -> int:
        if self.away:
            raise LookupError("the store is away")
        return await super().epoch(token)


def stored(token: str, *, epoch: int | None = 1, over: bool = False) -> dict[str, Any]:
    """Return what a worker sends to store a call's state."""
    return {"token": token, "value": None if over else {"turn": 1}, "epoch": epoch}


def call(number: int) -> str:
    return f"{PREFIX}twilio {number}"


@pytest.mark.virtual_time
@pytest.mark.parametrize(
    ("calls", "taken_up", "away", "lost"),
    [
        pytest.param(1, [(0.0, HERE)], None, 0, id="taken up before the loss is noticed"),
        pytest.param(1, [(2.0, HERE)], None, 0, id="taken up here"),
        pytest.param(1, [(2.0, ELSEWHERE)], None, 0, id="taken up at another machine"),
        pytest.param(1, [(50.0, HERE)], None, 0, id="after 50 s"),
        pytest.param(1, [(50.0, ELSEWHERE)], None, 0, id="after 50 s at another machine"),
        pytest.param(1, [(70.0, HERE)], None, 1, id="too late"),
        pytest.param(1, [(70.0, ELSEWHERE)], None, 1, id="too late at another machine"),
        pytest.param(3, [(1.0, HERE), (2.0, ELSEWHERE)], None, 1, id="one of three is lost"),
        pytest.param(2, [], None, 2, id="all are lost"),
        pytest.param(1, [(2.0, HERE)], (0.0, 90.0), 0, id="here while the store is away"),
        pytest.param(1, [(2.0, ELSEWHERE)], (1.0, 40.0), 0, id="the store is back in time"),
        pytest.param(1, [(2.0, ELSEWHERE)], (1.0, 90.0), 1, id="the store stays away"),
    ],
)
async def test_a_call_that_another_process_takes_up_is_not_lost(
    calls: int,
    taken_up: Sequence[tuple[float, str]],
    away: tuple[float, float] | None,
    lost: int,
) -> None:
    loop = asyncio.get_running_loop()
    store = Store(clock=loop.time)
    interrupted = InterruptedCalls(store, clock=loop.time)
    for number in range(calls):
        await store.keep(call(number), {}, for_s=60, epoch=1)
        interrupted.note("w1", stored(call(number)))
    for number, (at_s, where) in enumerate(taken_up):
        if where == HERE:
            loop.call_later(at_s, interrupted.note, "w2", stored(call(number), epoch=2))
        else:
            loop.call_later(at_s, store.note_epoch, call(number), 2)
    for at_s, is_away in zip(away or (), (True, False), strict=False):
        loop.call_later(at_s, setattr, store, "away", is_away)
    await asyncio.sleep(0)

    assert await interrupted.wait("w1", calls, within_s=60.0) == lost


@pytest.mark.virtual_time
@pytest.mark.parametrize(
    ("others", "lost"),
    [
        pytest.param([("w2", stored(call(2), epoch=2))], 1, id="another call of another worker"),
        pytest.param([("w2", stored(call(1), epoch=1))], 1, id="an earlier owner"),
        pytest.param(
            [
                ("w1", stored(call(2))),
                ("w2", stored(call(2), epoch=2)),
                ("w1", stored(call(2), over=True)),
            ],
            1,
            id="the worker's own call that went on before",
        ),
        pytest.param([("w1", stored("twilio token 1"))], 1, id="a value that is no call"),
        pytest.param([("w2", stored(call(1), epoch=2))], 0, id="the call itself"),
        pytest.param([("w1", stored(call(1), epoch=None))], 1, id="without an epoch"),
    ],
)
async def test_only_the_workers_own_calls_count(
    others: Sequence[tuple[str, dict[str, Any]]], lost: int
) -> None:
    loop = asyncio.get_running_loop()
    interrupted = InterruptedCalls(KeyValueStore(clock=loop.time), clock=loop.time)
    interrupted.note("w1", stored(call(1)))
    for worker, value in others:
        interrupted.note(worker, value)

    assert await interrupted.wait("w1", 1, within_s=60.0) == lost


@pytest.mark.virtual_time
async def test_a_call_that_stored_nothing_for_long_is_over() -> None:
    loop = asyncio.get_running_loop()
    store = KeyValueStore(clock=loop.time)
    interrupted = InterruptedCalls(store, clock=loop.time)
    interrupted.note("w1", stored(call(1)))  # it goes on at another machine
    store.note_epoch(call(1), 2)
    await asyncio.sleep(STORED_S + 1.0)
    interrupted.note("w1", stored(call(2)))

    assert await interrupted.wait("w1", 1, within_s=60.0) == 1
    assert len(interrupted._stored) == 1  # memory is bounded


async def test_a_call_that_another_machine_takes_up_is_not_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(interrupted_calls, "CHECK_INTERRUPTED_EVERY_S", 0.02)
    with running_redis() as server:
        async with (
            machine(server.url, "a") as a,
            machine(server.url, "b") as b,
            lines(settings_with(), values=a) as at_a,
            lines(settings_with(), values=b) as at_b,
        ):
            for number in (1, 2):
                keep = at_a.joined[0].key_values.keep
                await keep(call(number), {"turn": 1}, for_s=60, epoch=1)
            waiting = asyncio.ensure_future(at_a.office.interrupted.wait("w1", 2, within_s=10.0))
            taken = [await at_b.joined[0].key_values.take_up(call(number)) for number in (1, 2)]

            assert [it.epoch for it in taken if it] == [2, 2]
            assert await waiting == 0
