"""Assembles tool calls that come in pieces, and checks whether they can be run."""

import json
import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
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
from calls.tool_schema import problems

MAX_CALLS: Final = 6
"""Tool calls in one turn, including several in one answer (chosen).

Looking something up, doing it and recording it are three. A model in a loop calls a tool two or
three times a second, and is paid for it, for as long as the call lasts.
"""


def must_speak(messages: Sequence[Any]) -> bool:
    """Return whether the next answer must be words.

    Args:
        messages: The conversation, as OpenAI's chat completions take it; other items are ignored.
    """
    called = 0
    for item in reversed(messages):
        message = cast("Mapping[str, Any]", item if isinstance(item, Mapping) else {})
        if message.get("role") == "user":
            break
        called += len(message.get("tool_calls") or ())
    return called >= MAX_CALLS


NO_ARGUMENTS = "{}"
NO_OTHERS: Final = {"additionalProperties": False}  # a call with an unknown argument is rejected
_NAMED: Final = re.compile(r"\s*([\w.-]*)\s*[\[{]")  # Llama's `<function=NAME>{...}`


@dataclass(slots=True, kw_only=True)
class _Call:
    """One tool call, as far as it has come."""

    call_id: str
    name: str = ""
    arguments: str = ""

    def add(self, piece: ChoiceDeltaToolCall) -> None:
        self.call_id = self.call_id or piece.id or ""
        if piece.function is not None:
            self.name = self.name or piece.function.name or ""  # some repeat it in every piece
            self.arguments += piece.function.arguments or ""

    def broken(self, *, cut: bool) -> str:
        """Return why it cannot be run; empty if it can.

        Args:
            cut: The model ran out of tokens, so missing arguments may have been cut off.
        """
        if not self.name:
            return "a tool call without a name"
        try:
            given = json.loads(self.arguments or ("" if cut else NO_ARGUMENTS))
        except (ValueError, RecursionError):  # the latter: brackets opened without an end
            given = None
        if isinstance(given, dict):
            return ""
        return f"the arguments of the tool {self.name!r} are not a JSON object"


class ToolCalls:
    """The tool calls of one answer.

    Pipecat reads one call in a chunk, expects indices without gaps, and adds a missing id to the
    conversation, which no model accepts afterwards. OpenAI's own answers fit that. Other servers
    that speak the protocol send several calls in one chunk, number all of them 0, or leave out the
    id, or the arguments of a tool without any.
    """

    def __init__(self) -> None:
        """Begin without a call."""
        self._calls: list[_Call] = []
        self._latest: dict[int | None, _Call] = {}  # by the index that the model gave
        self._form: ChatCompletionChunk | None = None

    def __bool__(self) -> bool:
        """Return whether there is any."""
        return bool(self._calls)

    def add(self, chunk: ChatCompletionChunk, pieces: Iterable[ChoiceDeltaToolCall]) -> None:
        """Add a chunk's pieces of calls."""
        self._form = self._form or chunk
        for piece in pieces:
            self._call_of(piece).add(piece)

    def broken(self, *, cut: bool) -> str:
        """Return why a finished answer's calls cannot be run; empty if there are none, or all can.

        A model that ran out of tokens, or got lost, ends its arguments in the middle.
        """
        return next((why for call in self._calls if (why := call.broken(cut=cut))), "")

    def whole(self, taken: Iterable[str] = ()) -> list[ChatCompletionChunk]:
        """Return each complete call in its own chunk.

        Args:
            taken: Call ids already in the conversation: for an id used twice, Pipecat would write
                the result over the earlier call's, too.
        """
        ids = _ids_of(self._calls, taken)
        return [
            self._written(
                ChoiceDeltaToolCall(
                    index=index,
                    id=ids[index],
                    type="function",
                    function=ChoiceDeltaToolCallFunction(
                        name=without_halves(call.name), arguments=_sendable(call.arguments)
                    ),
                )
            )
            for index, call in enumerate(self._calls)
        ]

    def _call_of(self, piece: ChoiceDeltaToolCall) -> _Call:
        """Return the call that a piece belongs to: a name with another id begins a new one."""
        latest = self._latest.get(piece.index)
        named = piece.function is not None and bool(piece.function.name)
        if latest is None or (named and piece.id and latest.name and piece.id != latest.call_id):
            latest = _Call(call_id=piece.id or "")
            self._calls.append(latest)
            self._latest[piece.index] = latest
        return latest

    def _written(self, call: ChoiceDeltaToolCall) -> ChatCompletionChunk:
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


def _sendable(arguments: str) -> str:
    """Return arguments without lone surrogates, which no model would accept later."""
    return without_halves(json.dumps(json.loads(arguments or NO_ARGUMENTS), ensure_ascii=False))


def calls_in_text(
    written: Iterable[str], tools: Sequence[FunctionSchema]
) -> list[ChatCompletionChunk]:
    """Return the calls of known tools with valid arguments in texts."""
    known = {tool.name: tool.to_default_dict()["parameters"] | NO_OTHERS for tool in tools}
    calls = ToolCalls()
    seen: list[tuple[str, Any]] = []
    for index, call in enumerate(call for text in written for call in _parsed(text)):
        name, arguments = call
        if name in known and not problems(arguments, known[name]) and call not in seen:
            seen.append(call)
            function = ChoiceDeltaToolCallFunction(name=name, arguments=json.dumps(arguments))
            piece = ChoiceDeltaToolCall(index=index, function=function)
            choice = Choice(index=0, delta=ChoiceDelta(tool_calls=[piece]))
            chunk = ChatCompletionChunk(
                id="", choices=[choice], created=0, model="", object="chat.completion.chunk"
            )
            calls.add(chunk, [piece])
    return calls.whole()


def _parsed(text: str) -> list[tuple[str, Any]]:
    """Return the names and arguments of possible calls in a text."""
    begins = re.search(r"[\[{]", text)
    if begins is None:
        return []
    try:
        found = json.JSONDecoder().raw_decode(text, begins.start())[0]
        return _named(text, found)
    except (ValueError, RecursionError):
        return []


def _named(text: str, found: Any) -> list[tuple[str, Any]]:
    named = _NAMED.match(text)
    if named and named[1] and isinstance(found, dict) and "arguments" not in found:
        return [(named[1], found)]
    calls: list[tuple[str, Any]] = []
    for call in found if isinstance(found, list) else [found]:
        inner = call.get("function", call) if isinstance(call, dict) else None
        if isinstance(inner, dict) and isinstance(inner.get("name"), str):
            arguments = inner.get("arguments", inner.get("parameters", {}))
            if isinstance(arguments, str):  # as in the protocol itself
                arguments = json.loads(arguments) if arguments.startswith("{") else None
            calls.append((inner["name"], arguments))
    return calls
