"""A process dies at some moment of a call, and the next one goes on from the kept state."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from bot.workers.pool import KeyValueStore
from calls.events import CallerStarted, CallerStopped, FirstSpeech, TurnDecided
from calls.resume import ResumeState
from lab.callers import caller_says
from runtime import clock
from tests.bot.call.transfer_bench import HOURS, Telephone, WorkerPool, pool
from tests.kit.waiting import until
from transports.parked import Parked

pytestmark = [
    pytest.mark.virtual_time,
    pytest.mark.slow,
    pytest.mark.usefixtures("quiet_log"),
]

AGENT: dict[str, Any] = {"greeting": "Hello.", "resumed": "I am back."}
AGAIN = "I am back. Please say that again."
SOON_S = 0.02  # to store a state, which is not waited for
REF = "1"


class Store:
    """The pool's store, as calls and the test use it."""

    def __init__(self) -> None:
        self.key_values = KeyValueStore(clock=clock.monotonic)
        self.parked = Parked(self, "phone")  # pyright: ignore[reportArgumentType] - enough of a pool

    async def state(self) -> ResumeState:
        """Return the state that the next process would get now, and keep it."""
        kept = await self.parked.take(REF)
        if kept.state:
            await kept.keep(kept.state)
        return kept.state or ResumeState()

    async def telephone(self) -> Telephone:
        """Return the telephone of a call that goes on from the stored state."""
        caller = Telephone()
        caller.parked = await self.parked.take(REF)
        assert caller.parked.state
        return caller


Moment = Callable[[WorkerPool, Store, int], Awaitable[None]]


async def before_words(there: WorkerPool, _: Store, turn: int) -> None:
    await happened(there, CallerStarted, turn)


async def in_interim_words(there: WorkerPool, store: Store, turn: int) -> None:
    await happened(there, CallerStarted, turn)
    await until_kept(store, lambda state: len(state.words.split()) > 3 and state.caller_speaking)


async def after_the_words(there: WorkerPool, _: Store, turn: int) -> None:
    await happened(there, CallerStopped, turn)


async def after_the_decision(there: WorkerPool, _: Store, turn: int) -> None:
    await happened(there, TurnDecided, turn)


async def in_the_answer(there: WorkerPool, _: Store, turn: int) -> None:
    await happened(there, FirstSpeech, turn)
    await asyncio.sleep(2.0)


async def happened(there: WorkerPool, kind: type[Any], turn: int) -> None:
    await until(lambda: len(there.events(kind)) >= turn, within_s=30.0, every_s=SOON_S / 2)
    await asyncio.sleep(SOON_S)


async def until_kept(store: Store, fact: Callable[[ResumeState], object]) -> None:
    async with asyncio.timeout(30.0):
        while not fact(await store.state()):  # noqa: ASYNC110 - the store has no event
            await asyncio.sleep(SOON_S)


async def die(there: WorkerPool, store: Store, moment: Mapping[str, Any] | None = None) -> None:
    """End the call at once; its successor gets what is stored now."""
    del moment
    caller = await store.telephone()
    assert there.call
    await there.caller.put_down()
    await there.call
    there.notes.entries.clear()
    there.caller = caller
    there.call = asyncio.create_task(there.process.switchboard.answer(caller))


@pytest.mark.parametrize("turn", [1, 2])
@pytest.mark.parametrize(
    ("moment", "said"),
    [
        (before_words, AGAIN),
        (in_interim_words, "six in the evening"),
        (after_the_words, "six in the evening"),
        (after_the_decision, "six in the evening"),
        (in_the_answer, "on Sunday we are closed"),
    ],
)
async def test_a_question_is_answered_or_asked_for_again(
    tmp_path: Path, moment: Moment, said: str, turn: int
) -> None:
    store = Store()
    caller = Telephone()
    caller.parked = store.parked.place(REF)
    async with pool(tmp_path, agent=AGENT, people=None, caller=caller) as there:
        await there.greeted()
        if turn == 2:
            await caller.says("Where are you?")
            await there.until(lambda: "Market Street" in " ".join(there.said_texts))
        speaking = asyncio.create_task(caller.say(caller_says(HOURS)))
        await moment(there, store, turn)
        speaking.cancel()
        await die(there, store)

        await there.until(lambda: said in " ".join(there.said_texts))
        heard = " ".join(there.said_texts)
    assert heard.count("I am back.") == 1
    assert "Hello" not in heard
