"""Claims that one worker holds for all."""

import asyncio
from typing import cast

import pytest

from bot.workers.pool import Claims
from tests.bot.workers.lines import lines
from tests.bot.workers.test_pool_client import settings_with


def test_the_first_claim_wins() -> None:
    claims = Claims()

    assert claims.claim("room 1", holder="w1")
    assert not claims.claim("room 1", holder="w2")
    assert not claims.claim("room 1", holder="w1")
    assert claims.claim("room 2", holder="w2")


def test_a_lost_workers_claims_are_free() -> None:
    claims = Claims()
    claims.claim("room 1", holder="w1")
    claims.claim("room 2", holder="w2")

    claims.lose("w1")

    assert claims.claim("room 1", holder="w2")
    assert not claims.claim("room 2", holder="w3")


def test_a_released_claim_is_free() -> None:
    claims = Claims()
    claims.claim("room 1", holder="w1")

    claims.give_back("room 1", holder="w2")
    assert not claims.claim("room 1", holder="w2")
    claims.give_back("room 1", holder="w1")

    assert claims.claim("room 1", holder="w2")


def test_the_oldest_claim_is_dropped_when_there_are_too_many() -> None:
    claims = Claims(most=2)
    for number in range(3):
        claims.claim(f"room {number}", holder="w1")

    assert claims.claim("room 0", holder="w2")
    assert not claims.claim("room 2", holder="w2")


def test_a_claim_that_is_still_renewed_is_never_dropped() -> None:
    claims = Claims(most=2)
    claims.claim("room of a long call", holder="w1")
    for number in range(5):
        assert claims.claim(f"room {number}", holder="w1")

        assert not claims.claim("room of a long call", holder="w2")


async def test_a_room_belongs_to_one_worker_until_it_is_released_or_the_worker_is_lost() -> None:
    async with lines(settings_with()) as it:
        await it.open()
        here, there = (joined.peers for joined in it.joined)
        claims = [await peers.claim("room 1") for peers in (here, there)]
        here.give_back("room 1")
        await it.settle()
        claims += [await peers.claim("room 1") for peers in (there, here)]
        it.office.lose(it.desks[1])  # type: ignore[arg-type] - without a process
        claims.append(await here.claim("room 1"))

    assert list(map(bool, claims)) == [True, False, True, False, True]


@pytest.mark.virtual_time
async def test_a_room_claimed_during_a_supervisor_outage_can_still_be_claimed() -> None:
    async with lines(settings_with()) as it:
        await it.open()
        writer = it.desks[0].wire._writer
        assert writer is not None
        reading = cast("asyncio.ReadTransport", writer.transport)
        reading.pause_reading()  # the supervisor does not answer
        first = await it.joined[0].peers.claim("room 1")
        reading.resume_reading()
        await it.settle()
        after = await it.joined[1].peers.claim("room 1")

    assert not first
    assert after
