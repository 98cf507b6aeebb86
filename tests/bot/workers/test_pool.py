"""What one worker does for the whole house."""

import asyncio
from typing import cast

import pytest

from bot.workers.pool import Claims
from tests.bot.workers.lines import lines
from tests.bot.workers.test_shared_limits import settings_with


def test_the_first_to_claim_has_it() -> None:
    claims = Claims()

    assert claims.claim("room 1", holder="w1")
    assert not claims.claim("room 1", holder="w2")
    assert not claims.claim("room 1", holder="w1")
    assert claims.claim("room 2", holder="w2")


def test_others_may_claim_what_a_lost_worker_had() -> None:
    claims = Claims()
    claims.claim("room 1", holder="w1")
    claims.claim("room 2", holder="w2")

    claims.lose("w1")

    assert claims.claim("room 1", holder="w2")
    assert not claims.claim("room 2", holder="w3")


def test_what_its_holder_gives_back_anybody_may_claim() -> None:
    claims = Claims()
    claims.claim("room 1", holder="w1")

    claims.give_back("room 1", holder="w2")
    assert not claims.claim("room 1", holder="w2")
    claims.give_back("room 1", holder="w1")

    assert claims.claim("room 1", holder="w2")


def test_the_oldest_gives_way_when_there_are_too_many() -> None:
    claims = Claims(most=2)
    for number in range(3):
        claims.claim(f"room {number}", holder="w1")

    assert claims.claim("room 0", holder="w2")
    assert not claims.claim("room 2", holder="w2")


def test_what_is_still_asked_for_never_gives_way() -> None:
    claims = Claims(most=2)
    claims.claim("room of a long call", holder="w1")
    for number in range(5):
        assert claims.claim(f"room {number}", holder="w1")

        assert not claims.claim("room of a long call", holder="w2")


async def test_a_room_is_one_workers_until_that_is_lost() -> None:
    async with lines(settings_with()) as it:
        await it.open()
        first = [await joined.peers.claim("room 1") for joined in it.joined[:2]]
        it.office.lose(it.desks[0])  # type: ignore[arg-type] - without a process
        after = await it.joined[1].peers.claim("room 1")

    assert first == [True, False]
    assert after


async def test_a_room_that_one_worker_gives_back_is_anothers() -> None:
    async with lines(settings_with()) as it:
        await it.open()
        first = [await joined.peers.claim("room 1") for joined in it.joined[:2]]
        it.joined[0].peers.give_back("room 1")
        await it.settle()
        after = await it.joined[1].peers.claim("room 1")

    assert first == [True, False]
    assert after


@pytest.mark.virtual_time
async def test_a_room_that_was_asked_for_while_nobody_answered_can_still_be_claimed() -> None:
    async with lines(settings_with()) as it:
        await it.open()
        writer = it.desks[0].wire._writer
        assert writer is not None
        reading = cast("asyncio.ReadTransport", writer.transport)
        reading.pause_reading()  # the supervisor is kept from looking
        first = await it.joined[0].peers.claim("room 1")
        reading.resume_reading()
        await it.settle()
        after = await it.joined[1].peers.claim("room 1")

    assert not first
    assert after
