"""Limits and hedges of the LLM stage, on the wire."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest

from calls.events import UsageMeasured
from fallbacks.availability import AvailabilityTable, Place, RungState
from fallbacks.events import (
    AttemptFailed,
    AttemptWon,
    HedgeStarted,
    LimitReached,
    RungRested,
    Suspected,
)
from fallbacks.ladder import Allowance, Pace, StagePolicy
from fallbacks.limits import Limits
from lab.simulators.lab import Lab, Spec
from processors.answering.early_answers import TOKEN_CHARACTERS
from processors.ladder.gate import RungGate
from providers.openai import share
from tests.processors.answering.test_stage import ANSWER, QUESTION, Bench, question, rung

pytestmark = pytest.mark.virtual_time

SPEED = 8.0  # delays of the lab are divided by this, and so is our patience
ONE_EACH = {name: Limits(concurrent=1) for name in ("openai", "openai-b")}
PACE = Pace(late_min_s=0.2, late_max_s=0.3, gap_s=0.2)


@dataclass
class LimitedBench(Bench):
    async def ask_after(self, *, waited_s: float = 0.0, budget_s: float = 1.5) -> str:
        """Ask in a separate call, `waited_s` after the caller stopped."""
        self.budget_s, self.stopped_at = budget_s, time.monotonic() - waited_s
        return await self.ask()

    async def ask_at_once(self, calls: int, *, budget_s: float = 1.5) -> list[str]:
        asked = (self.ask_after(budget_s=budget_s) for _ in range(calls))
        return list(await asyncio.gather(*asked))

    def most_at_once(self, name: str) -> int:
        """The lab's own count of a rung's simultaneous requests."""
        return max(
            (request.details["at_once"] for request in self.lab.record.requests(name)), default=0
        )


@asynccontextmanager
async def bench(
    limits: Mapping[str, Limits],
    *,
    rungs: Sequence[str] = ("openai", "openai-b"),
    hedges: Allowance | None = None,
    **options: Any,
) -> AsyncIterator[LimitedBench]:
    """Run a lab, and a ladder whose first rung has these options."""
    specs = [
        Spec(name=name, kind="openai", options=options if name == rungs[0] else {})
        for name in rungs
    ]
    gates = {name: RungGate(limits.get(name, Limits()), clock=time.monotonic) for name in rungs}
    async with Lab(specs, speed=SPEED) as lab:
        places = [Place(stage="llm", provider=name, credential=name) for name in rungs]
        availability = AvailabilityTable(places, now=time.monotonic(), priors_s={"llm": 0.1})
        policy = StagePolicy(
            stage="llm", availability=availability, pace=PACE, gates=gates, hedges=hedges
        )
        async with AsyncExitStack() as clients:
            shared = {name: rung(lab, name) for name in rungs}
            for name, each in shared.items():
                client = await clients.enter_async_context(share(each))
                shared[name] = replace(each, shared=client)
            yield LimitedBench(lab, rungs, policy, shared=shared)


async def test_a_third_call_over_a_limit_of_two_waits_for_a_place_if_there_is_time() -> None:
    async with bench({"openai": Limits(concurrent=2)}) as it:
        answers = await it.ask_at_once(3, budget_s=8.0)

    assert answers == [ANSWER] * 3
    assert len(it.lab.record.requests("openai")) == 3
    assert it.most_at_once("openai") == 2
    (waited,) = it.told_of(LimitReached)
    assert (waited.asked, waited.waited_s > 0.1) == (True, True)
    assert [attempt.provider for attempt in it.told_of(AttemptWon)] == ["openai"] * 3


async def test_a_third_call_over_a_limit_of_two_takes_the_next_rung_without_time_to_wait() -> None:
    async with bench({"openai": Limits(concurrent=2)}) as it:
        answers = await it.ask_at_once(3, budget_s=0.2)

    assert answers == [ANSWER] * 3
    assert it.most_at_once("openai") == 2
    assert len(it.lab.record.requests("openai-b")) == 1
    (reached,) = it.told_of(LimitReached)
    assert (reached.provider, reached.asked) == ("openai", False)
    kinds = AttemptFailed | Suspected | RungRested
    assert not [event for event in it.told if isinstance(event, kinds)]
    assert it.policy.availability.ladder("llm", time.monotonic())[0].state is RungState.READY


async def test_the_only_rung_is_waited_for_as_long_as_a_late_answer_is_useful() -> None:
    async with bench({"openai": Limits(concurrent=1)}, rungs=["openai"]) as it:
        answers = await it.ask_at_once(3, budget_s=0.2)

    assert answers == [ANSWER] * 3
    assert it.most_at_once("openai") == 1


async def test_a_broken_answer_returns_its_place() -> None:
    async with bench({"openai": Limits(concurrent=1)}) as it:
        it.fault("openai", fault="cut", after_words=4, how="reset", requests=1)
        first = await it.ask_after()
        await it.ask_after()

    assert first.split() == ANSWER.split()
    assert it.policy.gates["openai"].has_room


async def test_an_unconfigured_limit_is_learnt_from_the_answers() -> None:
    async with bench({}, per_minute=2) as it:
        answers = [await it.ask_after(budget_s=0.2) for _ in range(4)]
        requests = it.lab.record.requests("openai")

    assert answers == [ANSWER] * 4
    assert len(requests) == 2  # no request had to be refused to find out
    assert not it.told_of(AttemptFailed)


async def test_requests_outside_the_call_obey_the_limits_too() -> None:
    async with bench({"openai": Limits(concurrent=1)}) as it:
        held = it.policy.gates["openai"].seat()
        answer = await it.stage().run_inference(question())
        requests = [len(it.lab.record.requests(name)) for name in it.rungs]

    assert held
    assert answer == ANSWER
    assert requests == [0, 1]
    assert it.policy.gates["openai-b"].has_room


@asynccontextmanager
async def freed(it: LimitedBench, name: str, *, after_s: float) -> AsyncIterator[None]:
    """Take every place at all rungs, and free one at this rung after a while."""
    held = {rung: it.policy.gates[rung].seat() for rung in it.rungs}

    async def free() -> None:
        await asyncio.sleep(after_s)
        it.policy.gates[name].leave(held[name] or 0)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(free())
        yield


async def test_a_request_outside_the_call_does_not_wait_for_a_place_in_its_models_time() -> None:
    async with bench(ONE_EACH) as it, freed(it, "openai", after_s=1.9):
        answer = await it.stage().run_inference(question(), each_s=2.0)

    assert answer == ANSWER
    assert [attempt.provider for attempt in it.told_of(UsageMeasured)] == ["openai"]
    assert not it.told_of(AttemptFailed)


@pytest.mark.parametrize("each_s", [None, 2.0])
async def test_a_request_outside_the_call_without_a_place_moves_to_the_next_rung(
    each_s: float | None,
) -> None:
    async with bench(ONE_EACH) as it:
        async with freed(it, "openai-b", after_s=1.0):
            answer = await it.stage().run_inference(question(), each_s=each_s)
        requests = [len(it.lab.record.requests(name)) for name in it.rungs]

    assert answer == ANSWER
    assert requests == [0, 1]
    assert not it.told_of(AttemptFailed)
    assert it.policy.gates["openai-b"].has_room


async def test_without_any_place_a_request_outside_the_call_gets_no_answer() -> None:
    async with bench(ONE_EACH) as it, freed(it, "openai", after_s=30.0):
        asked_at = time.monotonic()
        answer = await it.stage().run_inference(question(), each_s=2.0)
        took_s = time.monotonic() - asked_at

    assert answer is None
    assert took_s == pytest.approx(4.0, abs=0.2)
    assert not it.told_of(AttemptFailed)


async def test_requests_outside_the_call_are_billed_too() -> None:
    async with bench({}) as it:
        answer = await it.stage().run_inference(question())

    (billed,) = it.told_of(UsageMeasured)
    assert (billed.provider, billed.model) == ("openai", "gpt-4.1-mini")
    assert billed.estimated  # the answer comes without its usage
    assert answer
    assert billed.prompt_tokens > len(QUESTION[0]["content"]) // TOKEN_CHARACTERS
    assert billed.completion_tokens == len(answer) // TOKEN_CHARACTERS


@pytest.mark.parametrize("fault", [{"fault": "http", "status": 500}, {"fault": "silent"}])
async def test_requests_outside_the_call_use_the_ladder(fault: dict[str, Any]) -> None:
    async with bench({}) as it:
        it.fault("openai", **fault)
        stage = it.stage()
        async with asyncio.timeout(15):
            answer = await stage.run_inference(question(), each_s=2.0)

    assert answer == ANSWER
    assert [attempt.provider for attempt in it.told_of(AttemptFailed)] == ["openai"]
    assert [attempt.provider for attempt in it.told_of(UsageMeasured)] == ["openai-b"]


async def test_a_hedge_starts_at_the_first_rungs_p95_and_both_requests_are_billed() -> None:
    async with bench({}, hedges=Allowance(share=0.05, floor=1)) as it:
        for _ in range(5):  # so that its p95 is measured
            await it.ask_after()
        p95_s = it.policy.availability.ladder("llm", time.monotonic())[0].p95_s
        it.told.clear()
        it.fault("openai", fault="slow_start", delay_s=1.0)
        answer = await it.ask_after()

    assert answer == ANSWER
    (hedge,) = it.told_of(HedgeStarted)
    assert (hedge.provider, hedge.behind) == ("openai-b", "openai")
    assert p95_s <= hedge.after_s < p95_s + 0.05
    assert [attempt.provider for attempt in it.told_of(AttemptWon)] == ["openai-b"]
    assert not [event for event in it.told if isinstance(event, AttemptFailed | Suspected)]
    billed = {attempt.provider: attempt for attempt in it.told_of(UsageMeasured)}
    first, second = (billed[name] for name in it.rungs)
    assert (first.estimated, second.estimated) == (True, False)  # the loser was cancelled
    assert first.prompt_tokens == second.prompt_tokens > 0
    assert first.model == "gpt-4.1-mini"
