"""Calls whose state is stored for another process, or until a lost line returns."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from loguru import logger

from bot.workers.pool import KeyValueStore, SingleProcess
from calls.resume import RESUMABLE_S, RETURN_S, UNSAVED_ENTRIES, ResumeState
from transports.parked import PREFIX, CallTakenError, Parked, ParkedCall
from transports.pool import KeepOutcome

GOES_ON = ResumeState(call_id="c", turn=3, entries=9)


async def test_the_latest_stored_call_is_resumed_only_by_its_kind_of_line() -> None:
    pool = SingleProcess(why_closed=str, clock=lambda: 0.0)
    parked = Parked(pool, "twilio")
    await parked.place("CA1").keep(GOES_ON)
    await parked.place("CA1").keep(ResumeState(call_id="c", turn=4))

    assert (await Parked(pool, "webrtc").take("twilio CA1")).state is None
    found = (await parked.take("CA1")).state
    assert found is not None
    assert found.turn == 4


async def test_a_process_that_dies_at_once_after_taking_a_call_loses_nothing() -> None:
    parked = Parked(SingleProcess(why_closed=str, clock=lambda: 0.0), "twilio")
    await (await parked.take("CA1")).keep(GOES_ON)
    numbers = [await parked.take("CA1") for _ in range(3)]

    # Each numbers its entries after those that the one before may have published.
    assert [it.state and it.state.entries for it in numbers] == [9, 109, 209]


async def test_a_process_whose_call_was_taken_up_can_neither_store_nor_delete_its_state() -> None:
    parked = Parked(SingleProcess(why_closed=str, clock=lambda: 0.0), "twilio")
    old = await parked.take("CA1")
    await old.keep(GOES_ON)
    new = await parked.take("CA1")
    await new.keep(replace(GOES_ON, turn=7))

    assert not await old.keep(GOES_ON)
    assert not await old.keep(GOES_ON, last=True)
    assert not await old.forget()
    assert not await old.is_ours()
    assert await new.is_ours()
    state = (await parked.take("CA1")).state
    assert state
    assert state.turn == 7


class Store(KeyValueStore):
    """A store of several machines that is away for some requests."""

    def __init__(self, outcomes: Sequence[KeepOutcome]) -> None:
        super().__init__(clock=lambda: 0.0)
        self._outcomes = iter(outcomes)

    async def keep(self, token: str, value: Any, **options: Any) -> KeepOutcome:
        await super().keep(token, value, **options)
        return next(self._outcomes) if token.startswith(PREFIX) else KeepOutcome.KEPT


THERE, HERE, TAKEN = KeepOutcome.KEPT, KeepOutcome.KEPT_HERE, KeepOutcome.REFUSED
UNKNOWN = KeepOutcome.UNKNOWN


@pytest.mark.parametrize(
    ("outcomes", "on_one_machine"),
    [
        pytest.param([THERE, THERE], [False, False], id="the store is there"),
        pytest.param([HERE, HERE], [True, True], id="it begins without the store"),
        pytest.param([HERE, THERE, HERE], [True, False, False], id="the store is back"),
        pytest.param([THERE, HERE, HERE], [False, False, False], id="an earlier state is stored"),
        pytest.param([HERE, TAKEN], [True, False], id="another process has it"),
        pytest.param([UNKNOWN, THERE], [False, False], id="the supervisor does not answer"),
        pytest.param([UNKNOWN, HERE], [False, True], id="it does not answer, nor does the store"),
        pytest.param([HERE, UNKNOWN], [True, True], id="the store does not answer, nor does it"),
    ],
)
async def test_a_call_is_on_one_machine_if_the_store_was_away_since_it_began(
    outcomes: Sequence[KeepOutcome], on_one_machine: Sequence[bool]
) -> None:
    call = ParkedCall(Store(outcomes), f"{PREFIX}twilio CA1")
    found = list[bool]()
    for number in range(len(outcomes)):
        await call.keep(replace(GOES_ON, turn=number))
        found.append(call.is_on_one_machine)

    assert found == on_one_machine


class PartlyKept(KeyValueStore):
    """A store that has an outcome of its own for the tokens that begin with `part`."""

    def __init__(self, part: str) -> None:
        super().__init__(clock=lambda: 0.0)
        self.part, self.outcome = part, UNKNOWN
        self.sent = list[str]()

    async def keep(self, token: str, value: Any, **options: Any) -> KeepOutcome:
        self.sent.append(token.split(maxsplit=1)[0])
        if not token.startswith(self.part):
            return await super().keep(token, value, **options)
        if self.outcome is not UNKNOWN:
            await super().keep(token, value, **options)
        return self.outcome


PARTS = ("part0", "part1", "part2", "part3", "parked")


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("outcome", [HERE, UNKNOWN])
async def test_the_last_state_is_stored_only_when_all_its_parts_are(
    part: str, outcome: KeepOutcome
) -> None:
    pool = SingleProcess(why_closed=str, clock=lambda: 0.0)
    pool.key_values = store = PartlyKept(part)
    call, state = Parked(pool, "twilio").place("CA1"), replace(GOES_ON, messages=[{"role": "user"}])
    store.outcome = outcome
    await call.keep(state, last=True)
    before = call.is_here_only
    store.outcome = THERE
    await call.keep(replace(state, entries=12), last=True)

    assert (before, call.is_here_only) == (True, False)
    found = await Parked(pool, "twilio").look("CA1")
    assert found is not None
    assert found.entries == 12


@pytest.mark.parametrize("part", PARTS)
async def test_a_state_without_an_answer_leaves_the_one_before_and_is_stored_again(
    part: str,
) -> None:
    pool = SingleProcess(why_closed=str, clock=lambda: 0.0)
    pool.key_values = store = PartlyKept(part)
    call, state = Parked(pool, "twilio").place("CA1"), replace(GOES_ON, messages=[{"role": "user"}])
    store.outcome = THERE
    await call.keep(state)
    later = replace(
        state,
        turn=4,
        said="Yes.",
        language="de",
        messages=[{"role": "system"}, {"role": "user"}, {"role": "user"}],
    )
    found = list[ResumeState | None]()
    for store.outcome in (UNKNOWN, THERE):
        await call.keep(later)
        found.append(await Parked(pool, "twilio").look("CA1"))

    assert [it and it.turn for it in found] == [3, 4]
    assert found[1] == replace(later, tools=[])


async def test_parts_that_only_this_machine_has_are_sent_again_with_the_last_state() -> None:
    store = PartlyKept("part")
    store.outcome = HERE
    call = ParkedCall(store, f"{PREFIX}twilio CA1")
    for last in (False, False, True):
        await call.keep(GOES_ON, last=last)

    whole = [*PARTS[:3], "parked"]
    assert store.sent == [*whole, "parked", *whole]


@pytest.mark.parametrize("how", ["keeps", "asks"])
async def test_a_process_learns_once_that_its_call_was_taken_up(how: str) -> None:
    parked = Parked(SingleProcess(why_closed=str, clock=lambda: 0.0), "twilio")
    old = await parked.take("CA1")
    waiting = asyncio.ensure_future(old.wait_until_taken())
    await old.keep(GOES_ON)
    await asyncio.sleep(0)
    assert not waiting.done()
    await parked.take("CA1")
    await (old.keep(GOES_ON) if how == "keeps" else old.is_ours())

    async with asyncio.timeout(5):
        await waiting


async def test_a_call_is_taken_up_only_in_the_epoch_that_was_promised() -> None:
    parked = Parked(SingleProcess(why_closed=str, clock=lambda: 0.0), "twilio")
    epoch = await parked.epoch("CA1")
    assert epoch == 0
    first = await parked.take("CA1", epoch=epoch)
    with pytest.raises(CallTakenError):
        await parked.take("CA1", epoch=epoch)

    assert await first.is_ours()


class Unanswered(KeyValueStore):
    """A store that stops answering questions."""

    async def epoch(self, token: str) -> int:
        raise LookupError(token)


async def test_a_process_that_cannot_reach_the_store_goes_on() -> None:
    place = ParkedCall(Unanswered(clock=lambda: 0.0), "parked twilio CA1", epoch=1)

    assert await place.is_ours()


async def test_a_call_that_ended_is_not_resumed() -> None:
    parked = Parked(SingleProcess(why_closed=str, clock=lambda: 0.0), "twilio")
    place = parked.place("CA1")
    await place.keep(GOES_ON)
    await place.forget()

    assert (await parked.take("CA1")).state is None


async def test_a_caller_who_returns_too_late_starts_over() -> None:
    now = [0.0]
    parked = Parked(SingleProcess(why_closed=str, clock=lambda: now[0]), "webrtc")
    await parked.place("t").keep(GOES_ON)
    now[0] = RESUMABLE_S + 0.1

    assert (await parked.take("t")).state is None


async def test_nothing_is_stored_after_the_last_state() -> None:
    parked = Parked(SingleProcess(why_closed=str, clock=lambda: 0.0), "webrtc")
    place = parked.place("t")
    await place.keep(GOES_ON, last=True)
    await place.keep(replace(GOES_ON, turn=4))

    state = (await parked.take("t")).state
    assert state
    assert state.turn == GOES_ON.turn


class FailingStore(Store):
    """A store that fails once, or never answers one request."""

    hangs = False
    once = True

    async def keep(self, token: str, value: Any, **options: Any) -> KeepOutcome:
        if token.startswith(PREFIX) and self.once:
            self.once = False
            if self.hangs:
                await asyncio.Event().wait()
            raise ConnectionError("the store does not answer")
        return await super().keep(token, value, **options)


@pytest.mark.parametrize("hangs", [True, False])
async def test_a_last_state_that_is_not_stored_is_not_the_last(*, hangs: bool) -> None:
    store = FailingStore([THERE])
    store.hangs = hangs
    place = ParkedCall(store, f"{PREFIX}twilio CA1")
    failing = asyncio.create_task(place.keep(GOES_ON, last=True))
    await asyncio.sleep(0)
    failing.cancel()
    await asyncio.wait([failing])
    await place.keep(replace(GOES_ON, turn=4))

    assert (await store.read(f"{PREFIX}twilio CA1"))["turn"] == 4


class SlowStore(KeyValueStore):
    """Stores the small part of a state at once, and takes a second for each other one."""

    async def keep(self, token: str, value: Any, **options: Any) -> KeepOutcome:
        await asyncio.sleep(0.0 if token.startswith(PREFIX) else 1.0)
        return await super().keep(token, value, **options)


@pytest.mark.virtual_time
@pytest.mark.parametrize(
    ("then", "found"),
    [
        (lambda place: place.keep(replace(GOES_ON, turn=4)), 4),
        (lambda place: place.keep(replace(GOES_ON, turn=4), last=True), 4),
        (lambda place: place.forget(), None),
    ],
    ids=["a newer state", "the last state", "the end of the call"],
)
async def test_an_older_state_that_is_still_being_stored_undoes_nothing(
    then: Callable[[ParkedCall], Awaitable[bool]], found: int | None
) -> None:
    pool = SingleProcess(why_closed=str, clock=lambda: 0.0)
    pool.key_values = SlowStore(clock=lambda: 0.0)
    parked = Parked(pool, "twilio")
    place = parked.place("t")
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(place.keep(GOES_ON))
        await asyncio.sleep(0.5)
        await then(place)

    state = (await parked.take("t")).state
    assert (state and state.turn) == found


async def nobody(_: Parked) -> None:
    pass


async def takes(parked: Parked) -> None:
    await parked.take("t")


async def goes_on(parked: Parked) -> None:
    place = await parked.take("t")
    await asyncio.sleep(0.5)
    await place.keep(replace(GOES_ON, entries=120))


@pytest.mark.virtual_time
@pytest.mark.parametrize(
    ("at_s", "caller", "returned"),
    [
        (0.0, nobody, False),
        (0.2, takes, True),
        (5.0, takes, True),
        (5.0, goes_on, True),
        (RETURN_S - 0.4, takes, True),
        (RETURN_S - 0.8, goes_on, True),
        (RETURN_S + 2.0, takes, False),
    ],
)
async def test_a_lost_call_has_either_returned_or_expired(
    at_s: float, caller: Callable[[Parked], Awaitable[None]], *, returned: bool
) -> None:
    loop = asyncio.get_running_loop()
    parked = Parked(SingleProcess(why_closed=str, clock=loop.time), "webrtc")
    place = parked.place("t")
    await place.keep(GOES_ON, last=True)
    began = loop.time()

    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(place.wait_for_return())
        await asyncio.sleep(at_s)
        await caller(parked)
        found = await waiting

    assert found == returned
    assert loop.time() - began <= RETURN_S + 3.0
    left = (await parked.take("t")).state
    assert (left.entries if left else None) == (
        None if not returned else 120 if caller is goes_on else GOES_ON.entries + UNSAVED_ENTRIES
    )


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("parked twilio CA1", {"version": 0, "call_id": "c", "messages": []}, "another version"),
        ("parked twilio CA1", {"call_id": "c", "entries": 7}, "another version"),
        ("part0 twilio CA1.{at}", None, "incomplete"),
        ("part2 twilio CA1.{at}", ["x" * 10_000_000], "more than"),
        ("part3 twilio CA1.{at}", [{"role": "us"}], "messages are missing"),
        ("parked twilio CA2", "{small}", "incomplete"),  # of another call
    ],
)
async def test_a_state_that_cannot_be_used_is_declined_and_told_once(
    key: str, value: Any, why: str
) -> None:
    pool, told = SingleProcess(why_closed=str, clock=lambda: 0.0), list[str]()
    parked = Parked(pool, "twilio")
    messages = [{"role": "user", "content": "Hello."}] * 2
    await parked.place("CA1").keep(replace(GOES_ON, messages=messages))
    small = await pool.key_values.read("parked twilio CA1")
    kept = small if value == "{small}" else value
    await pool.key_values.keep(key.format(at=small["at"]), kept, for_s=60)

    sink = logger.add(told.append, level="WARNING")
    found = await parked.take(key.rsplit(maxsplit=1)[-1] if "parked" in key else "CA1")
    logger.remove(sink)

    assert found.state is None
    assert len(told) == 1
    assert why in told[0]
    assert "Traceback" not in told[0]


class AwayStore(KeyValueStore):
    """A store that does not answer whose a call is until `back_s`."""

    def __init__(self, back_s: float, epoch: int) -> None:
        super().__init__(clock=asyncio.get_running_loop().time)
        self.back_at = self.now() + back_s
        self.stored = epoch

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    async def epoch(self, token: str) -> int:
        if self.now() < self.back_at:
            raise LookupError(token)
        return self.stored


@pytest.mark.virtual_time
@pytest.mark.parametrize(
    ("ours", "stored", "back_s", "is_ours", "waits_s"),
    [
        (1, 1, 0.0, True, 0),
        (1, 2, 12.0, False, 12),
        (1, 1, 12.0, True, 12),
        (1, 2, 60.0, None, 30),
        (None, 0, 5.0, True, 5),  # nobody has taken it up
        (None, 1, 5.0, None, 30),  # it has gone on here from an earlier process, or elsewhere
    ],
)
async def test_a_call_without_a_line_waits_until_the_store_says_whose_it_is(
    ours: int | None, stored: int, back_s: float, waits_s: float, *, is_ours: bool | None
) -> None:
    store = AwayStore(back_s, stored)
    place = ParkedCall(store, "parked c", epoch=ours)
    began = store.now()
    await place.wait_for_store(within_s=30.0)

    assert store.now() - began == pytest.approx(waits_s)
    assert [await place.is_ours(otherwise=it) for it in (True, False)] == (
        [True, False] if is_ours is None else [is_ours] * 2
    )
