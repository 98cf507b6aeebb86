"""A conversation that is too long for a server, in whatever words it says so."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from pipecat.frames.frames import LLMContextFrame
from pipecat.processors.aggregators.llm_context import LLMContext, LLMSpecificMessage
from pipecat.tests.utils import run_test

from fallbacks.breaker import State
from fallbacks.events import AttemptFailed, StageExhausted
from tests.processors.answering.test_stage import Bench, bench, written
from tests.providers.scripted_model import chunk, moderating

pytestmark = pytest.mark.virtual_time

ANSWER = "We open at nine."
SAYS = [chunk({"content": ANSWER}), chunk({}, "stop")]
BODIES: dict[str, tuple[int, Any]] = {
    "vLLM": (
        400,
        {"object": "error", "message": "maximum context length is 2048 tokens", "code": 400},
    ),
    "llama.cpp": (
        400,
        {"error": {"code": 400, "message": "exceeds the available context size"}},
    ),
    "Mistral": (400, {"object": "error", "message": "Prompt contains 9000 tokens", "code": "3051"}),
    "Gemini": (400, [{"error": {"code": 400, "status": "INVALID_ARGUMENT"}}]),
    "Anthropic": (400, {"type": "error", "error": {"message": "prompt is too long"}}),
    "a page in another language": (400, "Anfrage zu lang"),
    "a proxy": (413, None),
    "a validator": (422, {"detail": "too many tokens"}),
}
EVENTS: dict[str, Any] = {
    "an event with a number": {"error": {"code": 400, "message": "too long"}},
    "an event without one": {"error": {"message": "input is too long", "type": "bad_input"}},
}
CASES = BODIES | {name: ([event], None) for name, event in EVENTS.items()}
LONG = "I live by the sea, and it rains. " * 12  # about 100 tokens


def conversation(turns: int) -> LLMContext:
    told: list[Any] = [
        {"role": role, "content": f"{turn}: {LONG}"}
        for turn in range(turns)
        for role in ("user", "assistant")
    ]
    return LLMContext(messages=[*told, {"role": "user", "content": "When do you open?"}])


def size(body: dict[str, Any]) -> int:
    return len(json.dumps(body["messages"]))


@asynccontextmanager
async def small(
    holds: int, refusal: int | Sequence[Any], body: Any = None
) -> AsyncIterator[tuple[Bench, list[int]]]:
    """Yield a bench whose models refuse longer requests than `holds`, and the sizes asked."""
    asked: list[int] = []

    def refuses(request: dict[str, Any]) -> bool:
        asked.append(size(request))
        return asked[-1] > holds

    async with AsyncExitStack() as stack:
        it = await stack.enter_async_context(bench())
        for name in it.rungs:
            server = moderating(refuses, refusal, lambda _: SAYS, body=body)
            it.urls[name] = await stack.enter_async_context(server)
        yield it, asked


@pytest.mark.parametrize(("refusal", "body"), CASES.values(), ids=CASES.keys())
async def test_a_long_request_is_tried_once_with_half_of_the_conversation(
    refusal: int | Sequence[Any], body: Any
) -> None:
    async with small(5_000, refusal, body) as (it, asked):
        answer = await it.ask(conversation(9))
        rungs = it.policy.availability

    assert answer == ANSWER
    assert len(asked) == 2
    assert asked[1] < 0.6 * asked[0]
    assert [failed.provider for failed in it.told_of(AttemptFailed)] == ["openai"]
    assert {rung.breaker.state for rung in rungs} == {State.CLOSED}
    assert all(rung.suspect_since is None for rung in rungs)


@pytest.mark.parametrize(("turns", "holds", "requests"), [(9, 5_000, 2), (0, 0, 4)])
async def test_entries_in_one_vendors_own_form_do_not_disturb_a_refusal(
    turns: int, holds: int, requests: int
) -> None:
    talk = conversation(turns)
    talk.add_message(LLMSpecificMessage(llm="anthropic", message={"role": "user"}))
    async with small(holds, 400) as (it, asked):
        assert await it.ask(talk) == (ANSWER if holds else "")

    assert len(asked) == requests


async def test_later_requests_of_the_call_are_as_short_as_the_one_that_fitted() -> None:
    async with small(5_000, 400) as (it, asked):
        frames = [LLMContextFrame(conversation(turns)) for turns in (9, 10, 11)]
        down, _ = await run_test(it.stage(), frames_to_send=frames)

    assert written(down) == ANSWER * 3
    assert len(asked) == 4
    assert max(asked[1:]) < 5_000


@pytest.mark.parametrize("refusal", [400, 413, 422, [EVENTS["an event without one"]]])
async def test_a_short_request_is_not_tried_with_half(refusal: int | Sequence[Any]) -> None:
    async with small(0, refusal) as (it, asked):
        await it.ask(conversation(0))

    whole, without = asked[0], asked[-1]  # the latter has a note in place of the question
    assert asked == [whole, whole, without, without]
    assert len(it.told_of(StageExhausted)) == 1


async def test_a_server_that_refuses_every_length_is_not_asked_endlessly() -> None:
    async with small(0, 400) as (it, asked):
        await it.ask(conversation(9))

    assert len(asked) <= 12  # two rungs; whole and half; three ways to leave messages out
    assert len(it.told_of(StageExhausted)) == 1
