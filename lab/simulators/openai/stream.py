"""An answer as server-sent events; the current fault is applied before each of them."""

import asyncio
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from aiohttp import web

from lab.simulators import faults
from lab.simulators.admission import Admission
from lab.simulators.clock import utc_now
from lab.simulators.instance import Instance
from lab.simulators.openai import errors as openai_errors
from lab.simulators.openai.request import ChatRequest
from lab.simulators.receptionist.receptionist import Reply
from lab.simulators.receptionist.tool_use import ToolRequest
from lab.simulators.server import abort

_LONG_WORD: Final = 7  # letters; longer words are two tokens, so a chunk may end inside a word
_ARGUMENT_CHARS: Final = 8  # a tool's arguments come in pieces of this size, about two tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenPiece:
    """One token of the answer.

    Attributes:
        delta: The chunk's `delta`.
        word_ends: Whether it completes a word, or a piece of a tool's arguments.
    """

    delta: Mapping[str, Any]
    word_ends: bool = True


class Completion:
    """One answer in OpenAI's formats: whole or in chunks, with its usage.

    Source: openai/openai-openapi (CreateChatCompletionResponse, CreateChatCompletionStreamResponse,
    CompletionUsage).
    """

    def __init__(self, *, chat: ChatRequest, reply: Reply, cached_tokens: int) -> None:
        self.chat = chat
        self.reply = reply
        self.calls = [_tool_call(call, at=len(chat.messages)) for call in reply.calls]
        pieces = list(_token_pieces(reply, self.calls))
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
        """Return the response body for a request without `stream`."""
        text = "".join(piece.delta.get("content") or "" for piece in self.pieces)
        message: dict[str, Any] = {
            "role": "assistant",
            "content": text or None,
            "refusal": None,
            "annotations": [],
        }
        if self.calls:
            message["tool_calls"] = self.calls
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self.finish}
        return self._header_fields("chat.completion") | {"choices": [choice], "usage": self.usage}

    def chunk(self, delta: Mapping[str, Any], finish: str | None = None) -> dict[str, Any]:
        """Return one chunk of a stream."""
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        chunk = self._header_fields("chat.completion.chunk") | {"choices": [choice]}
        return chunk | {"usage": None} if self.chat.wants_usage else chunk

    def usage_chunk(self) -> dict[str, Any]:
        """Return the chunk before the end, with the usage and no choices."""
        return self._header_fields("chat.completion.chunk") | {"choices": [], "usage": self.usage}

    def _header_fields(self, kind: str) -> dict[str, Any]:
        """Return the fields that a whole answer and all its chunks have in common."""
        return {
            "id": self._id,
            "object": kind,
            "created": self._created,
            "model": self.chat.model,
            "service_tier": "default",
            "system_fingerprint": "fp_lab",
        }


def _tool_call(call: ToolRequest, *, at: int) -> dict[str, Any]:
    """Return a tool call with an id that depends only on the conversation."""
    seen = hashlib.sha256(f"{at} {call.name} {call.arguments}".encode()).hexdigest()
    return {
        "id": f"call_{seen[:24]}",
        "type": "function",
        "function": {"name": call.name, "arguments": call.arguments},
    }


def _token_pieces(reply: Reply, calls: Iterable[Mapping[str, Any]]) -> Iterator[TokenPiece]:
    """Yield the tokens of a reply: its words, long ones in two, then its tool calls."""
    for word in re.findall(r"\s*\S+", reply.text):
        if len(word) > _LONG_WORD:
            yield TokenPiece(delta={"content": word[:_LONG_WORD]}, word_ends=False)
            word = word[_LONG_WORD:]  # noqa: PLW2901 - the rest of the same word
        yield TokenPiece(delta={"content": word})
    for index, call in enumerate(calls):
        yield from _call_pieces(index, call, alone=not reply.text and index == 0)


def _call_pieces(index: int, call: Mapping[str, Any], *, alone: bool) -> Iterator[TokenPiece]:
    """Yield the tokens of a call; `alone`: it begins the answer, so it also carries the role."""
    function = {"name": call["function"]["name"], "arguments": ""}
    opening = {"index": index, "id": call["id"], "type": "function", "function": function}
    delta = {"role": "assistant", "content": None} if alone else {}
    yield TokenPiece(delta=delta | {"tool_calls": [opening]})
    for part in re.findall(rf".{{1,{_ARGUMENT_CHARS}}}", call["function"]["arguments"], re.DOTALL):
        yield TokenPiece(delta={"tool_calls": [{"index": index, "function": {"arguments": part}}]})


SENTENCE_ENDS: Final = (".", "!", "?")
MARKED_PIECES: Final = 3  # after a sentence: more than a client needs to detect its end
ALIVE_EVERY_S: Final = 0.1  # chosen: often enough that the connection does not count as idle


class AnswerStream:
    """Sends one answer as server-sent events, modified by the current faults."""

    def __init__(
        self,
        instance: Instance,
        request: web.Request,
        *,
        response: web.StreamResponse,
        admission: Admission,
    ) -> None:
        self._instance = instance
        self._request = request
        self._response = response
        self._admission = admission
        self._words = 0
        self._sent = ""
        self._marks_left = 0

    async def send_all(self, completion: Completion, *, first_s: float) -> None:
        """Send the answer until a fault ends it, and record what was sent.

        Args:
            completion: The answer.
            first_s: Seconds between the role chunk and the first piece.
        """
        self.completion = completion
        try:
            if not await self._apply_fault(completion, at=None):
                await self._send_pieces(completion, first_s=first_s)
        finally:
            self._admission.request.details |= {"sent": self._sent, "words": self._words}

    async def _send_pieces(self, completion: Completion, *, first_s: float) -> None:
        """Send the role, the pieces, the reason of the end and the usage, until a fault ends it."""
        role = {"role": "assistant", "content": "", "refusal": None}
        if completion.reply.text or not completion.calls:
            await self._send_chunk(completion.chunk(role))
        await asyncio.sleep(first_s)
        for piece in completion.pieces:
            if await self._apply_fault(completion, at=piece):
                return
            await self._send_chunk(completion.chunk(piece.delta))
            self._words += piece.word_ends
            self._sent += piece.delta.get("content") or ""
            self._mark_next()  # first: this piece may follow a sentence, and end another
            self._mark_sentence()
            factor = rate_factor(self._admission.fault_now())
            await self._instance.pace.wait_gap(factor=factor)
        if await self._apply_fault(completion, at=None):
            return
        await self._send_chunk(completion.chunk({}, completion.finish))
        self._mark_next()
        if completion.chat.wants_usage:
            await self._send_chunk(completion.usage_chunk())
        await self._response.write(self.encode_end())

    def _mark_sentence(self) -> None:
        """If a sentence has just ended, mark that, and let the next pieces be marked."""
        if self._sent.endswith(SENTENCE_ENDS):
            self._marks_left = MARKED_PIECES
            now_s = self._instance.gate.now_s()
            self._admission.request.mark("sentence", now_s, words=self._words)

    def _mark_next(self) -> None:
        """Mark the pieces after a sentence: a client may need them to detect the sentence's end."""
        if self._marks_left:
            self._marks_left -= 1
            now_s = self._instance.gate.now_s()
            self._admission.request.mark("next", now_s, words=self._words)

    async def _apply_fault(self, completion: Completion, *, at: TokenPiece | None) -> bool:
        """Apply the current fault before the next output; return True if the stream is over.

        `at` is the piece to be sent next, if any.
        """
        while self._is_quiet(fault := self._admission.fault_now()):
            if isinstance(fault, faults.Alive):
                await self._send_chunk(completion.chunk({"role": "assistant", "content": ""}))
                await self._response.write(self.keep_alive)
                await asyncio.sleep(ALIVE_EVERY_S)
            elif fault is not None:
                await self._admission.while_fault(type(fault))
        match fault:
            case faults.Cut(after_words=words) if self._words >= words:
                await self._cut_stream(completion, fault, at=at)
            case faults.ErrorEvent(status=status, code=code):
                await self._end_with_error(status, code)
            case faults.Quota(code=code):
                status, usual = self._instance.no_credit
                await self._end_with_error(status, code or usual)
            case _:
                return False
        return True

    def _is_quiet(self, fault: faults.Fault | None) -> bool:
        """Return whether the fault holds back all output for now."""
        if isinstance(fault, faults.Stall):
            return self._words >= fault.after_words
        return isinstance(fault, faults.Silent | faults.Alive)

    async def _cut_stream(
        self, completion: Completion, fault: faults.Cut, *, at: TokenPiece | None
    ) -> None:
        """End the stream as the fault says, if required inside the word that comes next."""
        if fault.inside_word and at is not None and at.delta.get("content"):
            text = at.delta["content"]
            half = text[: max(1, len(text) // 2 + 1)]
            await self._send_chunk(completion.chunk({"content": half}))
            self._sent += half
        self._admission.close(f"cut by {fault.how}")
        if fault.how == "reset":
            abort(self._request.transport)
        elif fault.how == "error":
            await self._end_with_error(500)
        # "close": the chunked body ends, without finish_reason and without [DONE]

    async def _end_with_error(self, status: int, code: str | None = None) -> None:
        """End the stream with an error, and record that unless another end is recorded."""
        self._admission.close("error event")
        await self._response.write(self.encode_error(status, code) + self.encode_end())

    async def _send_chunk(self, chunk: Mapping[str, Any]) -> None:
        """Send a chunk, which the current fault may replace or double."""
        encoded = self.encode(chunk)
        match self._admission.fault_now():
            case faults.Garbage():
                await self._response.write(self.garbage)
            case faults.Duplicate():
                await self._response.write(encoded * 2)
            case _:
                await self._response.write(encoded)

    # -- the vendor's format

    keep_alive: ClassVar[bytes] = b": keep-alive\n\n"
    garbage: ClassVar[bytes] = b'data: {"id":"chatcmpl-\x00\n\n'

    def encode(self, chunk: Mapping[str, Any]) -> bytes:
        """Return a chunk as the vendor sends it; called once for each, in order."""
        return sse(chunk)

    def encode_error(self, status: int, code: str | None) -> bytes:
        """Return an error inside the stream."""
        return sse(openai_errors.body(status, code))

    def encode_end(self) -> bytes:
        """Return what follows the last chunk."""
        return b"data: [DONE]\n\n"


def sse(data: Mapping[str, Any], *, event: str = "") -> bytes:
    """Return a server-sent event, with its name if it has one."""
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False)
    name = f"event: {event}\n" if event else ""
    return f"{name}data: {text}\n\n".encode()


def rate_factor(fault: faults.Fault | None) -> float:
    """Return a fault's output rate, as a share of the normal one."""
    return fault.factor if isinstance(fault, faults.SlowRate) else 1.0
