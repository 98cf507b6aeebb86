"""Tool calls that come in pieces: put together, and whether they can be run."""

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

MOST_CALLS: Final = 6
"""Calls of tools in one turn, those of one answer counted each (chosen).

To look something up, do it and note it are three. A model that has lost its thread asks two or
three times a second, and is paid for it, as long as the call may last.
"""


def must_speak(messages: Sequence[Any]) -> bool:
    """Say whether the next answer has to be words.

    Args:
        messages: The conversation, as OpenAI's chat completions take it; whatever else stands in
            it counts as nothing.
    """
    called = 0
    for item in reversed(messages):
        message = cast("Mapping[str, Any]", item if isinstance(item, Mapping) else {})
        if message.get("role") == "user":
            break
        called += len(message.get("tool_calls") or ())
    return called >= MOST_CALLS


NO_ARGUMENTS = "{}"
NO_OTHERS: Final = {"additionalProperties": False}  # a call with an unknown argument is not made
_NAMED: Final = re.compile(r"\s*([\w.-]*)\s*[\[{]")  # Llama's `<function=NAME>{...}`


@dataclass(slots=True, kw_only=True)
class _Call:
    """One call, as far as it has come."""

    call_id: str
    name: str = ""
    arguments: str = ""

    def add(self, piece: ChoiceDeltaToolCall) -> None:
        self.call_id = self.call_id or piece.id or ""
        if piece.function is not None:
            self.name = self.name or piece.function.name or ""  # some repeat it in every piece
            self.arguments += piece.function.arguments or ""

    def broken(self, *, cut: bool) -> str:
        """Return why it cannot be run; empty: it can.

        Args:
            cut: The model had no tokens left: that nothing came may be because of that.
        """
        if not self.name:
            return "a tool's call without the tool's name"
        try:
            given = json.loads(self.arguments or ("" if cut else NO_ARGUMENTS))
        except (ValueError, RecursionError):  # the latter: brackets opened without an end
            given = None
        if isinstance(given, dict):
            return ""
        return f"the arguments of the tool {self.name!r} are no JSON object"


class ToolCalls:
    """The calls of one answer.

    Pipecat reads one call of a chunk, counts on indices without gaps, and takes an id that is
    missing into the conversation, which no model would be asked with again. OpenAI's own answers
    agree with that. Others that speak the protocol send several calls in one chunk, number all of
    them 0, leave the id out, or the arguments of a tool that has none.
    """

    def __init__(self) -> None:
        """Begin without a call."""
        self._calls: list[_Call] = []
        self._latest: dict[int | None, _Call] = {}  # by the index that the model gave
        self._form: ChatCompletionChunk | None = None

    def __bool__(self) -> bool:
        """Whether there is one."""
        return bool(self._calls)

    def add(self, chunk: ChatCompletionChunk, pieces: Iterable[ChoiceDeltaToolCall]) -> None:
        """Add what came of calls in a chunk."""
        self._form = self._form or chunk
        for piece in pieces:
            self._call_of(piece).add(piece)

    def broken(self, *, cut: bool) -> str:
        """Return why a finished answer's calls cannot be run; empty: there is none, or all can be.

        A model that ran out of tokens, or lost its thread, ends its arguments in the middle.
        """
        return next((why for call in self._calls if (why := call.broken(cut=cut))), "")

    def whole(self, taken: Iterable[str] = ()) -> list[ChatCompletionChunk]:
        """Return each call whole, in a chunk of its own.

        Args:
            taken: The ids of calls that the conversation has already: Pipecat would write the
                result of one that comes again over the earlier call's, too.
        """
        ids = _ids_of(self._calls, taken)
        return [
            self._written(
                ChoiceDeltaToolCall(
                    index=index,
                    id=ids[index],
                    type="function",
                    function=ChoiceDeltaToolCallFunction(
                        name=without_halves(each.name), arguments=_sendable(each.arguments)
                    ),
                )
            )
            for index, each in enumerate(self._calls)
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
        assert self._form is not None  # noqa: S101 - a call has come in it
        choice = self._form.choices[0].model_copy(update={"delta": ChoiceDelta(tool_calls=[call])})
        return self._form.model_copy(update={"choices": [choice], "usage": None})


def _ids_of(calls: Iterable[_Call], taken: Iterable[str]) -> list[str]:
    """Return an id for each call that no other has: the one that the model gave, if it is such."""
    ids, used = list[str](), set(taken)
    for call in calls:
        given = str(call.call_id)
        ids.append(given if given and given not in used else f"call_{uuid.uuid4().hex}")
        used.add(ids[-1])
    return ids


def _sendable(arguments: str) -> str:
    """Return arguments, too, without halves of characters: no model is asked with one again."""
    return without_halves(json.dumps(json.loads(arguments or NO_ARGUMENTS), ensure_ascii=False))


def calls_in_text(
    written: Iterable[str], tools: Sequence[FunctionSchema]
) -> list[ChatCompletionChunk]:
    """Return the calls of known tools with valid arguments among texts."""
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
    """Return the names and arguments of what looks like calls in a text."""
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
