"""The state that another process needs of a call is stored whenever it changes."""

# pyright: reportArgumentType=false, reportIncompatibleMethodOverride=false

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from bot.call.resuming import CHANGE_CHECK_S, SAVE_AGAIN_S, StateSender
from bot.workers.pool import KeyValueStore
from calls.events import AgentSaid, CallerStarted, CallKept, CallNotKept, Event, TurnDecided
from calls.resume import ResumeState
from processors.turn.floor import FloorEvent, TurnClosed, WordsCame
from transports.parked import ParkedCall
from transports.pool import KeepOutcome


class Place:
    def __init__(self) -> None:
        self.state: ResumeState | None = None
        self.is_on_one_machine = self.is_here_only = False
        self.kept: list[ResumeState] = []

    async def keep(self, state: ResumeState, *, last: bool = False) -> None:
        del last
        self.kept.append(state)

    async def forget(self) -> None:
        self.kept.clear()

    async def wait_for_return(self) -> bool:
        return False


def ignore(event: Event) -> None:
    del event


@pytest.mark.virtual_time
@pytest.mark.parametrize(
    ("changes", "kept"),
    [(False, 3), (True, round(SAVE_AGAIN_S * 2 / CHANGE_CHECK_S) + 1)],
)
async def test_a_state_is_stored_twice_a_second_while_it_changes_and_before_it_is_too_old(
    kept: int, *, changes: bool
) -> None:
    loop, place = asyncio.get_running_loop(), Place()
    began = loop.time()

    def state() -> ResumeState:
        now = loop.time() - began
        return ResumeState(call_id="c", kept_at=now, said=str(now) if changes else "Yes.")

    keeping = loop.create_task(StateSender(place, state, emit=ignore).run())
    await asyncio.sleep(2 * SAVE_AGAIN_S + CHANGE_CHECK_S / 2)
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
    sender = StateSender(
        place, lambda: ResumeState(call_id="c", said=str(loop.time())), emit=ignore
    )
    keeping = loop.create_task(sender.run())
    await asyncio.sleep(CHANGE_CHECK_S / 10)
    sender.follow(event)
    await asyncio.sleep(CHANGE_CHECK_S / 10)
    keeping.cancel()

    assert len(place.kept) == 1 + is_at_once


async def test_a_change_can_be_stored_at_once() -> None:
    place, state = Place(), ResumeState(call_id="c")
    sender = StateSender(place, lambda: state, emit=ignore)
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

    sender = StateSender(place, taken, emit=ignore)
    await sender.keep()
    await sender.keep()

    assert place.kept == [state]


@pytest.mark.parametrize(
    ("on_one_machine", "told"),
    [
        ([False, False], []),
        ([True, True], [CallNotKept()]),
        ([True, True, False, False], [CallNotKept(), CallKept()]),
    ],
    ids=["kept", "not kept", "kept later"],
)
async def test_a_call_that_no_other_machine_could_go_on_with_is_told_once(
    on_one_machine: Sequence[bool], told: Sequence[Event]
) -> None:
    place, events = Place(), list[Event]()
    states = iter(range(len(on_one_machine)))
    sender = StateSender(
        place, lambda: ResumeState(call_id="c", turn=next(states)), emit=events.append
    )
    for place.is_on_one_machine in on_one_machine:
        await sender.keep()

    assert events == told


WORDS_HZ = 2.5  # of speech
PER_S = 1000  # bytes
LONG = [
    {"role": role, "content": "word " * 24} for role in ("user", "assistant") for _ in range(70)
]


class Counted(KeyValueStore):
    """A store that counts the bytes of what is sent to it."""

    sent = 0

    async def keep(
        self, token: str, value: Any, *, for_s: float, moments: Sequence[str] = ()
    ) -> KeepOutcome:
        asked = {"token": token, "value": value, "for_s": for_s, "moments": list(moments)}
        self.sent += len(json.dumps({**asked, "number": 100, "ask": "keep"})) + 1
        return await super().keep(token, value, for_s=for_s, moments=moments)


@pytest.mark.virtual_time
@pytest.mark.parametrize(
    ("messages", "answer_s", "length_s"),
    [(LONG, 30.0, 34.0), ([], 8.0, 300.0), (LONG, 8.0, 300.0)],
    ids=["a long answer", "a call", "a long call"],
)
async def test_less_than_a_kilobyte_a_second_is_sent(
    messages: list[dict[str, str]], answer_s: float, length_s: float
) -> None:
    """The caller asks for 4 s, then the agent answers, again and again."""
    loop = asyncio.get_running_loop()
    store = Counted(clock=loop.time)
    instructions, spoken = {"role": "system", "content": "x" * 66_000}, list(messages)
    began_at, said = loop.time(), [f"word{number}" for number in range(int(answer_s * WORDS_HZ))]

    def state() -> ResumeState:
        now = loop.time() - began_at
        turn, into_s = divmod(now, 4.0 + answer_s)
        words = round(max(0.0, into_s - 4.0) * WORDS_HZ)
        while len(spoken) < len(messages) + 2 * int(turn) + (into_s >= 4.0):
            role = "assistant" if len(spoken) % 2 else "user"
            spoken.append({"role": role, "content": " ".join(said)})
        heard = " ".join(said[:words])
        return ResumeState(
            call_id="0123456789ab",
            began_at=began_at,
            kept_at=loop.time(),
            entries=20 * int(turn),
            turn=int(turn) + 1,
            language="en",
            voice="elevenlabs",
            messages=[instructions, *spoken],
            words=" ".join(said[: int(into_s * WORDS_HZ)]) if into_s < 4.0 else "",
            caller_speaking=into_s < 4.0,
            said=" ".join(said) if words else "",
            heard=heard,
            partial=heard,
            verdict="served",
        )

    sender = StateSender(ParkedCall(store, f"parked twilio CA{'0' * 32}"), state, emit=ignore)
    await sender.keep()  # what was said before
    first, store.sent = store.sent, 0
    keeping = loop.create_task(sender.run())
    await asyncio.sleep(length_s)
    keeping.cancel()

    assert first > len(instructions["content"])
    assert store.sent / length_s <= PER_S, store.sent / length_s
