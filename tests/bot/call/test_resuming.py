"""The state that another process needs of a call is stored whenever it changes."""

import asyncio
from dataclasses import replace

import pytest

from bot.call.resuming import CHECK_EVERY_S, SAVE_AGAIN_S, StateSender
from calls.events import AgentSaid, CallerStarted, Event, TurnDecided
from calls.resume import ResumeState
from processors.turn.floor import FloorEvent, TurnClosed, WordsCame


class Place:
    def __init__(self) -> None:
        self.state: ResumeState | None = None
        self.kept: list[ResumeState] = []

    async def keep(self, state: ResumeState, *, last: bool = False) -> None:
        del last
        self.kept.append(state)

    async def forget(self) -> None:
        self.kept.clear()

    async def wait_for_return(self) -> bool:
        return False


@pytest.mark.virtual_time
@pytest.mark.parametrize(
    ("changes", "kept"),
    [(False, 3), (True, round(SAVE_AGAIN_S * 2 / CHECK_EVERY_S) + 1)],
)
async def test_a_state_is_stored_twice_a_second_while_it_changes_and_before_it_is_too_old(
    kept: int, *, changes: bool
) -> None:
    loop, place = asyncio.get_running_loop(), Place()
    began = loop.time()

    def state() -> ResumeState:
        now = loop.time() - began
        return ResumeState(call_id="c", kept_at=now, said=str(now) if changes else "Yes.")

    keeping = loop.create_task(StateSender(place, state).run())
    await asyncio.sleep(2 * SAVE_AGAIN_S + CHECK_EVERY_S / 2)
    keeping.cancel()

    assert len(place.kept) == kept


@pytest.mark.virtual_time
@pytest.mark.parametrize(
    ("event", "is_at_once"),
    [
        (CallerStarted(at_s=0.0), True),
        (WordsCame(text="Hello", final=False), False),
        (WordsCame(text="Hello", final=True), True),
        (TurnClosed(), True),
        (TurnDecided(turn=1, at_s=0.0), True),
        (AgentSaid(turn=1, text="Yes."), False),
    ],
)
async def test_what_the_caller_said_is_stored_without_waiting_for_the_next_check(
    event: FloorEvent | Event, *, is_at_once: bool
) -> None:
    loop, place = asyncio.get_running_loop(), Place()
    sender = StateSender(place, lambda: ResumeState(call_id="c", said=str(loop.time())))
    keeping = loop.create_task(sender.run())
    await asyncio.sleep(CHECK_EVERY_S / 10)
    sender.follow(event)
    await asyncio.sleep(CHECK_EVERY_S / 10)
    keeping.cancel()

    assert len(place.kept) == 1 + is_at_once


async def test_a_change_can_be_stored_at_once() -> None:
    place, state = Place(), ResumeState(call_id="c")
    sender = StateSender(place, lambda: state)
    await sender.keep()
    await sender.keep()
    state = replace(state, turn=1)
    await sender.keep()

    assert [state.turn for state in place.kept] == [0, 1]


async def test_a_failed_write_loses_one_state_and_not_the_call() -> None:
    place, state = Place(), ResumeState(call_id="c")
    mistakes = [ValueError("once")]

    def taken() -> ResumeState:
        if mistakes:
            raise mistakes.pop()
        return state

    sender = StateSender(place, taken)
    await sender.keep()
    await sender.keep()

    assert place.kept == [state]
