"""One answer of the language model: pulls the words of one rung, and goes on with the next."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, cast

from openai.types.chat import ChatCompletionChunk
from pipecat.processors.aggregators.llm_context import LLMContext, LLMContextMessage

from calls.window import fit
from fallbacks.attempts import (
    Abandon,
    Admitted,
    Done,
    Exhausted,
    Failed,
    Finished,
    Idled,
    Progressed,
    Refused,
    Start,
    Step,
    TellFact,
    Win,
)
from fallbacks.continuation import Answer
from fallbacks.deadline import Deadline
from fallbacks.facts import Fact
from fallbacks.failure import Failure, Kind, failed
from fallbacks.work import Work
from processors.llm_stream import AtGate, CalledOff, Model, News, Place, Stream, follow
from processors.tool_calls import broken_call

QUEUE_CHUNKS: Final = 256  # of all attempts at one answer: a rung that is ahead waits
MENDED_SHARE: Final = 0.5  # of the window, for a context that the provider called too long
RECOVERS_S: Final = 10.0  # for a rung to be trusted again; meanwhile the line is held (chosen)
LOOK_S: Final = 0.1  # between two looks for one
CUT_OFF: Final = (
    "Your last message was cut off after these words, and the caller has heard them. Write only "
    "what comes next. Do not repeat, greet or apologise."
)


class NoModelLeftError(ConnectionError):
    """Every rung of the ladder failed for this answer."""


class Tasks(Protocol):
    """Who owns the attempts: a Pipecat processor."""

    def create_task(self, coroutine: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Start a task that ends with its owner."""
        ...

    async def cancel_task(self, task: asyncio.Task[None]) -> None:
        """Cancel a task and wait for it."""
        ...


@dataclass(slots=True, kw_only=True)
class LlmWork:
    """One answer. `chunks` gives it, `close` ends whatever is still under way."""

    models: Mapping[str, Model]
    work: Work
    context: LLMContext
    tasks: Tasks
    clock: Callable[[], float]
    until: Callable[[], Deadline]
    window_tokens: int
    tell: Callable[[Fact], None]
    heard: Callable[[str, int], Awaitable[None]]  # the rung that writes on; characters to take back
    again: Callable[[], Work] | None = None  # the work once more, for a rung that has recovered
    called_off: list[CalledOff] = field(default_factory=list[CalledOff])
    _passing: bool = False  # a failure was one that may pass
    _answer: Answer = field(default_factory=Answer)
    _streams: dict[int, Stream] = field(default_factory=dict[int, Stream])
    _news: asyncio.Queue[News] = field(default_factory=lambda: asyncio.Queue(QUEUE_CHUNKS))

    async def chunks(self) -> AsyncIterator[ChatCompletionChunk]:
        """Yield the answer's words, each once, then its whole tool calls, then its usage.

        When nobody is left the question is kept for a while: a probe may find a rung well again.

        Raises:
            NoModelLeftError: No rung is left who may be asked.
        """
        async for chunk in self._tried():
            yield chunk
        tired_at = self.clock() + RECOVERS_S
        while self.work.winner is None:
            self._answer.begin(0)
            await self.heard("", self._answer.taken_back)
            if self.again is None or not await self._recovered(tired_at):
                raise NoModelLeftError(f"no language model answered; {self.work.attempts} attempts")
            self.work = self.again()
            async for chunk in self._tried():
                yield chunk

    async def close(self) -> None:
        """End every attempt; those that did nothing wrong count as nothing."""
        if not self.work.over:
            for step in self.work.cancel("caller", self.clock()):
                if isinstance(step, TellFact):
                    self.tell(step.fact)
        for attempt in tuple(self._streams):
            await self._drop(attempt)

    async def _tried(self) -> AsyncIterator[ChatCompletionChunk]:
        """Ask the ladder once, from its top."""
        await self._do(self.work.start(self.until(), self.clock()))
        while not self.work.over:
            news = await self._next()
            self.work.move(self.until())
            if news is None:
                await self._do(self.work.tick(self.clock()))
                continue
            stream = self._streams.get(news.attempt)
            if stream is None:
                continue  # late news of an abandoned attempt
            for chunk in await self._take(news, stream):
                yield chunk

    async def _recovered(self, tired_at: float) -> bool:
        """Wait for a rung to be trusted again; False: it takes too long, or nothing will change."""
        if self.work.attempts and not self._passing:
            return False
        while self.clock() < tired_at:
            await asyncio.sleep(LOOK_S)
            if self.work.policy.trusted(self.clock()):
                return True
        return False

    async def _next(self) -> News | None:
        wake_at = self.work.wake_at
        wait_s = None if wake_at is None else max(0.0, wake_at - self.clock())
        try:
            async with asyncio.timeout(wait_s):
                return await self._news.get()
        except TimeoutError:
            return None

    async def _take(self, news: News, stream: Stream) -> list[ChatCompletionChunk]:
        match news.what:
            case None:
                return await self._ended(news.attempt, stream)
            case AtGate.ADMITTED | AtGate.WAITED as how:
                stream.asked, waited = True, how is AtGate.WAITED
                admitted = Admitted(attempt=news.attempt, waited=waited)
                await self._do(self.work.handle(admitted, self.clock()))
                return []
            case AtGate.REFUSED:
                self._streams.pop(news.attempt, None)
                await self._do(self.work.handle(Refused(attempt=news.attempt), self.clock()))
                return []
            case Exception() as error:
                failure = self.models[stream.provider].failure_of(error, flowing=stream.spoke)
                await self._fail(news.attempt, stream, failure)
                return []
            case chunk:
                return await self._grown(news.attempt, stream, chunk)

    async def _grown(
        self, attempt: int, stream: Stream, chunk: ChatCompletionChunk
    ) -> list[ChatCompletionChunk]:
        choice = chunk.choices[0] if chunk.choices else None
        if choice is None or not choice.delta:
            stream.held += [chunk] if chunk.usage else []
            return []
        stream.finish = choice.finish_reason or stream.finish
        content, tools = choice.delta.content, choice.delta.tool_calls
        if not content and not tools:
            return []  # a role, a keep-alive, the finish: not what the caller waits for
        stream.spoke = True
        stream.characters += len(content or "")
        stream.words = chunk if content else stream.words
        await self._do(self.work.handle(Progressed(attempt=attempt), self.clock()))
        if tools:
            stream.held.append(chunk)
        return self._handed_on(chunk, self._answer.write(attempt, content)) if content else []

    def _handed_on(self, chunk: ChatCompletionChunk, text: str) -> list[ChatCompletionChunk]:
        if not text:
            return []
        new = chunk.model_copy(deep=True)
        new.choices[0].delta.content = text
        new.choices[0].delta.tool_calls = None
        return [new]

    async def _ended(self, attempt: int, stream: Stream) -> list[ChatCompletionChunk]:
        if stream.finish is None:  # the SDK calls that a success; the caller hears half an answer
            kind = Kind.CUT if stream.spoke else Kind.SILENT
            reason = "the stream ended without a finish_reason"
            await self._fail(
                attempt, stream, failed(kind, "llm", provider=stream.provider, reason=reason)
            )
            return []
        if broken := broken_call(stream.held):  # Pipecat would drop it, and the turn would hang
            failure = failed(Kind.PROTOCOL, "llm", provider=stream.provider, reason=broken)
            await self._fail(attempt, stream, failure)
            return []
        words = self._rest(attempt, stream)
        await self._do(self.work.handle(Finished(attempt=attempt), self.clock()))
        if self.work.winner != attempt:
            return []  # it had nothing to say, and another is asked
        self._streams.pop(attempt, None)
        return [*words, *stream.held]

    def _rest(self, attempt: int, stream: Stream) -> list[ChatCompletionChunk]:
        text = self._answer.finish(attempt)
        return self._handed_on(stream.words, text) if stream.words else []

    async def _fail(self, attempt: int, stream: Stream, failure: Failure) -> None:
        self._streams.pop(attempt, None)
        self._passing |= not failure.permanent
        request = str(hash(str(self.context.messages[-1:])))
        event = Failed(
            attempt=attempt,
            failure=failure,
            heard_words=len(self._answer.said.split()),
            request=request,
        )
        await self._do(self.work.handle(event, self.clock()))

    async def _do(self, steps: tuple[Step, ...]) -> None:
        for step in steps:
            match step:
                case TellFact():
                    self.tell(step.fact)
                case Start():
                    self._begin(step)
                case Win():
                    self._answer.begin(step.attempt)
                    await self.heard(step.provider, self._answer.taken_back)
                case Exhausted():
                    pass
                case Done():
                    await self._drop(step.attempt)
                case ended:
                    self._passing |= isinstance(ended, Abandon)
                    self._call_off(ended.attempt)
                    await self._drop(ended.attempt)

    def _begin(self, start: Start) -> None:
        context = self._continued(self._mended() if start.mended else self.context)
        model, gate = self.models[start.provider], self.work.policy.gates.get(start.provider)
        if gate is None:
            pump = follow(model, context, number=start.attempt, news=self._news)
        else:
            self.work.handle(Idled(attempt=start.attempt), self.clock())
            until = self.work.may_wait_until(self.until(), self.clock())
            place = Place(gate=gate, call=self.work.call, until=until)
            pump = follow(model, context, number=start.attempt, news=self._news, place=place)
        task = self.tasks.create_task(pump, f"ask {start.provider} ({start.attempt})")
        self._streams[start.attempt] = Stream(start.provider, task, asked=gate is None)

    async def _drop(self, attempt: int) -> None:
        stream = self._streams.pop(attempt, None)
        if stream and not stream.task.done():
            await self.tasks.cancel_task(stream.task)

    def _call_off(self, attempt: int) -> None:
        stream = self._streams.get(attempt)
        if stream and stream.asked:
            told = CalledOff(provider=stream.provider, characters=stream.characters)
            self.called_off.append(told)

    def _continued(self, context: LLMContext) -> LLMContext:
        """Return the context, with what was said already and a note that the rest is wanted."""
        if not self._answer.whole:
            return context
        spoken = cast("LLMContextMessage", {"role": "assistant", "content": self._answer.whole})
        note = cast("LLMContextMessage", {"role": "developer", "content": CUT_OFF})
        return LLMContext(
            messages=[*context.messages, spoken, note],
            tools=context.tools,
            tool_choice=context.tool_choice,
        )

    def _mended(self) -> LLMContext:
        """Return a context that is half as long as ours may be: the provider counts otherwise."""
        messages = [cast("Mapping[str, Any]", each) for each in self.context.messages]
        fitted = fit(messages, int(self.window_tokens * MENDED_SHARE))
        return LLMContext(
            messages=cast("list[LLMContextMessage]", list(fitted.messages)),
            tools=self.context.tools,
            tool_choice=self.context.tool_choice,
        )
