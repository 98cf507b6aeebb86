"""Chat completion messages and their texts."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

Message: TypeAlias = Mapping[str, Any]


def text_of(message: Message) -> str:
    """Return a message's text; its content may be a text, a list of parts or nothing."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    if isinstance(content, Sequence):
        parts = (part.get("text", "") for part in content if isinstance(part, Mapping))
        return " ".join(str(part) for part in parts if part)
    return ""
