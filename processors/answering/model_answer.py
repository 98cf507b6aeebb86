"""One answer of the LLM stage: reads one rung's stream, and continues with the next rung's."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final, TypeAlias, cast

from loguru import logger
from openai.types.chat import ChatCompletionChunk
from pipecat.adapters.llm.schemas.function_schema import FunctionSchema
from pipecat.processors.aggregators.llm_context import (
    LLMContext,
    LLMContextMessage,
    LLMSpecificMessage,
    is_given,
)

from fallbacks.attempt_events import (
    Ask,
    Done,
    Dropped,
    EmitEvent,
    Exhausted,
    Failed,
    Resumed,
    Stop,
)
from fallbacks.events import FallbackEvent
from fallbacks.failure import OF_REQUEST, Failure, Kind, Scope, failed, finding
from processors.answering.decision import (
    AnswerAction,
    Answering,
    LeaveMessageOut,
    UseModel,
    WriteText,
    Wrote,
)
from processors.answering.model_stream import (
    NO_CALLS,
    AtGate,
    Billed,
    GatePlace,
    Model,
    ModelStream,
    ModelUpdate,
    follow,
)
from processors.answering.refused_rules import Accepted, Kept, note_for, ways_out
from processors.answering.spoken_text_rules import SpokenText
from processors.answering.tool_calls import calls_in_text
from processors.answering.window_rules import (
    Message,
    conversation_tokens,
    fit,
    fit_conversation,
    halved,
)
from processors.ladder.stage import Alarm, TaskOwner

QUEUE_CHUNKS: Final = 256  # unread chunks of one answer's attempts; then their streams wait
REFUSALS: Final = (Kind.BAD_REQUEST, Kind.PROTOCOL)  # a status, or an error event without one
FILTERED: Final = "content_filter"  # the finish_reason of an answer that the provider withheld
HALF: Final = 0.5  # of the window, if a provider finds even a short conversation too long
TOO_LONG: Final = "context_length"  # in the code of a request that is certainly too long
CUT_OFF: Final = (
    "Your last message was cut off after these words, and the caller has heard them. Write only "
    "what comes next. Do not repeat, greet or apologise."
)


ChangeWriter: TypeAlias = Callable[[str, int], Awaitable[None]]
"""Called with the rung that writes from now on, and the number of characters taken back."""


class NoModelLeftError(ConnectionError):
    """Every rung of the ladder failed for this answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A request with fewer messages than the conversation."""

    provider: str
    messages: Sequence[Message]
    halved: bool


@dataclass(slots=True, kw_only=True)
class ModelAnswer:
    """One answer. `chunks` yields it, `close` ends requests that are still in progress."""

    models: Mapping[str, Model]
    answering: Answering
    context: LLMContext
    owner: TaskOwner
    clock: Callable[[], float]
    window_tokens: int
    emit: Callable[[FallbackEvent], None]
    change_writer: ChangeWriter
    accepted: Accepted = field(default_factory=Accepted)
    # Called with what stays in place of each message, once a rung has accepted the rest.
    on_left_out: Callable[[Sequence[Message], Kept], Awaitable[None]] | None = None
    # The messages of the question. Those of `context` change while an answer without some is read.
    _whole: list[Message] = field(default_factory=list[Message])
    _ways: tuple[Kept, ...] = ()
    _kept: Kept | None = None  # what is sent in place of the messages; `None` for all of them
    # What was sent of the messages, by attempt, if not all of them.
    _parts: dict[int, Part] = field(default_factory=dict[int, Part])
    _ended: list[Billed] = field(default_factory=list[Billed])
    _streams: dict[int, ModelStream] = field(default_factory=dict[int, ModelStream])
    _updates: asyncio.Queue[ModelUpdate] = field(
        default_factory=lambda: asyncio.Queue(QUEUE_CHUNKS)
    )

    async def chunks(self) -> AsyncIterator[ChatCompletionChunk]:
        """Yield the answer's words, each once, then its complete tool calls, then its usage.

        Raises:
            NoModelLeftError: No rung is available.
        """
        alarm = Alarm(self.clock)

        async def report(update: ModelUpdate) -> None:
            await self._updates.put(update)
            alarm.ring()

        await self._carry_out(self.answering.start(self.clock()), report)
        while not self.answering.over:
            wake_at = self.answering.wake_at
            now = await alarm.wait(wake_at if self._updates.empty() else self.clock())
            if not self._updates.empty():
                actions = self._read_update(self._updates.get_nowait(), now)
            else:
                due = wake_at is not None and now >= wake_at
                actions = self.answering.tick(now) if due else ()
            for chunk in await self._carry_out(actions, report):
                yield chunk

    async def close(self) -> None:
        """End every attempt without counting it as a failure, and publish that."""
        if not self.answering.over:
            for action in self.answering.cancel(self.clock()):
                if isinstance(action, EmitEvent):
                    self.emit(action.fact)
        for attempt in tuple(self._streams):
            await self._forget_and_cancel(attempt)

    def use(self, context: LLMContext) -> None:
        """Set the question of the decided turn; from now on, refused messages may be left out."""
        self.context, self._whole = context, _messages_of(context)
        self._ways = () if self.accepted.in_vain else ways_out(self._whole, self.accepted)
        self.answering.leaves_out = len(self._ways)

    def note_accepted(self) -> None:
        """If a rung accepted the request, record its messages for the whole call.

        If the rung got only half of the conversation, that length is the limit for it from now on.
        """
        if not self.answering.accepted:
            return
        whole = _messages_of(self.context)
        part = self._parts.get(self.answering.attempting.winner or 0)
        self.accepted.note(part.messages if part else whole, whole)
        if part and part.halved:
            self.accepted.fits[part.provider] = conversation_tokens(part.messages)

    @property
    def request(self) -> LLMContext:
        """The question as it is asked now: without what every rung refused."""
        if self._kept is None:
            return self.context
        note = {"role": "developer", "content": note_for(self._whole, self._kept)}
        kept = [message for message in self._kept if message is not None]
        return with_messages(self.context, [*kept, note], speaks=True)

    def written_calls(self, written: Sequence[str]) -> list[ChatCompletionChunk]:
        """Return the calls that a model wrote as text, of tools that the request allows."""
        request = self.request
        return [] if request.tool_choice == NO_CALLS else calls_in_text(written, offered(request))

    def billed(self, *, unanswered: bool = False) -> tuple[Billed, ...]:
        """Return each billable request, once, whatever its result.

        Args:
            unanswered: Whether to include requests that were sent but have no response yet.
        """
        due = [
            stream.billed
            for stream in self._streams.values()
            if stream.answered or (unanswered and stream.asked)
        ]
        return (*self._ended, *due)

    def _read_update(self, update: ModelUpdate, now: float) -> tuple[AnswerAction, ...]:
        """Return the actions for what an attempt reports; none if the attempt has ended."""
        stream, attempt = self._streams.get(update.attempt), update.attempt
        if stream is None:
            return ()  # the attempt has ended
        match update.what:
            case None:
                actions = self._end_stream(attempt, stream, now)
            case AtGate.REFUSED:
                del self._streams[attempt]
                actions = self.answering.handle(Dropped(attempt=attempt, because="limit"), now)
            case AtGate() as result:
                stream.asked = True
                begun = Resumed(attempt=attempt, began=True, waited=result is AtGate.WAITED)
                actions = self.answering.handle(begun, now)
            case Exception() as error:
                failure = self.models[stream.provider].failure_of(error, flowing=stream.spoke)
                actions = self._end_failed_attempt(
                    attempt, self._as_too_long_if_possible(failure, stream), now
                )
            case chunk:
                text = stream.keep(chunk)
                actions = () if text is None else self.answering.write(attempt, text, now)
        return actions

    def _end_stream(
        self, attempt: int, stream: ModelStream, now: float
    ) -> tuple[AnswerAction, ...]:
        """Return the actions after a stream's end, which completes the answer or is a failure."""
        text = stream.last_text(runs=lambda written: bool(self.written_calls(written)))
        failure = _failure_of_end(stream, must_speak=self.request.tool_choice == NO_CALLS)
        if stream.wrote is Wrote.PART:
            logger.warning("{}: an answer used up the model's tokens", stream.provider)
        if failure:
            return self._end_failed_attempt(attempt, failure, now)
        wrote = stream.wrote if text else self._end_text(attempt, stream)
        if wrote is Wrote.NOTHING and not stream.goes_on and _is_answered(self.request):
            wrote = Wrote.SIGNS  # complete, but silent: there is nothing to add
        return self.answering.finish(attempt, now, wrote=wrote, text=text)

    def _end_text(self, attempt: int, stream: ModelStream) -> Wrote:
        """End the text of an answer, and return what it consists of.

        That is nothing if all its words were no speech, and a part if a written call is cut off.
        """
        wrote, answer = stream.wrote, self.answering.answer
        may_call = bool(answer.tools) and self.request.tool_choice != NO_CALLS
        if wrote is Wrote.NOTHING and stream.goes_on:  # not a word, but perhaps a call
            answer.cut_off = stream.beginning.cut_off and may_call
            return Wrote.PART if answer.cut_off else wrote
        if wrote not in (Wrote.WORDS, Wrote.PART) or stream.calls:
            return wrote
        answer.end_text(attempt)
        runs = bool(self.written_calls(answer.written_calls))
        answer.cut_off = answer.cut_off and may_call and not runs
        if answer.cut_off:
            return Wrote.PART
        is_withdrawn = not (answer.has_words(attempt) or runs or stream.goes_on)
        return Wrote.NOTHING if wrote is Wrote.WORDS and is_withdrawn else wrote

    def _note_answered(self, attempt: int) -> None:
        """Record that an attempt's rung has accepted the request, which is billed from then on."""
        if stream := self._streams.get(attempt):
            stream.answered = True

    def _end_failed_attempt(
        self, attempt: int, failure: Failure, now: float
    ) -> tuple[AnswerAction, ...]:
        """Forget a failed attempt, which is billed if it was answered.

        Return the actions that follow.
        """
        stream = self._streams.pop(attempt)
        if stream.answered:
            self._ended.append(stream.billed)
        return self.answering.handle(Failed(attempt=attempt, failure=failure), now)

    async def _carry_out(
        self,
        actions: Iterable[AnswerAction],
        report: Callable[[ModelUpdate], Awaitable[None]],
    ) -> list[ChatCompletionChunk]:
        """Carry out the actions in order; return the chunks to pass on.

        `report` is called by the requests that are begun here, from their tasks.

        Raises:
            NoModelLeftError: The answer is given up.
        """
        chunks: list[ChatCompletionChunk] = []
        for action in actions:
            match action:
                case EmitEvent():
                    self.emit(action.fact)
                case LeaveMessageOut() | Ask():
                    self._ask_or_set_messages(action, report)
                case UseModel():
                    await self._leave_out(action.provider)
                    await self.change_writer(action.provider, action.taken_back)
                case WriteText():
                    chunks += await _withdraw_and_write(
                        self._streams[action.attempt], action, self.change_writer
                    )
                case Done() | Stop():
                    chunks += await self._end_request(action)
                case Exhausted():
                    self.accepted.in_vain = self._kept is not None
                    raise NoModelLeftError(
                        f"no language model answered; {action.attempts} attempts"
                    )
        return chunks

    async def _leave_out(self, provider: str) -> None:
        """Leave refused messages out of the conversation, once, if a rung answers without them."""
        if provider and self._kept is not None and self.on_left_out:
            await self.on_left_out(self._whole, self._kept)
            self.on_left_out = None

    def _as_too_long_if_possible(self, failure: Failure, stream: ModelStream) -> Failure:
        """Return a refusal as one of too long a request, if it may be that.

        Any other failure as it is. Servers say in too many ways that a request is too long. So each
        refusal of a long request is taken for that, until the rung has refused half of it, too.
        """
        if failure.kind not in REFUSALS or failure.scope not in OF_REQUEST:
            return failure
        certain = TOO_LONG in failure.reason
        too_long = not stream.halved and (certain or halved(_messages_of(self.request)) is not None)
        scope = Scope.PAYLOAD if too_long else failure.scope
        return replace(failure, scope=scope, same_rung=too_long)

    def _ask_or_set_messages(
        self, action: LeaveMessageOut | Ask, report: Callable[[ModelUpdate], Awaitable[None]]
    ) -> None:
        """Ask a rung in a new task, or choose which messages later requests leave out."""
        if isinstance(action, LeaveMessageOut):
            self._kept = self._ways[action.step - 1] if action.step else None
            return
        context = self._request_for(action)
        if context is not self.context:
            self._parts[action.attempt] = Part(
                provider=action.provider, messages=_messages_of(context), halved=action.mended
            )
        attempting, place = self.answering.attempting, None
        answer_so_far = self.answering.answer.whole if self._kept is None else ""
        if action.wait_until is not None:
            gate = attempting.policy.gates[action.provider]
            place = GatePlace(gate=gate, call=attempting.call, until=action.wait_until)
        pump = follow(
            self.models[action.provider],
            _with_request_to_continue(context, answer_so_far),
            number=action.attempt,
            report=report,
            on_answered=partial(self._note_answered, action.attempt),
            place=place,
        )
        task = self.owner.create_task(pump, f"ask {action.provider} ({action.attempt})")
        self._streams[action.attempt] = ModelStream(
            action.provider,
            task,
            asked=place is None,
            goes_on=bool(answer_so_far),
            halved=action.mended,
            beginning=SpokenText(self.answering.answer.rule, tools=self.answering.answer.tools),
        )

    def _request_for(self, action: Ask) -> LLMContext:
        """Return the request for the rung to ask.

        It is shortened to what this rung has accepted before. With `action.mended`, half of the
        conversation is left out.
        """
        request = self.request
        messages = _messages_of(request)
        if limit := self.accepted.fits.get(action.provider):
            messages = list(fit_conversation(messages, limit).messages)
        if action.mended:
            fitted = halved(messages) or fit(messages, int(self.window_tokens * HALF))
            messages = list(fitted.messages)
        return with_messages(request, messages) if messages != _messages_of(request) else request

    async def _forget_and_cancel(self, attempt: int) -> None:
        """Forget an attempt, if it is known, and cancel its request if that is in progress."""
        stream = self._streams.pop(attempt, None)
        if stream and not stream.task.done():
            await self.owner.cancel_task(stream.task)

    async def _end_request(self, action: Done | Stop) -> list[ChatCompletionChunk]:
        """End a request, and bill it if it was answered; after `Done`, return its last chunks.

        These are tool calls and usage. An unknown attempt has none.
        """
        stream = self._streams.get(action.attempt)
        if stream is None:
            return []
        last = stream.after_words(self.request) if isinstance(action, Done) else []
        # A rung that lost a race without being late was working on the answer, and bills it.
        outrun = isinstance(action, Stop) and action.because == "outrun" and stream.asked
        if stream.answered or outrun:
            self._ended.append(stream.billed)
        await self._forget_and_cancel(action.attempt)
        return last


async def _withdraw_and_write(
    stream: ModelStream, action: WriteText, change_writer: ChangeWriter
) -> list[ChatCompletionChunk]:
    """Take back what the action withdraws; return the chunks of its text."""
    if action.taken_back:
        await change_writer(stream.provider, action.taken_back)
    return stream.text_chunks(action.text) if action.text else []


def _failure_of_end(stream: ModelStream, *, must_speak: bool) -> Failure | None:
    """Return why an answer that ended is invalid; `None` if it is complete."""
    blocked = "" if stream.spoke else stream.blocked
    if stream.finish is None and not blocked:  # the SDK takes half an answer for a whole one
        kind = Kind.CUT if stream.spoke else Kind.SILENT
        reason = "the stream ended without a finish_reason"
        return failed(kind, "llm", provider=stream.provider, reason=reason)
    mute = must_speak and not stream.has_text and not stream.goes_on
    if stream.finish == FILTERED or blocked or mute:  # not the rung's fault
        found = finding(Kind.BAD_REQUEST, Scope.PAYLOAD, permanent=True)
        reason = blocked or ("called_a_tool_again" if mute else FILTERED)
        again = bool(mute) and not blocked
        return failed(found, "llm", provider=stream.provider, reason=reason, same_rung=again)
    if must_speak:
        return None  # tool calls are not run then
    cut = stream.finish == "length"
    if broken := stream.calls.broken(cut=cut):  # Pipecat would drop the call, and the turn hang
        return failed(Kind.PROTOCOL, "llm", provider=stream.provider, reason=broken)
    return None


def _is_answered(context: LLMContext) -> bool:
    """Return whether a request ends with the agent's own words, as a stock bot may send one.

    Words directly after a tool's result do not count: Pipecat puts those before the call there.
    """
    messages = _messages_of(context)
    before = list(messages)
    while before and _is_spoken(before[-1]):
        before.pop()
    after_tool = bool(before) and before[-1]["role"] == "tool"
    return len(before) < len(messages) and not after_tool


def _is_spoken(message: Message) -> bool:
    return message["role"] == "assistant" and not message.get("tool_calls")


def offered(context: LLMContext) -> Sequence[FunctionSchema]:
    """Return the tools that the model may call."""
    return context.tools.standard_tools if is_given(context.tools) else []


def _with_request_to_continue(context: LLMContext, said: str) -> LLMContext:
    """Return the context with the words already said and a request to continue."""
    if not said:
        return context
    spoken = {"role": "assistant", "content": said}
    note = {"role": "developer", "content": CUT_OFF}
    return with_messages(context, [*cast("list[Message]", context.messages), spoken, note])


def with_messages(
    context: LLMContext, messages: Sequence[Message], *, speaks: bool = False
) -> LLMContext:
    """Return a copy of the context with these messages instead of its own.

    If `speaks`, the model may call no tools, so it must answer in words.
    """
    forbids_calls = speaks and is_given(context.tools)
    return LLMContext(
        messages=cast("list[LLMContextMessage]", list(messages)),
        tools=context.tools,
        tool_choice=NO_CALLS if forbids_calls else context.tool_choice,
    )


def _messages_of(context: LLMContext) -> list[Message]:
    """Return the messages of a context as a new list, without those in one vendor's own form."""
    return [
        cast("Message", message)
        for message in context.messages
        if not isinstance(message, LLMSpecificMessage)
    ]
