"""A model that is asked before the turn is decided, against simulated providers on the wire."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from openai.types.chat import ChatCompletionChunk
from pipecat.frames.frames import CancelFrame, Frame
from pipecat.processors.aggregators.llm_context import LLMContext

from calls.events import ContextShortened, Event, FirstToken, TurnDecided, UsageMeasured
from calls.line import CallerLine
from calls.turn import Turn
from fallbacks.events import (
    AnswerEmpty,
    AttemptDropped,
    AttemptFailed,
    EarlyAnswerAsked,
    EarlyAnswerDropped,
    EarlyAnswerTaken,
    FallbackEvent,
    StageExhausted,
)
from fallbacks.ladder import EarlyBudget
from processors.answering.context_window import Memory
from processors.answering.early_answers import AnswerBill, EarlyAnswers, PreparedAnswer
from processors.turn.dictation_rules import Dictation
from processors.turn.ending import PauseEnded, PauseSoundsFinal
from processors.turn.floor import Floor
from tests.processors.answering.early_bench import (
    DETECTOR_S,
    QUESTION,
    Detector,
    EarlyBench,
    begins,
    early_bench,
    pause,
    says,
    starts,
    stops,
    utterance,
)
from tests.processors.answering.test_stage import ANSWER
from tests.processors.ladder.owner import Owner

pytestmark = pytest.mark.virtual_time

GOES_ON: Sequence[Frame] = [
    *starts(), says("What are"), pause(0.05), stops(), pause(0.3), *starts(),
    says("your opening hours?"), pause(0.05), stops(), pause(3.0),
]  # fmt: skip
A_PERSON = "Can I speak to a person?"


def first_token_s(it: EarlyBench) -> float:
    """Return how long after the decision the model's first word was passed on."""
    (decided,), (first,) = it.told_of(TurnDecided), it.told_of(FirstToken)
    return first.at_s - decided.at_s


async def test_the_model_is_asked_before_the_turn_is_decided_and_once() -> None:
    async with early_bench() as it:
        answer = await it.call(utterance())
        requests = it.requests("openai")

    assert answer == ANSWER
    assert it.story[:2] == ["EarlyAnswerAsked", "AttemptStarted"]
    assert sorted(it.story[2:]) == ["EarlyAnswerTaken", "TurnDecided"]
    assert requests == 1
    assert [message["role"] for message in it.context.messages] == ["user", "assistant"]  # type: ignore[index]


async def test_a_pause_that_sounds_final_is_enough_when_the_words_have_arrived() -> None:
    before_s = 0.3
    frames = [
        *starts(), says(QUESTION), PauseSoundsFinal(), pause(before_s), stops(), pause(3.0),
    ]  # fmt: skip
    async with early_bench() as it:
        answer = await it.call(frames)
        requests = it.requests("openai")

    (taken,) = it.told_of(EarlyAnswerTaken)
    assert (answer, requests) == (ANSWER, 1)
    assert taken.asked_s == pytest.approx(before_s + DETECTOR_S, abs=0.02)


async def test_the_model_is_not_asked_while_words_of_the_pause_are_pending() -> None:
    frames = [
        *starts(), begins("What are"), PauseSoundsFinal(), pause(0.1), says(QUESTION), pause(0.1),
        stops(), pause(3.0),
    ]  # fmt: skip
    async with early_bench() as it:
        answer = await it.call(frames)
        requests = it.requests("openai")

    (taken,) = it.told_of(EarlyAnswerTaken)
    assert (answer, requests) == (ANSWER, 1)
    assert taken.asked_s == pytest.approx(0.1 + DETECTOR_S, abs=0.02)


async def test_words_of_an_earlier_pause_are_not_sent_before_the_new_ones_arrive() -> None:
    frames = [
        *starts(), says("Hello."), pause(0.1), PauseEnded(), pause(0.5), PauseSoundsFinal(),
        pause(0.1), says(QUESTION), pause(0.1), stops(), pause(3.0),
    ]  # fmt: skip
    async with early_bench() as it:
        await it.call(frames)
        requests = it.requests("openai")

    assert requests == 1
    assert it.heard == [f"Hello. {QUESTION}"]


@pytest.mark.parametrize("at_once", [True, False], ids=["asked early", "asked when decided"])
async def test_a_caller_who_continues_before_the_answer_has_asked_one_question(
    *,
    at_once: bool,
) -> None:
    second = [says("your opening hours?"), pause(0.05)] if at_once else []
    late = [] if at_once else [pause(0.05), says("your opening hours?")]
    frames = [
        *starts(), says("What are"), pause(0.05), stops(), pause(0.02), *starts(), *second,
        stops(), *late, pause(3.0),
    ]  # fmt: skip
    async with early_bench() as it:
        await it.call(frames, Detector(takes_s=0.0))
        asked = [request.details["asked"] for request in it.lab.record.requests("openai")]

    assert len(it.told_of(TurnDecided)) == 2
    assert it.heard == [QUESTION]
    assert asked == ["What are", QUESTION]
    assert it.said == [ANSWER]


async def test_an_early_answer_saves_the_models_thinking_time() -> None:
    async with early_bench() as it:
        await it.call(utterance())
        early_s = first_token_s(it)
    async with early_bench() as late:
        late.policy.early = None
        await late.call(utterance())
        late_s = first_token_s(late)

    (taken,) = it.told_of(EarlyAnswerTaken)
    assert taken.asked_s == pytest.approx(DETECTOR_S, abs=0.02)
    assert taken.gained_s == pytest.approx(late_s - early_s, abs=0.1)
    assert not taken.calls_tool
    assert early_s < 0.01 < late_s
    assert late.told_of(EarlyAnswerAsked) == []


async def test_a_caller_who_continues_hears_nothing_of_the_answer_to_the_first_half() -> None:
    async with early_bench() as it:
        answer = await it.call(GOES_ON, Detector(False))

    assert answer == ANSWER
    assert it.said == [ANSWER]
    assert it.heard == ["What are your opening hours?"]
    (dropped,) = it.told_of(EarlyAnswerDropped)
    assert (dropped.because, dropped.requests) == ("caller", 1)
    assert len(it.told_of(EarlyAnswerTaken)) == 1
    # The dropped answer is no failure, and is paid for.
    assert it.told_of(AttemptFailed) == []
    assert [item.because for item in it.told_of(AttemptDropped)] == ["caller"]
    (estimated,) = [item for item in it.told_of(UsageMeasured) if item.estimated]
    assert (estimated.turn, estimated.provider) == (1, "openai")
    assert estimated.prompt_tokens > 0
    assert it.policy.early is not None
    assert it.policy.early.extra_share == 1.0


async def test_cached_tokens_of_a_dropped_answer_are_reported() -> None:
    frames = [
        *utterance(), *starts(), says("And on"), pause(0.05), stops(), pause(2.0), *starts(),
        says("Sundays?"), pause(0.05), stops(), pause(3.0),
    ]  # fmt: skip
    async with early_bench() as it:
        it.context.add_message({"role": "user", "content": "I live by the sea. " * 300})
        await it.call(frames, Detector(True, False))

    (dropped,) = it.told_of(EarlyAnswerDropped)
    told = [item for item in it.told_of(UsageMeasured) if item.turn == dropped.turn]
    assert dropped.because == "caller"
    assert not any(item.estimated for item in told)
    assert [item.prompt_tokens > item.cached_tokens >= 1024 for item in told] == [True, True]


FAULTS: dict[str, dict[str, Any]] = {
    "401": {"fault": "http", "status": 401},
    "hangs": {"fault": "silent", "where": "handshake"},
    "cut": {"fault": "cut", "after_words": 4, "how": "reset"},
    "stalled": {"fault": "stall", "after_words": 4},
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
async def test_an_early_failure_costs_the_caller_no_more_than_a_late_one(
    fault: dict[str, Any],
) -> None:
    async with early_bench() as late:
        late.policy.early = None
        late.fault("openai", **fault)
        assert await late.call(utterance()) == ANSWER
        late_s = first_token_s(late)
    async with early_bench() as it:
        it.fault("openai", **fault)
        answer = await it.call(utterance())
        early_s = first_token_s(it)

    assert answer == ANSWER
    assert it.said == [ANSWER]
    assert early_s <= late_s + 0.01
    assert len(it.told_of(AttemptFailed)) == len(late.told_of(AttemptFailed)) == 1


async def test_an_outage_is_not_announced_before_the_turn_is_decided() -> None:
    async with early_bench() as it:
        for name in it.rungs:
            it.fault(name, fault="http", status=401)
        await it.call(utterance(then_s=15.0))

    assert it.said == []
    (dropped,) = it.told_of(EarlyAnswerDropped)
    assert dropped.because == "exhausted"
    assert len(it.told_of(StageExhausted)) == 1
    assert it.told_at(StageExhausted) >= it.told_at(TurnDecided)


async def test_a_tool_of_an_early_answer_runs_once_and_after_the_decision() -> None:
    async with early_bench() as it:
        await it.call(utterance(A_PERSON))

    assert it.called == ["transfer_to_person"]
    assert it.called_at[0] >= it.told_at(TurnDecided)
    (taken,) = it.told_of(EarlyAnswerTaken)
    assert taken.calls_tool


async def test_a_tool_of_a_dropped_answer_never_runs() -> None:
    async with early_bench() as it:
        await it.call(
            [
                *starts(), says(A_PERSON), pause(0.05), stops(), pause(2.0), *starts(),
                says("No, wait. What are your opening hours?"), pause(0.05), stops(), pause(3.0),
            ],
            Detector(False),
        )  # fmt: skip

    assert [item.because for item in it.told_of(EarlyAnswerDropped)] == ["caller"]
    assert len(it.called) <= 1  # by the words that were decided in the end
    assert all(at >= it.told_at(TurnDecided) for at in it.called_at)


async def test_two_utterances_have_two_early_answers() -> None:
    async with early_bench() as it:
        await it.call([*utterance(then_s=4.0), *utterance("Thank you, that is all.", then_s=4.0)])
        requests = it.requests("openai")

    assert [item.turn for item in it.told_of(EarlyAnswerTaken)] == [1, 2]
    assert requests == 2
    roles = [message["role"] for message in it.context.messages]  # type: ignore[index]
    assert roles == ["user", "assistant"] * 2


async def test_a_used_answer_is_cancelled_when_the_caller_barges_in() -> None:
    async with early_bench() as it:
        await it.call([*utterance(then_s=0.6), *utterance(A_PERSON, then_s=3.0)])

    assert len(it.said) >= 1
    assert ANSWER.startswith(it.said[0])
    assert it.said[0] != ANSWER
    assert [item.because for item in it.told_of(AttemptDropped)] == ["caller"]
    assert [item.turn for item in it.told_of(EarlyAnswerTaken)] == [1, 2]


async def test_a_call_that_ends_meanwhile_leaves_no_request() -> None:
    async with early_bench() as it:
        await it.call([*utterance(then_s=0.2), CancelFrame()], Detector(takes_s=1.0))

    assert len(it.told_of(EarlyAnswerTaken, EarlyAnswerDropped)) == 1
    assert it.policy.early is not None
    assert it.policy.early.reserved == 0


async def test_without_an_early_budget_left_the_model_is_asked_after_the_decision() -> None:
    async with early_bench(budget=EarlyBudget(floor=0)) as it:
        answer = await it.call(utterance())

    assert answer == ANSWER
    assert it.told_of(EarlyAnswerAsked) == []


async def test_a_pause_is_answered_by_the_request_made_at_its_beginning() -> None:
    async with early_bench() as it:
        await it.call(utterance(then_s=6.0), Detector(False, takes_s=0.1))
        first_s = first_token_s(it)

    assert first_s < 0.01  # the rest is the voice
    (taken,) = it.told_of(EarlyAnswerTaken)
    assert it.said == [ANSWER]
    assert taken.asked_s > 1.0


async def test_a_conversation_that_outgrew_its_window_is_cut_alike_early_and_late() -> None:
    async with early_bench() as it:
        for n in range(40):
            it.context.add_message({"role": "user", "content": f"{n}: {'word ' * 100}"})
            it.context.add_message({"role": "assistant", "content": "I see."})
        await it.call(utterance())
        request, *_ = it.lab.record.requests("openai")  # a summary follows

    assert len(it.told_of(ContextShortened)) == 1
    assert len(it.told_of(EarlyAnswerTaken)) == 1
    assert it.said[-1] == ANSWER
    assert request.well_formed


async def test_a_message_that_changed_meanwhile_makes_it_another_question() -> None:
    async with early_bench() as it:
        message: Any = {"role": "developer", "content": "The office is open."}
        it.context.add_message(message)

        async def change() -> None:
            while not it.told_of(EarlyAnswerAsked):  # noqa: ASYNC110 - there is no event
                await asyncio.sleep(0.01)
            message["content"] = "The office is closed today."

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(change())
            await it.call(utterance())

    assert [item.because for item in it.told_of(EarlyAnswerDropped)] == ["context"]
    assert it.said == [ANSWER]


class BrokenAnswer:
    """An answer whose code has a mistake."""

    async def chunks(self) -> AsyncIterator[ChatCompletionChunk]:
        raise AttributeError("a mistake of ours")
        yield

    async def close(self) -> None:
        pass


async def test_a_mistake_while_an_early_answer_is_read_reaches_its_user() -> None:
    owner = Owner()
    prepared = PreparedAnswer(
        LLMContext(),
        lambda *_: BrokenAnswer(),  # type: ignore[arg-type, return-value]
        owner=owner,
        emit=lambda _: None,
        clock=lambda: 0.0,
        on_exhausted=lambda _: None,
    )

    async def change_writer(provider: str, taken_back: int) -> None:
        pass

    chunks = prepared.chunks(change_writer)
    with pytest.raises(AttributeError, match="a mistake of ours"):
        await asyncio.wait_for(anext(chunks), 5.0)
    with pytest.raises(AttributeError):
        await owner.task  # it is logged, too


class PendingAnswer:
    """An answer that never comes."""

    answering = SimpleNamespace(refused=True, attempting=SimpleNamespace(attempts=1))

    def __init__(self, context: LLMContext, emit: Callable[[FallbackEvent], None], _: Any) -> None:
        self.context = context
        self.emit = emit

    async def chunks(self) -> AsyncIterator[ChatCompletionChunk]:
        await asyncio.Event().wait()
        raise AssertionError("the event is never set")
        yield

    async def close(self) -> None:
        pass

    def billed(self, *, unanswered: bool) -> tuple[()]:
        assert unanswered
        return ()


EXHAUSTED = StageExhausted(stage="llm", attempts=2)


@pytest.mark.parametrize(
    "failure", [EXHAUSTED, AnswerEmpty(stage="llm", attempts=2, asks_again=True)]
)
async def test_the_failure_of_a_replaced_answer_does_not_affect_the_next_one(
    failure: FallbackEvent,
) -> None:
    told: list[Event] = []
    answers: list[PendingAnswer] = []

    def make(*of: Any) -> Any:
        answers.append(PendingAnswer(*of))
        return answers[-1]

    turn, memory, floor = Turn(budget_s=1.5), Memory(heard_s=lambda: 0.0), Floor(CallerLine())
    early = EarlyAnswers(
        memory, budget=EarlyBudget(), make=make, has_room=lambda: True, window_tokens=4000,
        bill=AnswerBill({}, turn=turn, emit=told.append), owner=Owner(), emit=told.append,
        clock=time.monotonic, turn=turn, floor=floor, dictation=Dictation(),
    )  # fmt: skip
    floor.caller_started(0.0)
    floor.words("What are", final=True)
    floor.caller_stopped(1.0, 1.2)
    floor.words("your opening hours?", final=True)
    first, second = answers
    first.emit(failure)  # before its task, which is being cancelled, has ended

    prepared = early.take(LLMContext(messages=memory.with_words(QUESTION)))
    await asyncio.sleep(0)
    assert prepared
    assert prepared.answer is second  # type: ignore[comparison-overlap]
    assert not early.refused
    dropped = [event.because for event in told if isinstance(event, EarlyAnswerDropped)]
    assert dropped == ["words"]
    assert failure not in told
    await prepared.close()
    await early.close()
