"""Several processes and one call: who has taken it up carries it, alone."""

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, Final

import pytest

from bot.workers.pool import KeyValueStore, SingleProcess
from calls.resume import ResumeState
from transports.exotel.routes import ExotelAuthenticator, ExotelRoutes
from transports.media_stream.leg import CarriedCall
from transports.media_stream.line import LinePatience
from transports.media_stream.messages import POLICY, Refusal, Started
from transports.media_stream.tokens import (
    TAKEN_LATE_S,
    AdmittedStream,
    StreamPass,
    StreamTokens,
    TurnedAway,
)
from transports.media_stream.webhooks import CarrierHost
from transports.parked import PREFIX, Parked, ParkedCall
from transports.pool import SEAT_S, TakenUp

pytestmark = pytest.mark.virtual_time

CALL: Final = CarriedCall(call_ref="CA1")
STARTED: Final = Started(stream_sid="MZ1", call_sid="CA1", parameters={})


def machines(count: int, store: KeyValueStore | None = None) -> list[StreamTokens]:
    """Return the tokens of machines that share a store, and nothing else."""
    clock = asyncio.get_running_loop().time
    store = store or KeyValueStore(clock=clock)
    found = list[StreamTokens]()
    for _ in range(count):
        pool = SingleProcess(why_closed=str, clock=clock)
        pool.key_values = store
        host = CarrierHost(
            addresses=("https://phone.example.com",),
            answer=lambda _: asyncio.sleep(0),
            emit=lambda _: None,
            clock=clock,
            pool=pool,
        )
        found.append(StreamTokens(host, "twilio", LinePatience(returns_within_s=10.0)))
    return found


async def begun(tokens: StreamTokens, given: Any) -> AdmittedStream:
    assert isinstance(given, StreamPass)
    admitted = await tokens.admit(STARTED, given.token)
    assert isinstance(admitted, AdmittedStream)
    assert admitted.parked
    await admitted.parked.keep(ResumeState(call_id="c"))
    return admitted


async def test_of_two_machines_that_were_asked_at_once_one_gets_the_call() -> None:
    a, b, c = machines(3)
    lost = await begun(a, await a.hold_seat(CALL))
    passes = await asyncio.gather(b.follow(CALL), c.follow(CALL))
    first = await begun(b, passes[0])
    assert isinstance(passes[1], StreamPass)
    refused = await c.admit(STARTED, passes[1].token)

    assert refused == Refusal(reason="token_of_an_old_epoch", close_code=POLICY)
    assert first.parked
    assert await first.parked.is_ours()
    assert lost.parked
    assert not await lost.parked.is_ours()


async def test_a_call_goes_on_at_a_third_machine_when_the_second_dies_too() -> None:
    a, b, c = machines(3)
    await begun(a, await a.hold_seat(CALL))
    second = await begun(b, await b.follow(CALL))
    third = await begun(c, await c.follow(CALL))

    assert third.parked
    assert third.parked.state
    assert await third.parked.is_ours()
    assert second.parked
    assert not await second.parked.is_ours()


async def test_a_call_whose_taker_dies_before_its_stream_goes_on_elsewhere() -> None:
    a, b, c = machines(3)
    await begun(a, await a.hold_seat(CALL))
    assert isinstance(await b.follow(CALL), StreamPass)  # b dies here
    third = await begun(c, await c.follow(CALL))

    assert third.parked
    assert third.parked.state


@pytest.mark.parametrize("by", [StreamTokens.follow, StreamTokens.hold_seat])
async def test_a_call_whose_taker_dies_goes_on_where_the_first_machine_has_just_woken(
    by: Callable[[StreamTokens, CarriedCall], Awaitable[Any]],
) -> None:
    a, b = machines(2)
    lost = await begun(a, await a.hold_seat(CALL))
    await begun(b, await b.follow(CALL))
    leg: Any = SimpleNamespace(facts=CALL, parked=lost.parked, is_moved=False, may_come_back=True)
    with a.streamed_calls.findable(leg):
        assert await a.follow(CALL, news_id="MZ1") is TurnedAway.GOES_ON  # late news of its stream
        again = await begun(a, await by(a, CALL))  # b has died

    assert again.parked
    assert again.parked.state


async def follow_telnyx(tokens: StreamTokens, stream_id: str) -> Any:
    return await tokens.follow(CALL, news_id=stream_id, stream_id=stream_id)


async def test_news_of_its_takers_stream_is_a_loss_for_a_machine_that_has_just_woken() -> None:
    a, b = machines(2)
    lost = await begun(a, await a.hold_seat(CALL))
    await begun(b, await follow_telnyx(b, "first"))
    leg: Any = SimpleNamespace(
        facts=CALL,
        parked=lost.parked,
        is_moved=False,
        may_come_back=True,
        stream_ids={"before", "first"},
    )
    with a.streamed_calls.findable(leg):
        for late in ("before", "first"):
            assert await follow_telnyx(a, late) is TurnedAway.GOES_ON
        again = await begun(a, await follow_telnyx(a, "of b"))  # b has lost it

    assert again.parked
    assert again.parked.state


@pytest.mark.parametrize("dial", [{}, {"dial": "d-1"}])
async def test_exotels_next_stream_is_admitted_where_the_first_machine_has_just_woken(
    dial: dict[str, str],
) -> None:
    a, b = (ExotelRoutes(it._host, authenticator=ExotelAuthenticator()) for it in machines(2))
    socket: Any = SimpleNamespace(path_params=dial)
    parked = list[ParkedCall]()
    for routes in (a, b):
        assert isinstance(await routes._admit_stream(STARTED, socket), AdmittedStream)
        parked.append(await routes._parked.take(CALL.call_ref))
        await parked[-1].keep(ResumeState(call_id="c"))
    leg: Any = SimpleNamespace(facts=CALL, parked=parked[0], is_moved=False, may_come_back=False)
    with a._streamed_calls.findable(leg):
        assert isinstance(await a._admit_stream(STARTED, socket), AdmittedStream)  # b has died


@pytest.mark.parametrize(
    ("dial", "is_lost", "is_here", "is_admitted"),
    [
        ({}, True, True, True),
        ({}, True, False, True),
        ({}, False, True, False),
        ({"dial": "d-1"}, True, True, False),  # nothing follows its stream, so this is a replay
    ],
)
async def test_exotels_next_stream_belongs_to_a_call_that_has_lost_its_own(
    dial: dict[str, str], *, is_lost: bool, is_here: bool, is_admitted: bool
) -> None:
    a = ExotelRoutes(machines(1)[0]._host, authenticator=ExotelAuthenticator())
    socket: Any = SimpleNamespace(path_params=dial)
    parked = await a._parked.take(CALL.call_ref)
    await parked.keep(ResumeState(call_id="c"))
    rate_hz = STARTED.codec.rate_hz
    facts = SimpleNamespace(call_ref=CALL.call_ref, sample_rate_hz=rate_hz if is_here else 16_000)
    leg: Any = SimpleNamespace(
        facts=facts, parked=parked, is_moved=False, may_come_back=is_lost, resume=print
    )
    with a._streamed_calls.findable(leg):
        admitted = await a._admit_stream(STARTED, socket)

    assert isinstance(admitted, AdmittedStream) == is_admitted
    assert bool(getattr(admitted, "taker", None)) == (is_admitted and is_here)


@pytest.mark.parametrize("token", ["replayed", "guessed", "of another call"])
async def test_a_wrong_ticket_is_refused_and_the_call_does_not_notice(token: str) -> None:
    a, b = machines(2)
    given = await a.hold_seat(CALL)
    call = await begun(a, given)
    other = await b.hold_seat(CarriedCall(call_ref="CA2"))
    assert isinstance(given, StreamPass)
    assert isinstance(other, StreamPass)
    wrong = {"replayed": given.token, "guessed": "0" * 64, "of another call": other.token}[token]
    refused = await b.admit(STARTED, wrong)

    assert isinstance(refused, Refusal)
    assert refused.close_code == POLICY
    assert call.parked
    assert await call.parked.is_ours()


@pytest.mark.parametrize(
    "damage",
    [{"until": float("nan")}, {"seat": -1}, {"call": 5}, {"call": {"call_ref": 5}}, {5: 5}],
)
async def test_a_damaged_ticket_or_call_in_the_store_counts_as_none(
    damage: dict[Any, Any],
) -> None:
    store = KeyValueStore(clock=asyncio.get_running_loop().time)
    a, b = machines(2, store)
    given = await a.hold_seat(CALL)
    assert isinstance(given, StreamPass)
    for token in (f"twilio token {given.token}", f"twilio call {CALL.call_ref}"):
        await store.keep(token, await store.read(token) | damage, for_s=60.0)

    refused = await a.admit(STARTED, given.token)
    assert isinstance(refused, Refusal)
    assert refused.reason == "token_unknown_or_used"
    assert await b.follow(CALL) is TurnedAway.OVER


async def test_a_call_ended_by_its_taker_is_over_for_a_machine_that_wakes() -> None:
    a, b = machines(2)
    lost = await begun(a, await a.hold_seat(CALL))
    taker = await begun(b, await b.follow(CALL))
    assert taker.parked
    await taker.parked.forget()
    await b.end(CALL.call_ref)
    await asyncio.sleep(4 * SEAT_S)

    assert lost.parked
    assert not await lost.parked.is_ours()
    assert not await Parked(b._host.pool, "twilio").holds(CALL.call_ref)


class LateStore(KeyValueStore):
    """A store that does not answer until `back_at`."""

    back_at = 0.0

    def is_late(self) -> bool:
        return asyncio.get_running_loop().time() < self.back_at

    async def take(self, token: str) -> Any:
        return None if self.is_late() else await super().take(token)

    async def read(self, token: str) -> Any:
        if self.is_late():
            raise LookupError(token)
        return await super().read(token)

    async def epoch(self, token: str) -> int:
        if self.is_late():
            raise LookupError(token)
        return await super().epoch(token)


@pytest.mark.parametrize(
    ("late_s", "is_kept", "goes_on"),
    [
        (0.0, True, True),
        (0.3, True, True),
        (5.0, True, True),
        (60.0, True, False),
        (0.0, False, False),
    ],
)
async def test_a_call_is_taken_up_although_the_store_answers_late(
    late_s: float, *, is_kept: bool, goes_on: bool
) -> None:
    loop = asyncio.get_running_loop()
    store = LateStore(clock=loop.time)
    a, b = machines(2, store)
    if is_kept:
        await begun(a, await a.hold_seat(CALL))
    began, store.back_at = loop.time(), loop.time() + late_s
    found = await b.follow(CALL)

    assert isinstance(found, StreamPass) == goes_on
    assert loop.time() - began <= (late_s or 0.0) + 0.5 if goes_on else loop.time() - began < 10.0


class BlinkingStore(LateStore):
    """A store that answers late whose a call is.

    Until then, only a machine that has the state of a call itself gets it.
    """

    has_state = False

    async def read(self, token: str) -> Any:
        if self.is_late() and token.startswith(PREFIX) and not self.has_state:
            raise LookupError(token)
        return await KeyValueStore.read(self, token)

    async def take(self, token: str) -> Any:
        return await KeyValueStore.take(self, token)

    async def take_up(self, token: str, *, epoch: int | None = None) -> TakenUp | None:
        if self.is_late() and not self.has_state:
            return TakenUp(epoch=1) if epoch is None else None
        return await super().take_up(token, epoch=epoch)


@pytest.mark.parametrize(("has_state", "waits_s"), [(False, 1.0), (True, 0.0)])
async def test_a_lost_call_is_not_begun_anew_because_the_store_is_late(
    waits_s: float, *, has_state: bool
) -> None:
    loop = asyncio.get_running_loop()
    store = BlinkingStore(clock=loop.time)
    a, b = machines(2, store)
    await begun(a, await a.hold_seat(CALL))
    store.has_state = has_state
    began, store.back_at = loop.time(), loop.time() + 1.0
    taker = await begun(b, await b.follow(CALL))

    assert taker.parked
    assert taker.parked.state
    assert loop.time() - began == pytest.approx(waits_s, abs=0.1)


@pytest.mark.parametrize(("late_s", "goes_on"), [(1.5, True), (60.0, False)])
async def test_a_stream_waits_for_a_store_that_went_away_after_its_ticket_was_issued(
    late_s: float, *, goes_on: bool
) -> None:
    loop = asyncio.get_running_loop()
    store = BlinkingStore(clock=loop.time)
    a, b = machines(2, store)
    await begun(a, await a.hold_seat(CALL))
    given = await b.follow(CALL)
    assert isinstance(given, StreamPass)
    began, store.back_at = loop.time(), loop.time() + late_s
    admitted = await b.admit(STARTED, given.token)

    assert isinstance(admitted, AdmittedStream) == goes_on
    assert loop.time() - began == pytest.approx(min(late_s, TAKEN_LATE_S), abs=0.3)


async def test_a_new_call_does_not_wait_for_the_store() -> None:
    loop = asyncio.get_running_loop()
    store = BlinkingStore(clock=loop.time)
    (a,) = machines(1, store)
    began, store.back_at = loop.time(), loop.time() + 60.0
    await begun(a, await a.hold_seat(CALL))

    assert loop.time() == began
