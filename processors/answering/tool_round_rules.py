"""How often a model may ask for tools before it has to speak."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

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
    for each in reversed(messages):
        message = cast("Mapping[str, Any]", each if isinstance(each, Mapping) else {})
        if message.get("role") == "user":
            break
        called += len(message.get("tool_calls") or ())
    return called >= MOST_CALLS
