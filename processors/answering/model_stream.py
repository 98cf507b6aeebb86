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

USAGE_S: Final = 0.25  # for the usage and the end behind an answer; with 0.4 s the rung is late
NO_CALLS: Final = "none"  # OpenAI's word in `tool_choice`: the model has to speak
# OpenAI's; a server that writes another word into every chunk, such as "null", finishes with none.
FINISHES: Final = frozenset({"stop", "length", "tool_calls", "content_filter", "function_call"})


class UnreadableChunkError(ValueError):
    """What came is JSON, and no piece of an answer."""


class Model(Protocol):
    """A rung of the ladder."""

    @property
    def asks_for(self) -> str:
        """The model's name, as it is asked for and billed."""
        ...

    def on_headers(self, told: Callable[[Mapping[str, str]], None]) -> None:
        """Have `told` called with the headers of each answer."""
        ...

    def ask(
        self, context: LLMContext, *, answered: Callable[[], None]
    ) -> AsyncIterator[ChatCompletionChunk]:
        """Stream an answer, and tell that it was begun; closing lets the connection go."""
        ...

    def failure_of(self, error: Exception, *, flowing: bool) -> Failure:
        """Say what an error of `ask` means; `flowing` when words had come."""
        ...

    async def infer(self, context: LLMContext, **asked: Any) -> str | None:
        """Answer outside the call, in one piece."""
        ...

    async def close(self) -> None:
        """Let all connections go."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Billed:
    """A request that has to be paid for."""

    provider: str
    characters: int  # that it had written
    usage: ChatCompletionChunk | None  # the chunk that tells it; None: nobody told


@dataclass(slots=True)
class ModelStream:
    """What one attempt has sent so far."""

    provider: str
    task: asyncio.Task[None]
    asked: bool  # False: it waits at the gate
    answered: bool = False  # by an acceptance, if by nothing more: it will be billed
    goes_on: bool = False  # from what was said already: the full stop alone may be what is left
    spoke: bool = False
    unsaid: str = ""  # what came before the first word: signs that belong to it, or to nothing
    begins: SpokenText = field(default_factory=SpokenText)  # finds that first word
    characters: int = 0
    finish: str | None = None
    # A tool runs only when its call has come whole, and from the rung that finished the answer.
    calls: ToolCalls = field(default_factory=ToolCalls)
    usage: ChatCompletionChunk | None = None  # the latest that tells it
    words: bool = False  # some came
    form: ChatCompletionChunk | None = None  # one with text in it, as a form for what was held back

    def keep(self, chunk: ChatCompletionChunk) -> str | None:
        """Keep what is handed on later, and return the text that came; None: nothing came."""
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
            return None  # a role, a keep-alive, a thought: not what the caller waits for
        self.spoke, self.unsaid = True, ""
        self.words = self.words or bool(text)
        if tools:
            self.calls.add(chunk, tools)
        return text

    @property
    def wrote(self) -> Wrote:
        """What a finished answer is made of."""
        if self.spoke:
            return Wrote.PART if self.finish == "length" and not self.calls else Wrote.WORDS
        return Wrote.SIGNS if self.begins.signs and self.finish != "length" else Wrote.NOTHING

    def last_text(self, *, runs: Callable[[Sequence[str]], bool]) -> str:
        """Return the text that only its end shows to be an answer.

        Args:
            runs: Returns whether there are calls of tools in what was removed.
        """
        if self.spoke or not (self._is_answer(self.begins.finish()) or runs(self.begins.calls)):
            return ""
        self.spoke = self.words = True
        return self.unsaid

    def _begun_by(self, text: str) -> bool:
        return self.spoke or self._is_answer(self.begins.write(text))

    def _is_answer(self, text: str) -> bool:
        """Return whether it is one: blanks and signs before a word say nothing."""
        return bool(text.strip() if self.goes_on else sayable(text))

    def behind_words(self, context: LLMContext) -> list[ChatCompletionChunk]:
        """Return what is handed on behind the words: whole calls, then the usage, without words."""
        usage = [self.usage.model_copy(update={"choices": []})] if self.usage else []
        results = [message for message in context.messages if isinstance(message, dict)]
        taken = [str(result["tool_call_id"]) for result in results if result["role"] == "tool"]
        calls = [] if context.tool_choice == NO_CALLS else self.calls.whole(taken)
        return [*calls, *usage]

    @property
    def billed(self) -> Billed:
        """What there is to pay for so far."""
        return Billed(provider=self.provider, characters=self.characters, usage=self.usage)

    def written(self, text: str) -> list[ChatCompletionChunk]:
        """Return text in the form of what came."""
        if self.form is None:
            return []
        new = self.form.model_copy(deep=True)
        new.choices[0].delta.content = text
        new.choices[0].delta.tool_calls = None
        return [new]


class AtGate(Enum):
    """How it went at a rung's gate."""

    ADMITTED = "admitted"
    WAITED = "admitted after a wait"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class ModelNews:
    """What came of an attempt."""

    attempt: int
    what: ChatCompletionChunk | Exception | AtGate | None  # None: the stream ended


Report: TypeAlias = Callable[[ModelNews], Awaitable[None]]
"""Gets what came of an attempt; waits while too much of it waits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GatePlace:
    """What has to be had before a rung may be asked."""

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
    """Ask a rung, when there is a place for us, and pass on what it says.

    Args:
        model: The rung's.
        context: What it is asked.
        number: Of the attempt.
        report: Gets it all, and at the end that it is the end, or why.
        answered: Called when the rung has accepted the request.
        place: To be waited for, and kept until the rung has answered.
    """
    chunks = model.ask(context, answered=answered)
    if place is None:
        await _pass_on(chunks, number=number, report=report)
        return
    admitted = AtGate.ADMITTED if place.gate.room else AtGate.WAITED
    ticket = await place.gate.enter(place.call, until=place.until)
    if ticket is None:
        await report(ModelNews(number, AtGate.REFUSED))
        return
    try:
        await report(ModelNews(number, admitted))
        await _pass_on(chunks, number=number, report=report)
    finally:
        place.gate.leave(ticket)


async def _pass_on(
    answer: AsyncIterator[ChatCompletionChunk], *, number: int, report: Report
) -> None:
    """Pass on an answer to its end: what fails behind its `finish_reason` fails nobody."""
    finished = False
    try:
        async with asyncio.timeout(None) as patience, aclosing(answer) as chunks:  # type: ignore[type-var]
            async for chunk in chunks:
                await report(ModelNews(number, _readable(chunk)))
                finished = finished or _finishes(chunk)
                if finished:
                    patience.reschedule(asyncio.get_running_loop().time() + USAGE_S)
    except Exception as error:  # noqa: BLE001 - the provider's edge: any error is its failure
        await report(ModelNews(number, None if finished else error))
    else:
        await report(ModelNews(number, None))


def _readable(chunk: ChatCompletionChunk) -> ChatCompletionChunk:
    """Return a chunk that has the types it should: the SDK takes whatever came.

    Raises:
        UnreadableChunkError: It has not.
    """
    if not isinstance(chunk, ChatCompletionChunk):
        raise UnreadableChunkError(type(chunk).__name__)
    delta = chunk.choices[0].delta if chunk.choices else None
    if not delta:
        return chunk
    functions = [tool_call.function for tool_call in delta.tool_calls or () if tool_call.function]
    named = [text for function in functions for text in (function.name, function.arguments)]
    if not all(isinstance(item, str | None) for item in (delta.content, delta.refusal, *named)):
        raise UnreadableChunkError("words that are no text")
    return chunk


def _finishes(chunk: ChatCompletionChunk) -> bool:
    """Say whether a chunk ends the answer: only usage follows."""
    return bool(chunk.choices) and chunk.choices[0].finish_reason in FINISHES


def _tells_usage(chunk: ChatCompletionChunk) -> bool:
    """Say whether a chunk has all counts of the usage: Pipecat would fail before it runs a tool."""
    if chunk.usage is None:
        return False
    try:
        CompletionUsage.model_validate(chunk.usage.model_dump(warnings=False))
    except (AttributeError, ValueError):
        return False
    return True


def _text_of(delta: ChoiceDelta) -> str:
    """Return what is to be said; a model that declines may say so in a field of its own."""
    return without_halves(delta.content or delta.refusal or "")
