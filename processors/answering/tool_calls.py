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

To look something up, do it and record it takes three. Without a limit, a model in a loop would call
a tool two or three times a second until the call ends, and each time costs money.
"""


def must_speak(messages: Sequence[Any]) -> bool:
    """Return whether the next answer must be words, because the turn has had enough tool calls.

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
NO_OTHERS: Final = {"additionalProperties": False}  # a call with an unknown argument is rejected
_NAMED: Final = re.compile(r"\s*([\w.-]*)\s*[\[{]")  # Llama's `<function=NAME>{...}`


@dataclass(slots=True, kw_only=True)
class _Call:
    """One tool call, assembled from the pieces so far."""

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
        """Add a chunk's pieces of calls."""
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
                        name=without_halves(call.name), arguments=_sendable(call.arguments)
                    ),
                )
            )
            for index, call in enumerate(self._calls)
        ]

    def _call_of(self, piece: ChoiceDeltaToolCall) -> _Call:
        """Return the call that a piece belongs to: a name with another id begins a new call."""
        latest = self._latest.get(piece.index)
        named = piece.function is not None and bool(piece.function.name)
        if latest is None or (named and piece.id and latest.name and piece.id != latest.call_id):
            latest = _Call(call_id=piece.id or "")
            self._calls.append(latest)
            self._latest[piece.index] = latest
        return latest

    def _chunk_of(self, call: ChoiceDeltaToolCall) -> ChatCompletionChunk:
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
    """Return the tool calls that a model wrote as text, of known tools with valid arguments."""
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
        return _calls_in(text, found)
    except (ValueError, RecursionError):
        return []


def _calls_in(text: str, found: Any) -> list[tuple[str, Any]]:
    """Return the calls in the JSON found in a text; raise `ValueError` for invalid inner JSON."""
    named = _NAMED.match(text)
    if named and named[1] and isinstance(found, dict) and "arguments" not in found:
        return [(named[1], found)]
    calls: list[tuple[str, Any]] = []
    for call in found if isinstance(found, list) else [found]:
        inner = call.get("function", call) if isinstance(call, dict) else None
        if isinstance(inner, dict) and isinstance(inner.get("name"), str):
            arguments = inner.get("arguments", inner.get("parameters", {}))
            if isinstance(arguments, str):  # JSON in a string, as in OpenAI's protocol
                arguments = json.loads(arguments) if arguments.startswith("{") else None
            calls.append((inner["name"], arguments))
    return calls
