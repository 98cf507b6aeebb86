"""The output of a Pipecat model for one answer, as chunks of OpenAI's protocol for our stage."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any, Final, cast

from openai.types import CompletionUsage
from openai.types.chat import ChatCompletionChunk
from openai.types.chat.chat_completion_chunk import (
    Choice,
    ChoiceDelta,
    ChoiceDeltaToolCall,
    ChoiceDeltaToolCallFunction,
)
from openai.types.completion_usage import PromptTokensDetails
from pipecat.frames.frames import FunctionCallFromLLM
from pipecat.metrics.metrics import LLMTokenUsage

from fallbacks.classification import classify_symptom
from fallbacks.failure import Failure, Kind, failed
from fallbacks.symptoms import Moment, Symptom
from providers.adapter.failures import service_failure
from providers.catalog import end_reasons
from providers.provider import RungSpec

UNREAD: Final = 64  # chunks that wait to be read; then the service waits
ENDING_S: Final = 0.25  # for what follows the reason of the end: tool calls and usage (chosen)


class PipecatAnswer:
    """One answer: written by the service's task, read by the stage.

    Attributes:
        reason: Why the answer ended, in the vendor's words; empty if it has not said so.
        failure: The first failure that the service reported.
        is_left: Whether it is read no more.
        stream: The SDK's stream that the service reads, if we know it.
    """

    def __init__(
        self,
        rung: RungSpec,
        *,
        on_answered: Callable[[], None] = lambda: None,
        on_headers: Callable[[Mapping[str, str]], None] = lambda _: None,
    ) -> None:
        self._rung = rung
        self._on_answered, self._on_headers = on_answered, on_headers
        self._chunks: asyncio.Queue[ChatCompletionChunk | None] = asyncio.Queue(UNREAD)
        self._usage: CompletionUsage | None = None
        self._flowing = self._answered = self._streams_calls = False
        self._calls = 0
        self.reason = ""
        self.failure: Failure | None = None
        self.is_left = False
        self.stream: Any = None

    # -- written by the service

    async def write(self, text: object) -> None:
        """Add text; empty text is ignored, and anything but text is a failure.

        Waits while `UNREAD` chunks are unread.
        """
        if not isinstance(text, str):
            self.fail(failed(classify_symptom(Symptom.GARBAGE), "llm", provider=self._rung.name))
        elif text:
            self._flowing = self._flowing or bool(text.strip())
            await self._put_piece(ChoiceDelta(content=text))

    async def call(self, calls: Any) -> None:
        """Add complete tool calls, unless their pieces were read from the stream.

        Waits while `UNREAD` chunks are unread.
        """
        for call in () if self._streams_calls else cast("list[FunctionCallFromLLM]", calls):
            arguments = json.dumps(dict(call.arguments), ensure_ascii=False)
            await self._add_call(self._calls, call.tool_call_id, call.function_name, arguments)
            self._calls += 1

    def use(self, tokens: LLMTokenUsage) -> None:
        """Record the usage, unless it is zero; a later report replaces it.

        Some services count cached tokens apart, but all in the total.
        """
        prompt = max(tokens.total_tokens - tokens.completion_tokens, tokens.prompt_tokens)
        if prompt <= 0 and tokens.completion_tokens <= 0:
            return
        self._usage = CompletionUsage(
            prompt_tokens=prompt,
            completion_tokens=tokens.completion_tokens,
            total_tokens=prompt + tokens.completion_tokens,
            prompt_tokens_details=PromptTokensDetails(
                cached_tokens=tokens.cache_read_input_tokens or 0
            ),
        )

    def fail(self, error: BaseException | Failure, *, text: str = "", category: Any = None) -> None:
        """Record a failure; only the first one counts.

        The headers of an exception's response go to `on_headers`.

        Args:
            error: The exception, or a failure that is known already.
            text: The sentence that Pipecat reports.
            category: Pipecat's own classification, if it has one.
        """
        if isinstance(error, Failure):
            self.failure = self.failure or error
        elif self.failure is None:
            self._read_headers(getattr(error, "response", None))
            moment = Moment.FLOWING if self._flowing else Moment.ASKED
            self.failure = service_failure(
                error, self._rung, moment=moment, text=text, category=category
            )

    async def tapped(self, stream: Any) -> AsyncIterator[Any]:
        """Pass on an SDK's stream, and close it at the end.

        What Pipecat's service leaves out is read here: usage, several tool calls, why it ended.
        """
        self.stream = stream
        self._read_headers(getattr(stream, "response", None))
        self.note_response()
        try:
            async for item in stream:
                yield item
                if isinstance(item, ChatCompletionChunk):
                    await self._read_chunk(item)
                else:
                    await self._read_block(item)
        finally:
            await self.hang_up()

    async def hang_up(self) -> None:
        """Close the SDK's stream, and with it the connection."""
        stream, self.stream = self.stream, None
        if hasattr(stream, "close"):
            await stream.close()

    def say_why(self, reason: object) -> None:
        """Record the first reason why the answer ended; only tool calls and usage may follow.

        A reason that means an error is a failure as well.
        """
        if reason and not self.reason:
            self.reason = str(reason)
            if end_reasons().get(self.reason.lower()) == "error":
                self.fail(failed(Kind.OVERLOADED, "llm", provider=self._rung.name))
            # An empty chunk wakes the reader, which waits for `ENDING_S` from then on. If the queue
            # is full, it is not waiting.
            if not self._chunks.full():
                self._chunks.put_nowait(self._chunk_with(None))

    async def end(self) -> None:
        """Let `read` end after the chunks so far; do nothing if the answer is read no more."""
        if not self.is_left:
            await self._chunks.put(None)

    async def _read_chunk(self, chunk: ChatCompletionChunk) -> None:
        """Read a chunk of OpenAI's: Pipecat reads one tool call of it, and not why it ended."""
        choice = chunk.choices[0] if chunk.choices else None
        if choice is None:
            return
        delta = choice.delta
        if delta and delta.tool_calls:
            self._streams_calls = True
            await self._put_piece(ChoiceDelta.model_construct(tool_calls=delta.tool_calls))
        if delta and delta.refusal and not delta.content:
            await self.write(delta.refusal)
        self.say_why(choice.finish_reason)

    async def _read_block(self, event: Any) -> None:
        """Read an event of Anthropic's or Bedrock's.

        Of several tool calls of Anthropic's, Pipecat keeps the last one. It does not read why
        Bedrock's answer ended.
        """
        if isinstance(event, Mapping):
            self.say_why(cast("Any", event).get("messageStop", {}).get("stopReason"))
            return
        block: Any = getattr(event, "content_block", None)
        delta: Any = getattr(event, "delta", None)
        if getattr(block, "type", "") == "tool_use":
            self._streams_calls = True
            await self._add_call(event.index, block.id, block.name, "")
        elif part := getattr(delta, "partial_json", None):
            await self._add_call(event.index, None, None, part)

    async def _add_call(
        self, index: int, call_id: str | None, name: str | None, arguments: str
    ) -> None:
        """Add a tool call, or the next piece of one; `index` says which call it belongs to."""
        function = ChoiceDeltaToolCallFunction(name=name, arguments=arguments)
        piece = ChoiceDeltaToolCall(index=index, id=call_id, type="function", function=function)
        await self._put_piece(ChoiceDelta(tool_calls=[piece]))

    async def _put_piece(self, delta: ChoiceDelta) -> None:
        """Add a piece to the queue; wait while it is full.

        Raises:
            asyncio.CancelledError: The answer was abandoned, but its service goes on.
        """
        if self.is_left:  # the service goes on after its cancellation
            raise asyncio.CancelledError
        self.note_response()
        await self._chunks.put(self._chunk_with(delta))

    def note_response(self) -> None:
        """Report that the response has begun (`on_answered`), the first time only."""
        if not self._answered:
            self._answered = True
            self._on_answered()

    def _read_headers(self, response: Any) -> None:
        """Give a response's headers, such as rate limits, to the listener.

        Do nothing without any.
        """
        headers: Any = getattr(response, "headers", None)
        if headers:
            self._on_headers(headers)

    # -- read by the stage

    async def read(self) -> AsyncIterator[ChatCompletionChunk]:
        """Yield the pieces until the service ends, or until `ENDING_S` after the end's reason."""
        ends_at = None
        loop = asyncio.get_running_loop()
        while True:
            if self.reason and ends_at is None:
                ends_at = loop.time() + ENDING_S
            try:
                async with asyncio.timeout_at(ends_at):
                    chunk = await self._chunks.get()
            except TimeoutError:
                return
            if chunk is None:
                return
            yield chunk

    def last_chunks(self, *, says_why: bool) -> Iterator[ChatCompletionChunk]:
        """Yield the usage and the reason of the end.

        Args:
            says_why: Whether an end without a reason is a cut. Otherwise it is an ordinary end.
        """
        if self._usage:
            yield self._chunk_with(None, usage=self._usage)
        reason = self.reason or ("" if says_why else "stop")
        if reason:
            finish = end_reasons().get(reason.lower(), reason)
            yield self._chunk_with(ChoiceDelta(), finish=finish)

    def _chunk_with(
        self, delta: ChoiceDelta | None, *, finish: str | None = None, usage: Any = None
    ) -> ChatCompletionChunk:
        """Return a chunk with a piece of the answer; without a piece, it has no choice."""
        choice = Choice.model_construct(index=0, delta=delta, finish_reason=finish, logprobs=None)
        return ChatCompletionChunk.model_construct(
            id=self._rung.name,
            object="chat.completion.chunk",
            created=0,
            model=self._rung.model or "",
            choices=[] if delta is None else [choice],
            usage=usage,
        )
