"""An answer that is asked for before the turn is decided: kept until somebody takes it, or not."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

from openai.types.chat import ChatCompletionChunk
from pipecat.processors.aggregators.llm_context import LLMContext

from fallbacks.facts import AnswerEmpty, Fact, StageExhausted
from processors.answering.model_answer import ModelAnswer, NoModelLeftError
from processors.ladder.reconnector import TaskOwner

Heard: TypeAlias = Callable[[str, int], Awaitable[None]]
"""Gets the rung that writes on, and how many characters are taken back."""

MakeAnswer: TypeAlias = Callable[[LLMContext, Callable[[Fact], None], Heard], ModelAnswer]
"""Begins an answer to a context, given who takes its facts and who writes it."""


@dataclass(frozen=True, slots=True)
class Writer:
    """From here on another rung writes, or the same from another place."""

    provider: str
    taken_back: int


class PreparedAnswer:
    """Pulls an answer as it comes, at the pace of who writes it, and hands it on when it is taken.

    What it costs to ask is known at once, and so are failures: all calls gain by that. That nobody
    is left is told when the decided turn asks: before that, no caller waits.

    Attributes:
        context: What was asked.
        asked_at: When.
        wrote_at: When the first of it came; None: nothing yet.
        writer: The rung that writes.
        calls_tool: Whether it has begun with a tool, and not with words.
    """

    def __init__(
        self,
        context: LLMContext,
        make: MakeAnswer,
        *,
        owner: TaskOwner,
        tell: Callable[[Fact], None],
        clock: Callable[[], float],
        on_exhausted: Callable[[], None],
    ) -> None:
        self.context = context
        self.asked_at = clock()
        self.wrote_at: float | None = None
        self.answer = make(context, self._tell_early, self._change_writer)
        self._tell = tell
        self._now = clock
        self._owner = owner
        self._on_exhausted = on_exhausted
        self._taken = False
        self.calls_tool: bool | None = None  # None: neither came
        self.writer = ""
        # Without a bound: a rung that had to wait for the decision would look like one that stalls.
        self._parts: asyncio.Queue[ChatCompletionChunk | Writer | Exception | None]
        self._parts = asyncio.Queue()
        self._task = owner.create_task(self._pull(), "ask early")

    async def chunks(self, heard: Heard) -> AsyncIterator[ChatCompletionChunk]:
        """Use the answer: yield what there is of it, and the rest as it comes.

        Raises:
            NoModelLeftError: No rung is left who may be asked.
        """
        self._taken = True
        while (part := await self._parts.get()) is not None:
            match part:
                case Writer():
                    await heard(part.provider, part.taken_back)
                case Exception():
                    raise part
                case chunk:
                    yield chunk

    async def close(self) -> None:
        """End whatever is still under way; those that did nothing wrong count as nothing."""
        if not self._task.done():
            await self._owner.cancel_task(self._task)
        await self.answer.close()

    @property
    def requests(self) -> int:
        """How often a rung was asked."""
        return self.answer.answering.work.attempts

    def gained_s(self, now: float) -> float:
        """Return how much sooner its first word is there, or will be, than if it were asked now."""
        return (now if self.wrote_at is None else self.wrote_at) - self.asked_at

    async def _pull(self) -> None:
        try:
            async for chunk in self.answer.chunks():
                if self.wrote_at is None:
                    self.wrote_at = self._now()
                self._note_beginning(chunk)
                self._parts.put_nowait(chunk)
        except NoModelLeftError as error:
            self._parts.put_nowait(error)
        else:
            self._parts.put_nowait(None)

    def _note_beginning(self, chunk: ChatCompletionChunk) -> None:
        delta = chunk.choices[0].delta if chunk.choices else None
        if self.calls_tool is None and delta and (delta.content or delta.tool_calls):
            self.calls_tool = not delta.content

    async def _change_writer(self, provider: str, taken_back: int) -> None:
        self.writer = provider
        self._parts.put_nowait(Writer(provider, taken_back))

    def _tell_early(self, fact: Fact) -> None:
        if isinstance(fact, StageExhausted | AnswerEmpty) and not self._taken:
            self._on_exhausted()
            return
        self._tell(fact)
