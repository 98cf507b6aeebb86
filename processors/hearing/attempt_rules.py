"""The actions that follow from listening to a caller."""

from dataclasses import dataclass
from typing import TypeAlias

from fallbacks.attempt_events import Ask, TellFact


@dataclass(frozen=True, slots=True)
class Reconnect:
    """Reconnect a rung in the background, unless its service does so itself."""

    provider: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedSound:
    """Send a rung some of the caller's audio."""

    provider: str
    sound: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkSpeech:
    """Tell a rung that the caller speaks, or has stopped, at this point of its audio."""

    provider: str
    speaking: bool


@dataclass(frozen=True, slots=True)
class FlushWords:
    """Ask a rung to finalise what it has heard; it gets no more audio."""

    provider: str


@dataclass(frozen=True, slots=True)
class AskForWords:
    """Ask a rung to finalise what it has heard, and keep feeding it."""

    provider: str


@dataclass(frozen=True, slots=True)
class PassOn:
    """Pass on the result that was just read.

    Attributes:
        new_text: The new part of it; `None` if all of it is new.
        guess: Pass on the latest interim result as final: the final one is empty, or missing.
    """

    new_text: str | None
    guess: bool = False


@dataclass(frozen=True, slots=True)
class KeepTurnOpen:
    """Delay the end of the turn: words of it are pending."""


HearingAction: TypeAlias = (
    TellFact
    | Ask
    | Reconnect
    | FeedSound
    | MarkSpeech
    | FlushWords
    | AskForWords
    | PassOn
    | KeepTurnOpen
)
"""The actions of `CallerHearing`. `Ask`: connect a rung at once, if it has a place for us."""
