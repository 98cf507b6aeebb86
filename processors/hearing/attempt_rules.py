"""What happens while a caller is listened to, and what may have to be done about it.

Seconds of the caller's sound count from the first of it; a recogniser's own begin with its
connection.
"""

from dataclasses import dataclass
from typing import TypeAlias

from fallbacks.attempts import Refused, TellFact
from fallbacks.failure import Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class HeardWord:
    """One word as a recogniser wrote it."""

    text: str
    start_s: float  # of the stream
    end_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a recogniser wrote: words, how far they reach, whether more is to come.

    Attributes:
        text: Empty: it listens, and heard nothing to write down.
        final: These words will not change.
        interim: It came as a guess, to be shown and replaced; a final one may come so, too.
        flushed: It is the answer to our word that the caller has stopped.
        end_s: How far it reaches, in seconds of the recogniser's own stream; None: it does not say.
        words: With their times in the recogniser's stream; empty: it gives none.
    """

    text: str
    final: bool
    interim: bool
    flushed: bool
    end_s: float | None
    words: tuple[HeardWord, ...]


@dataclass(frozen=True, slots=True)
class SoundHeard:
    """The line carried something."""

    sound: bytes  # 16-bit mono


@dataclass(frozen=True, slots=True)
class SpeechBegan:
    """The caller speaks."""

    sure_s: float  # how long the VAD waited to be sure


@dataclass(frozen=True, slots=True)
class SpeechPaused:
    """The caller has been silent for a moment; nobody is sure yet that they stopped."""


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
    """A rung can be fed."""

    provider: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecogniserFailed:
    """A rung reported an error."""

    provider: str
    failure: Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultCame:
    """A rung wrote something down, be it that nobody speaks."""

    provider: str
    reading: Reading


HearingEvent: TypeAlias = (
    SoundHeard
    | SpeechBegan
    | SpeechPaused
    | SpeechStopped
    | RecogniserOpened
    | RecogniserConnected
    | RecogniserFailed
    | ResultCame
    | Refused
)
"""What a `Hearing` reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AskRecogniser:
    """Have a rung connected in a hurry, for an attempt; if there is a place for us there."""

    provider: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Reconnect:
    """Connect a rung anew in the background, if that is ours to do."""

    provider: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedSound:
    """Let a rung hear something of the caller."""

    provider: str
    sound: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkSpeech:
    """Let a rung know that the caller speaks, or has stopped, as of the sound it was fed."""

    provider: str
    speaking: bool


@dataclass(frozen=True, slots=True)
class FlushWords:
    """Have a rung write down now what it has heard: it is fed no more."""

    provider: str


@dataclass(frozen=True, slots=True)
class AskForWords:
    """Have a rung write down now what it has heard, and go on hearing."""

    provider: str


@dataclass(frozen=True, slots=True)
class PassOn:
    """Pass the result on that was just read.

    Attributes:
        new_text: What of it is new; `None` if all of it is.
        guess: Pass the latest interim result on as final: its final one is empty, or missing.
    """

    new_text: str | None
    guess: bool = False


@dataclass(frozen=True, slots=True)
class KeepTurnOpen:
    """Let the turn's end wait: words of it are still to come."""


HearingAction: TypeAlias = (
    TellFact
    | AskRecogniser
    | Reconnect
    | FeedSound
    | MarkSpeech
    | FlushWords
    | AskForWords
    | PassOn
    | KeepTurnOpen
)
"""What a `Hearing` wants done."""
