"""An answer in OpenAI's formats: whole or in chunks, with its usage.

Source: openai/openai-openapi (CreateChatCompletionResponse, CreateChatCompletionStreamResponse,
CompletionUsage).
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from lab.simulators.clock import utc_now
from lab.simulators.openai.request import ChatRequest
from lab.simulators.receptionist.receptionist import Reply
from lab.simulators.receptionist.tool_use import ToolRequest

_LONG_WORD: Final = 7  # longer ones take two tokens, so that a chunk may end inside a word
_ARGUMENT_CHARS: Final = 8  # a tool's arguments come in pieces of about two tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenPiece:
    """One token of the answer.

    Attributes:
        delta: The chunk's `delta`.
        word_ends: It completes a word, or a piece of a tool's arguments.
    """

    delta: Mapping[str, Any]
    word_ends: bool = True


class Completion:
    """One answer, in OpenAI's formats."""

    def __init__(self, *, chat: ChatRequest, reply: Reply, cached_tokens: int) -> None:
        self.chat = chat
        self.reply = reply
        self.calls = [_call(call, at=len(chat.messages)) for call in reply.calls]
        pieces = list(_pieces(reply, self.calls))
        self.finish = "tool_calls" if reply.calls else "stop"
        if len(pieces) > chat.most_tokens:
            pieces, self.finish = pieces[: int(chat.most_tokens)], "length"
        self.pieces = pieces
        self._cached_tokens = cached_tokens
        now = utc_now()
        self._created = int(now.timestamp())
        self._id = f"chatcmpl-{now:%y%m%d%H%M%S%f}"

    @property
    def usage(self) -> dict[str, Any]:
        """The billed usage of the answer."""
        prompt, answer = self.chat.prompt_tokens, len(self.pieces)
        return {
            "prompt_tokens": prompt,
            "completion_tokens": answer,
            "total_tokens": prompt + answer,
            "prompt_tokens_details": {"cached_tokens": self._cached_tokens, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": 0,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        }

    def whole(self) -> dict[str, Any]:
        """Return the answer to a request without `stream`."""
        said = "".join(piece.delta.get("content") or "" for piece in self.pieces)
        message: dict[str, Any] = {
            "role": "assistant",
            "content": said or None,
            "refusal": None,
            "annotations": [],
        }
        if self.calls:
            message["tool_calls"] = self.calls
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self.finish}
        return self._named("chat.completion") | {"choices": [choice], "usage": self.usage}

    def chunk(self, delta: Mapping[str, Any], finish: str | None = None) -> dict[str, Any]:
        """Return one chunk of a stream."""
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        chunk = self._named("chat.completion.chunk") | {"choices": [choice]}
        return chunk | {"usage": None} if self.chat.usage else chunk

    def usage_chunk(self) -> dict[str, Any]:
        """Return the chunk before the end, with the usage and no choices."""
        return self._named("chat.completion.chunk") | {"choices": [], "usage": self.usage}

    def _named(self, kind: str) -> dict[str, Any]:
        return {
            "id": self._id,
            "object": kind,
            "created": self._created,
            "model": self.chat.model,
            "service_tier": "default",
            "system_fingerprint": "fp_lab",
        }


def _call(call: ToolRequest, *, at: int) -> dict[str, Any]:
    """Return a tool call with an id that depends only on the conversation."""
    seen = hashlib.sha256(f"{at} {call.name} {call.arguments}".encode()).hexdigest()
    return {
        "id": f"call_{seen[:24]}",
        "type": "function",
        "function": {"name": call.name, "arguments": call.arguments},
    }


def _pieces(reply: Reply, calls: Iterable[Mapping[str, Any]]) -> Iterator[TokenPiece]:
    for word in re.findall(r"\s*\S+", reply.text):
        if len(word) > _LONG_WORD:
            yield TokenPiece(delta={"content": word[:_LONG_WORD]}, word_ends=False)
            word = word[_LONG_WORD:]  # noqa: PLW2901 - the rest of the same word
        yield TokenPiece(delta={"content": word})
    for index, call in enumerate(calls):
        yield from _call_pieces(index, call, alone=not reply.text and index == 0)


def _call_pieces(index: int, call: Mapping[str, Any], *, alone: bool) -> Iterator[TokenPiece]:
    function = {"name": call["function"]["name"], "arguments": ""}
    opening = {"index": index, "id": call["id"], "type": "function", "function": function}
    said = {"role": "assistant", "content": None} if alone else {}
    yield TokenPiece(delta=said | {"tool_calls": [opening]})
    for part in re.findall(rf".{{1,{_ARGUMENT_CHARS}}}", call["function"]["arguments"], re.DOTALL):
        yield TokenPiece(delta={"tool_calls": [{"index": index, "function": {"arguments": part}}]})
