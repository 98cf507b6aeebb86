"""Tool calls that come in pieces: whether what came is a call that can be run."""

import json
from collections.abc import Iterable

from openai.types.chat import ChatCompletionChunk
from openai.types.chat.chat_completion_chunk import ChoiceDeltaToolCall


def broken_call(chunks: Iterable[ChatCompletionChunk]) -> str:
    """Return why a call in a finished answer cannot be run; empty: there is none, or all can be.

    A model that ran out of tokens, or lost its thread, ends its arguments in the middle.
    """
    names: dict[int, str] = {}
    arguments: dict[int, str] = {}
    for piece in (each for chunk in chunks for each in _pieces(chunk)):
        if piece.function is None:
            continue
        names[piece.index] = names.get(piece.index) or piece.function.name or ""
        arguments[piece.index] = arguments.get(piece.index, "") + (piece.function.arguments or "")
    for index, text in arguments.items():
        try:
            given = json.loads(text)
        except ValueError:
            given = None
        if not isinstance(given, dict):
            return f"the arguments of the tool {names[index]!r} are no JSON object"
    return ""


def _pieces(chunk: ChatCompletionChunk) -> list[ChoiceDeltaToolCall]:
    return [each for choice in chunk.choices for each in choice.delta.tool_calls or ()]
