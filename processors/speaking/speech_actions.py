"""The events and the actions of one utterance on the ladder of voices."""

from dataclasses import dataclass
from typing import TypeAlias

from fallbacks.attempt_events import Dropped, EmitEvent, Failed, Finished, Paused, Resumed, Use
from processors.speaking.alignment_rules import AlignSound
from processors.speaking.ledger_rules import PlaySound, PlayWord, SoundCame, WordTimed

VoiceEvent: TypeAlias = SoundCame | WordTimed | Finished | Failed | Paused | Resumed | Dropped
"""The events of an attempt with a voice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AskVoice:
    """Ask a rung to speak the rest of the utterance."""

    provider: str
    attempt: int
    rest: str  # the words that have not arrived as audio; more sentences may follow
    closed: bool  # no sentence follows


@dataclass(frozen=True, slots=True, kw_only=True)
class AddSentence:
    """Give a speaking rung another sentence."""

    provider: str
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EndText:
    """Tell a rung that no sentence follows."""

    provider: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MuteVoice:
    """Stop a rung's work."""

    provider: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrectHeard:
    """Tell the model how much the caller heard before an interruption.

    Attributes:
        words: The words of the utterance, and whether each has its own spaces.
        heard: How many of them were heard; `None` if the estimate holds.
    """

    words: tuple[tuple[str, bool], ...]
    heard: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EndSpeech:
    """End the utterance; `unsaid` are the words that no voice could say."""

    unsaid: str


QueuedAction: TypeAlias = (
    AskVoice
    | AddSentence
    | EndText
    | MuteVoice
    | Use
    | PlaySound
    | PlayWord
    | AlignSound
    | CorrectHeard
    | EndSpeech
)
"""The actions that the stage queues; it emits events at once."""

SpeechAction: TypeAlias = EmitEvent | QueuedAction
"""The actions of `SpokenUtterance`."""
