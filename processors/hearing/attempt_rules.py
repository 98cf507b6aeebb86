"""Events of listening to a caller, and the actions that follow from them.

Seconds of the caller's audio count from its beginning; a recogniser's own begin with its
connection.
"""

from dataclasses import dataclass
from typing import TypeAlias

from calls.transcript import Heard
from fallbacks.attempt_events import Ask, Dropped, TellFact
from fallbacks.failure import Failure


@dataclass(frozen=True, slots=True)
class SoundHeard:
    """Audio arrived on the caller's line."""

    sound: bytes  # 16-bit mono


@dataclass(frozen=True, slots=True)
class SpeechBegan:
    """The caller speaks."""

    sure_s: float  # the VAD's delay


@dataclass(frozen=True, slots=True)
class SpeechPaused:
    """The caller has been silent for a moment, and may not have stopped."""


@dataclass(frozen=True, slots=True)
class SpeechStopped:
    """The caller has stopped."""

    sure_s: float


@dataclass(frozen=True, slots=True)
class RecogniserOpened:
    """A rung's first connection is being made."""

    provider: str


@dataclass(frozen=True, slots=True)
class RecogniserConnected:
    """A rung can receive audio."""

    provider: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecogniserFailed:
    """A rung reported an error."""

    provider: str
    failure: Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultCame:
    """A rung sent a result, even when there is no speech."""

    provider: str
    heard: Heard


HearingEvent: TypeAlias = (
    SoundHeard
    | SpeechBegan
    | SpeechPaused
    | SpeechStopped
    | RecogniserOpened
    | RecogniserConnected
    | RecogniserFailed
    | ResultCame
    | Dropped
)
"""The events that `CallerHearing` takes."""


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
