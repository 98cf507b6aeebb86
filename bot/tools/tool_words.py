"""Descriptions of Holdline's own tools for a model, and their answers; from `tool_words.yaml`."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any, Final

from fallbacks.data_files import read_data

_WORDS: Final = read_data(__name__, "tool_words.yaml")
BUILT_IN: Final = frozenset(_WORDS["tools"])
"""The names of Holdline's own tools."""
ANSWERS: Final[Mapping[str, str]] = _WORDS["answers"]
QUESTIONS: Final[Mapping[str, str]] = _WORDS["questions"]


def described(name: str, *, can_transfer: bool = True) -> dict[str, Any]:
    """Return the name, the description and the parameters of a tool.

    Without `can_transfer`, they are those for a line that cannot transfer.
    """
    words = deepcopy(_WORDS["tools"][name] if can_transfer else _WORDS["no_transfer"])
    parameters = {
        "type": "object",
        "properties": words.get("properties", {}),
        "required": words.get("required", []),
    }
    return {"name": name, "description": words["description"], "parameters": parameters}
