"""Any of Pipecat's model services as a rung; an answer is read at the places where it leaves."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, Final, cast

from loguru import logger
from openai.types.chat import ChatCompletionChunk
from pipecat.clocks.system_clock import SystemClock
from pipecat.frames.frames import (
    LLMContextFrame,
    StartFrame,
)
from pipecat.processors.aggregators.llm_context import LLMContext, LLMSpecificMessage
from pipecat.processors.frame_processor import FrameDirection, FrameProcessorSetup
from pipecat.services.llm_service import WebsocketLLMService
from pipecat.utils.asyncio.task_manager import TaskManager

from fallbacks.failure import Failure, Kind, Scope, error_of, failed, finding
from fallbacks.symptoms import Moment
from providers.adapter.answer import PipecatAnswer
from providers.adapter.building import build_service
from providers.adapter.failures import service_failure
from providers.adapter.model_places import ANSWER, AnswerPlaces, OneSocket
from providers.adapter.service_class import load_class
from providers.catalog import end_reasons, provider
from providers.openai_servers import is_strict, strict
from providers.provider import PenAnswer, PenQuestion, RungSpec
from providers.word_probe import ask_for_word

LEFT_S: Final = 1.0  # a service that is still busy so long after its cancellation is abandoned
CLOSE_CLIENT_S: Final = 1.0  # for an SDK's client
PRIVATE: Final = 64  # the vendor's own entries kept for a call, such as signatures (chosen)
LOST: Final = frozenset({Kind.CUT, Kind.NETWORK, Kind.STALLED, Kind.TIMEOUT})


class SharedModel:
    """What all calls on a rung share: the connections of an SDK's client, and what was learned.

    Attributes:
        says_why: Whether the service has ever said why an answer ended.
    """

    def __init__(self, client: Any = None) -> None:
        self.client = client
        self.says_why = False

    async def close(self) -> None:
        """Close the connections; raise a `TimeoutError` if that takes over `CLOSE_CLIENT_S`."""
        await _close_sdk_client(self.client)


class RungModel(AnswerPlaces):
    """The adapter's part of a model."""

    def __init__(self, *, rung: RungSpec, **kwargs: Any) -> None:
        shared = rung.shared if isinstance(rung.shared, SharedModel) else None
        self._rung = rung
        self._learned = shared or SharedModel()
        self._shared_client = shared.client if shared else None
        self._told_headers: Callable[[Mapping[str, str]], None] = lambda _: None
        self._private_entries: deque[Any] = deque(maxlen=PRIVATE)
        self._rung_prepared, self._rung_preparing = False, asyncio.Lock()
        self._answer_tasks: TaskManager | None = None
        self._rung_closed = False
        super().__init__(**kwargs)

    # -- what the stage calls

    @property
    def asks_for(self) -> str:
        """The requested model's name."""
        current = getattr(getattr(self, "_settings", None), "model", "")
        return current if current and isinstance(current, str) else self._rung.model or ""

    def on_headers(self, listener: Callable[[Mapping[str, str]], None]) -> None:
        """Call `listener` with the headers of each response, as far as they can be seen."""
        self._told_headers = listener

    async def ask(
        self, context: LLMContext, *, on_answered: Callable[[], None]
    ) -> AsyncIterator[ChatCompletionChunk]:
        """Stream an answer; closing the iterator releases the connection.

        Args:
            context: The conversation to answer.
            on_answered: Called when the response begins.

        Raises:
            ServiceError: The service failed; holds the failure.
        """
        answer = PipecatAnswer(self._rung, on_answered=on_answered, on_headers=self._told_headers)
        frame = LLMContextFrame(self._own_view(context))
        work = partial(self.process_frame, frame, FrameDirection.DOWNSTREAM)
        with self._at_work(answer, work):
            async for chunk in answer.read():
                yield chunk
            self._raise_failure(answer)
            for chunk in answer.last_chunks(says_why=self._says_why(answer)):
                yield chunk

    async def infer(self, context: LLMContext, **options: Any) -> str | None:
        """Return a complete answer, for work outside the conversation; `None` if it has no text.

        Raises:
            ServiceError: The service failed, or refused the content; holds the failure.
        """
        answer, found = PipecatAnswer(self._rung), list[str | None]()

        async def run() -> None:
            view = self._own_view(context)
            try:
                found.append(await cast("Any", self).run_inference(view, **options))
            except NotImplementedError:  # it only streams
                await self.process_frame(LLMContextFrame(view), FrameDirection.DOWNSTREAM)

        with self._at_work(answer, run):
            async for chunk in answer.read():
                found += [choice.delta.content for choice in chunk.choices]
            self._raise_failure(answer)
        if end_reasons().get(answer.reason.lower()) == "content_filter":
            raise error_of(_refusal_of(self._rung))
        return "".join(text for text in found if text) or None

    def failure_of(self, error: Exception, *, flowing: bool) -> Failure:
        """Classify an error of `ask`; `flowing` if words had arrived."""
        return service_failure(
            error, self._rung, moment=Moment.FLOWING if flowing else Moment.ASKED
        )

    async def close(self) -> None:
        """Release everything, unless calls share it; an error is logged. May be repeated.

        A service that does not release itself in time is abandoned.
        """
        if self._rung_closed:
            return
        self._rung_closed = True
        self._answer_tasks = self._answer_tasks or TaskManager()
        if left := self._answer_tasks.current_tasks():
            await asyncio.wait(left, timeout=LEFT_S + CLOSE_CLIENT_S)
        name = self._rung.name
        work = _logging_errors(self.cleanup(), name)
        releasing = self._answer_tasks.create_task(work, f"{name} closes")
        try:
            if not (await asyncio.wait({releasing}, timeout=CLOSE_CLIENT_S))[0]:
                logger.warning("{}: it did not close in time", name)
        finally:
            releasing.cancel()

    # -- one answer

    @contextmanager
    def _at_work(
        self, answer: PipecatAnswer, work: Callable[[], Awaitable[None]]
    ) -> Iterator[None]:
        """During the block, let the service work on an answer, in a task of its own.

        After the block, the task is cancelled; a service that ignores this is abandoned.
        """
        self._answer_tasks = self._answer_tasks or TaskManager()
        task = self._answer_tasks.create_task(
            self._answer_in_task(answer, work), f"{self._rung.name} answers"
        )
        try:
            yield
        finally:
            answer.is_left = True
            if not task.done():
                task.cancel()
                self._answer_tasks.create_task(
                    self._see_off(answer, task), f"{self._rung.name} leaves"
                )

    async def _answer_in_task(
        self, answer: PipecatAnswer, work: Callable[[], Awaitable[None]]
    ) -> None:
        """Set the service up if necessary, and let it answer; the answer is ended here.

        Every error becomes the answer's failure, except a cancellation that we caused.
        """
        try:
            await (
                self._set_up_once()
            )  # before `ANSWER` is set: tasks that it starts outlive the answer
            ANSWER.set(answer)
            await work()
        except asyncio.CancelledError:
            if answer.is_left:
                raise
            answer.fail(ConnectionError("the service cancelled its own answer"))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a vendor's or the owner's code
            answer.fail(error)
        await answer.end()

    async def _see_off(self, answer: PipecatAnswer, task: asyncio.Task[None]) -> None:
        """Abandon a service that goes on after its cancellation, and close its connection.

        Waits up to `LEFT_S` for its end.
        """
        await asyncio.wait({task}, timeout=LEFT_S)
        if task.done():
            return
        logger.warning("{}: it ignores that its answer was cancelled", self._rung.name)
        await answer.hang_up()
        client = getattr(self, "_client", None)
        if not _is_shared(client, self._shared_client):
            await _close_sdk_client(client)

    async def _set_up_once(self) -> None:
        """Set up and start the service before its first answer; no pipeline does it."""
        async with self._rung_preparing:
            if self._rung_prepared or self._answer_tasks is None:
                return
            no_worker: Any = None
            await self.setup(
                FrameProcessorSetup(
                    clock=SystemClock(), task_manager=self._answer_tasks, pipeline_worker=no_worker
                )
            )
            await cast("Any", self).start(StartFrame())
            self._rung_prepared = True

    def _own_view(self, context: LLMContext) -> LLMContext:
        """Return the conversation as this service takes it.

        It has the private entries of this vendor only, and strict roles if the service needs them.
        """
        own = cast("Any", self).get_llm_adapter().id_for_llm_specific_messages
        messages = [
            item
            for item in context.messages
            if not isinstance(item, LLMSpecificMessage) or item.llm == own
        ]
        if is_strict(f"{self._rung.service} {self.asks_for}"):
            messages = [*strict(messages)]
        return LLMContext(
            messages=[*messages, *self._private_entries],
            tools=context.tools,
            tool_choice=context.tool_choice,
        )

    def _says_why(self, answer: PipecatAnswer) -> bool:
        """Return whether the service says why answers end; one that did proves it for all calls."""
        self._learned.says_why = self._learned.says_why or bool(answer.reason)
        return self._rung.facts.says_why or self._learned.says_why

    def _raise_failure(self, answer: PipecatAnswer) -> None:
        """Raise the answer's failure, unless the connection was lost after the answer's end."""
        failure = answer.failure
        if failure and not (answer.reason and failure.kind in LOST):  # it had said everything
            raise error_of(failure)

    # -- its client

    def create_client(self, *args: Any, **kwargs: Any) -> Any:
        """Return the client that calls share, or else a new one, as Pipecat's method."""
        if self._shared_client is None:
            return cast("Any", super()).create_client(*args, **kwargs)
        self._client = self._shared_client
        return self._client

    async def cleanup(self) -> None:
        """Release the service, and its client unless calls share it."""
        client = getattr(self, "_client", None)
        is_shared = _is_shared(client, self._shared_client)
        if is_shared:
            self._client = None  # others use it
        await super().cleanup()
        if not is_shared:
            await _close_sdk_client(client)


class SocketModel(OneSocket, RungModel):
    """The adapter's part of a model with a websocket."""


def _is_shared(client: Any, shared: Any) -> bool:
    """Return whether a client uses the connections that calls share; a copy of that client does.

    Not every service takes the shared client: some construct their own.
    """
    same = getattr(client, "_client", client) is getattr(shared, "_client", shared)
    return shared is not None and same


async def _logging_errors(closing: Awaitable[None], name: str) -> None:
    """Let a model close, and log its error."""
    try:
        await closing
    except (Exception, SystemExit, asyncio.CancelledError) as error:
        if (task := asyncio.current_task()) and task.cancelling():
            raise  # it was not the service, a vendor's or the owner's code, that raised it
        logger.warning("{}: closing it raised {}", name, type(error).__name__)


async def _close_sdk_client(client: Any) -> None:
    """Close an SDK's client; leave any other alone. A `TimeoutError` is raised after the limit."""
    client = getattr(client, "aio", client)  # Google's has an asynchronous half
    close = getattr(client, "aclose", None) or getattr(client, "close", None)
    if not (_is_sdk(client) and callable(close)):
        return
    async with asyncio.timeout(CLOSE_CLIENT_S):
        closing = close()
        if asyncio.iscoroutine(closing):
            await closing


def _is_sdk(client: Any) -> bool:
    """Return whether a client is one of an SDK that all calls can use."""
    return hasattr(client, "with_options") or hasattr(client, "models")


def build(rung: RungSpec) -> Any:
    """Return the model of a rung; its SDK makes no retries and follows no redirect.

    Raises what `build_service` raises.
    """
    own: dict[str, Any] = {"retry_on_timeout": False, "stream_idle_timeout_secs": rung.timeout_s}
    if isinstance(rung.shared, SharedModel) and hasattr(rung.shared.client, "with_options"):
        own["client"] = rung.shared.client
    http = {
        "timeout": int(rung.timeout_s * 1000),  # milliseconds
        "retry_options": {"attempts": 1},  # else a refused connection is tried again for 10 s
        "async_client_args": {"allow_redirects": False, "follow_redirects": False},
    }
    own["http_options"] = http | ({"base_url": rung.url} if rung.url else {})
    own = {name: value for name, value in own.items() if name not in rung.init}
    service = rung.service or provider("llm", rung.kind).service
    is_socket = issubclass(load_class(service, "llm"), WebsocketLLMService)
    part = SocketModel if is_socket else RungModel
    service = build_service(replace(rung, service=service), part, **own)
    inner: Any = getattr(getattr(service, "_client", None), "_client", None)
    if hasattr(inner, "follow_redirects"):  # callers' words go only to the configured address
        inner.follow_redirects = False
    return service


def share(rung: RungSpec) -> SharedModel:
    """Return the connections that all calls use, if the service's SDK allows that.

    They are closed by the owner. A constructor that raises is logged; then nothing is shared.
    """
    try:
        client = getattr(build(rung), "_client", None)
    except Exception as error:  # noqa: BLE001 - a vendor's or the owner's constructor
        logger.warning("{}: its constructor raised {}", rung.name, type(error).__name__)
        return SharedModel()
    return SharedModel(client if _is_sdk(getattr(client, "aio", client)) else None)


async def probe_real(rung: RungSpec, *, timeout_s: float) -> None:
    """Request one word, and offer the rung's tools, if any; note whether the end has a reason.

    Raises:
        ProbeFailedError: The service refused, or the word did not arrive in time.
    """
    model = build(replace(rung, instructions=""))
    try:
        await ask_for_word(model, rung, timeout_s=timeout_s, whole=True)
    finally:
        await model.close()


async def write(rung: RungSpec, question: PenQuestion) -> PenAnswer:
    """Return a complete answer.

    Raises:
        ServiceError: The rung failed, or refused this request; holds the failure.
    """
    model = build(replace(rung, instructions=question.instruction))
    asked = LLMContext([{"role": "user", "content": question.text}])
    if getattr(model.settings, "system_instruction", None) != question.instruction:
        asked.add_message({"role": "user", "content": question.instruction})
    texts, usage, finish = list[str](), None, None
    try:
        async for chunk in model.ask(asked, on_answered=lambda: None):
            usage = chunk.usage or usage
            choice = chunk.choices[0] if chunk.choices else None
            if choice is not None:
                texts.append(choice.delta.content or "")
                finish = choice.finish_reason or finish
    finally:
        await model.close()
    if finish is None:
        raise error_of(failed(Kind.CUT, "llm", provider=rung.name, reason="it gave no reason"))
    if finish not in ("stop", "length"):
        raise error_of(_refusal_of(rung))
    return PenAnswer(
        text="".join(texts),
        model=model.asks_for,
        prompt_tokens=usage.prompt_tokens if usage else None,
        cached_tokens=usage.prompt_tokens_details.cached_tokens if usage else 0,
        completion_tokens=usage.completion_tokens if usage else 0,
    )


def _refusal_of(rung: RungSpec) -> Failure:
    """Return the failure of a rung that refused a request because of its content."""
    found = finding(Kind.BAD_REQUEST, Scope.PAYLOAD, permanent=True)
    return failed(found, "llm", provider=rung.name, reason="refused to answer")
