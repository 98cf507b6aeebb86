"""Asks the model before it is decided that the caller has finished."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from openai.types import CompletionUsage
from openai.types.chat import ChatCompletionChunk
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.utils.string import TextPartForConcatenation, concatenate_aggregated_text

from calls.entry import Emit
from calls.events import CallerStarted, CallerStopped, UsageMeasured
from calls.turn import Turn
from fallbacks.events import (
    AnswerEmpty,
    EarlyAnswerAsked,
    EarlyAnswerDropped,
    EarlyAnswerTaken,
    FallbackEvent,
    StageExhausted,
)
from fallbacks.ladder import EarlyBudget
from processors.answering.context_window import Memory, fit_context
from processors.answering.early_answer_rules import (
    DropAnswer,
    DropReason,
    EarlyAction,
    EarlyAnswer,
    EarlyQuestion,
    PrepareAnswer,
)
from processors.answering.model_answer import ChangeWriter, ModelAnswer, NoModelLeftError
from processors.answering.model_stream import Billed, Model
from processors.ladder.stage import TaskOwner
from processors.turn.dictation_rules import Dictation
from processors.turn.floor import (
    CallerResumed,
    Floor,
    FloorEvent,
    TurnClosed,
    TurnEndPredicted,
    WordsCame,
)

MakeAnswer: TypeAlias = Callable[
    [LLMContext, Callable[[FallbackEvent], None], ChangeWriter], ModelAnswer
]
"""Makes an answer to a context; gets what to call with its events, and when its rung changes."""


@dataclass(frozen=True, slots=True)
class Writer:
    """Marks where another rung begins to write, or the same rung restarts."""

    provider: str
    taken_back: int


class PreparedAnswer:
    """An answer that is read at the model's pace, and kept until it is used.

    The failures of its requests are reported at once, because they matter to all calls. An
    exhausted ladder or an empty answer is reported only while the answer is in use. Before that, no
    caller waits, and `on_exhausted` is called with the answer instead.

    Attributes:
        context: The question.
        asked_at: When it was asked.
        wrote_at: When the first content came; `None` before that.
        writer: The rung that writes.
        calls_tool: Whether the answer began with a tool call; `None` if unknown.
    """

    def __init__(
        self,
        context: LLMContext,
        make: MakeAnswer,
        *,
        owner: TaskOwner,
        emit: Callable[[FallbackEvent], None],
        clock: Callable[[], float],
        on_exhausted: Callable[["PreparedAnswer"], None],
    ) -> None:
        """Start the task that asks and reads; `make` creates the answer, `owner` the task."""
        self.context = context
        self.asked_at = clock()
        self.wrote_at: float | None = None
        self.answer = make(context, self._emit_early, self._change_writer)
        self._emit = emit
        self._now = clock
        self._owner = owner
        self._on_exhausted = on_exhausted
        self._taken = False
        self.calls_tool: bool | None = None
        self.writer = ""
        # Unbounded, because a rung that had to wait for the decision would seem to stall.
        self._parts: asyncio.Queue[ChatCompletionChunk | Writer | Exception | None]
        self._parts = asyncio.Queue()
        self._task = owner.create_task(self._read_into_queue(), "ask early")

    async def chunks(self, change_writer: ChangeWriter) -> AsyncIterator[ChatCompletionChunk]:
        """Yield the chunks that have come, then the others as they come.

        From now on the answer counts as used; it can be read once. `change_writer` is called where
        another rung begins to write.

        Raises:
            NoModelLeftError: No rung is available.
        """
        self._taken = True
        while (part := await self._parts.get()) is not None:
            match part:
                case Writer():
                    await change_writer(part.provider, part.taken_back)
                case Exception():
                    raise part
                case chunk:
                    yield chunk

    async def close(self) -> None:
        """End requests that are still in progress, without counting that as a failure."""
        if not self._task.done():
            await self._owner.cancel_task(self._task)
        await self.answer.close()

    @property
    def requests(self) -> int:
        """The number of requests made."""
        return self.answer.answering.attempting.attempts

    def gained_s(self, now: float) -> float:
        """Return how much sooner its first word is ready, or will be, than if it were asked now."""
        return (now if self.wrote_at is None else self.wrote_at) - self.asked_at

    async def _read_into_queue(self) -> None:
        """Read the answer into the queue, which ends with `None` or the error that `chunks` raises.

        Runs in a task of its own. An unexpected error is raised here as well.
        """
        try:
            async for chunk in self.answer.chunks():
                if self.wrote_at is None:
                    self.wrote_at = self._now()
                self._note_beginning(chunk)
                self._parts.put_nowait(chunk)
        except NoModelLeftError as error:
            self._parts.put_nowait(error)
        except Exception as error:
            self._parts.put_nowait(error)  # else `chunks` would wait for ever
            raise
        else:
            self._parts.put_nowait(None)

    def _note_beginning(self, chunk: ChatCompletionChunk) -> None:
        """Record whether the first content is a tool call."""
        delta = chunk.choices[0].delta if chunk.choices else None
        if self.calls_tool is None and delta and (delta.content or delta.tool_calls):
            self.calls_tool = not delta.content

    async def _change_writer(self, provider: str, taken_back: int) -> None:
        """Record which rung writes, and queue that for the reader of `chunks`."""
        self.writer = provider
        self._parts.put_nowait(Writer(provider, taken_back))

    def _emit_early(self, event: FallbackEvent) -> None:
        """Publish an event; call `on_exhausted` instead if an unused answer has failed."""
        if isinstance(event, StageExhausted | AnswerEmpty) and not self._taken:
            self._on_exhausted(self)
            return
        self._emit(event)


TOKEN_CHARACTERS: Final = 4  # per token, in English; help.openai.com, "What are tokens"


class AnswerBill:
    """Publishes the usage of each request, once."""

    def __init__(self, models: Mapping[str, Model], *, turn: Turn, emit: Emit) -> None:
        """Create the bill of one call.

        Args:
            models: The rungs, by name.
            turn: The turn in progress.
            emit: Publishes events.
        """
        self._models = models
        self._turn = turn
        self._emit = emit
        self._prompt_tokens = 0  # of the latest answer with a reported usage

    def emit(self, answer: ModelAnswer, *, turn: int, unanswered: bool = False) -> None:
        """Publish the reported usage of an answer's requests, and estimates for the others.

        All requests for an answer have about the same context, so a reported number of prompt
        tokens is used for the others, too. Cached tokens are not estimated. To be called once for
        each answer.

        Args:
            answer: The answer so far.
            turn: The turn that it was for.
            unanswered: Whether to include requests that were sent but have no response yet, because
                the answer was dropped.
        """
        unreported: list[Billed] = []
        prompt_tokens = len(str(answer.context.messages)) // TOKEN_CHARACTERS
        prompt_tokens = max(prompt_tokens, self._prompt_tokens)
        for request in answer.billed(unanswered=unanswered):
            usage = request.usage.usage if request.usage else None
            if request.usage is None or usage is None:
                unreported.append(request)
                continue
            self._prompt_tokens = prompt_tokens = usage.prompt_tokens
            self._emit_reported(request.provider, request.usage.model, usage, turn=turn)
        for billed in unreported:
            self._emit_estimate(
                billed.provider,
                prompt_tokens=prompt_tokens,
                completion_tokens=billed.characters // TOKEN_CHARACTERS,
                turn=turn,
            )

    def emit_estimated(self, provider: str, *, asked: str, answered: str) -> None:
        """Publish an estimate of the usage of an answer in one piece, which reports none.

        The tokens are estimated from the number of characters, and counted for the turn in
        progress.
        """
        self._emit_estimate(
            provider,
            prompt_tokens=len(asked) // TOKEN_CHARACTERS,
            completion_tokens=len(answered) // TOKEN_CHARACTERS,
            turn=self._turn.number,
        )

    def _emit_reported(
        self, provider: str, model: str, usage: CompletionUsage, *, turn: int
    ) -> None:
        """Emit the usage that the rung reported for one request."""
        details = usage.prompt_tokens_details  # some servers send none
        self._emit(
            UsageMeasured(
                turn=turn,
                stage="llm",
                provider=provider,
                model=model or self._models[provider].asks_for,
                prompt_tokens=usage.prompt_tokens,
                completion_tokens=usage.completion_tokens,
                cached_tokens=(details.cached_tokens if details else None) or 0,
            )
        )

    def _emit_estimate(
        self, provider: str, *, prompt_tokens: int, completion_tokens: int, turn: int
    ) -> None:
        """Emit an estimate of the usage of one request, marked as estimated."""
        self._emit(
            UsageMeasured(
                turn=turn,
                stage="llm",
                provider=provider,
                model=self._models[provider].asks_for,
                prompt_tokens=prompt_tokens,
                completion_tokens=completion_tokens,
                estimated=True,
            )
        )


class EarlyAnswers:
    """Asks early when the caller pauses, and keeps the answer for the LLM stage.

    It does not wait for the turn detector. It asks the question that would be asked if the turn
    were over now; `take` compares it with the question of the decided turn.

    Attributes:
        refused: Whether every rung has refused the question of the decided turn, early.

    Args:
        memory: The conversation so far; the caller's words are added to a copy.
        budget: Limits the requests whose answers are dropped.
        make: Makes an answer.
        has_room: Returns whether a rung could be asked without a wait; if not, no model is asked
            early, so as not to delay another call.
        window_tokens: The context window.
        bill: Publishes the usage of a dropped answer.
        owner: Owns the tasks.
        emit: Publishes events.
        clock: Monotonic, in seconds.
        turn: The turn in progress.
        floor: The call's floor.
        dictation: While the caller may be dictating, no model is asked early.
    """

    def __init__(
        self,
        memory: Memory,
        *,
        budget: EarlyBudget,
        make: MakeAnswer,
        has_room: Callable[[], bool],
        window_tokens: int,
        bill: AnswerBill,
        owner: TaskOwner,
        emit: Emit,
        clock: Callable[[], float],
        turn: Turn,
        floor: Floor,
        dictation: Dictation,
    ) -> None:
        """Listen to the floor, whose events ask early; no answer is prepared yet."""
        self._memory = memory
        self._budget = budget
        self._make = make
        self._has_room = has_room
        self._window_tokens = window_tokens
        self._bill = bill
        self._owner = owner
        self._emit = emit
        self._now = clock
        self._turn = turn
        self._floor = floor
        self._dictation = dictation
        self._decision = EarlyAnswer(budget)
        self._prepared: PreparedAnswer | None = None
        self.refused = False
        self._refused: EarlyQuestion | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._number = 0  # the turn that the answer is for
        self._parts: list[TextPartForConcatenation] = []
        floor.listeners.append(self._on_floor_event)

    def take(self, context: LLMContext) -> PreparedAnswer | None:
        """Return the prepared answer if it answers this question, else `None`.

        Called once for each request of the LLM stage. It counts the request in the budget, drops an
        answer to another question, sets `refused` (every rung has refused this question already),
        and emits `EarlyAnswerTaken` for an answer that it returns.
        """
        self._budget.note()
        question = early_question_from(context)
        difference = self._decision.decide(question)
        refused, self._refused = self._refused, None
        self.refused = refused is not None and not refused.differs(question)
        if self._prepared is None:
            return None
        if difference:
            self._bill_and_close_answer(difference)
            return None
        prepared, self._prepared = self._prepared, None
        self._budget.settle(extra=0)
        now = self._now()
        self._emit(
            EarlyAnswerTaken(
                turn=self._number,
                asked_s=now - prepared.asked_at,
                gained_s=prepared.gained_s(now),
                extra_share=self._budget.extra_share,
                calls_tool=bool(prepared.calls_tool),
            )
        )
        return prepared

    async def close(self) -> None:
        """Drop an unused answer, and wait until the requests of all dropped answers have ended."""
        self._carry_out(self._decision.drop("ended"))
        await asyncio.gather(*self._closing)

    def _on_floor_event(self, event: FloorEvent) -> None:
        """Collect the turn's words.

        Ask when the caller pauses, and drop the answer when they resume.
        """
        match event:
            case WordsCame():
                if event.final and event.text.strip():
                    self._parts.append(TextPartForConcatenation(event.text, event.spaced))
                self._note_words()
            case TurnEndPredicted():
                self._carry_out(self._decision.pause())
            case CallerStopped():
                self._note_words()
                self._carry_out(self._decision.pause())
            case CallerStarted() | CallerResumed():
                self._note_words()
                self._carry_out(self._decision.drop("caller"))
            case TurnClosed():  # the words are in the conversation now
                self._parts = []
            case _:
                pass

    def _note_words(self) -> None:
        """Tell the decision this turn's words, and whether more may come or be dictated."""
        words = concatenate_aggregated_text(self._parts)
        dictates = self._dictation.pause_s(words, asked=self._memory.last_said) > 0.0
        complete = self._floor.transcribed and not dictates
        self._carry_out(self._decision.words(words, complete=complete))

    def _carry_out(self, actions: Iterable[EarlyAction]) -> None:
        """Ask for early answers, and drop them."""
        for action in actions:
            match action:
                case PrepareAnswer():
                    self._ask_early(action.words)
                case DropAnswer():
                    self._bill_and_close_answer(action.because)

    def _ask_early(self, words: str) -> None:
        """Ask for an answer to these words, and emit `EarlyAnswerAsked`.

        If no rung has a free place, nothing is asked, and the reserved budget is returned.
        """
        if not self._has_room():
            self._budget.settle(extra=0)
            return
        memory = self._memory
        full = LLMContext(
            messages=memory.with_words(words), tools=memory.tools, tool_choice=memory.tool_choice
        )
        context = fit_context(full, self._window_tokens)[0]
        self._number = self._turn.number + 1
        self._decision.asked(early_question_from(context))
        self._emit(EarlyAnswerAsked(turn=self._number))
        self._prepared = PreparedAnswer(
            context,
            self._make,
            owner=self._owner,
            emit=self._emit,
            clock=self._now,
            on_exhausted=self._give_up,
        )

    def _give_up(self, failed: PreparedAnswer) -> None:
        """Drop an answer that every rung failed to give; remember the question if all refused it.

        An answer that was dropped before may report this too; it is ignored.
        """
        if failed is not self._prepared:
            return
        if failed.answer.answering.surely_refused:
            self._refused = self._decision.question
        self._carry_out(self._decision.drop("exhausted"))

    def _bill_and_close_answer(self, because: DropReason) -> None:
        """Drop the prepared answer, if any, for the reason `because`.

        Its usage and `EarlyAnswerDropped` are emitted, the budget is charged for its requests, and
        a background task closes it.
        """
        prepared, self._prepared = self._prepared, None
        if prepared is None:
            return
        extra = prepared.requests
        self._budget.settle(extra=extra)
        self._bill.emit(prepared.answer, turn=self._number, unanswered=True)
        closing = self._owner.create_task(prepared.close(), "drop an early answer")
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        self._emit(
            EarlyAnswerDropped(
                turn=self._number,
                because=because,
                after_s=self._now() - prepared.asked_at,
                requests=extra,
                extra_share=self._budget.extra_share,
            )
        )


def early_question_from(context: LLMContext) -> EarlyQuestion:
    """Return the question in a context in a form that can be compared later.

    Its messages are kept as text, because some change in place later, such as a tool's result.
    """
    *before, last = context.messages or [{}]
    asked = last.get("content") if isinstance(last, dict) and last.get("role") == "user" else None
    words = asked if isinstance(asked, str) else ""
    rest = () if words else (str(last),)
    tools = (str(id(context.tools)), str(context.tool_choice))
    return EarlyQuestion(before=(*map(str, before), *rest, *tools), words=words)
