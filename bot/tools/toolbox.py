"""Runs the model's tool calls: with a time limit, and a repeated answer's only once.

Each returns a result, even if it fails. If the caller interrupts the wait for a tool, the tool
continues, and its result is delivered when the model repeats the request or both sides are silent.
"""

import asyncio
import json
import math
import traceback
from collections.abc import (
    Awaitable,
    Callable,
    Collection,
    Coroutine,
    Iterable,
    Mapping,
    Sequence,
)
from dataclasses import dataclass, field, fields, is_dataclass
from enum import Enum
from itertools import islice
from reprlib import Repr
from typing import Any, Final, Literal, TypeAlias, cast

from loguru import logger
from pipecat.adapters.llm.schemas.function_schema import FunctionSchema
from pipecat.frames.frames import TTSSpeakFrame
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.services.llm_service import FunctionCallParams
from pydantic import BaseModel

from bot.tools.owner_threads import place_of
from calls.caller import clean, without_halves
from calls.entry import Emit
from calls.events import ToolCalled
from calls.outside_text import RULE
from calls.resume import CUT_OFF, IN_PROGRESS, KeptTool, tool_key
from calls.tool_schema import for_model, problems
from operations.stored_words import StoredWords
from runtime.clock import Clock

BRIDGE_AFTER_S: Final = 1.0  # of waiting before the caller hears the tool's bridge
# How long an undelivered result is kept for a repeated request (chosen): an old result does less
# harm than a second booking.
UNDELIVERED_S: Final = 300.0
FINISH_S: Final = 4.0  # for tools at a call's end; a process that ends cuts calls off after 5 s
LATE: Final = "The result of a tool that was at work when the caller spoke."
TELL_LATE: Final = (
    "The tool in the message before this one is done. Tell the caller of its result now. Do not "
    "call it again for that."
)
MOVED: Final = "it was not done: the call goes on elsewhere"
RESULT_LIMIT: Final = 4_000  # characters of a result for the model
MESSAGE_CHARACTERS: Final = 300  # of an error's message in the log


class _ShortText(Repr):
    def repr_int(self, x: int, level: int) -> str:
        """Return a number; Python refuses to write one of more than 4,300 digits."""
        try:
            return super().repr_int(x, level)
        except ValueError:
            return f"a number of {x.bit_length()} bits"


_SHORT_TEXT: Final = _ShortText()
_SHORT_TEXT.maxlevel = 3
_SHORT_TEXT.maxdict = _SHORT_TEXT.maxlist = _SHORT_TEXT.maxtuple = 20
_SHORT_TEXT.maxstring = _SHORT_TEXT.maxother = 200

Run: TypeAlias = Callable[[Mapping[str, Any]], Awaitable[Any]]
"""Does the work of a tool. Raises `ToolFailed` with a sentence for the model."""


class ToolFailed(Exception):  # noqa: N818 - an outcome for the model, not a bug
    """A tool failed; the message is for the model and contains no secrets."""


class ArgumentsRefused(ToolFailed):
    """The arguments do not fit; the tool has not run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A tool that the model may call."""

    name: str
    description: str
    parameters: Mapping[str, Any]  # JSON schema of type object
    run: Run
    timeout_s: float = 5.0
    bridge: str | None = None  # spoken when the result is late
    verifies: bool = False  # its result may prove who the caller is
    sensitive: Literal["begin", "end"] | None = None  # whether it begins or ends such a section
    checks: bool = False  # whether `run` checks the values of its arguments itself
    own_thread: bool = False  # whether `run` works outside of this loop, and shortens its result


@dataclass(slots=True, kw_only=True)
class _Attempt:
    key: str  # equal for equal requests
    call_id: str  # the model's, of the call that began it or got its result last
    turn: int
    began: float  # monotonic
    task: asyncio.Future[dict[str, Any]]
    delivered: bool = False  # whether the model has received the result
    cut_off: bool = False  # whether a lost process began it, so that its result is unknown
    in_doubt: bool = False  # whether a delivered result may be unread, and its call unknown
    is_awaited: bool = False  # by a call of the model that has not been interrupted
    follower: asyncio.Task[None] | None = None  # delivers the result if the wait was interrupted

    def is_kept(self, turn: int, now: float) -> bool:
        """Return whether it may still matter to a request: in its turn, or while it runs.

        Without a delivered result, or if a lost process began it, also for `UNDELIVERED_S`.
        """
        is_owed = (self.cut_off or not self.delivered) and now < self.began + UNDELIVERED_S
        return self.turn == turn or is_owed or not self.task.done()

    def answers(self, turn: int, read: Collection[str]) -> bool:
        """Return whether an equal request is a repetition that gets this attempt's result.

        A model repeats a call if it has not received the result, because the caller interrupted it
        or its answer was dropped. A call that waits, and one whose result was read, are others.

        Args:
            turn: The current turn.
            read: The ids of the calls whose results are in the conversation.
        """
        if self.cut_off or not self.delivered:
            return not self.is_awaited or self.turn != turn
        return self.turn == turn and (
            self.in_doubt or (bool(self.call_id) and self.call_id not in read)
        )


async def _always_allow() -> bool:
    """Allow a tool to begin."""
    return True


def _do_nothing() -> None:
    """Do nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LateResults:
    """When and how late results are delivered."""

    until_quiet: Callable[[], Awaitable[None]]  # waits until neither side speaks or is about to
    ask_with: Callable[[str, str], Awaitable[None]]  # runs the model with a result and a note


@dataclass(slots=True, kw_only=True)
class Toolbox:
    """The tools of a call. `close` it with the call."""

    tools: Sequence[Tool]
    turn: Callable[[], int]  # returns the number of the current turn
    emit: Emit
    clock: Clock
    speaking: Callable[[], bool] = lambda: False  # returns whether the agent is heard now
    late: LateResults | None = None  # `None` if late results wait until the model calls again
    bridge_after_s: float = BRIDGE_AFTER_S
    # Awaited before a tool begins; returns False if the call now belongs to another process.
    before_each: Callable[[], Awaitable[bool]] = _always_allow
    verified: Callable[[], None] = _do_nothing  # called when a tool has verified the caller
    words: StoredWords | None = None  # keeps the call's sensitive section; `None` in tests
    _attempts: list[_Attempt] = field(default_factory=list[_Attempt], init=False)
    _bridged_at: float = field(default=-math.inf, init=False)  # monotonic

    @property
    def kept(self) -> Sequence[KeptTool]:
        """The attempts that a process which resumes the call must not repeat."""
        return [
            KeptTool(
                key=attempt.key,
                turn=attempt.turn,
                result=_result_of(attempt),
                delivered=attempt.delivered,
                call_id=attempt.call_id,
            )
            for attempt in self._attempts
        ]

    def restore(self, kept: Sequence[KeptTool]) -> None:
        """Take over the attempts of another process, finished or not.

        A repetition (see `_Attempt.answers`) gets the result, or `CUT_OFF` if there is none.
        """
        for tool in kept:
            done: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
            done.set_result(dict(tool.result or CUT_OFF))
            attempt = _Attempt(
                key=tool.key,
                call_id=tool.call_id,
                turn=tool.turn,
                began=self.clock(),
                task=done,
                delivered=tool.delivered,
                cut_off=tool.result is None,
                in_doubt=not tool.call_id,
            )
            self._attempts.append(attempt)

    def schemas(self) -> list[FunctionSchema]:
        """Return the schemas for the model, each with the handler that runs the tool."""
        return [schema_of(tool, self._make_handler(tool)) for tool in self.tools]

    async def close(self) -> None:
        """Wait up to `FINISH_S` for running tools, because callers count on them; then cancel them.

        Results that are still to be delivered are dropped.
        """
        tasks = [item.task for item in self._attempts]
        followers = [attempt.follower for attempt in self._attempts if attempt.follower]
        self._attempts.clear()  # so that `_answer_model` starts no more followers
        for task in followers:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=FINISH_S)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, *followers, return_exceptions=True)

    def _make_handler(
        self, tool: Tool
    ) -> Callable[[FunctionCallParams], Coroutine[Any, Any, None]]:
        async def handle(params: FunctionCallParams) -> None:
            await params.result_callback(await self._answer_model(tool, params))

        return handle

    async def _answer_model(self, tool: Tool, params: FunctionCallParams) -> dict[str, Any]:
        """Return the result for the model; arguments that do not fit are refused, and nothing runs.

        If the caller interrupts the wait, the tool continues, and another task delivers its result.
        """
        if wrong := problems(params.arguments, _accepted_schema(tool)):
            self._emit_outcome(tool, turn=self.turn(), outcome="refused", took_s=0.0)
            return {"error": "; ".join(wrong)}
        attempt = self._find_or_begin(tool, params)
        # `wait` does not cancel the task: an interruption ends the wait, not the booking.
        try:
            await self._speak_bridge(tool, attempt.task, params)
            await asyncio.wait({attempt.task})
        except asyncio.CancelledError:
            attempt.is_awaited = False
            is_current = attempt in self._attempts
            if self.late and is_current and attempt.follower is None:
                request = {"tool": tool.name, "arguments": params.arguments}
                work = self._deliver_when_quiet(attempt, self.late, request)
                attempt.follower = asyncio.get_running_loop().create_task(work, name="late result")
            raise
        attempt.delivered, attempt.is_awaited = True, False
        return {"error": "it was stopped"} if attempt.task.cancelled() else attempt.task.result()

    async def _speak_bridge(
        self, tool: Tool, task: asyncio.Future[dict[str, Any]], params: FunctionCallParams
    ) -> None:
        """Speak the tool's bridge once if the result is late and the agent is not speaking.

        If the model waits for several tools at once, one bridge is enough for all.
        """
        began = self.clock()
        while tool.bridge and not task.done():
            await asyncio.wait({task}, timeout=self.bridge_after_s)
            if self._bridged_at >= began:
                return
            if not task.done() and not self.speaking():
                self._bridged_at = self.clock()
                await params.llm.push_frame(TTSSpeakFrame(tool.bridge, append_to_context=False))
                return

    def _find_or_begin(self, tool: Tool, params: FunctionCallParams) -> _Attempt:
        """Return the attempt that a repeated request gets the result of; else begin one.

        A caller can interrupt the model while a booking is made. If the model repeats the request
        in the next turn, the booking must not be made twice. Two equal calls of one answer are two
        bookings; if the answer is repeated, the first gets the first result. Also forgets the
        attempts that matter no more.
        """
        turn, now = self.turn(), self.clock()
        self._attempts = [item for item in self._attempts if item.is_kept(turn, now)]
        key, read = tool_key(tool.name, params.arguments), _read_calls(params.context)
        found = (item for item in self._attempts if item.key == key and item.answers(turn, read))
        attempt = next(found, None)
        if attempt is None:
            # Owned by this object, which cancels and awaits it: see `close`.
            work = self._run_with_effects(tool, params.arguments, turn=turn)
            task = asyncio.get_running_loop().create_task(work, name=f"tool {tool.name}")
            attempt = _Attempt(key=key, call_id="", turn=turn, began=now, task=task)
            self._attempts.append(attempt)
        attempt.call_id, attempt.turn = params.tool_call_id, turn
        attempt.in_doubt, attempt.is_awaited = False, True
        return attempt

    async def _deliver_when_quiet(
        self, attempt: _Attempt, late: LateResults, request: Mapping[str, Any]
    ) -> None:
        """Give the model a late result once both sides are silent.

        Give up if the model gets the result by a repeated request, or after `UNDELIVERED_S`.
        """
        await asyncio.wait({attempt.task})
        try:
            async with asyncio.timeout(attempt.began + UNDELIVERED_S - self.clock()):
                await late.until_quiet()
        except TimeoutError:
            return
        if attempt.delivered:
            return
        # A model that does not believe it may repeat the request once in this turn.
        attempt.delivered, attempt.in_doubt, attempt.turn = True, True, self.turn()
        result = {**request, **attempt.task.result()}
        await late.ask_with(f"{LATE} {RULE} {_to_json(result)}", TELL_LATE)

    async def _run_with_effects(
        self, tool: Tool, arguments: Mapping[str, Any], *, turn: int
    ) -> dict[str, Any]:
        """Run a tool, carry out its effects on the call, emit the outcome and return the result.

        Does not run it if the call has gone on in another process.
        """
        began = self.clock()
        if self.words and tool.sensitive == "begin":
            self.words.begin_sensitive_section()
        if not await self.before_each():
            return {"error": MOVED}
        outcome, result = await _run_within_limit(tool, arguments)
        if self.words and tool.sensitive == "end" and outcome == "ok":
            self.words.end()
        if tool.verifies and outcome == "ok" and _is_verified(result.get("result")):
            self.verified()
        self._emit_outcome(tool, turn=turn, outcome=outcome, took_s=self.clock() - began)
        return result

    def _emit_outcome(self, tool: Tool, *, turn: int, outcome: str, took_s: float) -> None:
        self.emit(ToolCalled(turn=turn, tool=tool.name, outcome=outcome, took_s=took_s))


def _accepted_schema(tool: Tool) -> Mapping[str, Any]:
    """Return the schema of a tool's arguments; if it checks their values itself, of their names."""
    if not tool.checks:
        return tool.parameters
    names = {name: {} for name in tool.parameters["properties"]}
    return {"type": "object", "properties": names, "additionalProperties": False}


def _read_calls(context: LLMContext) -> Collection[str]:
    """Return the ids of the calls whose results are in the conversation."""
    messages = [item for item in context.messages if isinstance(item, dict)]
    return {
        str(item.get("tool_call_id"))
        for item in messages
        if item.get("role") == "tool" and item.get("content") != IN_PROGRESS
    }


def _is_verified(result: Any) -> bool:
    return isinstance(result, Mapping) and result.get("verified") is True


def _result_of(attempt: _Attempt) -> Mapping[str, Any] | None:
    """Return an attempt's result; `None` if it is not done, or its result is unknown."""
    task = attempt.task
    has_result = task.done() and not task.cancelled() and not attempt.cut_off
    return task.result() if has_result else None


async def _run_within_limit(tool: Tool, arguments: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the outcome (ok, late, refused, failed) and a result for the model; raises nothing."""
    limit = asyncio.timeout(tool.timeout_s)
    try:
        async with limit:
            result = await tool.run(arguments)
            result = result if tool.own_thread else shorten(result)
    except ArgumentsRefused as refused:
        return "refused", {"error": str(refused)}
    except ToolFailed as failed:
        return "failed", {"error": str(failed)}
    except (Exception, SystemExit) as error:  # noqa: BLE001 - an owner's function may raise any
        if isinstance(error, TimeoutError) and limit.expired():
            return "late", {"error": f"{tool.name} did not answer in time; do not try it again now"}
        place = place_of(traceback.extract_tb(error.__traceback__))
        message = _error_text(error)
        logger.opt(exception=error).warning(
            "the tool {} raised {}: {} in {}", tool.name, type(error).__name__, message, place
        )
        return "failed", {"error": f"{tool.name} failed ({type(error).__name__})"}
    return "ok", {"result": result}


def _error_text(error: BaseException) -> str:
    try:
        return clean(str(error), MESSAGE_CHARACTERS)
    except Exception as raised:  # noqa: BLE001 - the error's class may be the owner's
        return f"its text raises {type(raised).__name__}"


def _to_json(value: Any) -> str:
    """Return a value as JSON, cut off after twice the `RESULT_LIMIT`."""
    return json.dumps(value, ensure_ascii=False)[: 2 * RESULT_LIMIT]


def shorten(result: Any) -> Any:
    """Return the result as JSON values, or as shortened text if longer than `RESULT_LIMIT`.

    The encoder stops at the limit: an owner's function may return megabytes, and encoding them
    would hold Python's lock even in a thread, so that all calls would wait. What cannot be encoded,
    such as keys that are tuples, becomes a short text: the tool's work is done, and a model that
    was told of a failure would repeat it.
    """
    if isinstance(result, str):
        result = result[: RESULT_LIMIT + 1]  # the encoder makes one piece of a text
    pieces: list[str] = []
    length = 0
    encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=_plain_content)
    try:
        for piece in encoder.iterencode(result):
            pieces.append(piece)
            length += len(piece)
            if length > RESULT_LIMIT:
                return without_halves("".join(pieces)[:RESULT_LIMIT]) + " […]"
    except Exception:  # noqa: BLE001 - the classes of its parts may be the owner's
        return without_halves(_SHORT_TEXT.repr(result)[:RESULT_LIMIT])
    return json.loads(without_halves("".join(pieces)))


def _plain_content(value: Any) -> Any:
    """Return what a value such as a dataclass or a row contains; of any other, its text."""
    if isinstance(value, Enum):
        return value.value
    if is_dataclass(value):
        return {item.name: getattr(value, item.name, None) for item in fields(value)}
    is_mapping = callable(getattr(value, "keys", None)) and not isinstance(value, type)
    if is_mapping or isinstance(value, BaseModel):
        return {str(key): item for key, item in dict(cast("Any", value)).items()}
    if isinstance(value, Iterable) and not isinstance(value, bytes | bytearray | memoryview | type):
        return list(islice(cast("Iterable[Any]", value), RESULT_LIMIT))
    return str(value)


def schema_of(tool: Tool, handler: Any = None) -> FunctionSchema:
    """Return a tool's schema for the model, with the handler that runs it."""
    return FunctionSchema(
        name=tool.name,
        description=tool.description,
        properties=for_model(tool.parameters),
        required=list(tool.parameters.get("required") or ()),
        handler=handler,
    )
