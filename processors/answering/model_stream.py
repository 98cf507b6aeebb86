"""One attempt at an answer: the words that a rung streams, and its place at the rung's gate."""

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
from fallbacks.word_times import sayable
from processors.answering.decision import Wrote
from processors.answering.spoken_text_rules import SpokenText
from processors.answering.tool_calls import ToolCalls

USAGE_S: Final = 0.25  # for usage and stream end after an answer; after 0.4 s the rung is late
NO_CALLS: Final = "none"  # OpenAI's value of `tool_choice`: the model must answer in words
# OpenAI's; another value, which some servers write into every chunk ("null"), does not finish.
FINISHES: Final = frozenset({"stop", "length", "tool_calls", "content_filter", "function_call"})


class UnreadableChunkError(ValueError):
    """Valid JSON that is not a piece of an answer."""


class Model(Protocol):
    """A rung of the ladder."""

    @property
    def asks_for(self) -> str:
        """The model's name in requests and bills."""
        ...

    def on_headers(self, told: Callable[[Mapping[str, str]], None]) -> None:
        """Call `told` with the headers of each response."""
        ...

    def ask(
        self, context: LLMContext, *, answered: Callable[[], None]
    ) -> AsyncIterator[ChatCompletionChunk]:
        """Stream an answer; call `answered` when it begins. Closing releases the connection."""
        ...

    def failure_of(self, error: Exception, *, flowing: bool) -> Failure:
        """Classify an error of `ask`; `flowing` if words had come."""
        ...

    async def infer(self, context: LLMContext, **asked: Any) -> str | None:
        """Answer outside the call, in one piece."""
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
    """What one attempt has sent so far."""

    provider: str
    task: asyncio.Task[None]
    asked: bool  # False: it waits at the gate
    answered: bool = False  # the request was accepted, and will be billed
    goes_on: bool = False  # it continues an answer: a full stop alone may be all that is left
    spoke: bool = False
    unsaid: str = ""  # what came before the first word: signs that may belong to it
    begins: SpokenText = field(default_factory=SpokenText)  # finds that first word
    characters: int = 0
    finish: str | None = None
    # A tool runs only when its call is complete, and from the rung that finished the answer.
    calls: ToolCalls = field(default_factory=ToolCalls)
    usage: ChatCompletionChunk | None = None  # the latest one with usage
    words: bool = False  # some came
    form: ChatCompletionChunk | None = None  # a chunk with text, as a template for held text

    def keep(self, chunk: ChatCompletionChunk) -> str | None:
        """Keep what is passed on later, and return the text; `None` if the chunk has no content."""
        self.usage = chunk if _tells_usage(chunk) else self.usage
        choice = chunk.choices[0] if chunk.choices else None
        if choice is None:
            return None
        if self.finish is None and choice.finish_reason in FINISHES:  # `[DONE]` brings another
            self.finish = choice.finish_reason
        if not choice.delta:
            return None
        text, tools = _text_of(choice.delta), choice.delta.tool_calls or ()
        named = [tool.function for tool in tools if tool.function]
        called = [
            part for function in named for part in (function.name, function.arguments) if part
        ]
        self.characters += len(text) + sum(map(len, called))
        self.form = chunk if text else self.form
        begun, text = self._begun_by(text), self.unsaid + text
        if not begun and not tools:
            self.unsaid = text.lstrip()
            return None  # a role, a keep-alive, a thought: no content for the caller
        self.spoke, self.unsaid = True, ""
        self.words = self.words or bool(text)
        if tools:
            self.calls.add(chunk, tools)
        return text

    @property
    def wrote(self) -> Wrote:
        """What a finished answer consists of."""
        if self.spoke:
            return Wrote.PART if self.finish == "length" and not self.calls else Wrote.WORDS
        return Wrote.SIGNS if self.begins.signs and self.finish != "length" else Wrote.NOTHING

    def last_text(self, *, runs: Callable[[Sequence[str]], bool]) -> str:
        """Return text that only the end of the stream shows to be an answer.

        Args:
            runs: Returns whether the removed text contains tool calls.
        """
        if self.spoke or not (self._is_answer(self.begins.finish()) or runs(self.begins.calls)):
            return ""
        self.spoke = self.words = True
        return self.unsaid

    def _begun_by(self, text: str) -> bool:
        return self.spoke or self._is_answer(self.begins.write(text))

    def _is_answer(self, text: str) -> bool:
        """Return whether the text contains a word: blanks and signs before one do not count."""
        return bool(text.strip() if self.goes_on else sayable(text))

    def behind_words(self, context: LLMContext) -> list[ChatCompletionChunk]:
        """Return what follows the words: complete tool calls, then the usage, without words."""
        usage = [self.usage.model_copy(update={"choices": []})] if self.usage else []
        results = [message for message in context.messages if isinstance(message, dict)]
        taken = [str(result["tool_call_id"]) for result in results if result["role"] == "tool"]
        calls = [] if context.tool_choice == NO_CALLS else self.calls.whole(taken)
        return [*calls, *usage]

    @property
    def billed(self) -> Billed:
        """The use so far."""
        return Billed(provider=self.provider, characters=self.characters, usage=self.usage)

    def written(self, text: str) -> list[ChatCompletionChunk]:
        """Return text as a chunk of this stream."""
        if self.form is None:
            return []
        new = self.form.model_copy(deep=True)
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
    """News of an attempt."""

    attempt: int
    what: ChatCompletionChunk | Exception | AtGate | None  # `None` at the end


Report: TypeAlias = Callable[[ModelUpdate], Awaitable[None]]
"""Receives news of an attempt; waits while too many are unread."""


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
    answered: Callable[[], None],
    place: GatePlace | None = None,
) -> None:
    """Ask a rung, once it has a place for us, and report what it sends.

    Args:
        model: The rung's.
        context: What it is asked.
        number: Of the attempt.
        report: Gets everything, and at the end the end of the stream or an error.
        answered: Called when the rung has accepted the request.
        place: To wait for, and to keep until the rung has answered.
    """
    chunks = model.ask(context, answered=answered)
    if place is None:
        await _pass_on(chunks, number=number, report=report)
        return
    admitted = AtGate.ADMITTED if place.gate.room else AtGate.WAITED
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
    """Report an answer to its end; an error after its `finish_reason` is ignored."""
    finished = False
    try:
        async with asyncio.timeout(None) as patience, aclosing(answer) as chunks:  # type: ignore[type-var]
            async for chunk in chunks:
                await report(ModelUpdate(number, _readable(chunk)))
                finished = finished or _finishes(chunk)
                if finished:
                    patience.reschedule(asyncio.get_running_loop().time() + USAGE_S)
    except Exception as error:  # noqa: BLE001 - the provider's edge: any error is its failure
        await report(ModelUpdate(number, None if finished else error))
    else:
        await report(ModelUpdate(number, None))


def _readable(chunk: ChatCompletionChunk) -> ChatCompletionChunk:
    """Return the chunk if its fields have the right types, which the SDK does not check.

    Raises:
        UnreadableChunkError: They have not.
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


def _finishes(chunk: ChatCompletionChunk) -> bool:
    """Return whether a chunk ends the answer, so that only usage follows."""
    return bool(chunk.choices) and chunk.choices[0].finish_reason in FINISHES


def _tells_usage(chunk: ChatCompletionChunk) -> bool:
    """Return whether a chunk has complete usage: Pipecat fails on a partial one before a tool."""
    if chunk.usage is None:
        return False
    try:
        CompletionUsage.model_validate(chunk.usage.model_dump(warnings=False))
    except (AttributeError, ValueError):
        return False
    return True


def _text_of(delta: ChoiceDelta) -> str:
    """Return the text to say; a model that declines may put it in a separate field."""
    return without_halves(delta.content or delta.refusal or "")
