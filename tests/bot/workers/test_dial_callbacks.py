"""Callbacks at one worker about another worker's call, and shared seats."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from bot.call.switchboard import Switchboard
from bot.outbound.outbound import PoolCapacity
from bot.workers.admission_rules import PoolAdmission
from bot.workers.pool import SingleProcess
from bot.workers.pool_client import PoolClient
from calls.entry import Entry
from calls.events import Event
from calls.leg_events import AnswererJudged
from tests.bot.workers.lines import lines
from tests.bot.workers.test_pool_client import settings_with
from transports.carrier_words import CarrierWords
from transports.pool import HeldSeat

MACHINE = AnswererJudged(
    call_ref="CA1",
    ref="dial-1",
    answerer="machine_start",
    machine=True,
    after_s=2.0,
)


def entry_of(event: Event) -> Entry:
    return Entry(call_id="", number=1, at="", event=event)


@dataclass
class Listening:
    """A call that waits for its carrier's detection."""

    heard: list[str] = field(default_factory=list[str])

    async def take(self, answerer: str) -> None:
        self.heard.append(answerer)


def words_of(pool: PoolClient | SingleProcess) -> CarrierWords:
    words = CarrierWords()
    words.join(answer=pool.peers.answer, ask_all=pool.peers.ask_all)
    return words


async def test_a_detection_reaches_the_worker_that_has_the_call() -> None:
    call, stranger = Listening(), Listening()
    async with lines(settings_with(), workers=3) as it:
        at = [words_of(joined) for joined in it.joined]
        await at[1].watch("CA1", call.take)
        await at[2].watch("CA2", stranger.take)
        await it.open()
        it.office.broadcast_state()
        await it.settle()

        await at[0].hear(entry_of(MACHINE))

    assert (call.heard, stranger.heard) == (["machine_start"], [])


async def test_a_detection_at_the_right_worker_is_used_once() -> None:
    call = Listening()
    async with lines(settings_with()) as it:
        at = [words_of(joined) for joined in it.joined]
        await at[0].watch("CA1", call.take)
        await it.open()
        it.office.broadcast_state()
        await it.settle()

        await at[0].hear(entry_of(MACHINE))

    assert call.heard == ["machine_start"]


async def test_a_detection_before_the_call_waits_for_it() -> None:
    call = Listening()
    async with lines(settings_with()) as it:
        at = [words_of(joined) for joined in it.joined]
        await it.open()
        it.office.broadcast_state()
        await it.settle()
        await at[0].hear(entry_of(MACHINE))

        await at[1].watch("CA1", call.take)

    assert call.heard == ["machine_start"]


async def test_a_detection_of_an_ended_call_is_ignored() -> None:
    words = words_of(SingleProcess(why_closed=str, clock=lambda: 0.0))

    await words.hear(entry_of(MACHINE))


def house_of_calls(pool: Any, seats: int) -> PoolCapacity:
    def never(_: Any) -> Any:
        raise AssertionError

    switchboard = Switchboard(seats=seats, make_call=never, emit=lambda _: None)
    return PoolCapacity(process=SimpleNamespace(switchboard=switchboard), pool=pool)  # type: ignore[arg-type]


async def test_a_dial_finds_no_seat_while_another_worker_has_the_last_one() -> None:
    async with lines(settings_with(), seats=3) as it:
        await it.open()
        it.office.broadcast_state()
        await it.settle()
        before = house_of_calls(it.joined[0], 3).seats()
        for _ in range(2):
            held = await it.joined[1].admit()
            assert isinstance(held, HeldSeat)
            it.joined[1].begin(held.seat)
        it.office.broadcast_state()
        await it.settle()

        after = house_of_calls(it.joined[0], 3).seats()

    assert (before, after) == (3, 1)


def test_a_single_process_has_as_many_seats_as_its_load_allows() -> None:
    pool = SingleProcess(
        why_closed=str, clock=lambda: 0.0, seats=PoolAdmission(seats=5, cores=2, measured=False)
    )

    assert house_of_calls(pool, 4).seats() == 4
    assert house_of_calls(pool, 9).seats() == 5
