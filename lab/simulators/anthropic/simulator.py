"""A simulated Anthropic: the Messages API, streamed and unstreamed.

Source of shapes and order: docs.anthropic.com/en/api/messages and /en/docs/build-with-claude/
streaming (message_start, content_block_start, ping, content_block_delta, content_block_stop,
message_delta, message_stop), and the types of anthropic-sdk-python.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Final

from aiohttp import web

from lab.simulators.anthropic import errors as anthropic_errors
from lab.simulators.openai.request import ChatRequest, OpenAIBadRequest
from lab.simulators.openai.simulator import OpenAISimulator
from lab.simulators.openai.stream import AnswerStream, Completion, sse
from lab.simulators.pace import Tempo

MODELS: Final = ("claude-haiku-4-5", "claude-sonnet-4-5", "claude-sonnet-4-6", "claude-opus-4-6")
ENDS: Final = {"stop": "end_turn", "tool_calls": "tool_use", "length": "max_tokens"}


def _invalid_request_error(message: str) -> OpenAIBadRequest:
    """Return the exception to raise for a request that Anthropic answers with 400."""
    return OpenAIBadRequest(400, anthropic_errors.body(400, message=message))


def _tool_in_openai_format(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a tool in OpenAI's format.

    Raises:
        OpenAIBadRequest: It has no name or no schema.
    """
    schema = tool.get("input_schema")
    if not isinstance(tool.get("name"), str) or not isinstance(schema, Mapping):
        raise _invalid_request_error("tools.0.custom.input_schema: Field required")
    return {
        "type": "function",
        "function": {"name": tool["name"], "parameters": schema},
    }


def _messages_in_openai_format(
    body: Mapping[str, Any], tools: Sequence[Any]
) -> Iterator[Mapping[str, Any]]:
    """Yield the conversation in OpenAI's format: one message for each text block.

    Raises:
        OpenAIBadRequest: A role or a block that Anthropic refuses, or a call without its result.
    """
    if system := body.get("system"):
        yield {"role": "system", "content": system}
    pending: set[str] = set()
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise _invalid_request_error("messages: at least one message is required")
    for at, message in enumerate(messages):
        blocks = _content_blocks(message, where=f"messages.{at}")
        answered = {block["tool_use_id"] for block in blocks if block["type"] == "tool_result"}
        if pending ^ answered:
            raise _invalid_request_error(
                f"messages.{at}: `tool_use` ids were found without `tool_result` blocks immediately"
                f" after, or the reverse: {', '.join(sorted(pending ^ answered))}"
            )
        pending = {block["id"] for block in blocks if block["type"] == "tool_use"}
        if (pending or answered) and not tools:
            raise _invalid_request_error(
                "Requests which include `tool_use` blocks must define tools"
            )
        yield from _of_blocks(message["role"], blocks)
    if pending:
        raise _invalid_request_error(
            f"tool_use ids without tool_result: {', '.join(sorted(pending))}"
        )


def _content_blocks(message: Mapping[str, Any], *, where: str) -> Sequence[Mapping[str, Any]]:
    """Return a message's content as blocks.

    Raises:
        OpenAIBadRequest: A wrong role, or no content.
    """
    if message.get("role") not in ("user", "assistant"):
        raise _invalid_request_error(f"{where}.role: Input should be 'user' or 'assistant'")
    content = message.get("content")
    if not content:
        raise _invalid_request_error(f"{where}: content must not be empty")
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _of_blocks(role: str, blocks: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Yield a message's blocks in OpenAI's format; its tool calls come last, as one message."""
    calls: list[Mapping[str, Any]] = []
    for block in blocks:
        match block:
            case {"type": "text", "text": str(text)} if text.strip():
                yield {"role": role, "content": text}
            case {"type": "tool_use", "id": call_id, "name": name, "input": given}:
                function = {"name": name, "arguments": json.dumps(given)}
                calls.append({"id": call_id, "type": "function", "function": function})
            case {"type": "tool_result", "tool_use_id": call_id}:
                yield {
                    "role": "tool",
                    "tool_call_id": call_id,
                    "content": block.get("content", ""),
                }
            case _:
                raise _invalid_request_error("text content blocks must contain non-whitespace text")
    if calls:
        yield {"role": "assistant", "content": None, "tool_calls": calls}


def _tool_use(call: Mapping[str, Any]) -> dict[str, Any]:
    function = call["function"]
    given = json.loads(function["arguments"])
    return {"type": "tool_use", "id": call["id"], "name": function["name"], "input": given}


def _usage_fields(completion: Completion) -> dict[str, Any]:
    """Return the usage; unlike OpenAI's, the input does not include what the cache had."""
    used = completion.usage
    cached = used["prompt_tokens_details"]["cached_tokens"]
    return {
        "input_tokens": used["prompt_tokens"] - cached,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": cached,
        "output_tokens": used["completion_tokens"],
    }


def _empty_message(completion: Completion) -> dict[str, Any]:
    """Return the message object of `message_start`: no content and no stop reason yet."""
    return {
        "id": "msg_01XFDUDYJgAACzvnptvVoYEL",
        "type": "message",
        "role": "assistant",
        "model": completion.chat.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }


class AnthropicStream(AnswerStream):
    """Sends one answer as Anthropic does."""

    garbage = b'event: content_block_delta\ndata: {"type":"content_bl\x00\n\n'

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._at = -1  # the index of the open block
        self._open = ""  # its type
        self._begun = False

    def encode(self, chunk: Mapping[str, Any]) -> bytes:
        """Return the events of a chunk; call it once for each chunk, in order."""
        return b"".join(sse(event, event=event["type"]) for event in self._events_of_chunk(chunk))

    def encode_error(self, status: int, code: str | None) -> bytes:
        """Return an error inside the stream."""
        return sse(anthropic_errors.body(status, code), event="error")

    def encode_end(self) -> bytes:
        """Return the last event."""
        return sse({"type": "message_stop"}, event="message_stop")

    def _events_of_chunk(self, chunk: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield the events of a chunk; the first chunk also begins the message."""
        if not self._begun:
            self._begun = True
            started = _empty_message(self.completion) | {
                "usage": _usage_fields(self.completion) | {"output_tokens": 1}
            }
            yield {"type": "message_start", "message": started}
            yield {"type": "ping"}
        choice = chunk["choices"][0]
        delta = choice["delta"]
        for piece in delta.get("tool_calls") or ():
            yield from self._tool_call_events(piece)
        if text := delta.get("content"):
            if self._open != "text":
                yield from self._start_block_events({"type": "text", "text": ""})
            yield self._delta_event({"type": "text_delta", "text": text})
        elif not delta.get("tool_calls") and not choice["finish_reason"]:
            yield {"type": "ping"}
        if choice["finish_reason"]:
            yield from self._stop_block_events()
            yield {
                "type": "message_delta",
                "delta": {"stop_reason": ENDS[choice["finish_reason"]], "stop_sequence": None},
                "usage": {"output_tokens": self.completion.usage["completion_tokens"]},
            }

    def _tool_call_events(self, piece: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield the events of a piece of a tool call; the piece with the name begins a block."""
        if name := piece["function"].get("name"):
            block = {"type": "tool_use", "id": piece["id"], "name": name, "input": {}}
            yield from self._start_block_events(block)
        if part := piece["function"].get("arguments"):
            yield self._delta_event({"type": "input_json_delta", "partial_json": part})

    def _start_block_events(self, block: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield the end of the open block, if any, and the beginning of this one."""
        yield from self._stop_block_events()
        self._at += 1
        self._open = block["type"]
        yield {"type": "content_block_start", "index": self._at, "content_block": block}

    def _delta_event(self, delta: dict[str, Any]) -> dict[str, Any]:
        return {"type": "content_block_delta", "index": self._at, "delta": delta}

    def _stop_block_events(self) -> Iterator[dict[str, Any]]:
        """Yield the event that ends the open block and mark it closed; nothing if none is open."""
        if self._open:
            self._open = ""
            yield {"type": "content_block_stop", "index": self._at}


class AnthropicSimulator(OpenAISimulator):
    """One simulated Anthropic account."""

    kind: ClassVar[str] = "anthropic"
    all_models = MODELS
    base_path = ""
    stream = AnthropicStream
    no_credit = (400, anthropic_errors.NO_CREDIT)
    tempo: ClassVar[Tempo] = Tempo(
        ttfb_s=0.45,
        spread=0.2,
        rate=60.0,
        source="chosen: a small model's usual first token and tokens a second; not a measurement",
    )

    def routes(self) -> list[web.RouteDef]:
        """Return the route of the Messages API."""
        return [web.post("/v1/messages", self.chat)]

    def is_authorised(self, request: web.Request) -> bool:
        """Return whether the request carries this account's key."""
        return request.headers.get("x-api-key") == self.api_key

    def error_response(
        self, status: int, *, code: str | None = None, retry_after_s: float | None = None
    ) -> web.Response:
        """Return Anthropic's answer for an error."""
        headers = {"request-id": "req_lab"}
        if retry_after_s is not None:
            headers["retry-after"] = f"{retry_after_s:g}"
        body = anthropic_errors.body(status, code)
        return web.json_response(body, status=status, headers=headers)

    def read(self, body: object, request: web.Request) -> ChatRequest:
        """Parse a request.

        Raises:
            OpenAIBadRequest: The real service refuses it.
        """
        if "anthropic-version" not in request.headers:
            raise _invalid_request_error("anthropic-version: header is required")
        if not isinstance(body, Mapping):
            raise _invalid_request_error("The request body is not valid JSON")
        if body.get("model") not in self.models:
            raise OpenAIBadRequest(404, anthropic_errors.body(404))
        if not isinstance(body.get("max_tokens"), int):
            raise _invalid_request_error("max_tokens: Field required")
        tools = body.get("tools") or []
        return ChatRequest(
            model=body["model"],
            messages=list(_messages_in_openai_format(body, tools)),
            tools=[_tool_in_openai_format(tool) for tool in tools],
            stream=bool(body.get("stream")),
            most_tokens=body.get("max_tokens") or math.inf,
        )

    def whole(self, completion: Completion) -> dict[str, Any]:
        """Return the body of an unstreamed answer."""
        text = [{"type": "text", "text": completion.reply.text}] if completion.reply.text else []
        calls = [_tool_use(call) for call in completion.calls]
        return _empty_message(completion) | {
            "content": [*text, *calls],
            "stop_reason": ENDS[completion.finish],
            "usage": _usage_fields(completion),
        }
