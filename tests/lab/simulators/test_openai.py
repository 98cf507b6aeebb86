"""The simulated OpenAI, seen by the official SDK as it is and by raw HTTP."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import openai
import pytest
from openai.types.chat import ChatCompletionChunk

from lab.simulators import faults
from lab.simulators.instance import Core
from lab.simulators.openai import errors as openai_errors
from lab.simulators.openai.simulator import OpenAISimulator
from lab.simulators.receptionist import phrases
from lab.simulators.schedule import Window

pytestmark = pytest.mark.virtual_time

HOURS = phrases.hours("")
ASKED: Any = [{"role": "user", "content": "What are your opening hours?"}]
TIMEOUT_S = 5.0  # far longer than any healthy answer here takes, even on a busy machine
MODEL = "gpt-4.1-mini"
GOODBYE_TOOL: Any = {
    "type": "function",
    "function": {"name": "end_call", "parameters": {"type": "object", "properties": {}}},
}
CALLBACK_TOOL: Any = {
    "type": "function",
    "function": {
        "name": "request_callback",
        "parameters": {"type": "object", "properties": {"number": {"type": "string"}}},
    },
}


@dataclass
class Heard:
    """The content of a stream, as a client read it."""

    chunks: list[ChatCompletionChunk] = field(default_factory=list)
    error: Exception | None = None

    @property
    def text(self) -> str:
        deltas = [chunk.choices[0].delta for chunk in self.chunks if chunk.choices]
        return "".join(delta.content or "" for delta in deltas)

    @property
    def finish(self) -> str | None:
        reasons = [chunk.choices[0].finish_reason for chunk in self.chunks if chunk.choices]
        return next((reason for reason in reasons if reason), None)


@pytest.fixture
async def instance() -> AsyncIterator[OpenAISimulator]:
    instance = OpenAISimulator("openai", core=Core(speed=50))
    await instance.start()
    try:
        yield instance
    finally:
        await instance.stop()


@pytest.fixture
async def client(instance: OpenAISimulator) -> AsyncIterator[openai.AsyncOpenAI]:
    async with sdk(instance) as client:
        yield client


def sdk(instance: OpenAISimulator, **settings: Any) -> openai.AsyncOpenAI:
    given = {"api_key": instance.api_key, "max_retries": 0, "timeout": TIMEOUT_S} | settings
    # The SDK's own client; only the reading of the machine's certificates is left out: it takes
    # longer than a test, and nothing here is encrypted.
    http = openai.DefaultAsyncHttpxClient(verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    return openai.AsyncOpenAI(base_url=instance.url, http_client=http, **given)


@pytest.fixture
async def impatient(instance: OpenAISimulator) -> AsyncIterator[openai.AsyncOpenAI]:
    async with sdk(instance, timeout=0.15) as client:
        yield client


async def listen(
    client: openai.AsyncOpenAI, *, patience_s: float = TIMEOUT_S, **more: Any
) -> Heard:
    heard = Heard()
    settings: Any = {"messages": ASKED, "stream_options": {"include_usage": True}} | more
    try:
        async with asyncio.timeout(patience_s):
            stream = await client.chat.completions.create(model=MODEL, stream=True, **settings)
            async for chunk in stream:
                heard.chunks.append(chunk)
    except (openai.OpenAIError, httpx.HTTPError, TimeoutError, ValueError) as error:
        heard.error = error
    return heard


# -- healthy


async def test_an_answer_is_streamed_in_the_real_order(client: openai.AsyncOpenAI) -> None:
    heard = await listen(client)

    first, *middle, last, usage = heard.chunks
    assert (first.choices[0].delta.role, first.choices[0].delta.content) == ("assistant", "")
    assert all(chunk.choices[0].delta.content for chunk in middle)
    assert (last.choices[0].finish_reason, last.choices[0].delta.content) == ("stop", None)
    assert usage.choices == []
    assert heard.text == HOURS
    assert len({(chunk.id, chunk.created, chunk.model) for chunk in heard.chunks}) == 1


async def test_usage_comes_last_and_adds_up(client: openai.AsyncOpenAI) -> None:
    heard = await listen(client)

    usage = heard.chunks[-1].usage
    assert usage is not None
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert usage.completion_tokens >= len(HOURS.split())
    assert all(chunk.usage is None for chunk in heard.chunks[:-1])


@pytest.mark.parametrize(("same", "different"), [(False, 51), (True, 2)])
async def test_an_endless_answer_continues_sentence_by_sentence(
    instance: OpenAISimulator, client: openai.AsyncOpenAI, *, same: bool, different: int
) -> None:
    instance.set_faults([Window(fault=faults.Endless(words=400, same=same))])
    whole = await client.chat.completions.create(model=MODEL, messages=ASKED)
    text = whole.choices[0].message.content or ""

    assert text.startswith(HOURS)
    added = text.removeprefix(HOURS)
    assert len(added.split()) == 400
    assert len(set(added.split("."))) == different  # and an empty rest


async def test_a_tool_call_comes_in_pieces_that_join_to_json(client: openai.AsyncOpenAI) -> None:
    asked = [{"role": "user", "content": "my number is 555 1234, please call me back"}]

    heard = await listen(client, messages=asked, tools=[CALLBACK_TOOL])

    pieces = [
        piece
        for chunk in heard.chunks
        for choice in chunk.choices
        for piece in choice.delta.tool_calls or ()
    ]
    arguments = "".join(piece.function.arguments or "" for piece in pieces if piece.function)
    assert pieces[0].id is not None
    assert pieces[0].id.startswith("call_")
    assert len(pieces) > 3
    assert json.loads(arguments) == {"number": "five five five one two three four"}
    assert heard.finish == "tool_calls"


async def test_the_sdk_itself_puts_words_and_tool_call_together(
    client: openai.AsyncOpenAI,
) -> None:
    asked: Any = [{"role": "user", "content": "goodbye"}]
    async with client.chat.completions.stream(
        model=MODEL, messages=asked, tools=[GOODBYE_TOOL]
    ) as stream:
        final = await stream.get_final_completion()

    message = final.choices[0].message
    assert message.content == phrases.GOODBYE
    assert message.tool_calls is not None
    assert [call.function.name for call in message.tool_calls] == ["end_call"]


# -- what the real one refuses


@pytest.mark.parametrize(
    ("change", "error", "code"),
    [
        ({"model": "gpt-9"}, openai.NotFoundError, "model_not_found"),
        ({"messages": []}, openai.BadRequestError, "invalid_value"),
        ({"messages": [{"role": "king", "content": "x"}]}, openai.BadRequestError, "invalid_value"),
        ({"messages": [{"role": "user"}]}, openai.BadRequestError, "invalid_value"),
        (
            {"messages": [{"role": "tool", "tool_call_id": "c", "content": "x"}]},
            openai.BadRequestError,
            "invalid_value",
        ),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"id": "c"}]}, *ASKED]},
            openai.BadRequestError,
            "invalid_value",
        ),
        ({"tools": []}, openai.BadRequestError, "invalid_value"),
        (
            {"messages": [{"role": "user", "content": "x " * 300_000}]},
            openai.BadRequestError,
            "context_length_exceeded",
        ),
    ],
    ids=["model", "empty", "role", "content", "orphan", "unanswered", "tools", "too long"],
)
async def test_a_bad_request_is_refused_and_recorded(
    instance: OpenAISimulator,
    client: openai.AsyncOpenAI,
    change: dict[str, Any],
    error: type[openai.APIStatusError],
    code: str,
) -> None:
    settings: Any = {"model": MODEL, "messages": ASKED} | change
    with pytest.raises(error) as refused:
        await client.chat.completions.create(**settings)

    assert refused.value.code == code
    assert instance.record.requests("openai")[0].well_formed is False


# -- faults


EXCEPTIONS: dict[int, type[openai.APIStatusError]] = {
    400: openai.BadRequestError,
    401: openai.AuthenticationError,
    403: openai.PermissionDeniedError,
    404: openai.NotFoundError,
    409: openai.ConflictError,
    422: openai.UnprocessableEntityError,
    429: openai.RateLimitError,
}
ROWS = [
    (status, row.code, row.type)
    for status, rows in openai_errors.ROWS.items()
    for row in rows
    if status != 402
]


async def test_every_error_row_is_the_sdks_own_exception(
    instance: OpenAISimulator, client: openai.AsyncOpenAI
) -> None:
    for status, code, kind in ROWS:
        instance.set_faults([Window(fault=faults.Http(status=status, code=code))])

        error = (await listen(client)).error

        expected = openai.InternalServerError if status >= 500 else openai.APIStatusError
        assert isinstance(error, EXCEPTIONS.get(status, expected))
        assert (error.status_code, error.code, error.type) == (status, code, kind)


@pytest.mark.parametrize("status", sorted(openai_errors.EDGE))
async def test_an_error_of_the_edge_is_html(
    instance: OpenAISimulator, client: openai.AsyncOpenAI, status: int
) -> None:
    instance.set_faults([Window(fault=faults.Http(status=status))])

    error = (await listen(client)).error

    assert isinstance(error, openai.InternalServerError)
    assert error.response.headers["content-type"].startswith("text/html")
    assert error.code is None


@pytest.mark.parametrize(
    ("words", "how", "error"),
    [
        (0, "reset", openai.APIConnectionError),
        (4, "reset", openai.APIConnectionError),
        (4, "close", None),
        (4, "error", openai.APIError),
        (11, "close", None),
    ],
)
async def test_a_cut_ends_after_the_given_words(
    instance: OpenAISimulator,
    client: openai.AsyncOpenAI,
    words: int,
    how: str,
    error: type[Exception] | None,
) -> None:
    instance.set_faults([Window(fault=faults.Cut(after_words=words, how=how))])

    heard = await listen(client)

    assert heard.text.split() == HOURS.split()[:words]
    assert heard.finish is None
    assert heard.error is None if error is None else isinstance(heard.error, error)


async def test_a_cut_may_fall_inside_a_word(
    instance: OpenAISimulator, client: openai.AsyncOpenAI
) -> None:
    instance.set_faults([Window(fault=faults.Cut(after_words=1, how="close", inside_word=True))])

    heard = await listen(client)

    assert heard.text == "We op"


async def test_a_tool_call_can_be_cut_in_its_arguments(
    instance: OpenAISimulator, client: openai.AsyncOpenAI
) -> None:
    instance.set_faults([Window(fault=faults.Cut(after_words=2, how="close"))])
    asked = [{"role": "user", "content": "call me back"}]

    heard = await listen(client, messages=asked, tools=[CALLBACK_TOOL])

    pieces = [chunk.choices[0].delta.tool_calls for chunk in heard.chunks if chunk.choices]
    assert len([piece for piece in pieces if piece]) == 2
    assert heard.finish is None


@pytest.mark.parametrize("where", ["handshake", "stream"])
async def test_silence_ends_with_the_clients_timeout_without_a_word(
    instance: OpenAISimulator, impatient: openai.AsyncOpenAI, where: str
) -> None:
    instance.set_faults([Window(fault=faults.Silent(where=where))])

    heard = await listen(impatient)

    assert heard.text == ""
    assert heard.chunks == []
    assert heard.error is not None


async def test_alive_sends_chunks_without_a_word(
    instance: OpenAISimulator, client: openai.AsyncOpenAI
) -> None:
    instance.set_faults([Window(fault=faults.Alive())])

    heard = await listen(client, patience_s=0.4)

    assert heard.text == ""
    assert len(heard.chunks) >= 3
    assert isinstance(heard.error, TimeoutError)


async def test_duplicate_sends_every_chunk_twice(
    instance: OpenAISimulator, client: openai.AsyncOpenAI
) -> None:
    instance.set_faults([Window(fault=faults.Duplicate())])

    heard = await listen(client)

    assert heard.text.startswith("WeWe open open at at")


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (faults.ErrorEvent(status=500), None),
        (faults.ErrorEvent(status=429), "rate_limit_exceeded"),
        (faults.Quota(where="event"), "insufficient_quota"),
    ],
    ids=["server", "rate", "quota"],
)
async def test_an_error_on_the_open_stream_has_no_status(
    instance: OpenAISimulator, client: openai.AsyncOpenAI, fault: faults.Fault, code: str | None
) -> None:
    instance.set_faults([Window(fault=fault)])

    error = (await listen(client)).error

    assert isinstance(error, openai.APIError)
    assert not isinstance(error, openai.APIStatusError)
    assert error.code == code


async def test_a_fault_switched_on_during_an_answer_acts_on_that_answer(
    instance: OpenAISimulator,
) -> None:
    instance.set_faults([Window(fault=faults.Stall(after_words=3))])
    async with sdk(instance) as client, asyncio.TaskGroup() as tasks:
        listening = tasks.create_task(listen(client))
        await asyncio.sleep(0.15)
        instance.set_faults([Window(fault=faults.Cut(after_words=0, how="error"))])

    assert listening.result().text == "We open at"
    assert isinstance(listening.result().error, openai.APIError)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (faults.Cut(), openai.APIConnectionError),
        (faults.ErrorEvent(status=500), openai.InternalServerError),
        (faults.Quota(where="event"), openai.RateLimitError),
        (faults.Garbage(), ValueError),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
async def test_faults_reach_answers_that_are_not_streamed_too(
    instance: OpenAISimulator,
    client: openai.AsyncOpenAI,
    fault: faults.Fault,
    error: type[Exception],
) -> None:
    instance.set_faults([Window(fault=fault)])

    with pytest.raises(error):
        await client.chat.completions.create(model=MODEL, messages=ASKED)
