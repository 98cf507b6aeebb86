"""Assembles tool calls that come in pieces, and checks whether they can be run."""

import json
import re
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, cast

from openai.types.chat import ChatCompletionChunk
from openai.types.chat.chat_completion_chunk import (
    Choice,
    ChoiceDelta,
    ChoiceDeltaToolCall,
    ChoiceDeltaToolCallFunction,
)
from pipecat.adapters.llm.schemas.function_schema import FunctionSchema

from calls.caller import without_halves
from processors.answering.written_call_rules import Call, find_calls

MAX_CALLS: Final = 6
"""Tool calls in one turn, including several in one answer (chosen).

To look something up, do it and record it takes three. Without a limit, a model in a loop would call
a tool two or three times a second until the call ends, and each time costs money.
"""


def must_speak(messages: Sequence[Any]) -> bool:
    """Return whether the next answer must be words, because the turn had `MAX_CALLS` tool calls.

    Args:
        messages: The conversation in the form of OpenAI's chat completions; other items are
            ignored.
    """
    called = 0
    for item in reversed(messages):
        message = cast("Mapping[str, Any]", item if isinstance(item, Mapping) else {})
        if message.get("role") == "user":
            break
        called += len(message.get("tool_calls") or ())
    return called >= MAX_CALLS


NO_ARGUMENTS = "{}"
_TOKENS: Final = re.compile(r"^(?:\s*<[|\uff5c][^<>]{1,60}[|\uff5c]>)+")
NO_OTHERS: Final = {"additionalProperties": False}  # a call with an unknown argument is rejected


@dataclass(slots=True, kw_only=True)
class _Call:
    """One tool call, assembled from the pieces so far."""

    call_id: str
    name: str = ""
    arguments: str = ""

    def add(self, piece: ChoiceDeltaToolCall) -> None:
        """Add a piece; the first id and name count, because some servers repeat them."""
        self.call_id = self.call_id or piece.id or ""
        if piece.function is not None:
            self.name = self.name or piece.function.name or ""  # some repeat it in every piece
            self.arguments += piece.function.arguments or ""

    def is_before(self, piece: ChoiceDeltaToolCall) -> bool:
        """Return whether a piece with the same index begins another call.

        It does if it has another name, a name and another id, or arguments after complete ones.
        """
        function = piece.function
        if function is None:
            return False
        if function.name and self.name:
            other_id = bool(piece.id) and piece.id != self.call_id
            if other_id or function.name != self.name:
                return True
        return bool((function.arguments or "").strip()) and self._is_whole()

    def _is_whole(self) -> bool:
        """Return whether the arguments are complete: an object that is not empty."""
        with suppress(ValueError, RecursionError):
            return self.arguments.rstrip().endswith("}") and bool(json.loads(self.arguments))
        return False

    def broken(self, *, cut: bool) -> str:
        """Return why the call cannot be run; empty if it can.

        Args:
            cut: Whether the model ran out of tokens, so that missing arguments may have been cut
                off.
        """
        if not self.name:
            return "a tool call without a name"
        try:
            given = json.loads(self.arguments or ("" if cut else NO_ARGUMENTS))
        except (ValueError, RecursionError):  # the latter if too many brackets are opened
            given = None
        if isinstance(given, dict):
            return ""
        return f"the arguments of the tool {self.name!r} are not a JSON object"


class ToolCalls:
    """The tool calls of one answer.

    Pipecat reads one call per chunk and expects indices without gaps. A call without an id gets
    into the conversation as it is, which no model accepts afterwards. OpenAI's own answers are
    suitable. Other servers with the same protocol send several calls in one chunk, give all of them
    the index 0, or omit the id, or the arguments of a tool that has none.
    """

    def __init__(self) -> None:
        """Create an empty collection."""
        self._calls: list[_Call] = []
        self._latest: dict[int | None, _Call] = {}  # the latest call by the model's index
        self._form: ChatCompletionChunk | None = None

    def __bool__(self) -> bool:
        """Return whether there are any calls."""
        return bool(self._calls)

    def add(self, chunk: ChatCompletionChunk, pieces: Iterable[ChoiceDeltaToolCall]) -> None:
        """Add a chunk's pieces of calls.

        The first chunk is also the model for those that `whole` returns.
        """
        self._form = self._form or chunk
        for piece in pieces:
            self._call_of(piece).add(piece)

    def broken(self, *, cut: bool) -> str:
        """Return why the calls of a finished answer cannot be run; empty if all can.

        The arguments may be incomplete, for example because the model ran out of tokens (`cut`).
        """
        return next((why for call in self._calls if (why := call.broken(cut=cut))), "")

    def whole(self, taken: Iterable[str] = ()) -> list[ChatCompletionChunk]:
        """Return each call in its own chunk; none of them may be `broken`.

        Args:
            taken: Call ids that are already in the conversation. If an id was used twice, Pipecat
                would replace the earlier call's result, too.
        """
        ids = _ids_of(self._calls, taken)
        return [
            self._chunk_of(
                ChoiceDeltaToolCall(
                    index=index,
                    id=ids[index],
                    type="function",
                    function=ChoiceDeltaToolCallFunction(
                        name=without_halves(call.name),
                        arguments=_without_lone_surrogates(call.arguments),
                    ),
                )
            )
            for index, call in enumerate(self._calls)
        ]

    def _call_of(self, piece: ChoiceDeltaToolCall) -> _Call:
        """Return the call that a piece belongs to; a piece that begins a call adds a new one."""
        latest = self._latest.get(piece.index)
        if latest is None or latest.is_before(piece):
            name = piece.function.name if piece.function else ""
            latest = _Call(call_id=piece.id or "", name=name or (latest.name if latest else ""))
            self._calls.append(latest)
            self._latest[piece.index] = latest
        return latest

    def _chunk_of(self, call: ChoiceDeltaToolCall) -> ChatCompletionChunk:
        """Return a chunk with one call, in the form of the model's own chunks."""
        assert self._form is not None  # noqa: S101 - set with the first call
        choice = self._form.choices[0].model_copy(update={"delta": ChoiceDelta(tool_calls=[call])})
        return self._form.model_copy(update={"choices": [choice], "usage": None})


def _ids_of(calls: Iterable[_Call], taken: Iterable[str]) -> list[str]:
    """Return a unique id for each call: the model's own, if it is unique."""
    ids, used = list[str](), set(taken)
    for call in calls:
        given = str(call.call_id)
        ids.append(given if given and given not in used else f"call_{uuid.uuid4().hex}")
        used.add(ids[-1])
    return ids


def _without_lone_surrogates(arguments: str) -> str:
    """Return arguments without lone surrogates, which no model would accept later."""
    return without_halves(json.dumps(json.loads(arguments or NO_ARGUMENTS), ensure_ascii=False))


def calls_in_text(
    written: Iterable[str], tools: Sequence[FunctionSchema]
) -> list[ChatCompletionChunk]:
    """Return the tool calls that a model wrote as text, of known tools with valid arguments.

    Equal calls in one form are several calls. Models also write one call in two forms, such as code
    and a tag; then it is made once.
    """
    known = {tool.name: tool.to_default_dict()["parameters"] | NO_OTHERS for tool in tools}
    calls, made, by_form = ToolCalls(), Counter[str](), Counter[tuple[str, str]]()
    for text in written:
        for call in find_calls(text, known):
            form, key = _form_of(text, call), json.dumps(call, sort_keys=True)
            by_form[form, key] += 1
            if by_form[form, key] > made[key]:
                made[key] += 1
                _add_call(calls, call, index=made.total())
    return calls.whole()


def _form_of(text: str, call: Call) -> str:
    """Return what stands around a call: before its tool's name, and after its arguments.

    The tokens at the beginning are left out, because the first call may have one more.
    """
    before, after = _TOKENS.sub("", text).partition(call[0])[0], text.rpartition("}")[2]
    return "".join(f"{before} {after}".split())


def _add_call(calls: ToolCalls, call: Call, *, index: int) -> None:
    """Add a complete call to `calls` as if it had come in one chunk, at position `index`."""
    name, arguments = call
    function = ChoiceDeltaToolCallFunction(name=name, arguments=json.dumps(arguments))
    piece = ChoiceDeltaToolCall(index=index, function=function)
    choice = Choice(index=0, delta=ChoiceDelta(tool_calls=[piece]))
    chunk = ChatCompletionChunk(
        id="", choices=[choice], created=0, model="", object="chat.completion.chunk"
    )
    calls.add(chunk, [piece])
