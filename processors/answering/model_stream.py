"""One attempt at an answer: the chunks that a rung streams, and the place at the rung's gate."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, Protocol, TypeAlias

from openai.types import CompletionUsage
from openai.types.chat import ChatCompletionChunk
from openai.types.chat.chat_completion_chunk import ChoiceDelta
from pipecat.processors.aggregators.llm_context import LLMContext

from calls.caller import without_halves
from fallbacks.deadline import Deadline
from fallbacks.failure import Failure
from fallbacks.limits import Gate
from fallbacks.llm_times import USAGE_S
from fallbacks.word_times import sayable
from processors.answering.decision import Wrote
from processors.answering.spoken_text_rules import SpokenText
from processors.answering.tool_calls import ToolCalls

NO_CALLS: Final = "none"  # OpenAI's value of `tool_choice`: the model must answer in words
# OpenAI's values. Other values do not finish an answer: some servers put "null" into every chunk.
FINISHES: Final = frozenset({"stop", "length", "tool_calls", "content_filter", "function_call"})

NO_REASON: Final = frozenset({"", "None", "null"})


class UnreadableChunkError(ValueError):
    """A chunk is valid JSON, but not a piece of an answer."""


class Model(Protocol):
    """A rung of the ladder."""

    @property
    def asks_for(self) -> str:
        """The model's name in requests and bills."""
        ...

    def on_headers(self, told: Callable[[Mapping[str, str]], None]) -> None:
        """Call `told` with the headers of each response from now on."""
        ...

    def ask(
        self, context: LLMContext, *, on_answered: Callable[[], None]
    ) -> AsyncIterator[ChatCompletionChunk]:
        """Stream an answer, and call `on_answered` when the response begins.

        Closing the iterator releases the connection.
        """
        ...

    def failure_of(self, error: Exception, *, flowing: bool) -> Failure:
        """Classify an error of `ask`; `flowing` if words had come before it."""
        ...

    async def infer(self, context: LLMContext, **asked: Any) -> str | None:
        """Return an answer outside the conversation, in one piece."""
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Billed:
    """A billable request."""

    provider: str
    characters: int  # written so far
    usage: ChatCompletionChunk | None  # the chunk with the usage, if the provider sent one


@dataclass(slots=True)
class ModelStream:
    """The stream of one attempt, as far as it was read."""

    provider: str
    task: asyncio.Task[None]
    asked: bool  # whether the request was sent; if not, it waits at the gate
    answered: bool = False  # the request was accepted, and will be billed
    goes_on: bool = False  # it continues an answer, so that only a full stop may be left
    halved: bool = False  # it was sent with half of the conversation
    spoke: bool = False  # a word or a tool call has come
    unsaid: str = ""  # text before the first word: signs that may belong to the word
    beginning: SpokenText = field(default_factory=SpokenText)  # finds the first word
    characters: int = 0  # of text and tool calls
    finish: str | None = None  # the `finish_reason`
    blocked: str = ""  # another `finish_reason`, such as a vendor's own for a refusal
    # Only complete calls are run, and only those of the rung that finished the answer.
    calls: ToolCalls = field(default_factory=ToolCalls)
    usage: ChatCompletionChunk | None = None  # the latest chunk with usage
    has_text: bool = False
    template: ChatCompletionChunk | None = None  # the latest chunk with text

    def keep(self, chunk: ChatCompletionChunk) -> str | None:
        """Read a chunk, and return the text to pass on, after text that was held before.

        The text is empty if the chunk has only a piece of a tool call, and `None` if there is no
        content for the caller yet. Tool calls and usage are kept.
        """
        self.usage = chunk if _has_usage(chunk) else self.usage
        choice = chunk.choices[0] if chunk.choices else None
        if choice is None:
            return None
        if self.finish is None and choice.finish_reason in FINISHES:  # `[DONE]` brings another
            self.finish = choice.finish_reason
        elif self.finish is None and str(choice.finish_reason) not in NO_REASON:
            self.blocked = str(choice.finish_reason)
        if not choice.delta:
            return None
        text, tools = _text_of(choice.delta), choice.delta.tool_calls or ()
        named = [tool.function for tool in tools if tool.function]
        called = [
            part for function in named for part in (function.name, function.arguments) if part
        ]
        self.characters += len(text) + sum(map(len, called))
        self.template = chunk if text else self.template
        begun, text = self._has_begun(text), self.unsaid + text
        if not begun and not tools:
            self.unsaid = text.lstrip()
            return None  # a role, a keep-alive, reasoning
        self.spoke, self.unsaid = True, ""
        self.has_text = self.has_text or bool(text)
        if tools:
            self.calls.add(chunk, tools)
        return text

    @property
    def wrote(self) -> Wrote:
        """What the finished answer consists of."""
        if self.spoke:
            return Wrote.PART if self.finish == "length" and not self.calls else Wrote.WORDS
        return Wrote.SIGNS if self.beginning.signs and self.finish != "length" else Wrote.NOTHING

    def last_text(self, *, runs: Callable[[Sequence[str]], bool]) -> str:
        """Return the held text if the stream's end shows that it is an answer, else "".

        Held text is what might have been a mark or a tool call. If it is returned, the attempt
        counts as having spoken.

        Args:
            runs: Returns whether removed texts contain tool calls that can be run.
        """
        if self.spoke or not (
            self._is_answer(self.beginning.finish()) or runs(self.beginning.calls)
        ):
            return ""
        self.spoke = self.has_text = True
        return self.unsaid

    def _has_begun(self, text: str) -> bool:
        """Read text, and return whether the answer has begun, with it or before."""
        return self.spoke or self._is_answer(self.beginning.write(text))

    def _is_answer(self, text: str) -> bool:
        """Return whether the text contains a word, or in a continuation any sign."""
        return bool(text.strip() if self.goes_on else sayable(text))

    def after_words(self, context: LLMContext) -> list[ChatCompletionChunk]:
        """Return the chunks that follow the words: complete tool calls, then the usage.

        Calls get new ids if `context` has theirs already, and are left out if it permits none.
        """
        usage = [self.usage.model_copy(update={"choices": []})] if self.usage else []
        results = [message for message in context.messages if isinstance(message, dict)]
        taken = [str(result["tool_call_id"]) for result in results if result["role"] == "tool"]
        calls = [] if context.tool_choice == NO_CALLS else self.calls.whole(taken)
        return [*calls, *usage]

    @property
    def billed(self) -> Billed:
        """The usage of the request so far."""
        return Billed(provider=self.provider, characters=self.characters, usage=self.usage)

    def text_chunks(self, text: str) -> list[ChatCompletionChunk]:
        """Return text as one chunk, made from the template; none if no chunk had text."""
        if self.template is None:
            return []
        new = self.template.model_copy(deep=True)
        new.choices[0].delta.content = text
        new.choices[0].delta.tool_calls = None
        return [new]


class AtGate(Enum):
    """The result of asking a rung's gate for a place."""

    ADMITTED = "admitted"
    WAITED = "admitted after a wait"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class ModelUpdate:
    """What an attempt reports."""

    attempt: int
    what: ChatCompletionChunk | Exception | AtGate | None  # `None` at the end of the stream


Report: TypeAlias = Callable[[ModelUpdate], Awaitable[None]]
"""Receives an attempt's updates; waits while too many are unread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GatePlace:
    """The place to wait for before a rung may be asked."""

    gate: Gate
    call: Hashable
    until: Deadline


async def follow(
    model: Model,
    context: LLMContext,
    *,
    number: int,
    report: Report,
    on_answered: Callable[[], None],
    place: GatePlace | None = None,
) -> None:
    """Ask a rung, as soon as it has a place for the request, and report its chunks.

    Ends when the stream ends. An error of the rung is reported, not raised.

    Args:
        model: The rung's model.
        context: The question.
        number: The attempt's number.
        report: Called with the result at the gate, each chunk, and the end of the stream or an
            error.
        on_answered: Called when the rung has accepted the request.
        place: The place to wait for, and to keep until the stream ends; `None` without a gate.
    """
    chunks = model.ask(context, on_answered=on_answered)
    if place is None:
        await _pass_on(chunks, number=number, report=report)
        return
    admitted = AtGate.ADMITTED if place.gate.has_room else AtGate.WAITED
    ticket = await place.gate.enter(place.call, until=place.until)
    if ticket is None:
        await report(ModelUpdate(number, AtGate.REFUSED))
        return
    try:
        await report(ModelUpdate(number, admitted))
        await _pass_on(chunks, number=number, report=report)
    finally:
        place.gate.leave(ticket)


async def _pass_on(
    answer: AsyncIterator[ChatCompletionChunk], *, number: int, report: Report
) -> None:
    """Report an answer's chunks, then its end or its error.

    An error after `finish_reason` is an end. After `finish_reason`, only usage is due; it is
    awaited for `USAGE_S` seconds.
    """
    finished = False
    try:
        async with asyncio.timeout(None) as patience, aclosing(answer) as chunks:  # type: ignore[type-var]
            async for chunk in chunks:
                await report(ModelUpdate(number, _check_types(chunk)))
                finished = finished or _is_last_before_usage(chunk)
                if finished:
                    patience.reschedule(asyncio.get_running_loop().time() + USAGE_S)
    except Exception as error:  # noqa: BLE001 - the provider's edge: any error is its failure
        await report(ModelUpdate(number, None if finished else error))
    else:
        await report(ModelUpdate(number, None))


def _check_types(chunk: ChatCompletionChunk) -> ChatCompletionChunk:
    """Return the chunk after checking its fields' types, which the SDK does not do.

    Raises:
        UnreadableChunkError: A type is wrong.
    """
    if not isinstance(chunk, ChatCompletionChunk):
        raise UnreadableChunkError(type(chunk).__name__)
    delta = chunk.choices[0].delta if chunk.choices else None
    if not delta:
        return chunk
    functions = [tool_call.function for tool_call in delta.tool_calls or () if tool_call.function]
    named = [text for function in functions for text in (function.name, function.arguments)]
    if not all(isinstance(item, str | None) for item in (delta.content, delta.refusal, *named)):
        raise UnreadableChunkError("a text field of the wrong type")
    return chunk


def _is_last_before_usage(chunk: ChatCompletionChunk) -> bool:
    """Return whether a chunk ends the answer, so that only usage follows."""
    return bool(chunk.choices) and chunk.choices[0].finish_reason in FINISHES


def _has_usage(chunk: ChatCompletionChunk) -> bool:
    """Return whether a chunk has complete usage; on incomplete usage, Pipecat raises an error."""
    if chunk.usage is None:
        return False
    try:
        CompletionUsage.model_validate(chunk.usage.model_dump(warnings=False))
    except (AttributeError, ValueError):
        return False
    return True


def _text_of(delta: ChoiceDelta) -> str:
    """Return the text; a model that declines to answer may write it into a field of its own."""
    return without_halves(delta.content or delta.refusal or "")
