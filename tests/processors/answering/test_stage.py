"""The LLM stage against simulated providers that fail on the wire."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest
from loguru import logger
from pipecat.adapters.llm.schemas.function_schema import FunctionSchema
from pipecat.adapters.llm.schemas.tools_schema import ToolsSchema
from pipecat.frames.frames import (
    Frame,
    LLMContextFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMMessagesTransformFrame,
    LLMTextFrame,
)
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.services.llm_service import FunctionCallParams
from pipecat.tests.utils import run_test

from bot.health.policies import PACES, PRIORS_S
from calls.events import Event
from calls.turn import Turn
from fallbacks.availability import AvailabilityTable, Place
from fallbacks.events import (
    AttemptFailed,
    AttemptStarted,
    AttemptWon,
    BreakerMoved,
    RungChosen,
    StageExhausted,
)
from fallbacks.failure import Kind, Scope
from fallbacks.ladder import StagePolicy
from fallbacks.llm_times import MAX_REPLY_S
from fallbacks.word_times import CHARACTER_S
from lab.simulators import faults
from lab.simulators.faults import Fault
from lab.simulators.lab import Lab, Spec
from lab.simulators.schedule import Window, parse_windows
from processors.answering.model_stream import Model
from processors.answering.stage import LlmStage
from processors.answering.tool_calls import calls_in_text
from processors.speaking.speech_queue import TakeBackFrame
from providers.openai import build
from providers.provider import RungSpec
from tests.kit.bench import rung_spec
from tests.kit.faults import DEAD, MUTE, cuts, stalls
from tests.providers.scripted_model import choosing, chunk, sending, streaming, writing

pytestmark = pytest.mark.virtual_time

ANSWER = (
    "We open at nine. From Monday to Friday we are here until six in the evening, on Saturday from "
    "ten in the morning until two, and on Sunday we are closed."
)
QUESTION = [{"role": "user", "content": "What are your opening hours?"}]


def question() -> LLMContext:
    return LLMContext(messages=list(QUESTION))  # type: ignore[arg-type]


@dataclass
class Bench:
    lab: Lab
    rungs: Sequence[str]
    policy: StagePolicy
    told: list[Event] = field(default_factory=list)
    options: dict[str, dict[str, Any]] = field(default_factory=dict)  # of a rung
    urls: dict[str, str] = field(default_factory=dict)  # of rungs that are not the lab's
    shared: Mapping[str, RungSpec] = field(default_factory=dict)  # with a client for all calls
    budget_s: float = 1.5
    stopped_at: float | None = None  # when the caller stopped; `None` if no caller waits

    def fault(self, name: str, **fault: Any) -> None:
        self.lab.instance(name).set_faults(parse_windows([fault]))

    def stage(self) -> LlmStage:
        """Return a new call's stage; state shared by calls stays."""
        turn = Turn(budget_s=self.budget_s)
        if self.stopped_at is not None:
            turn.caller_stopped(self.stopped_at)
        return LlmStage(
            cast("Mapping[str, Model]", {name: build(self._rung(name)) for name in self.rungs}),
            policy=self.policy,
            emit=self.told.append,
            clock=time.monotonic,
            turn=turn,
            window_tokens=4000,
        )

    def _rung(self, name: str) -> RungSpec:
        if name in self.shared:
            return self.shared[name]
        spec = replace(rung(self.lab, name), options=self.options.get(name, {}))
        return replace(spec, url=self.urls.get(name, spec.url))

    async def ask(self, context: LLMContext | None = None) -> str:
        context = context or question()
        async with asyncio.timeout(15):
            down, _ = await run_test(self.stage(), frames_to_send=[LLMContextFrame(context)])
        kinds = [type(item) for item in down]
        assert kinds.count(LLMFullResponseStartFrame) == 1
        assert kinds.count(LLMFullResponseEndFrame) == 1
        return written(down)

    def told_of(self, kind: type) -> list[Any]:
        return [event for event in self.told if isinstance(event, kind)]


@asynccontextmanager
async def bench(
    rungs: Sequence[str] = ("openai", "openai-b"), **options: Any
) -> AsyncIterator[Bench]:
    specs = [Spec(name=name, kind="openai", options=options) for name in rungs]
    async with Lab(specs) as lab:
        places = [Place(stage="llm", provider=name, credential=name) for name in rungs]
        availability = AvailabilityTable(places, now=time.monotonic(), priors_s=PRIORS_S)
        yield Bench(
            lab, rungs, StagePolicy(stage="llm", availability=availability, pace=PACES["llm"])
        )


def rung(lab: Lab, name: str) -> RungSpec:
    peer = lab.instance(name)
    return rung_spec(
        "llm", "openai", peer.url, name=name, api_key=peer.api_key, instructions="Be brief."
    )


def written(frames: Sequence[Frame]) -> str:
    """Return the answer as a voice would get it, without incomplete words."""
    text = ""
    for frame in frames:
        if isinstance(frame, LLMTextFrame):
            text += frame.text
        elif isinstance(frame, TakeBackFrame):
            text = text[: -frame.characters]
    return text.strip()


FAULTS: dict[str, Fault] = {
    **{name: fault for name, fault in DEAD.items() if name != "no websocket"},
    **{str(status): faults.Http(status=status) for status in (400, 403)},
    "429 with a rest": faults.Http(status=429, retry_after_s=3),
    **MUTE,
    "garbage": faults.Garbage(),
    "an error in the stream": faults.ErrorEvent(),
    **cuts(1, 11, len(ANSWER.split())),
    **stalls(1, 11),
}


@pytest.mark.parametrize("rungs", [("openai",), ("openai", "openai-b")], ids=["one", "both"])
async def test_a_short_rate_limit_costs_a_moment_and_no_answer(
    rungs: tuple[str, ...],
) -> None:
    async with bench(rungs) as it:
        for name in rungs:
            it.fault(name, fault="http", status=429, retry_after_s=0.2, requests=1)

        said = await it.ask()

        assert said == ANSWER
        assert [item.kind for item in it.told_of(AttemptFailed)] == [Kind.RATE_LIMITED] * len(rungs)
        assert [attempt.provider for attempt in it.told_of(AttemptStarted)] == [*rungs, "openai"]
        assert it.told_of(StageExhausted) == []


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
async def test_each_word_of_the_answer_comes_once_whatever_the_first_model_does(
    fault: Fault,
) -> None:
    async with bench() as it:
        it.lab.instance("openai").set_faults([Window(fault=fault)])
        answer = await it.ask()

    assert answer.split() == ANSWER.split()
    assert [item.after for item in it.told_of(RungChosen)] == ["openai-b"]
    assert len(it.told_of(AttemptFailed)) == 1


@pytest.mark.parametrize(
    ("continuation", "words"), [("clean", 4), ("no_space", 11), ("overlap", 4), ("repeat_all", 1)]
)
async def test_no_word_is_repeated_in_any_continuation_by_the_second_model(
    continuation: str, words: int
) -> None:
    async with bench(continuation=continuation) as it:
        it.fault("openai", fault="cut", after_words=words, how="reset")
        answer = await it.ask()

    assert answer.split() == ANSWER.split()


async def test_the_spoken_words_are_in_the_request_and_not_in_the_context() -> None:
    context = question()
    async with bench() as it:
        it.fault("openai", fault="cut", after_words=4, how="reset")
        await it.ask(context)
        request, *_ = it.lab.record.requests("openai-b")

    assert context.messages == QUESTION
    assert request.well_formed
    assert request.details["answer"].split()[0] not in ("We",)  # asked for the rest only


async def test_only_the_healthy_first_model_is_asked_and_once() -> None:
    async with bench() as it:
        answer = await it.ask()
        requests = [len(it.lab.record.requests(name)) for name in ("openai", "openai-b")]

    assert answer == ANSWER
    assert requests == [1, 0]
    assert it.told_of(AttemptFailed) == []


async def test_a_context_that_is_too_long_is_cut_and_the_same_model_asked_again() -> None:
    async with bench() as it:
        it.fault("openai", fault="http", status=400, code="context_length_exceeded", requests=1)
        answer = await it.ask()

    assert answer == ANSWER
    assert [attempt.provider for attempt in it.told_of(AttemptStarted)] == ["openai", "openai"]


@pytest.mark.parametrize(
    "end", [{"error": {"code": 503}}, chunk({}, "content_filter")], ids=["broken off", "refused"]
)
async def test_the_half_sentence_of_an_answer_that_is_given_up_is_taken_back(
    end: dict[str, Any],
) -> None:
    def write(_asked: dict[str, Any]) -> list[Any]:
        for name in it.rungs:
            it.policy.availability.set_out(name, 0.0, out=True)
        return [chunk({"content": "We open at nine. From Monday to "}), end]

    async with choosing(write) as url, bench() as it:
        it.urls["openai"] = url
        down, _ = await run_test(it.stage(), frames_to_send=[LLMContextFrame(question())])

    kinds = (LLMTextFrame, TakeBackFrame, LLMFullResponseEndFrame)
    said, taken_back, _ = [frame for frame in down if isinstance(frame, kinds)]
    assert isinstance(said, LLMTextFrame)
    assert isinstance(taken_back, TakeBackFrame)
    assert taken_back.unfinished


async def test_an_unanswered_question_is_answered_once_a_rung_has_recovered() -> None:
    async def recover(it: Bench) -> None:
        while not it.told_of(StageExhausted):  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.05)
        it.lab.instance("openai-b").set_faults([])
        place, availability = ("llm", "openai-b"), it.policy.availability
        for _ in range(3):  # probes: one opens the breaker by half, two close it
            await asyncio.sleep(1.0)
            now = time.monotonic()
            if permit := availability.of(*place).permit(
                now, probe=True
            ):  # otherwise a caller is quicker
                availability.succeeded(place, permit, now=now)

    async with bench() as it, asyncio.TaskGroup() as tasks:
        for name in ("openai", "openai-b"):
            it.fault(name, fault="http", status=503)
        tasks.create_task(recover(it))
        answer = await it.ask()

    assert answer == ANSWER
    assert [won.provider for won in it.told_of(AttemptWon)] == ["openai-b"]


async def test_a_question_refused_by_available_rungs_is_not_asked_endlessly() -> None:
    async with bench() as it:
        for name in ("openai", "openai-b"):
            it.fault(name, fault="http", status=400)
        began = time.monotonic()
        answer = await it.ask()

        assert answer == ""
        assert time.monotonic() - began < 1.0
        assert len(it.told_of(StageExhausted)) == 1


BLANKS = {"nothing": (), "blanks": (" ", "\n", "\t ")}
THOUGHTS = {
    "a thought": ("<think>", "They ask for ", "hours.</think>\n"),
    "a thought without an end": ("<think>They ask.",),
    "tokens": ("<s><|im_start|>", "assistant\n<|im_end|>"),
    "a call of no tool": ('{"name": "delete_', 'all", "arguments": {}}'),
}
SIGNS = {"an emoji": ("👍",), "dots": ("**", "…", "**")}
WITHDRAWN = {
    "thoughts without a beginning": ("They ask for ", "hours.", "</think>\n"),
    "a call by name of no tool": ("check", "_order", '{"order"', ': "77"}'),
}
EMPTY = [
    *[
        pytest.param(pieces, "stop", id=name)
        for name, pieces in (BLANKS | THOUGHTS | WITHDRAWN).items()
    ],
    *[
        pytest.param(pieces, "length", id=f"{name}, cut")
        for name, pieces in (BLANKS | SIGNS).items()
    ],
]


@pytest.mark.parametrize(
    "pieces", (BLANKS | SIGNS | THOUGHTS).values(), ids=BLANKS | SIGNS | THOUGHTS
)
async def test_a_model_that_hangs_after_unspeakable_text_is_late(
    pieces: tuple[str, ...],
) -> None:
    async with writing(*pieces, finish=None) as url, bench() as it:
        it.urls["openai"] = url
        answer = await it.ask()

    assert answer == ANSWER
    (failure,) = it.told_of(AttemptFailed)
    assert (failure.provider, failure.kind) == ("openai", Kind.TIMEOUT)


@pytest.mark.parametrize(("pieces", "finish"), EMPTY)
async def test_an_answer_without_words_is_requested_once_more_and_then_from_the_next_model(
    pieces: tuple[str, ...], finish: str
) -> None:
    standby = writing("We open at nine.", finish="stop")
    async with writing(*pieces, finish=finish) as url, standby as next_url, bench() as it:
        it.urls |= {"openai": url, "openai-b": next_url}
        answer = await it.ask()

    assert answer == "We open at nine."
    started = [attempt.provider for attempt in it.told_of(AttemptStarted)]
    assert started == ["openai", "openai", "openai-b"]
    failures = it.told_of(AttemptFailed)
    assert {(failure.kind, failure.scope) for failure in failures} == {(Kind.SILENT, Scope.PAYLOAD)}


@pytest.mark.parametrize(("pieces", "finish"), [EMPTY[0], EMPTY[-1]])
async def test_a_model_that_adds_nothing_to_the_agents_words_is_asked_once_and_says_nothing(
    pieces: tuple[str, ...], finish: str
) -> None:
    said: Any = {"role": "assistant", "content": ANSWER}
    async with writing(*pieces, finish=finish) as url, bench() as it:
        it.urls |= dict.fromkeys(it.rungs, url)
        answer = await it.ask(LLMContext(messages=[*question().messages, said]))

    assert answer == ""
    assert len(it.told_of(AttemptStarted)) == 1
    assert not it.told_of(AttemptFailed)


async def test_an_empty_answer_to_a_tools_result_is_replaced_if_words_came_before_the_call() -> (
    None
):
    call = {"id": "1", "type": "function", "function": {"name": "hours", "arguments": "{}"}}
    since: list[Any] = [
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "nine"},
        {"role": "assistant", "content": "Let me see."},  # where Pipecat puts them
    ]
    standby = writing(ANSWER, finish="stop")
    async with writing(finish="stop") as url, standby as next_url, bench() as it:
        it.urls |= {"openai": url, "openai-b": next_url}
        answer = await it.ask(LLMContext(messages=[*question().messages, *since]))

    assert answer == ANSWER


@pytest.mark.parametrize(
    ("parts", "whole"),
    [
        (["We open at ni"], "We open at nine, and close at six."),
        (["We open at nine, ", "and close "], "We open at nine, and close at six."),
        (["We ", "open ", "at nine, ", "and close"], "We open at nine, and close"),
        (["We open at nine."], "We open at nine."),
    ],
    ids=["inside a word", "twice", "too often", "at a sentence's end"],
)
async def test_an_answer_that_used_up_its_tokens_continues_or_ends_at_a_sentence(
    parts: list[str], whole: str
) -> None:
    left, lines = list(parts), list[str]()

    def write(_asked: dict[str, Any]) -> list[Any]:
        if left:
            return [chunk({"content": left.pop(0)}), chunk({}, "length")]
        return [chunk({"content": "We open at nine, and close at six."}), chunk({}, "stop")]

    sink = logger.add(lines.append, level="WARNING", format="{message}")
    async with choosing(write) as url, bench() as it:
        it.urls["openai"] = url
        answer = await it.ask()
    logger.remove(sink)

    assert answer == whole
    assert it.told_of(AttemptFailed) == it.told_of(BreakerMoved) == []
    assert {attempt.provider for attempt in it.told_of(AttemptStarted)} == {"openai"}
    assert len([line for line in lines if "used up the model's tokens" in line]) == len(parts)


async def test_an_unknown_finish_reason_does_not_end_the_answer() -> None:
    cut = f"data: {json.dumps(chunk({'content': 'We open at nine, and '}, 'null'))}\n\n"
    standby = writing("close at six.", finish="stop")
    async with sending(cut) as url, standby as next_url, bench() as it:
        it.urls |= {"openai": url, "openai-b": next_url}
        answer = await it.ask()

    assert answer == "We open at nine, and close at six."
    assert [failure.kind for failure in it.told_of(AttemptFailed)] == [Kind.CUT]


@pytest.mark.parametrize(
    ("pieces", "answer"),
    [
        (("\n\n", " ", "We", " ", "open", "\n", "at nine."), "We open at nine."),
        ((" ", "$", "5", ", or ", "-", "5."), "$5, or -5."),
    ],
    ids=["spaces before and between words", "punctuation of the first word"],
)
async def test_words_are_passed_on_in_whatever_pieces_they_come(
    pieces: tuple[str, ...], answer: str
) -> None:
    async with writing(*pieces, finish="stop") as url, bench() as it:
        it.urls["openai"] = url
        assert (await it.ask()).split() == answer.split()

    assert it.told_of(AttemptFailed) == []


async def test_a_model_that_continues_with_only_a_full_stop_has_answered() -> None:
    async with (
        writing("We open", " at nine", " ", finish=None) as first,
        writing(".", finish="stop") as second,
        bench() as it,
    ):
        it.urls |= {"openai": first, "openai-b": second}
        answer = await it.ask()

    assert answer == "We open at nine ."
    assert it.told_of(StageExhausted) == []


async def test_a_tool_call_that_was_cut_is_run_once_and_whole() -> None:
    async with bench() as it:
        it.fault("openai", fault="cut", after_words=2, how="reset")
        called = await asked_for_a_person(it)

    assert len(called) == 1


async def asked_for_a_person(it: Bench) -> list[dict[str, Any]]:
    """Return the arguments of each run of the tool."""
    called: list[dict[str, Any]] = []

    async def handle(params: FunctionCallParams) -> None:
        called.append(dict(params.arguments))
        await params.result_callback({"result": "noted"})

    tool = FunctionSchema(
        name="transfer_to_person", description="Put the caller through.",
        properties={"reason": {"type": "string"}}, required=[], handler=handle,
    )  # fmt: skip
    context = LLMContext(
        messages=[{"role": "user", "content": "Can I speak to a person?"}],
        tools=ToolsSchema(standard_tools=[tool]),
    )
    async with asyncio.timeout(15):
        await run_test(it.stage(), frames_to_send=[LLMContextFrame(context)])
    return called


@pytest.mark.parametrize("status", [400, 403, 422])
async def test_a_message_that_every_model_refuses_is_left_out_and_the_caller_asked_again(
    status: int,
) -> None:
    context = question()
    async with bench() as it:
        for name in ("openai", "openai-b"):
            # All but the last request, which does not hold the message.
            it.lab.instance(name).set_faults(parse_windows([{"fault": "http", "status": status}]))

        async def pass_on() -> None:
            while len(it.told_of(AttemptFailed)) < 2:  # noqa: ASYNC110 - there is no event
                await asyncio.sleep(0)
            for name in ("openai", "openai-b"):
                it.lab.instance(name).set_faults([])

        passing = asyncio.ensure_future(pass_on())
        down, up = await run_test(it.stage(), frames_to_send=[LLMContextFrame(context)])
        await passing

    (change,) = [frame for frame in up if isinstance(frame, LLMMessagesTransformFrame)]
    assert written(down)
    assert not it.told_of(StageExhausted)
    assert change.transform(context.messages) == [
        message for message in QUESTION if message["role"] == "system"
    ]


WRITTEN_CALL = '{"name": "transfer_to_person", "arguments": {"reason": "asked"}}'


@pytest.mark.parametrize(
    ("text", "runs"),
    [
        (WRITTEN_CALL, [{"reason": "asked"}]),
        (f"<tool_call>{WRITTEN_CALL}</tool_call>", [{"reason": "asked"}]),
        (f"One moment.\n```json\n{WRITTEN_CALL}\n```", [{"reason": "asked"}]),
        (f"{WRITTEN_CALL}\n```\n{WRITTEN_CALL}\n```", [{"reason": "asked"}]),
        (WRITTEN_CALL.replace("transfer_to_person", "delete_all"), []),
        (WRITTEN_CALL.replace("reason", "colour"), []),
        (WRITTEN_CALL.replace('"asked"', "5"), []),
        ('<tool_call>{"name": "transfer_to_person", "argu', []),
        ('[transfer_to_person(reason="asked")]', [{"reason": "asked"}]),
    ],
)
async def test_a_tool_call_written_as_text_is_run_if_it_could_be_one(
    text: str, runs: list[dict[str, Any]]
) -> None:
    async with writing(text[:9], text[9:], finish="stop") as url, bench() as it:
        it.urls["openai"] = url
        called = await asked_for_a_person(it)
        failed = it.told_of(AttemptFailed)
        answer = await it.ask()  # without a tool

    # The standby names it otherwise, or says something.
    assert called == (runs or [{"reason": "can i speak to a person"}])
    assert {item.kind for item in failed} == (set() if runs else {Kind.SILENT})
    assert answer == ("One moment." if text.startswith("One") else ANSWER)


HALF = WRITTEN_CALL[:-12]


@pytest.mark.parametrize("finish", ["length", "stop"])
@pytest.mark.parametrize(
    ("text", "requests"),
    [
        (f"<tool_call>{HALF}", 2),
        (HALF, 2),
        (f"\n```json\n{HALF}", 2),
        ('transfer_to_person(reason="as', 2),
        ("<tool_ca", 2),
        (f"<tool_call>{WRITTEN_CALL}", 1),
    ],
)
async def test_a_written_tool_call_that_is_cut_off_after_a_sentence_is_requested_again(
    text: str, requests: int, finish: str
) -> None:
    left = [f"<tool_call>{WRITTEN_CALL}</tool_call>", f"One moment. {text}"]

    def write(_asked: dict[str, Any]) -> list[Any]:
        text = left.pop()
        return [chunk({"content": text[:14]}), chunk({"content": text[14:]}), chunk({}, finish)]

    async with choosing(write) as url, bench() as it:
        it.urls["openai"] = url
        called = await asked_for_a_person(it)

    assert called == [{"reason": "asked"}]
    assert [attempt.provider for attempt in it.told_of(AttemptStarted)] == ["openai"] * requests
    assert it.told_of(AttemptFailed) == []


@pytest.mark.parametrize("finish", ["length", "stop"])
@pytest.mark.parametrize(
    ("cut", "runs", "requests"), [(0, 1, 1), (1, 1, 2), (2, 1, 3), (3, 1, 4), (9, 0, 4)]
)
async def test_a_written_tool_call_that_is_cut_off_again_and_again_is_requested_four_times(
    cut: int, runs: int, requests: int, finish: str
) -> None:
    half, left = f"<tool_call>{HALF}", iter(range(9))

    def write(_asked: dict[str, Any]) -> list[Any]:
        at = next(left)
        call = half if at < cut else f"<tool_call>{WRITTEN_CALL}</tool_call>"
        return [chunk({"content": call if at else f"One moment. {call}"}), chunk({}, finish)]

    async with choosing(write) as url, bench() as it:
        it.urls["openai"] = url
        called = await asked_for_a_person(it)

    assert (len(called), len(it.told_of(AttemptStarted))) == (runs, requests)
    assert it.told_of(AttemptFailed) == []


@pytest.mark.parametrize("rest", ["<tool_call>{", "<think>They want"])
async def test_an_answer_without_tools_that_is_cut_off_after_a_sentence_is_whole(rest: str) -> None:
    events = [chunk({"content": f"We open at nine. {rest}"}), chunk({}, "length")]
    async with streaming(*events) as url, bench() as it:
        it.urls["openai"] = url
        assert await it.ask() == "We open at nine."

    assert len(it.told_of(AttemptStarted)) == 1


@pytest.mark.parametrize(("value", "calls"), [("sales", 1), ("asked", 0)])
def test_a_written_call_may_only_have_values_that_the_tool_lists(value: str, calls: int) -> None:
    tool = FunctionSchema(
        name="transfer_to_person", description="Put the caller through.",
        properties={"reason": {"enum": ["sales", "billing"]}}, required=[],
    )  # fmt: skip
    assert len(calls_in_text([WRITTEN_CALL.replace("asked", value)], [tool])) == calls


async def test_a_tool_call_that_is_sent_and_written_is_run_once() -> None:
    function = {"name": "transfer_to_person", "arguments": '{"reason": "asked"}'}
    sent = {"tool_calls": [{"index": 0, "id": "1", "type": "function", "function": function}]}
    events = [chunk({"content": WRITTEN_CALL}), chunk(sent), chunk({}, "tool_calls")]
    async with streaming(*events) as url, bench() as it:
        it.urls["openai"] = url
        assert await asked_for_a_person(it) == [{"reason": "asked"}]


@pytest.mark.parametrize("pieces", [("5",), ("1", "2."), ("h",), ("<think>a</think>", "9")])
async def test_an_answer_recognised_as_one_only_at_its_end_is_spoken(
    pieces: tuple[str, ...],
) -> None:
    async with writing(*pieces, finish="stop") as url, bench() as it:
        it.urls["openai"] = url
        assert await it.ask() == "".join(pieces).removeprefix("<think>a</think>")

    assert it.told_of(AttemptFailed) == []


@pytest.mark.parametrize(
    "pieces",
    [
        ("They want the ", "hours.\n</thi", "nk>\n\nWe open ", "at nine."),
        ("```\nWe open ", "at nine.\n```"),
        ('{"response": "We ', 'open at nine."}'),
        ("We open at nine [do", "c1].\u30104:0\u2020source\u3011"),
    ],
    ids=["thoughts", "a fence", "JSON", "citations"],
)
async def test_only_the_answer_is_passed_on(pieces: tuple[str, ...]) -> None:
    async with writing(*pieces, finish="stop") as url, bench() as it:
        it.urls["openai"] = url
        assert await it.ask() == "We open at nine."

    assert it.told_of(AttemptFailed) == []


async def test_a_standby_continues_from_the_spoken_words_not_from_the_written_ones() -> None:
    async with (
        writing("**We** open ", "<think>when?</think>at *nine*. ", finish=None) as first,
        writing("**We** open at *nine*. ", "- From Monday.", finish="stop") as second,
        bench() as it,
    ):
        it.urls |= {"openai": first, "openai-b": second}
        answer = await it.ask()

    assert answer == "We open at nine. - From Monday."


async def test_an_endless_reply_is_ended_with_a_sentence() -> None:
    sentences = [
        f"Sentence number {n} is one of very many that the model writes. " for n in range(99)
    ]
    async with writing(*sentences, finish="stop") as url, bench() as it:
        it.urls["openai"] = url
        answer = await it.ask()

    spoken_s = len(answer) * CHARACTER_S
    assert MAX_REPLY_S - 5 < spoken_s < MAX_REPLY_S + 5
    assert answer.endswith("that the model writes.")
    assert it.told_of(AttemptFailed) == []
