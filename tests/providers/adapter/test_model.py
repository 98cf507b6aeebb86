"""Pipecat's model services as rungs: the contract of every model, and their own failures."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any, ClassVar

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from openai.types.chat import ChatCompletionChunk
from pipecat.adapters.llm.schemas.function_schema import FunctionSchema
from pipecat.adapters.llm.schemas.tools_schema import ToolsSchema
from pipecat.frames.frames import ErrorFrame, LLMMessagesAppendFrame
from pipecat.processors.aggregators.llm_context import LLMContext, LLMSpecificMessage
from pipecat.processors.frame_processor import FrameDirection

from fallbacks.failure import Failure, Kind
from lab.simulators import faults
from lab.simulators.faults import Fault
from lab.simulators.instance import Instance
from lab.simulators.lab import Lab, Spec
from lab.simulators.schedule import Window
from providers.adapter.model import ANSWER, build, share, write
from providers.catalog import end_reasons, provider
from providers.facts import RungFacts
from providers.provider import PenQuestion, ProbeFailedError, RungSpec
from tests.kit.bench import rung_spec, running
from tests.providers.adapter.own_models import HERE, Scripted
from tests.providers.llm_conformance import ASKED, LlmConformance

pytestmark = pytest.mark.virtual_time

SERVICES = {
    "openai": "pipecat.services.openai.llm:OpenAILLMService",
    "anthropic": "pipecat.services.anthropic.llm:AnthropicLLMService",
    "gemini": "pipecat.services.google.llm:GoogleLLMService",
}
MODELS = {"openai": "gpt-4.1-mini"}
WHOLE = "We open at nine."


def rung_at(peer: Instance, **changes: Any) -> RungSpec:
    service = SERVICES[peer.kind]
    entry = provider("llm", "pipecat", service)
    given: dict[str, Any] = {
        "name": "it",
        "stage": "llm",
        "kind": "pipecat",
        "url": peer.url,
        "api_key": peer.api_key,
        "sample_rate_hz": 8000,
        "service": service,
        "facts": entry.facts,
        "model": MODELS.get(peer.kind),
        "timeout_s": 2.0,
    }
    return RungSpec(**{**given, **changes})


class PipecatModel(LlmConformance):
    """The contract of a model behind the adapter."""

    def rung(self, peer: Any, **changes: Any) -> RungSpec:
        return rung_at(peer, **changes)

    async def probe(self, peer: Any, *, timeout_s: float = 5.0, **changes: Any) -> None:
        await provider("llm", "pipecat", SERVICES[peer.kind]).probe_for_real(
            self.rung(peer, **changes), timeout_s=timeout_s
        )

    async def test_a_wrong_key_is_refused_and_reported(self, peer: Instance) -> None:
        async with running(self.service(peer, api_key="not-the-key")) as bench:
            await self.give_work(bench)
            await bench.first(ErrorFrame)

        assert "not-the-key" not in "".join(bench.errors())

    async def test_a_probe_with_a_wrong_key_says_so_in_one_line(self, peer: Instance) -> None:
        with pytest.raises(ProbeFailedError) as refused:
            await self.probe(peer, api_key="not-the-key")

        assert refused.value.failure(self.rung(peer)).kind is Kind.AUTH
        assert "not-the-key" not in str(refused.value)
        assert "\n" not in str(refused.value)

    async def test_a_probe_of_a_silent_server_ends_in_time(self, peer: Instance) -> None:
        peer.set_faults([Window(fault=faults.Silent(where="handshake"))])

        with pytest.raises(ProbeFailedError, match="no_answer"):
            async with asyncio.timeout(2.0):
                await self.probe(peer, timeout_s=0.2)


class TestPipecatsOpenAI(PipecatModel):
    kind: ClassVar[str] = "openai"
    model: ClassVar[str] = "gpt-4.1-mini"


class TestAnthropic(PipecatModel):
    kind: ClassVar[str] = "anthropic"
    model: ClassVar[str] = "claude-sonnet-4-6"


class TestGemini(PipecatModel):
    kind: ClassVar[str] = "gemini"
    model: ClassVar[str] = "gemini-3.6-flash"


# -- what the stage gets


class Got:
    """What one answer consisted of."""

    def __init__(self) -> None:
        self.chunks: list[ChatCompletionChunk] = []
        self.answered = 0
        self.failure: Failure | None = None

    @property
    def text(self) -> str:
        return "".join(choice.delta.content or "" for choice in self.choices)

    @property
    def choices(self) -> list[Any]:
        return [chunk.choices[0] for chunk in self.chunks if chunk.choices]

    @property
    def finish(self) -> str:
        return "".join(choice.finish_reason or "" for choice in self.choices)

    @property
    def calls(self) -> dict[str, Any]:
        """The tool calls: names and arguments."""
        found: dict[int, list[str]] = {}
        for choice in self.choices:
            for piece in choice.delta.tool_calls or ():
                call = found.setdefault(piece.index, ["", ""])
                call[0] += piece.function.name or ""
                call[1] += piece.function.arguments or ""
        return {name: json.loads(arguments) for name, arguments in found.values()}

    @property
    def usage(self) -> Any:
        return next((chunk.usage for chunk in self.chunks if chunk.usage), None)


async def ask(model: Any, context: LLMContext | None = None) -> Got:
    got = Got()

    def answered() -> None:
        got.answered += 1

    try:
        async for chunk in model.ask(context or LLMContext(list(ASKED)), on_answered=answered):
            got.chunks.append(chunk)
    except Exception as error:  # noqa: BLE001 - as the stage does
        got.failure = model.failure_of(error, flowing=bool(got.text))
    return got


@asynccontextmanager
async def at(kind: str, fault: Fault | None = None, **changes: Any) -> AsyncIterator[Any]:
    """Run a simulator with a fault; yield the model of a rung there."""
    async with Lab([Spec(name="it", kind=kind)], speed=20.0) as lab:
        peer = lab.instance("it")
        peer.set_faults([Window(fault=fault)] if fault else [])
        model = build(rung_at(peer, **changes))
        model.peer = peer
        yield model
        await model.close()


FAILURES: dict[str, tuple[Fault, Kind]] = {
    "refused": (faults.Refuse(), Kind.NETWORK),
    "503": (faults.Http(status=503), Kind.OVERLOADED),
    "429": (faults.Http(status=429), Kind.RATE_LIMITED),
    "401": (faults.Http(status=401), Kind.AUTH),
    "404": (faults.Http(status=404), Kind.NOT_FOUND),
    "no credit": (faults.Quota(), Kind.QUOTA),
    "silent": (faults.Silent(), Kind.TIMEOUT),
    "reset at word 4": (faults.Cut(), Kind.CUT),
    "stalled at word 4": (faults.Stall(), Kind.STALLED),
    "garbage": (faults.Garbage(), Kind.PROTOCOL),
}


@pytest.mark.parametrize("kind", SERVICES)
@pytest.mark.parametrize(("fault", "expected"), FAILURES.values(), ids=FAILURES.keys())
async def test_each_failure_has_its_kind(kind: str, fault: Fault, expected: Kind) -> None:
    async with at(kind, fault) as model:
        got = await ask(model)
        requests = model.peer.record.requests("it")

    assert got.failure is not None
    assert got.failure.kind is expected
    assert len(requests) == (not isinstance(fault, faults.Refuse))  # which nobody sees


@pytest.mark.parametrize("kind", SERVICES)
async def test_an_answer_has_its_words_its_reason_and_its_usage(kind: str) -> None:
    async with at(kind) as model:
        got = await ask(model)
        sent = model.peer.record.requests("it")[-1].details["sent"]

    assert (got.text, got.finish, got.failure, got.answered) == (sent, "stop", None, 1)
    assert got.usage.prompt_tokens > 0
    assert got.usage.completion_tokens > len(sent.split())


@pytest.mark.parametrize("kind", SERVICES)
async def test_a_stream_that_closes_cleanly_early_has_no_reason(kind: str) -> None:
    async with at(kind, faults.Cut(how="close")) as model:
        got = await ask(model)

    assert len(got.text.split()) == 4
    assert (got.finish, got.failure) == ("", None)


@pytest.mark.parametrize("kind", SERVICES)
async def test_an_answer_that_used_up_its_tokens_says_so(kind: str) -> None:
    async with at(kind, options={"max_tokens": 3}) as model:
        got = await ask(model)

    assert got.finish == "length"


@pytest.mark.parametrize("kind", SERVICES)
async def test_leaving_an_answer_ends_its_request(kind: str) -> None:
    async with at(kind, faults.SlowRate(factor=0.05)) as model:
        async with aclosing(model.ask(LLMContext(list(ASKED)), on_answered=lambda: None)) as answer:
            async for chunk in answer:
                if chunk.choices and chunk.choices[0].delta.content:
                    break
        async with asyncio.timeout(2.0):
            while model.peer.record.requests("it")[-1].outcome == "open":  # noqa: ASYNC110 - nothing tells us
                await asyncio.sleep(0.02)

        assert model.peer.record.requests("it")[-1].outcome != "done"


@pytest.mark.parametrize("kind", SERVICES)
async def test_a_service_is_never_unusable_by_its_own_decision(kind: str) -> None:
    async with at(kind, faults.Http(status=401)) as model:
        await ask(model)
        usable = model.is_usable
        model.peer.clear()
        got = await ask(model)

    assert usable
    assert got.finish == "stop"


@pytest.mark.parametrize("kind", SERVICES)
async def test_all_calls_use_the_connections_of_one_client(kind: str) -> None:
    async with Lab([Spec(name="it", kind=kind)], speed=20.0) as lab:
        peer = lab.instance("it")
        shared = share(rung_at(peer))
        for _ in range(2):
            model = build(rung_at(peer, shared=shared))
            got = await ask(model)
            await model.close()
            assert got.finish == "stop"
        await shared.close()


async def test_a_client_that_a_service_makes_for_itself_is_closed_with_the_call() -> None:
    place = "pipecat.services.openai.responses.llm:OpenAIResponsesHttpLLMService"
    given = {"service": place, "model": "m"}
    shared = share(rung_spec("llm", "pipecat", "http://127.0.0.1:9", **given))
    model = build(rung_spec("llm", "pipecat", "http://127.0.0.1:9", shared=shared, **given))
    client = model._client
    await model.close()

    assert client.is_closed()
    assert not shared.client.is_closed()
    await shared.close()


@pytest.mark.parametrize("kind", SERVICES)
async def test_it_writes_outside_calls(kind: str) -> None:
    async with Lab([Spec(name="it", kind=kind)], speed=20.0) as lab:
        question = PenQuestion(instruction="Be brief.", text="What are your opening hours?")
        answer = await write(rung_at(lab.instance("it")), question)
        model = build(rung_at(lab.instance("it")))
        inferred = await model.infer(LLMContext(list(ASKED)), max_tokens=500)
        await model.close()

    assert answer.text.startswith("We open at nine.")
    assert answer.prompt_tokens
    assert inferred
    assert "euros" in inferred


# -- tools


CALL = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "price", "arguments": '{"of": "a haircut"}'},
}
TALK: list[Any] = [
    *ASKED,
    {"role": "assistant", "content": "", "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "call_1", "content": '{"price": "40 euros"}'},
    {"role": "developer", "content": "Answer in one sentence."},
]
TOOLS = [
    FunctionSchema(name=name, description="", properties={}, required=[])
    for name in ("price", "hours")
]


@pytest.mark.parametrize("kind", SERVICES)
async def test_a_conversation_with_tools_is_sent_in_the_vendors_form(kind: str) -> None:
    foreign = {"type": "thought_signature", "signature": b"x", "bookmark": {"text": "y"}}
    async with at(kind) as model:
        own = model.get_llm_adapter().id_for_llm_specific_messages
        others = {"google", "anthropic", "openai"} - {own}
        private = [LLMSpecificMessage(llm=llm, message=foreign) for llm in others]
        talk = LLMContext([*TALK[:-1], *private, TALK[-1]], tools=ToolsSchema(TOOLS))
        got = await ask(model, talk)
        request = model.peer.record.requests("it")[-1]

    assert got.failure is None
    assert request.well_formed
    assert request.details["tools"] == 2
    assert request.details["messages"] == len(TALK)


async def test_private_entries_return_to_the_vendor_that_wrote_them() -> None:
    entry = LLMSpecificMessage(llm="google", message={"type": "thought_signature"})
    async with at("gemini") as model:
        ANSWER.set(object())  # type: ignore[arg-type] - any answer in progress
        await model.push_frame(LLMMessagesAppendFrame([entry]), FrameDirection.DOWNSTREAM)
        ANSWER.set(None)

        seen = model._own_view(LLMContext(list(ASKED))).messages

    assert seen == [*ASKED, entry]


@pytest.mark.parametrize("kind", SERVICES)
async def test_entries_of_a_conversation_in_the_vendors_own_form_stay_in_their_place(
    kind: str,
) -> None:
    async with at(kind) as model:
        entry = model.get_llm_adapter().create_llm_specific_message({"role": "user"})
        seen = model._own_view(LLMContext([entry, *ASKED])).messages

    assert seen == [entry, *ASKED]


def sse(*events: dict[str, Any]) -> bytes:
    return b"".join(
        f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events
    )


def tool_use(index: int, name: str) -> list[dict[str, Any]]:
    block = {"type": "tool_use", "id": f"t{index}", "name": name, "input": {}}
    part = {"type": "input_json_delta", "partial_json": f'{{"of": "{name}"}}'}
    return [
        {"type": "content_block_start", "index": index, "content_block": block},
        {"type": "content_block_delta", "index": index, "delta": part},
        {"type": "content_block_stop", "index": index},
    ]


BEGUN = {"type": "message_start", "message": {"usage": {"input_tokens": 9, "output_tokens": 1}}}
ENDED = {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {}}


def choices(delta: dict[str, Any], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return f"data: {json.dumps({'id': 'x', 'choices': [choice]})}\n\n".encode()


def openai_call(index: int, name: str) -> dict[str, Any]:
    function = {"name": name, "arguments": f'{{"of": "{name}"}}'}
    return {"index": index, "id": f"t{index}", "type": "function", "function": function}


def gemini(*parts: dict[str, Any], finish: str = "") -> bytes:
    candidate: dict[str, Any] = {"content": {"parts": [*parts], "role": "model"}}
    if finish:
        candidate["finishReason"] = finish
    return f"data: {json.dumps({'candidates': [candidate]})}\n\n".encode()


TWO_CALLS = {
    "openai": choices({"tool_calls": [openai_call(0, "price"), openai_call(1, "hours")]})
    + choices({}, "tool_calls"),
    "anthropic": sse(BEGUN, *tool_use(0, "price"), *tool_use(1, "hours"), ENDED),
    "gemini": gemini(
        *({"functionCall": {"name": name, "args": {"of": name}}} for name in ("price", "hours")),
        finish="STOP",
    ),
}


@asynccontextmanager
async def sending(body: bytes, *, holds: bool = False) -> AsyncIterator[str]:
    """Serve one body for every request; if it `holds`, the connection then stays open."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        await response.write(body)
        if holds:
            await asyncio.Event().wait()
        return response

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    async with TestServer(app) as server:
        yield str(server.make_url("")).rstrip("/")


def model_at(kind: str, url: str, **changes: Any) -> Any:
    service = SERVICES[kind]
    facts = provider("llm", "pipecat", service).facts
    given = {"service": service, "facts": facts, "model": MODELS.get(kind), **changes}
    return build(rung_spec("llm", "pipecat", url, **given))


@pytest.mark.parametrize("kind", SERVICES)
async def test_both_of_two_parallel_calls_survive(kind: str) -> None:
    async with sending(TWO_CALLS[kind]) as url:
        model = model_at(kind, url)
        got = await ask(model)
        await model.close()

    assert got.failure is None
    assert got.calls == {"price": {"of": "price"}, "hours": {"of": "hours"}}
    assert end_reasons()[got.finish] in ("tool_calls", "stop")


@pytest.mark.parametrize("kind", SERVICES)
async def test_an_answer_has_ended_even_if_its_connection_stays_open(kind: str) -> None:
    async with sending(TWO_CALLS[kind], holds=True) as url:
        model = model_at(kind, url)
        async with asyncio.timeout(1.0):
            got = await ask(model)
        await model.close()

    assert got.failure is None
    assert got.finish


STOPPED = {
    "openai": (choices({"content": "We"}) + choices({}, "content_filter"), "content_filter"),
    "anthropic": (
        sse(BEGUN, ENDED | {"delta": {"stop_reason": "refusal"}}),
        "content_filter",
    ),
    "gemini": (gemini({"text": "We"}, finish="SAFETY"), "content_filter"),
    "gemini in vain": (gemini(finish="MALFORMED_FUNCTION_CALL"), "MALFORMED_FUNCTION_CALL"),
}


@pytest.mark.parametrize(("kind", "stopped"), STOPPED.items(), ids=STOPPED.keys())
async def test_the_stage_learns_why_an_answer_was_withheld(
    kind: str, stopped: tuple[bytes, str]
) -> None:
    body, expected = stopped
    async with sending(body) as url:
        model = model_at(kind.partition(" ")[0], url)
        got = await ask(model)
        await model.close()

    assert (got.finish, got.failure) == (expected, None)


ERRORS = {
    "anthropic overloaded": ({"type": "overloaded_error", "message": "x"}, Kind.OVERLOADED),
    "anthropic limit": ({"type": "rate_limit_error", "message": "x"}, Kind.RATE_LIMITED),
    "anthropic key": ({"type": "authentication_error", "message": "x"}, Kind.AUTH),
}


@pytest.mark.parametrize(("error", "kind"), ERRORS.values(), ids=ERRORS.keys())
async def test_an_error_inside_an_answer_is_classified_by_its_words(
    error: dict[str, str], kind: Kind
) -> None:
    async with sending(sse(BEGUN, {"type": "error", "error": error})) as url:
        model = model_at("anthropic", url)
        got = await ask(model)
        await model.close()

    assert got.failure is not None
    assert got.failure.kind is kind


@pytest.mark.parametrize("kind", SERVICES)
async def test_a_redirect_is_not_followed(kind: str) -> None:
    reached: list[str] = []

    async def redirect(request: web.Request) -> web.Response:
        reached.append(request.path)
        location = f"http://localhost:{request.url.port}/elsewhere"
        return web.Response(status=307, headers={"location": location})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", redirect)
    async with TestServer(app) as server:
        model = model_at(kind, str(server.make_url("")).rstrip("/"))
        got = await ask(model)
        await model.close()

    assert got.failure is not None
    assert "/elsewhere" not in reached


# -- an owner's own service


def scripted(script: str, **changes: Any) -> Any:
    given = {"service": f"{HERE}:Scripted", "init": {"script": script}, **changes}
    return build(rung_spec("llm", "pipecat", **given))


async def test_an_own_service_without_a_reason_ends_ordinarily() -> None:
    got = await ask(scripted("whole"))

    assert (got.text, got.finish, got.failure, got.answered) == (WHOLE, "stop", None, 1)


async def test_an_own_service_that_should_say_why_was_cut_if_it_does_not() -> None:
    got = await ask(scripted("whole", facts=RungFacts(says_why=True)))

    assert (got.text, got.finish) == (WHOLE, "")


async def test_tokens_from_the_cache_count_as_part_of_the_prompt() -> None:
    usage = (await ask(scripted("whole"))).usage

    assert (usage.prompt_tokens, usage.completion_tokens) == (110, 5)
    assert usage.prompt_tokens_details.cached_tokens == 100


async def test_the_reason_is_read_from_a_stream_like_bedrocks() -> None:
    got = await ask(scripted("converses"))

    assert (got.text, got.finish) == (WHOLE, "content_filter")


OWN_FAILURES = {
    "times_out_silently": Kind.TIMEOUT,
    "writes_numbers": Kind.PROTOCOL,
    "raises": Kind.PROTOCOL,
    "exits": Kind.PROTOCOL,
    "cancels_itself": Kind.NETWORK,
    "is_refused": Kind.AUTH,
    "is_overloaded": Kind.OVERLOADED,
}


@pytest.mark.parametrize(("script", "kind"), OWN_FAILURES.items(), ids=OWN_FAILURES.keys())
async def test_what_an_own_service_does_wrong_is_its_failure(script: str, kind: Kind) -> None:
    async with asyncio.timeout(1.0):
        got = await ask(scripted(script))

    assert got.failure is not None
    assert got.failure.kind is kind


async def test_an_own_service_calls_two_tools() -> None:
    got = await ask(scripted("calls_two_tools"))

    assert got.calls == {"price": {"of": "price"}, "hours": {"of": "hours"}}


@pytest.mark.parametrize("script", ["swallows_cancellation", "speaks_after_cancellation"])
async def test_nobody_waits_for_a_service_that_ignores_its_cancellation(script: str) -> None:
    model, loop = scripted(script), asyncio.get_running_loop()
    began_at = loop.time()
    async with aclosing(model.ask(LLMContext(list(ASKED)), on_answered=lambda: None)) as answer:
        async for _ in answer:
            break

    assert loop.time() - began_at < 0.1
    async with asyncio.timeout(5.0):
        await model.close()
    model.released = True  # else the loop of the test could not end
    await asyncio.sleep(0.2)


@pytest.mark.parametrize("error", [asyncio.CancelledError(), SystemExit(1)], ids=repr)
async def test_a_cleanup_that_raises_ends_nothing_else(
    error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def cleanup(_: Scripted) -> None:
        raise error

    monkeypatch.setattr(Scripted, "cleanup", cleanup)

    await scripted("whole").close()


async def test_a_cleanup_that_ignores_its_cancellation_is_abandoned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, released = scripted("whole"), asyncio.Event()

    async def cleanup(_: Scripted) -> None:
        while not released.is_set():
            with suppress(asyncio.CancelledError):
                await released.wait()

    monkeypatch.setattr(Scripted, "cleanup", cleanup)
    closing = asyncio.ensure_future(model.close())
    done, _ = await asyncio.wait({closing}, timeout=3.0)
    released.set()  # else the loop of the test could not end
    await closing

    assert done


async def test_two_answers_of_one_service_do_not_mix() -> None:
    model = scripted("whole")

    both = await asyncio.gather(ask(model), ask(model))

    assert [got.text for got in both] == [WHOLE, WHOLE]


async def test_a_question_outside_the_conversation_is_asked_like_any_other() -> None:
    assert await scripted("whole").infer(LLMContext(list(ASKED)), max_tokens=9) == WHOLE
