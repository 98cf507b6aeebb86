import asyncio
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

from bot.call.call import Call
from bot.call.switchboard import GOODBYE_S, RunningCall, Switchboard, TakeRoom
from calls.events import CallEnded, CallMoved, CallRefused, Event
from runtime.exits import CommandError
from tests.virtual_time import BEGIN_S
from transports.leg import Leg, LegFacts
from transports.pool import SwitchboardFullError

pytestmark = pytest.mark.virtual_time


class Line:
    facts = LegFacts(transport="test", sample_rate_hz=8000)


class Talk:
    def __init__(self, call_id: str = "c", *, says_goodbye: bool = True) -> None:
        self.call_id = call_id
        self.over = asyncio.Event()
        self.says_goodbye = says_goodbye
        self.parted: str | None = None
        self.cancelled: str | None = None
        self.is_quiet = True
        self.moved_at_s: float | None = None

    async def run(self) -> None:
        await self.over.wait()

    async def end(self, reason: str) -> None:
        self.parted = reason
        if self.says_goodbye:
            self.over.set()

    async def move(self, *, at_quiet: bool, take_room: TakeRoom) -> None:
        if (not at_quiet or self.is_quiet) and await take_room():
            self.moved_at_s = passed_s()
            self.over.set()

    async def cancel(self, reason: str) -> None:
        self.cancelled = reason
        self.over.set()


class Failing(Talk):
    async def run(self) -> None:
        raise RuntimeError("this call is broken")


LOST = CallEnded(reason="line_lost", length_s=9.0)
LINE: Leg = Line()  # type: ignore[assignment]


async def has_room() -> bool:
    return True


def passed_s() -> float:
    """Return the virtual seconds since the test began."""
    return asyncio.get_running_loop().time() - BEGIN_S


def board(told: list[Event], *, seats: int = 1) -> Switchboard:
    def make_call(leg: Leg) -> RunningCall:
        raise AssertionError("the tests bring their own calls")

    return Switchboard(seats=seats, make_call=make_call, emit=told.append)


async def test_a_call_beyond_the_limit_is_refused_and_the_others_continue() -> None:
    told: list[Event] = []
    switchboard, first = board(told), Talk()
    running = asyncio.ensure_future(switchboard.answer(LINE, first))
    await asyncio.sleep(0)

    with pytest.raises(SwitchboardFullError, match="busy"):
        await switchboard.answer(LINE, Talk("d"))

    assert told == [CallRefused(transport="test", reason="full")]
    assert not running.done()
    assert (switchboard.free_seats, switchboard.why_closed) == (0, "full")
    first.over.set()
    await running
    assert (switchboard.free_seats, switchboard.is_open) == (1, True)


@dataclass(kw_only=True)
class LostPlace:
    """Where the state of a lost call is stored."""

    back: bool | Exception

    async def wait_for_return(self) -> bool:
        if isinstance(self.back, Exception):
            raise self.back
        return self.back


@pytest.mark.usefixtures("quiet_log")
@pytest.mark.parametrize(
    ("back", "emitted"),
    [(False, LOST), (True, CallMoved()), (OSError(), LOST)],
    ids=["stays away", "goes on", "unknown"],
)
async def test_a_lost_call_ends_only_if_its_caller_stays_away(
    back: bool | Exception,  # noqa: FBT001 - a row of the table
    emitted: Event,
) -> None:
    told: list[Event] = []
    leg = SimpleNamespace(parked=LostPlace(back=back))
    lost: Any = SimpleNamespace(call_id="c", _open_end=LOST, _leg=leg, emit=told.append)

    await Call.settle(lost)

    assert told == [emitted]


async def test_a_process_that_closes_leaves_its_lost_calls_to_others() -> None:
    switchboard, waits = board([]), asyncio.Event()

    class StillLost:
        call_id = "c"

        async def settle(self) -> None:
            await waits.wait()

    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:  # ends, although it still waits
        switchboard.await_return(StillLost(), tasks)
        await asyncio.sleep(0)
        await switchboard.close(drain_s=0.0)
        switchboard.await_return(StillLost(), tasks)


async def test_a_seat_is_free_again_after_a_call_that_failed() -> None:
    switchboard = board([])

    with pytest.raises(RuntimeError):
        await switchboard.answer(LINE, Failing())

    assert switchboard.is_open
    assert switchboard.calls == {}
    assert switchboard.ended == 1


async def test_a_resumed_call_stays_known_when_its_first_run_ends() -> None:
    switchboard, first, again = board([], seats=2), Talk(), Talk()
    runs = [asyncio.ensure_future(switchboard.answer(LINE, call)) for call in (first, again)]
    await asyncio.sleep(0)

    first.over.set()
    await runs[0]
    assert switchboard.calls == {"c": again}

    again.over.set()
    await runs[1]
    assert switchboard.calls == {}


async def test_closing_waits_for_calls_in_progress_and_accepts_no_more() -> None:
    told: list[Event] = []
    switchboard, talk = board(told, seats=2), Talk()
    running = asyncio.ensure_future(switchboard.answer(LINE, talk))
    await asyncio.sleep(0)
    closing = asyncio.ensure_future(switchboard.close(drain_s=5.0))
    await asyncio.sleep(0)

    assert (switchboard.is_open, switchboard.why_closed) == (False, "draining")
    with pytest.raises(SwitchboardFullError):
        await switchboard.answer(LINE, Talk("d"))
    assert not closing.done()
    talk.over.set()
    await asyncio.gather(running, closing)
    assert talk.cancelled is None


@pytest.mark.virtual_time
async def test_a_call_that_outlasts_the_drain_says_goodbye_and_is_not_cut() -> None:
    switchboard, talk = board([]), Talk()
    running = asyncio.ensure_future(switchboard.answer(LINE, talk))
    await asyncio.sleep(0)

    await switchboard.close(drain_s=30.0)

    assert passed_s() == pytest.approx(30.0, abs=0.01)
    assert (talk.parted, talk.cancelled) == ("shutdown", None)
    await running


@pytest.mark.virtual_time
async def test_a_goodbye_that_cannot_be_played_is_cut() -> None:
    switchboard, talk = board([]), Talk(says_goodbye=False)
    running = asyncio.ensure_future(switchboard.answer(LINE, talk))
    await asyncio.sleep(0)

    await switchboard.close(drain_s=30.0)

    assert passed_s() == pytest.approx(30.0 + GOODBYE_S, abs=0.01)
    assert (talk.parted, talk.cancelled) == ("shutdown", "shutdown")
    await running


@pytest.mark.virtual_time
@pytest.mark.parametrize("after_s", [0.0, 5.0, 32.0], ids=["before", "drain", "goodbye"])
async def test_an_urgent_stop_ends_all_calls_at_once_without_a_goodbye(after_s: float) -> None:
    switchboard, talk = board([]), Talk(says_goodbye=False)
    running = asyncio.ensure_future(switchboard.answer(LINE, talk))
    asyncio.get_running_loop().call_later(after_s, switchboard.hurry)
    await asyncio.sleep(0.001)

    await switchboard.close(drain_s=30.0)

    assert passed_s() == pytest.approx(after_s, abs=0.01)
    assert talk.cancelled == "shutdown"
    await running


@pytest.mark.virtual_time
async def test_a_call_that_does_not_end_is_reported_and_does_not_block_the_exit() -> None:
    class Stuck(Talk):
        async def cancel(self, reason: str) -> None:
            self.cancelled = reason

    switchboard, talk = board([]), Stuck(says_goodbye=False)
    running = asyncio.ensure_future(switchboard.answer(LINE, talk))
    await asyncio.sleep(0)

    with pytest.raises(CommandError, match="1 call did not end"):
        await switchboard.close(drain_s=0.0)

    running.cancel()


async def test_a_call_that_cannot_be_ended_does_not_prevent_the_goodbyes_of_others() -> None:
    class Broken(Talk):
        async def end(self, reason: str) -> None:
            raise RuntimeError("no goodbye")

        async def cancel(self, reason: str) -> None:
            self.over.set()
            raise RuntimeError("no cancel")

    switchboard, broken, whole = board([], seats=2), Broken("a"), Talk("b")
    running = [asyncio.ensure_future(switchboard.answer(LINE, item)) for item in (broken, whole)]
    await asyncio.sleep(0)

    await switchboard.close(drain_s=1.0)

    assert whole.parted == "shutdown"
    await asyncio.gather(*running)


@pytest.mark.parametrize(
    ("is_quiet", "taken_from_s", "moved_at_s"),
    [(True, 0.0, 0.0), (False, 0.0, 20.0), (True, 7.0, 7.0), (True, 99.0, None)],
    ids=["quiet", "never quiet", "no room at first", "no other machine"],
)
async def test_calls_move_when_they_are_quiet_and_another_machine_has_room(
    *, is_quiet: bool, taken_from_s: float, moved_at_s: float | None
) -> None:
    switchboard, talk = board([]), Talk()
    talk.is_quiet = is_quiet
    running = asyncio.ensure_future(switchboard.answer(LINE, talk))
    await asyncio.sleep(0)
    moving = asyncio.ensure_future(
        switchboard.move_calls(lambda: passed_s() >= taken_from_s, has_room, within_s=20.0)
    )

    await switchboard.close(drain_s=30.0)
    moving.cancel()

    assert talk.moved_at_s == (moved_at_s and pytest.approx(moved_at_s, abs=0.11))
    assert talk.parted == (None if moved_at_s is not None else "shutdown")
    await running


async def test_waiting_for_a_call_ends_when_the_switchboard_closes() -> None:
    switchboard, told = board([]), asyncio.Event()
    switchboard.on_closing(told.set)

    await switchboard.close(drain_s=0.0)

    assert told.is_set()
    assert not switchboard.is_open
