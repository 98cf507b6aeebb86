"""The LLM stage: one answer from whichever rung can give it.

The ladder is inside one Pipecat service, in place of its request for a completion. So an answer has
one start and one end, however many rungs fail. And since the stage reads the streams itself, no
late word of a rung that was given up is passed on.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from functools import partial
from typing import Any, ClassVar, Final, cast

from loguru import logger
from openai.types.chat import ChatCompletionChunk
from pipecat.frames.frames import (
    Frame,
    FunctionCallFromLLM,
    FunctionCallResultFrame,
    FunctionCallResultProperties,
    LLMMessagesTransformFrame,
)
from pipecat.metrics.metrics import LLMTokenUsage
from pipecat.processors.aggregators.llm_context import LLMContext, LLMContextMessage, is_given
from pipecat.processors.frame_processor import FrameDirection
from pipecat.services.llm_service import FunctionCallRunnerItem
from pipecat.services.openai.llm import OpenAILLMService

from calls.caller import without_halves
from calls.entry import Emit
from calls.turn import Turn
from fallbacks.attempts import Attempting
from fallbacks.events import AttemptFailed, FallbackEvent
from fallbacks.ladder import StagePolicy, rank
from fallbacks.llm_times import PLACE_WAIT_S
from processors.answering.context_window import Memory
from processors.answering.continuation_rules import Answer
from processors.answering.decision import Answering
from processors.answering.early_answers import AnswerBill, EarlyAnswers
from processors.answering.model_answer import (
    ChangeWriter,
    ModelAnswer,
    NoModelLeftError,
    offered,
)
from processors.answering.model_stream import NO_CALLS, Model
from processors.answering.refused_rules import Accepted, Kept
from processors.answering.tool_calls import must_speak
from processors.answering.window_rules import Message
from processors.speaking.speech_queue import TakeBackFrame
from processors.turn.dictation_rules import Dictation
from processors.turn.floor import Floor

GOES_ON: Final = {
    "result": "The caller spoke before this was done. It goes on, and may succeed: do not say that "
    "it was cancelled, nor that it is done. You are told its result; if it does not come, call it "
    "again with the same arguments: nothing is done twice by that."
}
"""The model's result of a tool that the caller interrupted; see `bot/tools/toolbox.py`."""


class SeparateAnswers:
    """Answers requests outside the conversation, such as one for a summary."""

    def __init__(
        self,
        models: Mapping[str, Model],
        policy: StagePolicy,
        *,
        bill: AnswerBill,
        emit: Emit,
        clock: Callable[[], float],
        turn: Turn,
    ) -> None:
        self._models = models
        self._policy = policy
        self._bill = bill
        self._emit = emit
        self._now = clock
        self._turn = turn

    async def ask(
        self, context: LLMContext, *, speaker: str, each_s: float | None, **kwargs: Any
    ) -> str | None:
        """Return the answer of the first available rung, or else of the next one that answers.

        If a rung has no free place, the next one is asked, without counting that as a failure.

        Args:
            context: The question.
            speaker: The rung to ask when none is available.
            each_s: How long a rung may take before the next one is asked; `None` for no limit. The
                wait for a place has the same limit, and at most `PLACE_WAIT_S`.
            kwargs: Passed to the rung.

        Returns:
            The answer; `None` if the rung's answer was empty, or the last rung had no place.

        Raises:
            Exception: The last rung's error, or `TimeoutError`, if none answered.
        """
        *others, last = self._usable_roomy_first() or [speaker]
        wait_s = PLACE_WAIT_S if each_s is None else min(PLACE_WAIT_S, each_s)
        for name in others:
            async with self._place_at_gate(name, wait_s=wait_s) as free:
                if not free:
                    continue
                began_at = self._now()
                try:
                    async with asyncio.timeout(each_s):
                        return await self._ask_and_bill(name, context, **kwargs)
                except Exception as error:  # noqa: BLE001 - the provider's edge: the next is asked
                    failure = self._models[name].failure_of(error, flowing=False)
                    known = self._policy.availability.of("llm", name).as_known(failure)
                    self._emit(AttemptFailed.of(known, after_s=self._now() - began_at))
        async with self._place_at_gate(last, wait_s=wait_s) as free, asyncio.timeout(each_s):
            return await self._ask_and_bill(last, context, **kwargs) if free else None

    def _usable_roomy_first(self) -> list[str]:
        """Return the usable rungs, those with a free place first, else in order of preference."""
        now, gates = self._now(), self._policy.gates
        usable = [rung.provider for rung in self._policy.usable(now)]
        return sorted(usable, key=lambda name: name in gates and not gates[name].has_room)

    @asynccontextmanager
    async def _place_at_gate(self, name: str, *, wait_s: float) -> AsyncIterator[bool]:
        """Hold a place at a rung while the block runs; yield False if there was none in time."""
        gate = self._policy.gates.get(name)
        if gate is None:
            yield True
            return
        until = self._turn.unhurried_until(self._now(), wait_s)
        ticket = await gate.enter(self._turn.attempts, until=until)
        try:
            yield ticket is not None
        finally:
            if ticket is not None:
                gate.leave(ticket)

    async def _ask_and_bill(self, name: str, context: LLMContext, **kwargs: Any) -> str | None:
        """Return one rung's answer, and emit its estimated usage; none is reported for it.

        `None` or an empty text if the rung gave no words. Raises the rung's own errors.
        """
        answer = await self._models[name].infer(context, **kwargs)
        asked = f"{kwargs.get('system_instruction') or ''}{context.messages}"
        self._bill.emit_estimated(name, asked=asked, answered=answer or "")
        return answer and without_halves(answer)


class LlmStage(OpenAILLMService):
    """Pipecat's service, with a ladder in place of its only client.

    Attributes:
        speaker: The rung that writes, or wrote last; at first the preferred one.
        early: The early answers; `None` before `answer_early`, or if they are disabled.
        stopped_tool: The model's result of a tool call whose wait has ended.
    """

    stopped_tool: ClassVar[Any] = GOES_ON

    def __init__(
        self,
        models: Mapping[str, Model],
        *,
        policy: StagePolicy,
        emit: Emit,
        clock: Callable[[], float],
        turn: Turn,
        window_tokens: int,
        new_answer: Callable[[], Answer] = Answer,
    ) -> None:
        """Use these models in one call.

        Args:
            models: By the rung's name, the preferred one first.
            policy: The stage's settings and state, shared by all calls.
            emit: Publishes events.
            clock: Monotonic, in seconds.
            turn: The turn in progress: its number, its deadline, the attempt numbers.
            window_tokens: The context window.
            new_answer: Makes an `Answer`, which cleans and limits the words.
        """
        self._models = models
        self._new_answer = new_answer
        super().__init__(api_key="each rung has its own")
        self._policy = policy
        self._emit = emit
        self._now = clock
        self._turn = turn
        self._window_tokens = window_tokens
        self.speaker = next(iter(models))
        self.early: EarlyAnswers | None = None
        self._accepted = Accepted()
        self._bill = AnswerBill(models, turn=turn, emit=emit)
        self._separate = SeparateAnswers(
            models, policy, bill=self._bill, emit=emit, clock=clock, turn=turn
        )
        for name, gate in policy.gates.items():
            if name in models:
                models[name].on_headers(gate.learn)

    def create_client(self, *args: Any, **kwargs: Any) -> Any:
        """Return None: each rung has its own client."""
        del args, kwargs

    def answer_early(self, memory: Memory, floor: Floor, dictation: Dictation) -> None:
        """Ask early from now on, if that is enabled; sets `early`.

        Args:
            memory: The conversation so far.
            floor: The call's floor.
            dictation: While the caller may be dictating, no model is asked early.
        """
        if self._policy.early is not None:
            self.early = EarlyAnswers(
                memory,
                budget=self._policy.early,
                make=self._make_answer,
                has_room=self._has_room,
                window_tokens=self._window_tokens,
                bill=self._bill,
                owner=self,
                emit=self._emit,
                clock=self._now,
                turn=self._turn,
                floor=floor,
                dictation=dictation,
            )

    async def get_chat_completions(self, context: LLMContext) -> Any:
        """Return the stream of one answer, from any rung."""
        return _without_half_sentence(self._answer_and_bill(context), self.push_frame)

    async def run_inference(
        self, context: LLMContext, *args: Any, each_s: float | None = None, **kwargs: Any
    ) -> str | None:
        """Return an answer outside the conversation; see `SeparateAnswers.ask`.

        Args:
            context: The question.
            args: Pipecat's other arguments; not used.
            each_s: How long a rung may take before the next one is asked; `None` for no limit.
            kwargs: Passed to the rung.

        Raises:
            Exception: The last rung's error, or `TimeoutError`, if none answered.
        """
        del args
        return await self._separate.ask(context, speaker=self.speaker, each_s=each_s, **kwargs)

    async def _broadcast_function_call_cancelled(
        self, runner_item: FunctionCallRunnerItem, *, run_llm: bool = False
    ) -> FunctionCallFromLLM:
        """Report that the wait for a tool call has ended.

        The toolbox of a call lets the tool itself continue. Pipecat reports "CANCELLED". A model
        that believes this tells the caller that nothing was done, or calls the tool again.

        Pipecat's report is also a system frame. If the caller interrupts an answer that speaks
        before its tool call, this frame overtakes the report that the call began, which waits for
        the speech, and is lost. The call would then stay pending in the conversation, and no model
        would make it again. So the report here is a frame that keeps its place in the order.
        """
        call = FunctionCallFromLLM(
            function_name=runner_item.function_name,
            tool_call_id=runner_item.tool_call_id,
            arguments=runner_item.arguments,
            context=runner_item.context,
        )
        await self.broadcast_frame(
            FunctionCallResultFrame,
            function_name=call.function_name,
            tool_call_id=call.tool_call_id,
            arguments=call.arguments,
            result=self.stopped_tool,
            # `None`: when the other calls of the same answer are over, too, as for other results.
            properties=FunctionCallResultProperties(run_llm=None if run_llm else False),
        )
        return call

    async def cleanup(self) -> None:
        """Drop an early answer, release the service, and close the models of all rungs."""
        if self.early:
            await self.early.close()
        await super().cleanup()
        for model in self._models.values():
            await model.close()

    async def start_llm_usage_metrics(self, tokens: LLMTokenUsage) -> None:
        """Report nothing: `AnswerBill` publishes the usage of every request of an answer."""
        del tokens

    async def _answer_and_bill(
        self, context: LLMContext
    ) -> AsyncGenerator[ChatCompletionChunk, None]:
        """Yield one answer, prepared early or asked for now, and then calls written as text.

        However it ends, its usage is published, its requests are ended, and what a rung accepted is
        recorded.
        """
        early = self.early
        prepared = early.take(context) if early else None
        limited = _limit_tool_calls(context)
        if prepared:
            answer, chunks = prepared.answer, prepared.chunks(self._change_writer)
        else:
            refused = early is not None and early.refused
            answer = self._make_answer(limited, self._emit, self._change_writer, refused=refused)
            chunks = answer.chunks()
        answer.use(limited)
        turn = self._turn.number
        try:
            called = False
            async for chunk in chunks:
                called |= bool(chunk.choices and chunk.choices[0].delta.tool_calls)
                yield chunk
            # Some models write a call as text and make it as well; then the text is not run.
            for chunk in [] if called else _calls_to_run(answer):
                yield chunk
        finally:  # also if the caller interrupted the answer
            if reason := answer.answering.answer.limit.reason:
                logger.warning("a reply was ended: {}", reason)
            answer.note_accepted()
            self._bill.emit(answer, turn=turn)
            await (prepared or answer).close()

    def _make_answer(
        self,
        context: LLMContext,
        emit: Callable[[FallbackEvent], None],
        change_writer: ChangeWriter,
        *,
        refused: bool = False,
    ) -> ModelAnswer:
        """Return an answer that has not been requested yet.

        `emit` gets its events, `change_writer` is called where another rung begins to write, and
        `refused` says that every rung has refused this question already.
        """
        written = self._new_answer()
        written.tools = frozenset(tool.name for tool in offered(context))

        def begin() -> Attempting:
            return Attempting(
                self._policy, numbers=self._turn.attempts, queues=True, prompt=self._turn.until
            )

        asked_at = self._now()
        return ModelAnswer(
            models=self._models,
            answering=Answering(
                begin,
                # Before the caller's first turn, the deadline counts from the request.
                until=lambda _: self._turn.patient_until(asked_at),
                refused=refused,
                answer=written,
            ),
            context=context,
            owner=self,
            clock=self._now,
            window_tokens=self._window_tokens,
            emit=emit,
            change_writer=change_writer,
            accepted=self._accepted,
            on_left_out=partial(_leave_out, self),
        )

    async def _change_writer(self, provider: str, taken_back: int) -> None:
        """Record the rung that writes, if any is left, and take back characters passed on."""
        self.speaker = provider or self.speaker
        if taken_back:
            await self.push_frame(TakeBackFrame(characters=taken_back))

    def _has_room(self) -> bool:
        """Return whether the next rung would be asked without a wait.

        False if none may be asked.
        """
        now = self._now()
        ranked = rank(self._policy.usable(now), self._turn.until(now), now=now)
        first = next(iter(ranked), None)
        gate = self._policy.gates.get(first or "")
        return first is not None and (gate is None or gate.has_room)


async def _without_half_sentence(
    answer: AsyncGenerator[ChatCompletionChunk, None], push: Callable[[Frame], Awaitable[None]]
) -> AsyncIterator[ChatCompletionChunk]:
    """Yield an answer; if it is given up, take back a half sentence that no voice has yet.

    It would be spoken after the clip that the caller hears instead of the rest.
    """
    async with aclosing(answer) as chunks:
        try:
            async for chunk in chunks:
                yield chunk
        except NoModelLeftError:
            await push(TakeBackFrame(unfinished=True))
            raise


def _limit_tool_calls(context: LLMContext) -> LLMContext:
    """Return the context to ask about; after too many tool calls in one turn, without tools."""
    if not is_given(context.tools) or not must_speak(context.messages):
        return context
    logger.warning("the model keeps calling tools: its next answer must be words")
    return LLMContext(messages=context.messages, tools=context.tools, tool_choice=NO_CALLS)


async def _leave_out(stage: LlmStage, refused: Sequence[Message], kept: Kept) -> None:
    """Replace refused messages in the conversation; with them, every later answer would fail.

    Args:
        stage: Pushes the frame that changes the conversation.
        refused: The messages of the refused request.
        kept: For each of them what replaces it; `None` removes it.
    """
    logger.warning("every model refused what came since the last answer: it is left out")
    pairs = zip(refused, kept, strict=True)
    changed = {id(message): left for message, left in pairs if left is not message}

    def without(messages: list[LLMContextMessage]) -> list[LLMContextMessage]:
        remaining = (changed.get(id(message), message) for message in messages)
        return [cast("LLMContextMessage", message) for message in remaining if message is not None]

    await stage.push_frame(LLMMessagesTransformFrame(without), FrameDirection.UPSTREAM)


def _calls_to_run(answer: ModelAnswer) -> list[ChatCompletionChunk]:
    """Return the allowed calls among texts that a model wrote; log a warning if it wrote any."""
    written = answer.answering.answer.written_calls
    calls = answer.written_calls(written)
    if written:
        logger.warning(
            "a model wrote {} blocks of code or tool calls as text: {} are run, none is spoken",
            len(written),
            len(calls),
        )
    return calls
