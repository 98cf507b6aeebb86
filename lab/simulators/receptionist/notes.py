"""The receptionist's memory of a conversation, and the form of its answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from lab.simulators.receptionist.understood import Understood

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Notes:
    """The receptionist's memory.

    Attributes:
        topic: `book`, `callback` or "".
        asked: The last answer's question: a slot, `confirm`, `number`, `else` or "".
        last: The last answer's text.
    """

    topic: str = ""
    asked: str = ""
    last: str = ""
    service: str = ""
    day: str = ""
    time: str = ""
    name: str = ""
    number: str = ""

    @property
    def appointment(self) -> str:
        """The known part of the appointment, in words."""
        what = f"a {self.service}" if self.service else "an appointment"
        when = f" for {self.day}" if self.day else ""
        at = f" {clock(self.time)}" if self.time else ""
        return f"{what}{when}{at}" + (f", in the name of {self.name}" if self.name else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceptionistAnswer:
    """An answer and its tool call.

    Attributes:
        text: The words; "" if a tool is called first.
        tool: The tool to call, by name, if it is offered.
        without_tool: The words if it is not.
    """

    text: str = ""
    tool: str = ""
    without_tool: str = ""


Turn: TypeAlias = tuple[Notes, ReceptionistAnswer]


def clock(time: str) -> str:
    """Return a time of day for use in a sentence."""
    return time if time.startswith("in the") else f"at {time}"


def with_facts(notes: Notes, heard: Understood) -> Notes:
    """Add an utterance's facts."""
    return replace(
        notes,
        service=heard.service or notes.service,
        day=heard.day or notes.day,
        time=heard.time or notes.time,
        name=heard.name or notes.name,
    )


def asking_else(notes: Notes) -> Notes:
    """Close the topic; the answer asks whether there is anything else."""
    return replace(notes, topic="", asked="else")
