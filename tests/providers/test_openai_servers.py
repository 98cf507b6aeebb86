"""Servers with OpenAI's protocol, each with its own oddities, as rungs of kind `openai`."""

import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from pipecat.adapters.llm.schemas.function_schema import FunctionSchema
from pipecat.adapters.llm.schemas.tools_schema import ToolsSchema
from pipecat.processors.aggregators.llm_context import LLMContext

from bot.health.policies import PACES, PRIORS_S
from calls.sentences import Vendor, cure_of, explain
from fallbacks.availability import AvailabilityTable, Place
from fallbacks.classification import classify_http
from fallbacks.events import AttemptFailed, RungChosen
from fallbacks.failure import Kind, Scope, ServiceError
from fallbacks.ladder import StagePolicy
from lab.simulators import faults
from lab.simulators.instance import Core, Instance
from lab.simulators.lab import Lab, Spec
from lab.simulators.openai.like import oddities
from lab.simulators.schedule import Window
from processors.answering.tool_calls import ToolCalls
from providers.catalog import provider
from providers.openai import build, probe, share, write
from providers.openai_servers import is_strict, openai_servers, server_at, strict
from providers.provider import PenQuestion, ProbeFailedError, RungSpec
from tests.kit.bench import rung_spec
from tests.processors.answering.test_stage import ANSWER, Bench, question
from tests.providers.scripted_model import chunk, moderating, sending

pytestmark = pytest.mark.virtual_time

LIKE = list(oddities())
CALLBACK = FunctionSchema(
    name="request_callback", description="", properties={"number": {"type": "string"}}, required=[]
)


def rung(peer: Instance, **changes: Any) -> RungSpec:
    """Return a rung that is named for its vendor, with a model that the vendor has."""
    like = peer.name.partition("-")[0]
    model = oddities()[like].models[0] if like in oddities() else None
    given = {
        "name": peer.name,
        "api_key": peer.api_key,
        "model": model,
        "instructions": "Be brief.",
    }
    return rung_spec("llm", "openai", peer.url, **(given | changes))


@asynccontextmanager
async def ladder(*names: str) -> AsyncIterator[Bench]:
    """Run a lab and a stage with these rungs; all but `openai` are servers of other vendors."""
    specs = [
        Spec(name=name, kind="openai", options={} if name == "openai" else {"like": name})
        for name in names
    ]
    async with Lab(specs, core=Core(steady=True)) as lab:
        places = [Place(stage="llm", provider=name, credential=name) for name in names]
        availability = AvailabilityTable(places, now=time.monotonic(), priors_s=PRIORS_S)
        policy = StagePolicy(stage="llm", availability=availability, pace=PACES["llm"])
        shared = {name: rung(lab.instance(name)) for name in names}
        yield Bench(lab, names, policy, shared=shared)


async def words_of(spec: RungSpec) -> str:
    """Return the words of one answer of a rung by itself."""
    model = build(spec)
    pieces = [piece async for piece in model.ask(question(), on_answered=lambda: None)]
    await model.close()
    choices = [choice for piece in pieces for choice in piece.choices]
    return "".join(choice.delta.content or "" for choice in choices if choice.delta)


@pytest.mark.parametrize("like", LIKE)
async def test_a_healthy_answer_is_whole_at_the_first_request(like: str) -> None:
    async with ladder(like) as it:
        answer = await it.ask()
        (request,) = it.lab.instance(like).record.requests(like)

    assert answer == ANSWER
    assert it.told_of(AttemptFailed) == []
    assert (request.outcome, request.well_formed) == ("done", True)


@pytest.mark.parametrize("like", LIKE)
async def test_its_cheap_probe_and_an_answer_outside_calls_work(like: str) -> None:
    async with Lab([Spec(name=like, kind="openai", options={"like": like})]) as lab:
        spec = rung(lab.instance(like))
        await probe(spec, timeout_s=5.0)
        await provider("llm", "openai").probe_for_real(spec, timeout_s=5.0)
        answer = await write(spec, PenQuestion(instruction="Be brief.", text="When do you open?"))
        with pytest.raises(ProbeFailedError) as refused:
            await probe(rung(lab.instance(like), api_key="wrong"), timeout_s=5.0)

    assert answer.text.startswith("We open at nine.")
    assert refused.value.failure(spec).kind is Kind.AUTH


@pytest.mark.parametrize("like", LIKE)
async def test_a_tool_is_called_once_with_whole_arguments(like: str) -> None:
    asked = LLMContext(
        [{"role": "user", "content": "Please call me back."}],
        tools=ToolsSchema(standard_tools=[CALLBACK]),
    )
    calls = ToolCalls()
    async with Lab([Spec(name=like, kind="openai", options={"like": like})]) as lab:
        model = build(rung(lab.instance(like)))
        async for piece in model.ask(asked, on_answered=lambda: None):
            if piece.choices and piece.choices[0].delta and piece.choices[0].delta.tool_calls:
                calls.add(piece, piece.choices[0].delta.tool_calls)
        await model.close()

    (call,) = calls.whole()
    (made,) = call.choices[0].delta.tool_calls or []
    assert made.function is not None
    assert made.function.name == "request_callback"
    assert isinstance(json.loads(made.function.arguments or ""), dict)


@pytest.mark.parametrize("like", LIKE)
async def test_a_tool_call_of_another_vendor_is_part_of_a_conversation_that_it_accepts(
    like: str,
) -> None:
    function = {"name": "request_callback", "arguments": "{}"}
    call = {"id": "call_" + "a" * 24, "type": "function", "function": function}
    before = [
        {"role": "user", "content": "Please call me back."},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": call["id"], "content": "{}"},
    ]
    context = question()
    context.set_messages([*before, *context.messages])  # type: ignore[list-item]
    async with ladder(like) as it:
        answer = await it.ask(context)

    assert answer == ANSWER
    assert it.told_of(AttemptFailed) == []


@pytest.mark.parametrize("like", LIKE)
@pytest.mark.parametrize(("first", "how"), [("it", "close"), ("openai", "reset")])
async def test_each_word_comes_once_if_it_is_cut_or_continues_the_answer_of_another(
    like: str, first: str, how: str
) -> None:
    names = (like, "openai") if first == "it" else ("openai", like)
    async with ladder(*names) as it:
        cut = faults.Cut(after_words=4, how=how)
        it.lab.instance(names[0]).set_faults([Window(fault=cut)])
        answer = await it.ask()

    assert answer.split() == ANSWER.split()
    assert [item.after for item in it.told_of(RungChosen)] == [names[1]]
    assert len(it.told_of(AttemptFailed)) == 1


async def test_a_server_that_refuses_the_request_for_usage_is_asked_without_from_then_on() -> None:
    async with Lab([Spec(name="mistral", kind="openai", options={"like": "mistral"})]) as lab:
        unknown = rung(lab.instance("mistral"), name="fast")  # a name that the table does not have
        client = share(unknown)
        answers = [await words_of(replace(unknown, shared=client)) for _ in range(2)]
        await client.close()
        requests = lab.instance("mistral").record.requests("mistral")

    assert answers == [ANSWER, ANSWER]
    assert [request.well_formed for request in requests] == [False, True, True]


NO_CREDIT = 0
COMMON = {
    401: (Kind.AUTH, Scope.CREDENTIAL),
    404: (Kind.NOT_FOUND, Scope.CONFIGURATION),
    429: (Kind.RATE_LIMITED, Scope.CAPACITY),
    503: (Kind.OVERLOADED, Scope.ENDPOINT),
    NO_CREDIT: (Kind.QUOTA, Scope.CREDENTIAL),
}
OWN: dict[str, dict[int, tuple[Kind, Scope]]] = {
    "groq": {413: (Kind.BAD_REQUEST, Scope.PAYLOAD), 498: (Kind.OVERLOADED, Scope.ENDPOINT)},
    "openrouter": {403: (Kind.BAD_REQUEST, Scope.REQUEST)},
    "deepseek": {400: (Kind.BAD_REQUEST, Scope.PAYLOAD)},
    "azure": {
        400: (Kind.BAD_REQUEST, Scope.PAYLOAD),
        NO_CREDIT: (Kind.RATE_LIMITED, Scope.CAPACITY),  # Azure bills, and has no credit to use up
    },
}
REFUSALS = [
    (like, status, *found)
    for like in LIKE
    for status, found in (COMMON | OWN.get(like, {})).items()
]


@pytest.mark.parametrize(("like", "status", "kind", "scope"), REFUSALS)
async def test_a_refusal_is_read_as_the_vendor_means_it_and_named_with_its_cure(
    like: str, status: int, kind: Kind, scope: Scope
) -> None:
    async with ladder(like) as it:
        peer = it.lab.instance(like)
        peer.set_faults([Window(fault=faults.Http(status=status or peer.no_credit[0]))])
        model = build(it.shared[like])
        with pytest.raises(Exception) as caught:  # noqa: PT011 - of the SDK's many
            async for _ in model.ask(question(), on_answered=lambda: None):
                pass
        await model.close()

    failure = model.failure_of(caught.value, flowing=False)
    said = explain(failure.kind, failure.reason, Vendor(title=like, key="ITS_KEY", place="here"))
    assert (failure.kind, failure.scope, failure.unknown) == (kind, scope, False)
    assert like in said
    assert cure_of(failure.kind) or kind in (Kind.RATE_LIMITED, Kind.OVERLOADED)
    if kind is Kind.AUTH:
        assert "ITS_KEY" in said


SUSPENDED = "Account x is suspended, possibly due to reaching the monthly spending limit."


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (412, {"error": {"message": SUSPENDED, "code": "PRECONDITION_FAILED"}}, Kind.QUOTA),
        (429, {"error": {"message": "?", "type": "exceeded_current_quota_error"}}, Kind.QUOTA),
        (403, {"error": {"message": "?", "type": "exceeded_current_quota_error"}}, Kind.QUOTA),
        (400, {"error": {"message": "Access denied.", "code": "Arrearage"}}, Kind.QUOTA),
        (403, "You have run out of credits or need a Grok subscription.", Kind.QUOTA),
        (429, "Your team has either used all available credits or more.", Kind.QUOTA),
        (429, {"code": "x", "error": "Your team has used all available credits."}, Kind.QUOTA),
        (400, {"error": {"message": "API key not valid.", "code": 400}}, Kind.AUTH),
        (400, {"code": "x", "error": "Incorrect API key provided: ab***cd."}, Kind.AUTH),
        (400, {"error": {"message": "Unknown parameter: 'api_key'."}}, Kind.BAD_REQUEST),
        (403, {"error": {"message": "credits to the author are missing"}}, Kind.AUTH),
        (412, {"error": {"message": "A precondition failed."}}, Kind.BAD_REQUEST),
        (
            429,
            {"error": {"message": "Your free credits allow 5 a minute"}},
            Kind.RATE_LIMITED,
        ),
    ],
)
def test_an_account_without_credit_is_told_from_a_limit_and_a_bad_key(
    status: int, body: object, kind: Kind
) -> None:
    assert classify_http("openai", status, body).kind is kind


IN_STREAM = {"groq": (Kind.BAD_REQUEST, Scope.REQUEST)}  # the model made an invalid tool call


@pytest.mark.parametrize("like", LIKE)
async def test_an_error_inside_the_stream_moves_the_answer_to_the_next_rung(like: str) -> None:
    async with ladder(like, "openai") as it:
        it.lab.instance(like).set_faults([Window(fault=faults.ErrorEvent())])
        answer = await it.ask()

    (failure,) = it.told_of(AttemptFailed)
    assert answer == ANSWER
    expected = IN_STREAM.get(like, (Kind.OVERLOADED, Scope.ENDPOINT))
    assert (failure.kind, failure.scope) == expected


async def test_an_error_in_place_of_a_whole_answer_with_a_status_of_200_is_no_refusal() -> None:
    error = {"error": {"code": 429, "message": "Provider returned error"}}
    async with moderating(lambda _: True, 200, lambda _: [], body=error) as url:
        spec = rung_spec("llm", "openai", url, name="openrouter")
        with pytest.raises(ServiceError) as caught:
            await write(spec, PenQuestion(instruction="Be brief.", text="When do you open?"))

    assert caught.value.failure.kind is Kind.RATE_LIMITED


BODIES: Mapping[str, tuple[str, Kind]] = {
    "an error": ('{"error": {"code": 502, "message": "?"}}', Kind.OVERLOADED),
    "an error after blank lines": ('\n\n\n {"error": {"code": 429}}', Kind.RATE_LIMITED),
    "an error on many lines": ('{\n "error": {\n  "code": 402\n }\n}\n', Kind.QUOTA),
    "errors in a list": ('[{"error": {"code": 503}}]', Kind.OVERLOADED),
    "a sentence": ('{"error": "Slow down.", "code": 429}', Kind.RATE_LIMITED),
}


@pytest.mark.parametrize(("body", "kind"), BODIES.values(), ids=BODIES)
async def test_an_error_in_place_of_a_stream_with_a_status_of_200_is_read(
    body: str, kind: Kind
) -> None:
    async with ladder("groq", "openai") as it, sending(body) as url:
        it.shared = {**it.shared, "groq": rung_spec("llm", "openai", url, name="groq")}
        answer = await it.ask()

    assert answer == ANSWER
    assert [failure.kind for failure in it.told_of(AttemptFailed)] == [kind]


@pytest.mark.parametrize("reason", ["eos", "model_length", "stop_sequence"])
async def test_a_vendors_word_for_an_end_ends_an_answer_without_a_done(reason: str) -> None:
    sent = "".join(
        f"data: {json.dumps(event)}\n\n"
        for event in (chunk({"content": "Hello there."}), chunk({}, reason))
    )
    async with ladder("groq", "openai") as it, sending(sent) as url:
        it.shared = {**it.shared, "groq": rung_spec("llm", "openai", url, name="groq")}
        answer = await it.ask()

    assert answer == "Hello there."
    assert it.told_of(AttemptFailed) == []


@pytest.mark.parametrize(
    ("url", "name", "found"),
    [
        ("https://api.groq.com/openai/v1", "fast", "Groq"),
        ("https://us.openai.azure.com/openai/v1", "it", "Azure OpenAI"),
        ("https://us.openai.azure.com/openai/deployments/X?api-version=1", "it", "Azure OpenAI"),
        ("http://localhost:11434/v1", "ollama-b", "Ollama"),
        ("http://10.0.0.7:8000/v1", "vllm", "vLLM"),
        ("http://127.0.0.1:9/v1", "mistral", "Mistral"),
        ("http://127.0.0.1:9/v1", "openai", ""),
        ("https://api.openai.com/v1", "mistral", ""),
        ("https://notapi.groq.com.example/v1", "it", ""),
        ("", "openai", ""),
    ],
)
def test_a_server_is_known_by_its_host_and_near_ones_by_their_rungs_name(
    url: str, name: str, found: str
) -> None:
    assert server_at(url, name=name).title == found


@pytest.mark.parametrize(
    ("url", "name", "developer"),
    [
        ("https://api.openai.com/v1", "it", True),
        ("http://127.0.0.1:9/v1", "openai-b", True),
        ("http://127.0.0.1:9/v1", "ollama", False),
        ("https://llm.example/v1", "openai", False),
        ("https://api.deepseek.com/v1", "openai", False),
    ],
)
def test_only_openais_own_server_gets_its_own_role_for_instructions(
    url: str, name: str, *, developer: bool
) -> None:
    spec = rung_spec("llm", "openai", url, name=name)

    assert build(spec).supports_developer_role is developer


def test_what_a_rung_states_replaces_what_the_table_adds_to_a_request() -> None:
    server = openai_servers()["deepseek"]

    assert server.adapted({"model": "m"})["extra_body"] == {"thinking": {"type": "disabled"}}
    stated = {"extra_body": {"thinking": {"type": "enabled"}, "x": 1}}
    assert server.adapted(stated) == stated


def test_a_limit_of_the_answer_is_sent_to_mistral_under_its_own_name() -> None:
    asked = {"model": "m", "max_completion_tokens": 50, "stream_options": {"include_usage": True}}

    assert openai_servers()["mistral"].adapted(asked) == {"model": "m", "max_tokens": 50}


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("mistralai/Mixtral-8x7B-Instruct-v0.1", True),
        ("ministral-8b", True),
        ("pipecat.services.mistral.llm:MistralLLMService x", True),
        ("gpt-4.1-mini", False),
        ("llama-3.3-70b", False),
        ("", False),
    ],
)
def test_models_of_mistrals_are_strict_wherever_they_run(model: str, *, expected: bool) -> None:
    assert is_strict(model) is expected


def test_a_strict_conversation_keeps_valid_ids_and_pairs_calls_with_their_results() -> None:
    def called(call_id: str) -> list[dict[str, Any]]:
        function = {"name": "x", "arguments": "{}"}
        call = {"id": call_id, "type": "function", "function": function}
        result = {"role": "tool", "tool_call_id": call_id, "content": "{}"}
        return [{"role": "assistant", "content": "", "tool_calls": [call]}, result]

    said = [*called("abcDEF123"), *called("call_1"), *called("functions.x:0")]
    found = [*strict([*said, {"role": "user", "content": "And?"}])]

    ids = [message["tool_calls"][0]["id"] for message in found if "tool_calls" in message]
    assert [message["tool_call_id"] for message in found if message["role"] == "tool"] == ids
    assert ids[0] == "abcDEF123"
    assert len({*ids}) == 3
    assert all(len(call_id) == 9 and call_id.isalnum() for call_id in ids)
    assert [message["role"] for message in found[-3:]] == ["tool", "assistant", "user"]
