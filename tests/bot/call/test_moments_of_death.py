"""A process dies at some moment of a call, and the next one goes on from the kept state."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from benchmarks.greetings import BEEP
from bot.call.pipeline import CallPipeline
from bot.call.resuming import CHANGE_CHECK_S, is_quiet
from bot.call.transfer.transfer import CONFIRM_S
from bot.workers.pool import KeyValueStore
from calls.events import (
    CallbackWanted,
    CallEnded,
    CallerStarted,
    CallerStopped,
    CallMoved,
    FirstSpeech,
    TurnDecided,
)
from calls.handover import Handover
from calls.resume import ResumeState
from lab.callers import caller_says
from operations.record.callbacks import Callback, Callbacks
from processors.answerer.answerer_rules import AnsweringPlan
from runtime import clock
from tests.bot.call.test_answered_machines import TAPE, sound
from tests.bot.call.transfer.transfer_bench import (
    HOURS,
    KEYS,
    NOBODY,
    PLAIN,
    WARM,
    People,
    Telephone,
    WorkerPool,
    asked,
    pool,
)
from tests.kit.waiting import until
from transports.parked import Parked, StoredParts
from transports.pool import KeepOutcome

pytestmark = [
    pytest.mark.virtual_time,
    pytest.mark.slow,
    pytest.mark.usefixtures("quiet_log"),
]

AGENT: dict[str, Any] = {"greeting": "Hello.", "resumed": "I am back."}
AGAIN = "I am back. Please say that again."
LONG_GOODBYE = "Thank you for calling us today, and that is all there is for now. Goodbye."
DISCLOSURE = (
    "You are talking to a machine, and whatever you tell it may be read later by the people of the "
    "practice on Market Street, who also decide how long to keep it."
)
SOON_S = 0.02  # to store a state, which is not waited for
REF = "1"
PLACE = f"parked phone {REF}"


class Store:
    """The pool's store, as calls and the test use it."""

    def __init__(self) -> None:
        self.key_values = KeyValueStore(clock=clock.monotonic)
        self.parked = Parked(self, "phone")  # pyright: ignore[reportArgumentType] - enough of a pool

    async def state(self) -> ResumeState:
        """Return the state that the next process would get now."""
        small = await self.key_values.read(PLACE)
        stored = StoredParts(self.key_values, PLACE)
        return (await stored.state(small) if small else None) or ResumeState()

    async def telephone(self) -> Telephone:
        """Return the telephone of a call that goes on from the stored state."""
        caller = Telephone()
        caller.parked = await self.parked.take(REF)
        assert caller.parked.state
        return caller


Moment = Callable[[WorkerPool, Store, int], Awaitable[None]]


async def has_room() -> bool:
    return True


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


async def die(there: WorkerPool, store: Store, plan: AnsweringPlan | None = None) -> None:
    """End the call at once; its successor gets what is stored now."""
    caller = await store.telephone()
    assert there.call
    await there.caller.put_down()
    await there.call
    await there.process.emitter.flush()
    there.notes.entries.clear()
    there.caller = caller
    call = there.process.call(caller, answering=plan)
    there.call = asyncio.create_task(there.process.switchboard.answer(caller, call))


@pytest.mark.parametrize(
    ("moment", "said", "turn"),
    [
        (before_words, AGAIN, 1),
        (in_interim_words, "six in the evening", 1),
        (in_interim_words, "six in the evening", 2),
        (after_the_words, "six in the evening", 2),
        (after_the_decision, "six in the evening", 1),
        (in_the_answer, "on Sunday we are closed", 2),
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


async def asks_for_a_person(there: WorkerPool) -> None:
    await asked(there)
    await there.until(lambda: there.people.called)
    await asyncio.sleep(1.0)


async def talks_to_a_person(there: WorkerPool) -> None:
    await asks_for_a_person(there)
    person = await there.picked_up()
    await person.press("1")
    await there.until(lambda: there.outcomes)
    await asyncio.sleep(2.0)


async def is_handed_on(there: WorkerPool) -> None:
    await asked(there)
    await there.until(lambda: there.caller.handed_on)
    await asyncio.sleep(1.0)


async def says_goodbye(there: WorkerPool) -> None:
    await there.greeted()
    await there.caller.says("Goodbye.")
    await there.until(lambda: running(there).floor.ending)
    await asyncio.sleep(0.6)


async def is_said_goodbye_to(there: WorkerPool) -> None:
    await there.greeted()
    (call,) = there.process.switchboard.calls.values()
    await call.end("shutdown")
    await asyncio.sleep(1.0)


async def presses_keys(there: WorkerPool) -> None:
    await there.greeted()
    await there.caller.press("12")
    await asyncio.sleep(0.6)


async def is_told_the_disclosure(there: WorkerPool) -> None:
    await there.until(lambda: there.caller.line.heard().any())
    await asyncio.sleep(1.5)


async def asks_during_the_disclosure(there: WorkerPool) -> None:
    await is_told_the_disclosure(there)
    asking = asyncio.create_task(there.caller.say(caller_says(HOURS)))
    await happened(there, TurnDecided, 1)
    asking.cancel()


async def is_told_it_again(there: WorkerPool) -> None:
    await there.until(lambda: f"{DISCLOSURE} Hello." in " ".join(there.said_texts))
    assert "back." not in " ".join(there.said_texts)


async def is_told_it_again_and_answered(there: WorkerPool) -> None:
    await there.until(lambda: "six in the evening" in " ".join(there.said_texts))
    assert f"{DISCLOSURE} I am back." in " ".join(there.said_texts)


async def has_not_been_greeted(there: WorkerPool) -> None:
    await there.until(lambda: there.caller.line.started_at_s)


def running(there: WorkerPool) -> CallPipeline:
    (call,) = there.process.switchboard.calls.values()
    return call._pipeline  # pyright: ignore[reportAttributeAccessIssue]


async def is_called_again(there: WorkerPool) -> None:
    """The person, whose line was lost too, is called again and connected."""
    there.people.person = None
    await there.until(lambda: len(there.people.called) == 2)
    person = await there.picked_up()
    await person.press("1")
    await there.until(lambda: there.outcomes == ["connected"])


async def is_told_that_nobody_came(there: WorkerPool) -> None:
    await there.until(lambda: NOBODY in there.said_texts)
    assert not there.caller.handed_on


async def is_hung_up_on(there: WorkerPool) -> None:
    await there.until(lambda: there.events(CallEnded), within_s=8.0)
    assert there.events(CallEnded)[0].reason == "agent_hung_up"
    assert "back" not in " ".join(there.said_texts)


async def is_hung_up_on_in_the_end(there: WorkerPool) -> None:
    await there.until(lambda: there.events(CallEnded), within_s=8.0)
    assert there.events(CallEnded)[0].reason == "shutdown"
    assert " ".join(there.said_texts) == LONG_GOODBYE  # its first words are recorded, not said


async def has_all_keys(there: WorkerPool) -> None:
    await asyncio.sleep(0.5)
    await there.caller.press("3#")
    await there.until(lambda: "Keys pressed: 123" in str(running(there).dialogue.memory.messages))


async def is_greeted(there: WorkerPool) -> None:
    await there.until(lambda: there.said_texts)
    assert there.said_texts[0].startswith("Hello.")


Step = Callable[[WorkerPool], Awaitable[None]]


@pytest.mark.parametrize(
    ("agent", "hands_on", "before", "after"),
    [
        ({"farewell": LONG_GOODBYE}, None, is_said_goodbye_to, is_hung_up_on_in_the_end),
        ({}, None, says_goodbye, is_hung_up_on),
        ({}, None, presses_keys, has_all_keys),
        ({}, None, has_not_been_greeted, is_greeted),
        ({"disclosure": DISCLOSURE}, None, is_told_the_disclosure, is_told_it_again),
        (
            {"disclosure": DISCLOSURE},
            None,
            asks_during_the_disclosure,
            is_told_it_again_and_answered,
        ),
        (WARM, None, asks_for_a_person, is_called_again),
        (WARM, None, talks_to_a_person, is_called_again),
        (PLAIN, "no_answer", is_handed_on, is_told_that_nobody_came),
    ],
)
async def test_what_was_under_way_is_finished(
    tmp_path: Path, agent: dict[str, Any], hands_on: Handover | None, before: Step, after: Step
) -> None:
    store, caller = Store(), Telephone(hands_on=hands_on)
    caller.parked = store.parked.place(REF)
    everything = {**AGENT, **agent}
    async with pool(tmp_path, agent=everything, people=People(), caller=caller) as there:
        await before(there)
        await asyncio.sleep(CHANGE_CHECK_S)
        await die(there, store)
        await after(there)


PLAN = AnsweringPlan(
    who="This is Holdline.", message="Please call us back about your appointment on Monday."
)


@pytest.mark.parametrize("at", ["greeting", "message"])
async def test_a_mailbox_gets_the_rest_of_its_message(tmp_path: Path, at: str) -> None:
    store, mailbox = Store(), Telephone()
    mailbox.parked = store.parked.place(REF)
    async with pool(tmp_path, agent=AGENT, people=None, caller=mailbox, plan=PLAN) as there:
        words = asyncio.create_task(there.caller.say(sound(TAPE, BEEP)))
        if at == "message":
            await until_kept(store, lambda state: state.heard)
        else:
            await asyncio.sleep(1.0)
        words.cancel()
        await die(there, store, PLAN)
        if at == "greeting":
            await there.caller.say(sound(TAPE, BEEP))
        await there.until(lambda: there.events(CallEnded))

        assert there.events(CallEnded)[0].reason == "voicemail"
        said = " ".join(there.said_texts)
    assert said.endswith("appointment on Monday.")
    assert "back." not in said


async def test_a_callback_that_is_not_stored_yet_is_stored(tmp_path: Path) -> None:
    store, caller = Store(), Telephone()
    caller.parked = store.parked.place(REF)
    async with pool(tmp_path, agent=AGENT, people=None, caller=caller) as there:
        await there.greeted()
        add, stuck = Callbacks.add, asyncio.Event()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Callbacks, "add", lambda *_: stuck.wait())
            asking = asyncio.create_task(running(there).requests.call_back("prices"))
            await until_kept(store, lambda state: "callbacks" in state.under_way)
            asking.cancel()
            caller = await store.telephone()
            running(there).requests.owed.clear()
            patch.setattr(Callbacks, "add", add)
            there.caller, before = caller, there.caller
            await before.put_down()
            assert there.call
            await there.call
            there.call = asyncio.create_task(there.process.switchboard.answer(caller))
            await there.greeted()
            await caller.put_down()
            await there.call
        (callback,) = await there.process.shared.last_resort.callbacks.waiting()
    assert callback.reason == "prices"


class AwayStore(KeyValueStore):
    """A store of several machines, for the time that it is away."""

    away = True

    async def keep(self, token: str, value: Any, **options: Any) -> KeepOutcome:
        await super().keep(token, value, **options)
        return KeepOutcome.KEPT_HERE if self.away else KeepOutcome.KEPT


async def test_a_call_is_moved_only_when_the_store_has_its_state(tmp_path: Path) -> None:
    store, caller = Store(), Telephone()
    store.key_values = away = AwayStore(clock=clock.monotonic)
    caller.parked = store.parked.place(REF)
    caller.facts = replace(caller.facts, moves=True)
    async with pool(tmp_path, agent=AGENT, people=None, caller=caller) as there:
        await there.greeted()
        (call,) = there.process.switchboard.calls.values()
        await call.move(at_quiet=False, take_room=has_room)
        assert not caller.over.is_set()
        await caller.says("Where are you?")
        await there.until(lambda: "Market Street" in " ".join(there.said_texts))

        away.away = False
        await call.move(at_quiet=False, take_room=has_room)
        assert caller.why == "moved"
        assert "Market Street" in str((await store.state()).messages)


@pytest.mark.parametrize("restored", [False, True])
async def test_a_callback_key_that_was_not_pressed_again_keeps_no_call_from_moving(
    tmp_path: Path, *, restored: bool
) -> None:
    store, caller = Store(), Telephone()
    caller.parked = store.parked.place(REF)
    caller.facts = replace(caller.facts, moves=True)
    async with pool(tmp_path, agent=KEYS, people=None, caller=caller) as there:
        await there.greeted()
        await caller.press("9")
        await there.until(lambda: "same key again" in " ".join(there.said_texts))
        await asyncio.sleep(SOON_S)
        if restored:
            await die(there, store)
            there.caller.facts = replace(there.caller.facts, moves=True)
            await there.until(lambda: there.said_texts)
        await asyncio.sleep(1.0)
        (call,) = there.process.switchboard.calls.values()
        await call.move(at_quiet=True, take_room=has_room)
        assert not there.caller.over.is_set()

        await asyncio.sleep(CONFIRM_S)
        async with asyncio.timeout(60.0):
            while not there.caller.over.is_set():
                await call.move(at_quiet=True, take_room=has_room)
                await asyncio.sleep(0.1)
        assert there.caller.why == "moved"
        assert not (await store.state()).under_way


@pytest.mark.parametrize(
    ("kept", "quiet"), [("opt_out", True), ("wanted", True), ("callbacks", False)]
)
async def test_an_opt_out_keeps_no_call_from_moving(
    tmp_path: Path, kept: str, *, quiet: bool
) -> None:
    async with pool(tmp_path, agent=AGENT, people=None, caller=Telephone()) as there:
        await there.greeted()
        await asyncio.sleep(1.0)
        (call,) = there.process.switchboard.calls.values()
        state = replace(call.resume_state(), under_way={kept: {"number": "+15550142"}})

        assert is_quiet(running(there), state, clock.monotonic()) is quiet


async def test_a_stored_callback_is_reported_by_each_process_that_resumes_the_call(
    tmp_path: Path,
) -> None:
    store, caller = Store(), Telephone()
    caller.parked = store.parked.place(REF)
    wanted = CallbackWanted(turn=1, when="on Monday", reason="prices")
    async with pool(tmp_path, agent=AGENT, people=None, caller=caller) as there:
        await there.greeted()
        running(there).outside(wanted)
        for _ in range(2):
            await asyncio.sleep(SOON_S + 1.0)
            await die(there, store)
            await there.until(lambda: there.said_texts)

            assert there.events(CallbackWanted) == [wanted]


CALLBACK = Callback(
    call_id="c1", number="+15550142", reason="prices", asked_at=datetime(2026, 11, 30, tzinfo=UTC)
)


class SlowStore(AwayStore):
    """A store that takes a while to answer, and may fail then."""

    answers: asyncio.Event | None = None
    fails = False

    async def keep(self, token: str, value: Any, **options: Any) -> KeepOutcome:
        if self.answers and value:
            await self.answers.wait()
            if self.fails:
                raise ConnectionError("the store does not answer")
        return await super().keep(token, value, **options)


def with_slow_store(*, away: bool) -> tuple[SlowStore, Telephone]:
    store, caller = Store(), Telephone()
    store.key_values = slow = SlowStore(clock=clock.monotonic)
    slow.away = away
    caller.parked = store.parked.place(REF)
    caller.facts = replace(caller.facts, moves=True)
    return slow, caller


@pytest.mark.parametrize(
    ("reason", "ends", "is_kept", "away"),
    [
        ("caller_hung_up", ["caller_hung_up"], False, True),
        ("caller_hung_up", ["caller_hung_up"], False, False),
        ("line_lost", [], True, False),
    ],
)
async def test_a_call_that_ends_while_the_store_answers_is_not_moved(
    tmp_path: Path, reason: str, ends: list[str], *, away: bool, is_kept: bool
) -> None:
    slow, caller = with_slow_store(away=away)
    async with pool(tmp_path, agent=AGENT, people=None, caller=caller) as there:
        await there.greeted()
        (call,) = there.process.switchboard.calls.values()
        running(there).requests.owed.append(CALLBACK)
        slow.answers = asyncio.Event()
        moving = asyncio.create_task(call.move(at_quiet=False, take_room=has_room))
        await asyncio.sleep(SOON_S)
        await call.cancel(reason)
        await asyncio.sleep(1.0)
        slow.answers.set()
        await moving
        assert there.call
        await there.call
        await there.process.emitter.flush()

        assert [event.reason for event in there.events(CallEnded)] == ends
        assert not there.events(CallMoved)
        assert bool(await slow.read(PLACE)) == is_kept
        waiting = await there.process.shared.last_resort.callbacks.waiting()
    assert [callback.reason for callback in waiting] == ["prices"]


@pytest.mark.parametrize("fails", [True, False])
async def test_a_call_whose_move_fails_or_is_cancelled_ends_as_any_other(
    tmp_path: Path, *, fails: bool
) -> None:
    slow, caller = with_slow_store(away=False)
    slow.fails = fails
    async with pool(tmp_path, agent=AGENT, people=None, caller=caller) as there:
        await there.greeted()
        (call,) = there.process.switchboard.calls.values()
        slow.answers = asyncio.Event()
        moving = asyncio.create_task(call.move(at_quiet=False, take_room=has_room))
        await asyncio.sleep(SOON_S)
        if fails:
            slow.answers.set()
        else:
            moving.cancel()
        await asyncio.wait([moving])
        slow.answers = None
        await caller.put_down()
        assert there.call
        await there.call
        await there.process.emitter.flush()

        assert [event.reason for event in there.events(CallEnded)] == ["caller_hung_up"]
        assert moving.cancelled() or isinstance(moving.exception(), ConnectionError)
