"""A caller's content that models refuse, in a call with early answers."""

import json
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from pipecat.frames.frames import Frame

from fallbacks.availability import RungState
from fallbacks.breaker import State
from fallbacks.events import AnswerEmpty, AttemptFailed, StageExhausted
from fallbacks.failure import Kind, failed
from processors.answering.refused_rules import WITHHELD
from tests.processors.answering.early_bench import (
    Detector,
    EarlyBench,
    early_bench,
    pause,
    says,
    starts,
    stops,
    utterance,
)
from tests.processors.answering.test_other_servers import END, call, calls
from tests.providers.scripted_model import chunk, moderating

pytestmark = pytest.mark.virtual_time

BAD = "gefährlich"
ANSWER, AGAIN, DONE = "We open at nine.", "Please say it in other words.", "It is done."
STOP = chunk({}, "stop")
FILTERED: dict[str, Any] = {"error": {"code": "content_filter", "message": "filtered"}}
SHAPES: dict[str, int | Sequence[Any]] = {
    "400": 400,
    "403": 403,
    "422": 422,
    "424, a guardrail of Cloudflare": 424,
    "446, a guardrail of Portkey": 446,
    "451": 451,
    "an event with a number": [{"error": {"code": 400, "message": "blocked"}}],
    "an event with a text for a number": [{"error": {"code": "403", "message": "flagged"}}],
    "an event without a number": [{"error": {"message": "blocked by a policy"}}],
    "a finish_reason": [chunk({"role": "assistant", "content": ""}), chunk({}, "content_filter")],
    "a finish_reason of a guardrail": [chunk({}, "guardrail_intervened")],
    "another finish_reason": [chunk({"content": ""}), chunk({}, "SAFETY")],
}


def last_of(body: dict[str, Any]) -> dict[str, Any]:
    return body["messages"][-1]


def answers(body: dict[str, Any]) -> list[Any]:
    last = last_of(body)
    if last["role"] == "developer":
        words = DONE if "withheld" in last["content"] else AGAIN
    else:
        words = ANSWER
    return [chunk({"content": words}), STOP]


def once(
    sent: list[Any], *, reply: Callable[[dict[str, Any]], Sequence[Any]] = answers
) -> Callable[[dict[str, Any]], Sequence[Any]]:
    """Return a reply that sends these events to the first request with less."""
    left = [sent]

    def replies(body: dict[str, Any]) -> Sequence[Any]:
        return left.pop() if left and last_of(body)["role"] == "developer" else reply(body)

    return replies


def holds_bad(body: dict[str, Any]) -> bool:
    return BAD in json.dumps(body["messages"], ensure_ascii=False)


@dataclass
class Refusing:
    """A call whose models refuse some content."""

    it: EarlyBench
    asked: list[dict[str, Any]] = field(default_factory=list)

    @property
    def open(self) -> list[str]:
        rungs = self.it.policy.availability
        return [rung.provider for rung in rungs if rung.breaker.state is not State.CLOSED]

    def is_calm(self) -> bool:
        outages = (StageExhausted, AnswerEmpty)
        return not self.it.told_of(*outages) and not self.open


@asynccontextmanager
async def refusing(
    refusal: int | Sequence[Any] = 400,
    *,
    after_s: float = 0.25,
    each_s: float = 0.0,
    refusers: Sequence[str] = ("openai", "openai-b"),
    reply: Callable[[dict[str, Any]], Sequence[Any]] = answers,
    refuses: Callable[[dict[str, Any]], bool] = holds_bad,
    rungs: Sequence[str] = ("openai", "openai-b"),
    headers: Mapping[str, str] | None = None,
) -> AsyncIterator[Refusing]:
    async with AsyncExitStack() as stack:
        it = await stack.enter_async_context(early_bench(rungs))
        call_ = Refusing(it)

        def judge(name: str) -> Callable[[dict[str, Any]], bool]:
            def judges(body: dict[str, Any]) -> bool:
                call_.asked.append(body)
                return name in refusers and refuses(body)

            return judges

        for name in it.rungs:
            server = moderating(
                judge(name), refusal, reply,
                after_s=after_s, each_s=each_s, body=FILTERED, headers=headers,
            )  # fmt: skip
            it.urls[name] = await stack.enter_async_context(server)
        yield call_


def turns(*words: str) -> list[Frame]:
    return [frame for text in words for frame in utterance(text, then_s=6.0)]


@pytest.mark.parametrize("refusal", SHAPES.values(), ids=SHAPES.keys())
async def test_refused_words_are_left_out_and_the_next_turns_are_answered(
    refusal: int | Sequence[Any],
) -> None:
    async with refusing(refusal) as call_:
        await call_.it.call(turns("Hello?", f"It is {BAD}.", "When do you open?", "Thank you."))

    assert call_.it.said == [ANSWER, AGAIN, ANSWER, ANSWER]
    assert call_.it.heard == ["Hello?", "When do you open?", "Thank you."]
    assert call_.is_calm()
    assert sum(map(holds_bad, call_.asked)) == 2  # each rung was asked once


@pytest.mark.parametrize(
    "silence",
    [[], [STOP], [{"choices": [], "prompt_filter_results": []}], [{"detail": "blocked"}]],
)
async def test_words_that_models_answer_with_nothing_are_left_out_like_refused_ones(
    silence: Sequence[Any],
) -> None:
    async with refusing(silence) as call_:
        await call_.it.call(turns("Hello?", f"It is {BAD}.", "When do you open?", "Thank you."))

    assert call_.it.said == [ANSWER, AGAIN, ANSWER, ANSWER]
    assert call_.it.heard == ["Hello?", "When do you open?", "Thank you."]
    assert call_.is_calm()
    assert sum(map(holds_bad, call_.asked)) == 3  # the first rung was asked twice


BROKEN_CALL = [calls(call("transfer_to_person", "{", number="a", index=0)), END]


@pytest.mark.parametrize("after_s", [0.0, 0.25])
@pytest.mark.parametrize(
    "failure",
    [500, 503, 529, 429, [{"error": {"type": "server_error", "message": "no"}}], BROKEN_CALL],
    ids=["500", "503", "529", "429", "an event", "an unusable tool call"],
)
async def test_words_at_which_every_model_fails_alike_are_left_out(
    failure: int | Sequence[Any], after_s: float
) -> None:
    async with refusing(failure, after_s=after_s) as call_:
        await call_.it.call(turns("Hello?", f"It is {BAD}.", "When do you open?", "Thank you."))

    assert call_.it.said == [ANSWER, AGAIN, ANSWER, ANSWER]
    assert call_.it.heard == ["Hello?", "When do you open?", "Thank you."]
    assert call_.is_calm()
    # Each rung is asked again twice at most, also when the turn is decided after an early answer.
    assert sum(map(holds_bad, call_.asked)) <= 12


@pytest.mark.parametrize("after_s", [0.7, 1.0, 1.2, 2.0])
async def test_words_at_which_every_model_fails_slowly_are_left_out_each_time(
    after_s: float,
) -> None:
    async with refusing(503, after_s=after_s) as call_:
        bad = f"It is {BAD}."
        await call_.it.call(turns("Hello?", bad, "When do you open?", bad, "Thank you."))

    assert call_.it.said == [ANSWER, AGAIN, ANSWER, AGAIN, ANSWER]
    assert call_.it.heard == ["Hello?", "When do you open?", "Thank you."]
    assert call_.is_calm()


async def test_words_at_which_every_model_asks_for_a_pause_leave_the_models_to_other_calls() -> (
    None
):
    async with refusing(429, headers={"Retry-After": "20"}) as call_:
        await call_.it.call(turns("Hello?", f"It is {BAD}."))
        states = [
            rung.state for rung in call_.it.policy.availability.ladder("llm", time.monotonic())
        ]
        await call_.it.call(turns("When do you open?"))

    assert RungState.RESTING not in states
    assert call_.it.said == [ANSWER, AGAIN, ANSWER]
    assert call_.is_calm()


@pytest.mark.parametrize("failure", [500, 503, 429])
@pytest.mark.parametrize(("served", "said"), [(True, [ANSWER, AGAIN, ANSWER]), (False, [ANSWER])])
async def test_words_at_which_the_only_model_fails_are_left_out_if_it_serves_others_meanwhile(
    failure: int, *, served: bool, said: list[str]
) -> None:
    def refuses(body: dict[str, Any]) -> bool:
        if served and holds_bad(body):
            rung = call_.it.policy.availability.of("llm", "openai")
            permit = rung.permit(time.monotonic(), last_resort=True)
            assert permit
            rung.succeeded(permit, time.monotonic(), call="another")
        return holds_bad(body)

    async with refusing(failure, refuses=refuses, rungs=["openai"]) as call_:
        await call_.it.call(turns("Hello?", f"It is {BAD}.", "When do you open?"))

    assert call_.it.said == said
    assert (BAD in " ".join(call_.it.heard)) is not served
    assert bool(call_.it.told_of(StageExhausted)) is not served


async def test_a_short_outage_during_an_early_answer_is_not_blamed_on_the_words() -> None:
    left = iter(range(6))  # three requests to each rung

    def refuses(body: dict[str, Any]) -> bool:
        return holds_bad(body) and next(left, None) is not None

    async with refusing(503, refuses=refuses, after_s=0.0) as call_:
        await call_.it.call(turns("Hello?", f"It is {BAD}.", "When do you open?"))

    assert call_.it.said == [ANSWER] * 3
    assert call_.it.heard == ["Hello?", f"It is {BAD}.", "When do you open?"]


@pytest.mark.parametrize("failure", [503, 429])
async def test_an_outage_that_a_probe_has_proved_is_not_blamed_on_the_words(failure: int) -> None:
    async with refusing(failure, refuses=lambda _: True, after_s=0.0) as call_:
        for name in call_.it.rungs:
            rung = call_.it.policy.availability.of("llm", name)
            permit = rung.permit(0.0, probe=True)
            assert permit
            kind = Kind.OVERLOADED if failure == 503 else Kind.RATE_LIMITED
            rung.failed(permit, failed(kind, "llm", provider=name), now=time.monotonic())
        await call_.it.call(turns("Hello?"))

    assert call_.it.told_of(StageExhausted)
    assert all(body["messages"][-1]["content"] == "Hello?" for body in call_.asked)


async def test_models_that_never_write_a_word_are_asked_once_more_without_the_turn() -> None:
    async with refusing([STOP], refuses=lambda _: True) as call_:
        await call_.it.call(turns("Hello?"))

    assert call_.it.heard == ["Hello?"]
    assert call_.it.told_of(AnswerEmpty)
    assert not call_.it.told_of(StageExhausted)
    assert len(call_.asked) <= 5  # early and in the end


@pytest.mark.parametrize(
    ("after_s", "requests"),
    # After 0.7 s, the second model has just been asked for the late answer of the first.
    [(0.0, 2), (0.1, 2), (0.25, 2), (0.4, 2), (0.7, 3), (1.2, 2)],
)
@pytest.mark.parametrize("detector_s", [0.0, 0.5])
async def test_it_does_not_matter_when_the_refusal_comes(
    after_s: float, requests: int, detector_s: float
) -> None:
    async with refusing(after_s=after_s) as call_:
        frames = turns(f"It is {BAD}.", "When do you open?")
        await call_.it.call(frames, Detector(takes_s=detector_s))

    assert call_.it.said == [AGAIN, ANSWER]
    assert call_.it.heard == ["When do you open?"]
    assert call_.is_calm()
    assert sum(map(holds_bad, call_.asked)) == requests


async def test_nothing_is_left_out_if_one_model_accepts_it() -> None:
    async with refusing(refusers=["openai"]) as call_:
        await call_.it.call(turns(f"It is {BAD}.", "When do you open?"))

    assert call_.it.said == [ANSWER, ANSWER]
    assert call_.it.heard == [f"It is {BAD}.", "When do you open?"]
    assert call_.is_calm()


async def test_words_that_an_earlier_model_accepted_are_left_out_when_only_the_other_is_left() -> (
    None
):
    async with refusing(refusers=["openai-b"]) as call_:
        await call_.it.call(turns(f"It is {BAD}."))
        call_.it.policy.availability.set_out("openai", 0.0, out=True)
        await call_.it.call(turns("When do you open?", "And on Sunday?"))

    assert call_.it.said == [AGAIN, ANSWER]
    assert call_.it.heard == ["And on Sunday?"]
    assert not call_.it.told_of(StageExhausted)


async def test_the_agents_own_earlier_words_are_left_out() -> None:
    def talks(body: dict[str, Any]) -> list[Any]:
        words = f"A {BAD} answer." if last_of(body)["content"] == "Tell me." else ""
        return [chunk({"content": words}), STOP] if words else answers(body)

    async with refusing(reply=talks) as call_:
        await call_.it.call(turns("Hello?", "Tell me.", "When do you open?", "Thank you."))

    assert call_.it.said == [ANSWER, AGAIN, ANSWER]
    assert call_.it.heard == ["Hello?", "Tell me.", "Thank you."]
    assert call_.is_calm()


async def test_words_before_a_refusal_are_followed_by_the_request_for_other_words() -> None:
    events = [chunk({"content": "You take the "}), chunk({}, "content_filter")]
    async with refusing(events) as call_:
        frames = turns("Hello?", f"It is {BAD}.", "When do you open?")
        await call_.it.call(frames, Detector(takes_s=0.0))

    assert call_.it.said == [ANSWER, f"You take the {AGAIN}", ANSWER]
    assert call_.it.heard == ["Hello?", "When do you open?"]
    assert call_.is_calm()


async def test_a_caller_who_speaks_during_the_refusal_is_asked_again_and_then_answered() -> None:
    frames = [
        *starts(), says(f"It is {BAD}."), pause(0.05), stops(), pause(0.7), *starts(),
        says("Are you there?"), pause(0.05), stops(), pause(6.0), *turns("When do you open?"),
    ]  # fmt: skip
    async with refusing(after_s=0.6) as call_:
        await call_.it.call(frames)

    assert call_.it.said == [AGAIN, ANSWER]
    assert call_.it.heard == ["When do you open?"]
    assert call_.is_calm()


@pytest.mark.parametrize("each_s", [0.0, 0.2])
async def test_a_request_for_other_words_is_continued_by_the_next_model(each_s: float) -> None:
    fails = {"error": {"code": 503, "message": "overloaded"}}
    breaks_off = once([chunk({"content": "Please say it "}), fails])

    async with refusing(reply=breaks_off, each_s=each_s) as call_:
        await call_.it.call(turns("Hello?", f"It is {BAD}.", "When do you open?"))

    assert call_.it.said == [ANSWER, AGAIN, ANSWER]
    assert call_.it.heard == ["Hello?", "When do you open?"]


def books(body: dict[str, Any]) -> list[Any]:
    """Book once: as long as no booking is in the conversation."""
    booked = any(message["role"] == "tool" for message in body["messages"])
    if booked:
        return answers(body)
    return [calls(call("transfer_to_person", "{}", number="a", index=0)), END]


def holds_result(body: dict[str, Any]) -> bool:
    results = (message for message in body["messages"] if message["role"] == "tool")
    return any('"noted"' in str(message["content"]) for message in results)


@pytest.mark.parametrize("refusal", [400, SHAPES["an event without a number"]])
async def test_a_refused_result_stays_as_done_so_that_nothing_is_done_twice(
    refusal: int | Sequence[Any],
) -> None:
    async with refusing(refusal, reply=books, refuses=holds_result) as call_:
        await call_.it.call(turns("Please book it.", "When do you open?"))

    results: list[Any] = [
        message for message in list[Any](call_.it.context.messages) if message["role"] == "tool"
    ]
    assert call_.it.called == ["transfer_to_person"]
    assert [result["content"] for result in results] == [WITHHELD]
    assert call_.it.said[-2:] == [DONE, ANSWER]
    assert call_.it.heard == ["Please book it.", "When do you open?"]
    assert call_.is_calm()


AS_TEXT = '{"name": "transfer_to_person", "arguments": {"reason": "to book"}}'
AS_CODE = 'transfer_to_person(reason="to book")'
CALLS_AGAIN = {
    "a tag after the words": f"{DONE} <tool_call>{AS_TEXT}</tool_call>",
    "code after the words": f"{DONE}\n```tool_code\n{AS_CODE}\n```",
    "after thoughts, which are taken back": f"I book it.</think><tool_call>{AS_TEXT}</tool_call>",
    "alone": f"<tool_call>{AS_TEXT}</tool_call>",
}


@pytest.mark.parametrize("written", CALLS_AGAIN.values(), ids=CALLS_AGAIN.keys())
async def test_a_tool_that_is_done_is_not_run_again_if_its_call_is_written_as_text(
    written: str,
) -> None:
    pieces = [chunk({"content": f"{word} "}) for word in written.split(" ")]
    writes = once([*pieces, STOP], reply=books)

    async with refusing(400, reply=writes, refuses=holds_result) as call_:
        await call_.it.call(turns("Please book it.", "When do you open?"))

    assert call_.it.called == ["transfer_to_person"]
    assert call_.it.said[-2].endswith(DONE)  # this call has no voice that takes thoughts back
    assert call_.it.said[-1] == ANSWER


async def test_a_refusal_of_everything_is_an_outage_and_leaves_the_conversation_whole() -> None:
    async with refusing(refuses=lambda _: True, after_s=0.0) as call_:
        await call_.it.call(turns("Hello?", "When do you open?"))

    assert call_.it.heard == ["Hello? When do you open?"]
    assert len(call_.it.told_of(StageExhausted)) == 2
    # Each rung: the first turn early, and without it; the second turn early and in the end.
    assert len(call_.it.told_of(AttemptFailed)) == len(call_.asked) <= 8
