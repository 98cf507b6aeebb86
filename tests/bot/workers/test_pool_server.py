"""Requests of workers to each other and to the supervisor, over real connections."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from bot.workers.pool_client import PoolClient
from bot.workers.pool_server import PoolServer
from bot.workers.supervisor import HUNG_S
from tests.bot.workers.lines import lines
from tests.bot.workers.test_pool_client import settings_with
from transports.media_stream.leg import CarriedCall
from transports.media_stream.tokens import Ticket, Tokens
from transports.pool import HeldSeat, NoSeat

TICKET = Ticket(call=CarriedCall(call_ref="CA1", caller="a", called="b"))


async def test_a_ticket_of_one_worker_is_valid_once_at_any_worker() -> None:
    async with lines(settings_with()) as it:
        await it.open()
        token = await Tokens(it.joined[0].key_values, "twilio").issue(TICKET, now=0.0)

        redeemed = [
            await Tokens(item.key_values, "twilio").redeem(token, call_sid="CA1", now=1.0)
            for item in (it.joined[1], it.joined[0], it.joined[1])
        ]

    assert redeemed == [TICKET, "token_unknown_or_used", "token_unknown_or_used"]


async def test_seats_are_shared_by_all_workers() -> None:
    async with lines(settings_with(), seats=3) as it:
        await it.open()
        admitted = [await it.joined[number % 2].admit() for number in range(4)]
        first = admitted[0]
        assert isinstance(first, HeldSeat)
        it.joined[1].begin(first.seat)
        it.joined[1].end(first.seat)
        again = await it.joined[1].admit()  # after them on the same line

    assert admitted[3] == NoSeat(reason="full")
    assert isinstance(again, HeldSeat)


async def test_a_stopping_server_gives_no_seat() -> None:
    async with lines(settings_with()) as it:
        await it.open()
        told = [pass_beats_to(joined, "stop") for joined in it.joined]
        it.office.stop(drain_s=5.0)

        assert await it.joined[0].admit() == NoSeat(reason="draining")
        await it.settle()

    assert [said["drain_s"] for item in told for said in item] == [5.0, 5.0]


async def test_a_closing_worker_does_not_lead_unless_all_close() -> None:
    leads: list[list[bool]] = []
    async with lines(settings_with()) as it:
        await it.open()
        for joined in it.joined:
            joined.wire.send("closing")
            await it.settle()
            it.office.broadcast_state()
            await it.settle()
            leads.append([one.leads for one in it.joined])

    assert leads == [[False, True], [True, False]]


async def test_one_worker_answers_for_another_and_for_all() -> None:
    async with lines(settings_with()) as it:
        for joined in it.joined:
            joined.peers.answer("name", name_of(joined.name))
        await it.open()
        it.office.broadcast_state()
        await it.settle()

        assert await it.joined[0].peers.ask("w2", "name", call="x") == "w2 x"
        assert await it.joined[1].peers.ask_all("name", call="y") == ["w2 y", "w1 y"]
        with pytest.raises(LookupError):
            await it.joined[0].peers.ask("w3", "name", call="z")


def name_of(name: str) -> Any:
    async def answer(asked: Mapping[str, Any]) -> str:
        return f"{name} {asked['call']}"

    return answer


async def test_a_watcher_at_one_worker_sees_the_other() -> None:
    async with lines(settings_with()) as it:
        happens: asyncio.Queue[Mapping[str, Any]] = asyncio.Queue()

        async def view() -> AsyncIterator[Mapping[str, Any]]:
            yield {"event": "what was before"}
            while True:
                yield await happens.get()

        it.joined[1].views.share(view)
        await it.open()
        seen: list[Any] = []
        watching = it.joined[0].views.watch()
        seen.append(await anext(watching))
        happens.put_nowait({"event": "what happens now"})
        seen.append(await anext(watching))
        await watching.aclose()  # type: ignore[attr-defined] - a generator
        await it.settle()

        assert [item["event"] for item in seen] == ["what was before", "what happens now"]
        assert it.joined[1].views._streams == {}


async def test_a_failed_question_is_answered_as_failed() -> None:
    async with lines(settings_with()) as it:
        await it.open()

        with pytest.raises(LookupError):
            await it.joined[0].peers.ask("w2", "nothing of the kind")
        assert isinstance(await it.joined[0].admit(), HeldSeat)  # and the line stays up


async def test_an_unknown_message_does_not_close_the_connection() -> None:
    async with lines(settings_with()) as it:
        await it.open()
        it.joined[0].wire.send("begin")  # without a seat
        it.joined[0].wire.send("entry", to="w2", watcher=1, entry={"words": "a lone \udcff"})

        assert isinstance(await it.joined[0].admit(), HeldSeat)


async def test_a_ready_worker_is_reported_with_its_cause() -> None:
    async with lines(settings_with()) as it:
        told = [pass_beats_to(joined, "worker_started") for joined in it.joined]
        it.desks[1].cause, it.desks[1].replaces = "lost", "w0"
        await it.open()

    started = [(said["worker"], said["cause"], said["replaces"]) for item in told for said in item]
    assert sorted(started) == [("w1", "start", ""), ("w2", "lost", "w0")]


async def test_events_without_a_worker_are_reported_by_the_next_worker() -> None:
    async with lines(settings_with()) as it:
        told = [pass_beats_to(joined, "worker_lost") for joined in it.joined]
        it.office.messages.send_to_one("worker_lost", worker="w0", code=-9, calls=3)
        await it.settle()
        before = [said for heard in told for said in heard]
        await it.open()

    after = [said for heard in told for said in heard]
    assert before == []
    assert [(item["worker"], item["code"], item["calls"]) for item in after] == [("w0", -9, 3)]


def pass_beats_to(worker: PoolClient, what: str) -> list[Mapping[str, Any]]:
    heard: list[Mapping[str, Any]] = []
    worker.wire.on(what, heard.append)
    return heard


async def test_a_worker_that_is_silent_while_we_run_hangs() -> None:
    async with lines(settings_with()) as it, asyncio.timeout(10):
        await it.open()
        hung = looks(it.office, every_s=0.2, for_s=HUNG_S - 0.4)
        it.desks[0].reported_at = it.office._clock()
        hung += looks(it.office, every_s=0.2, for_s=1.0)

    assert set(hung) == {"w2"}


@pytest.mark.parametrize("before_s", [0.0, 2.0])
async def test_a_worker_that_was_paused_with_us_does_not_hang(before_s: float) -> None:
    async with lines(settings_with()) as it, asyncio.timeout(10):
        await it.open()
        hung = looks(it.office, every_s=0.2, for_s=before_s)
        hung += looks(it.office, every_s=3600.0, for_s=3600.0)  # the machine was paused
        hung += looks(it.office, every_s=0.2, for_s=0.8)

    assert hung == []


async def test_no_worker_hangs_on_a_machine_too_busy_for_our_own_checks() -> None:
    async with lines(settings_with()) as it, asyncio.timeout(10):
        await it.open()

        assert looks(it.office, every_s=0.6, for_s=30.0) == []


async def test_a_pause_is_not_reported_as_being_busy() -> None:
    async with lines(settings_with()) as it, asyncio.timeout(10):
        await it.open()
        admission, now = it.office.seats._seats, it.office._clock()
        admission.measured = True
        for desk in it.desks:
            admission.begin(admission.admit(now) or 0, desk.number, now)
        looks(it.office, every_s=5.0, for_s=5.0)  # the machine was paused

        assert admission.why_closed(it.office._clock()) == ""


def looks(office: PoolServer, *, every_s: float, for_s: float) -> list[str]:
    """Advance time in steps of this size, with a check after each; return the workers that hang."""
    found: list[str] = []
    for _ in range(round(for_s / every_s)):
        now = office._clock() + every_s
        office._clock = lambda now=now: now
        found += [worker.name for worker in office.find_hung(HUNG_S)]
    return found
