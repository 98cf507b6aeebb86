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
        asked: What the last answer asked for: a slot, `confirm`, `number`, `else` or "".
        last: The text of the last answer.
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
    """An answer, and the tool call that belongs to it.

    Attributes:
        text: The words; "" if a tool is called first.
        tool: The name of the tool to call, if it is offered.
        without_tool: The words if that tool is not offered.
    """

    text: str = ""
    tool: str = ""
    without_tool: str = ""


Turn: TypeAlias = tuple[Notes, ReceptionistAnswer]


def clock(time: str) -> str:
    """Return a time of day for use in a sentence."""
    return time if time.startswith("in the") else f"at {time}"


def with_facts(notes: Notes, heard: Understood) -> Notes:
    """Return the notes with the facts of an utterance."""
    return replace(
        notes,
        service=heard.service or notes.service,
        day=heard.day or notes.day,
        time=heard.time or notes.time,
        name=heard.name or notes.name,
    )


def asking_else(notes: Notes) -> Notes:
    """Return the notes without a topic, for an answer that asks whether there is anything else."""
    return replace(notes, topic="", asked="else")
