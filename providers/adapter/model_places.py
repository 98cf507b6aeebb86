"""The places where an answer leaves Pipecat's model services.

Each answer is a task of its own, in which `ANSWER` is set. What the service pushes there goes to
the answer instead of into a pipeline: the stage runs tools, counts usage and judges failures.
"""
# ruff: noqa: D102, SLF001 - methods that override Pipecat's, and call them

import asyncio
from collections import deque
from collections.abc import Callable
from contextvars import ContextVar
from functools import wraps
from typing import Any, Final, cast

from pipecat.frames.frames import (
    ErrorFrame,
    Frame,
    LLMContextFrame,
    LLMMessagesAppendFrame,
    LLMTextFrame,
)
from pipecat.metrics.metrics import LLMTokenUsage
from pipecat.processors.aggregators.llm_context import LLMContext, LLMSpecificMessage
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from websockets.protocol import State

from providers.adapter.answer import PipecatAnswer
from providers.sockets import forbid_redirects

DRAIN_S: Final = 0.2  # for the rest of an answer that was left; a healthy server ends it at once

ANSWER: Final[ContextVar[PipecatAnswer | None]] = ContextVar("answer", default=None)


def _in_answer(take: Callable[..., Any]) -> Callable[..., Any]:
    """Return an override of Pipecat's method that hands the call to the answer in progress.

    The parameters' names are Pipecat's: services give them by keyword.
    """

    @wraps(take)
    def method(self: "AnswerPlaces", *args: Any, **kwargs: Any) -> Any:
        if answer := ANSWER.get():
            return take(self, answer, *args, **kwargs)
        return getattr(super(AnswerPlaces, self), take.__name__)(*args, **kwargs)

    return method


class AnswerPlaces(FrameProcessor):
    """Stands in front of the class of Pipecat's service."""

    _private_entries: deque[Any]  # the vendor's own, such as signatures

    @_in_answer
    async def push_frame(self, answer: PipecatAnswer, frame: Frame, *_: Any, **__: Any) -> None:
        """Give text and errors to the answer, keep the vendor's entries, and drop the rest."""
        if isinstance(frame, LLMTextFrame):
            await answer.write(frame.text)
        elif isinstance(frame, LLMMessagesAppendFrame):
            entries = (item for item in frame.messages if isinstance(item, LLMSpecificMessage))
            self._private_entries.extend(entries)
        elif isinstance(frame, ErrorFrame):
            await self.push_error_frame(frame)

    @_in_answer
    async def push_error_frame(
        self, answer: PipecatAnswer, error: ErrorFrame, *_: Any, **__: Any
    ) -> None:
        """Record an error as the failure of the answer."""
        answer.fail(error.exception or RuntimeError(), text=error.error, category=error.category)

    @_in_answer
    async def run_function_calls(self, answer: PipecatAnswer, function_calls: Any) -> None:
        """Give tool calls to the answer: the stage runs them."""
        await answer.call(function_calls)

    @_in_answer
    async def start_llm_usage_metrics(self, answer: PipecatAnswer, tokens: LLMTokenUsage) -> None:
        answer.use(tokens)

    @_in_answer
    async def stop_ttfb_metrics(self, answer: PipecatAnswer, *_: Any, **__: Any) -> None:
        """Record that the response has begun."""
        answer.note_response()

    @_in_answer
    async def _call_event_handler(
        self, answer: PipecatAnswer, event_name: str, *args: Any, **kwargs: Any
    ) -> None:
        """Record a time-out of Pipecat's as a failure; handle all other events as usual."""
        if event_name == "on_completion_timeout":
            answer.fail(TimeoutError())
        else:
            await super()._call_event_handler(event_name, *args, **kwargs)

    @_in_answer
    def _sync_registered_tool_handlers(self, answer: PipecatAnswer, tools: Any) -> None:
        """Do nothing: the stage runs the tools."""

    @_in_answer
    async def get_chat_completions(self, answer: PipecatAnswer, context: LLMContext) -> Any:
        """Return the stream of the SDK, read by the answer before Pipecat."""
        return answer.tapped(await cast("Any", super()).get_chat_completions(context))

    @_in_answer
    async def _create_message_stream(self, answer: PipecatAnswer, *args: Any, **kwargs: Any) -> Any:
        return answer.tapped(await cast("Any", super())._create_message_stream(*args, **kwargs))

    @_in_answer
    async def _create_converse_stream(
        self, answer: PipecatAnswer, *args: Any, **kwargs: Any
    ) -> Any:
        """Return Bedrock's response, whose stream the answer reads first."""
        response = await cast("Any", super())._create_converse_stream(*args, **kwargs)
        return response | {"stream": answer.tapped(response["stream"])}

    @_in_answer
    def _handle_stop_reason(self, answer: PipecatAnswer, result: Any) -> None:
        answer.say_why(getattr(result, "stop_reason", None))

    @_in_answer
    def _handle_finish_reason(self, answer: PipecatAnswer, finish_reason: Any) -> None:
        answer.say_why(getattr(finish_reason, "name", finish_reason))


class OneSocket(FrameProcessor):
    """Stands in front of a model that keeps one websocket for all of its answers.

    Pipecat reconnects when the socket is lost in an answer, and begins the answer again, although
    some of its words were spoken. Here, that ends the answer.
    """

    _websocket: Any

    def __init__(self, **kwargs: Any) -> None:
        forbid_redirects()
        self._asking = asyncio.Lock()
        super().__init__(**kwargs)

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Answer one question at a time: the words on the socket name no answer."""
        if isinstance(frame, LLMContextFrame):
            async with self._asking:
                await super().process_frame(frame, direction)
        else:
            await super().process_frame(frame, direction)

    async def _ensure_connected(self) -> None:
        """Connect once, if necessary; raise a `ConnectionError` if that fails."""
        if self._websocket is None or self._websocket.state is not State.OPEN:
            await cast("Any", self)._reconnect_websocket(1)

    async def _try_reconnect(self, *_: Any, **__: Any) -> bool:
        """Drop the connection, and return False: the next request opens another one."""
        await self._drop_connection()
        return False

    async def _drain_cancelled_response(self) -> None:
        """Read the rest of an answer that was left; if it hangs, drop the connection."""
        try:
            async with asyncio.timeout(DRAIN_S):
                await cast("Any", super())._drain_cancelled_response()
        except TimeoutError:
            await self._drop_connection()

    async def _drop_connection(self) -> None:
        """Abort the socket: a server that hangs does not answer a closing handshake."""
        if (transport := getattr(self._websocket, "transport", None)) is not None:
            transport.abort()
        await cast("Any", self)._disconnect_websocket()
