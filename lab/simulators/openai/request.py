"""Parses chat completion requests, and refuses what OpenAI refuses."""

import collections
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from lab.simulators.openai import errors as openai_errors
from lab.simulators.receptionist.notes import text_of

ROLES: Final = ("system", "developer", "user", "assistant", "tool", "function")
CONTEXT_TOKENS: Final = 128_000  # of the gpt-4 family's smaller windows; openai.com/api
CHARS_PER_TOKEN: Final = 4  # OpenAI's own rule of thumb for English
TOKENS_PER_MESSAGE: Final = 4  # role and separators


class OpenAIBadRequest(Exception):  # noqa: N818 - named after the answer that it becomes
    """The real service would refuse the request.

    Attributes:
        status: The HTTP status.
        body: The JSON body.
    """

    def __init__(self, status: int, body: Mapping[str, Any]) -> None:
        super().__init__(body["error"]["message"])
        self.status = status
        self.body = body


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """A valid chat completion request.

    Attributes:
        most_tokens: The limit of the answer, which then ends with `length`.
    """

    model: str
    messages: Sequence[Mapping[str, Any]]
    tools: Sequence[Mapping[str, Any]] = ()
    stream: bool = False
    wants_usage: bool = False
    most_tokens: float = math.inf

    @property
    def prompt(self) -> str:
        """The prompt as one text; OpenAI could cache its beginning."""
        return "\n".join(
            [*map(str, self.tools), *(str(dict(message)) for message in self.messages)]
        )

    @property
    def prompt_tokens(self) -> int:
        """The estimated number of the prompt's tokens."""
        texts = sum(len(text_of(message)) for message in self.messages)
        tools = sum(len(str(tool)) for tool in self.tools)
        return (texts + tools) // CHARS_PER_TOKEN + TOKENS_PER_MESSAGE * len(self.messages) + 3


def read(body: object, *, models: Sequence[str]) -> ChatRequest:
    """Parse a JSON body.

    Args:
        body: The parsed JSON.
        models: The existing models; dated versions of them exist, too.

    Raises:
        OpenAIBadRequest: The real service refuses it.
    """
    if not isinstance(body, Mapping):
        raise _invalid_request_error("We could not parse the JSON body of your request.")
    model, messages = body.get("model"), body.get("messages")
    if not isinstance(model, str) or not model:
        raise _invalid_request_error("you must provide a model parameter")
    if not any(
        re.fullmatch(rf"{re.escape(known)}(-\d{{4}}-\d\d-\d\d)?", model) for known in models
    ):
        raise OpenAIBadRequest(404, openai_errors.body(404))
    if not isinstance(messages, list) or not messages:
        raise _invalid_request_error(
            "Invalid 'messages': expected a non-empty array.", param="messages"
        )
    _check_messages(messages)
    request = ChatRequest(
        model=model,
        messages=messages,
        tools=_read_tools(body.get("tools")),
        stream=bool(body.get("stream")),
        wants_usage=bool((body.get("stream_options") or {}).get("include_usage")),
        most_tokens=body.get("max_completion_tokens") or body.get("max_tokens") or math.inf,
    )
    if request.prompt_tokens > CONTEXT_TOKENS:
        raise OpenAIBadRequest(400, openai_errors.body(400, "context_length_exceeded"))
    return request


def _check_messages(messages: Sequence[Any]) -> None:
    """Check each role, and that tool messages answer all tool calls before any other message."""
    pending: set[str] = set()
    for at, message in enumerate(messages):
        where = f"messages[{at}]"
        if not isinstance(message, Mapping) or message.get("role") not in ROLES:
            raise _invalid_request_error(f"Invalid value: '{where}.role'.", param=f"{where}.role")
        if message["role"] == "tool":
            pending = _take_answer(message, pending, where=where)
        elif pending:
            raise _invalid_request_error(
                "An assistant message with 'tool_calls' must be followed by tool messages"
                f" responding to each 'tool_call_id'. ({', '.join(sorted(pending))})",
                param=where,
            )
        elif message.get("tool_calls"):
            pending = {str(call.get("id")) for call in message["tool_calls"]}
        elif not isinstance(message.get("content"), str | list):
            raise _invalid_request_error(
                f"Invalid value for 'content' in {where}.", param=f"{where}.content"
            )
    if pending:
        raise _invalid_request_error(
            f"No tool message answers {', '.join(sorted(pending))}.", param="messages"
        )


def _take_answer(message: Mapping[str, Any], pending: set[str], *, where: str) -> set[str]:
    """Return the pending calls without the one that a tool message answers; refuse any other."""
    call_id = str(message.get("tool_call_id"))
    if call_id not in pending:
        raise _invalid_request_error(
            "messages with role 'tool' must be a response to a preceeding message with"
            " 'tool_calls'.",
            param=f"{where}.role",
        )
    return pending - {call_id}


def _read_tools(tools: object) -> Sequence[Mapping[str, Any]]:
    """Return the tools, none if they are not given; refuse an empty list and invalid names."""
    if tools is None:
        return ()
    if not isinstance(tools, list) or not tools:
        raise _invalid_request_error("Invalid 'tools': expected a non-empty array.", param="tools")
    for at, tool in enumerate(tools):
        function = tool.get("function") if isinstance(tool, Mapping) else None
        name = function.get("name") if isinstance(function, Mapping) else None
        if not isinstance(name, str) or not re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name):
            raise _invalid_request_error(
                f"Invalid 'tools[{at}].function.name'.", param=f"tools[{at}].function.name"
            )
    return tools


def _invalid_request_error(message: str, *, param: str | None = None) -> OpenAIBadRequest:
    """Return the exception to raise for a request that OpenAI answers with 400."""
    code = "invalid_value" if param else None
    return OpenAIBadRequest(
        400, openai_errors.error("invalid_request_error", message, code=code, param=param)
    )


CACHED_PROMPTS: Final = 8  # chosen: calls at once, each with its own prompt
CACHE_FROM_TOKENS: Final = 1024  # platform.openai.com/docs/guides/prompt-caching
CACHE_STEP_TOKENS: Final = 128  # the same page: the cached part grows in such steps


class PromptCache:
    """The latest prompts."""

    def __init__(self) -> None:
        self._prompts: collections.deque[str] = collections.deque(maxlen=CACHED_PROMPTS)

    def add(self, chat: ChatRequest) -> int:
        """Store a prompt; return how many of its first tokens an earlier prompt has, too."""
        prompt = chat.prompt
        shared = max((_common_prefix(prompt, text) for text in self._prompts), default=0)
        self._prompts.append(prompt)
        tokens = min(shared // CHARS_PER_TOKEN, chat.prompt_tokens)
        return tokens // CACHE_STEP_TOKENS * CACHE_STEP_TOKENS if tokens >= CACHE_FROM_TOKENS else 0


def _common_prefix(text: str, other: str) -> int:
    """Return the length of the common prefix of two texts, in characters."""
    pairs = zip(text, other, strict=False)
    return next((at for at, (a, b) in enumerate(pairs) if a != b), min(len(text), len(other)))
