"""What happens to an utterance while it is spoken, and what may have to be done about it."""

from dataclasses import dataclass
from typing import TypeAlias

from fallbacks.attempts import Admitted, Failed, Finished, Idled, Refused, TellFact


@dataclass(frozen=True, slots=True)
class SentenceAdded:
    """More of the utterance is to be spoken: whole words."""

    sentence: str


@dataclass(frozen=True, slots=True)
class TextEnded:
    """The utterance has all its sentences."""


@dataclass(frozen=True, slots=True)
class CallerInterrupted:
    """The caller speaks: the rest is not wanted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SoundCame:
    """A voice sent sound: whole samples, each piece once."""

    attempt: int
    pcm: bytes  # 16-bit mono
    speaking: bool  # not silence, but for a short pause: the voice is at work


@dataclass(frozen=True, slots=True, kw_only=True)
class WordTimed:
    """A voice said when a word, or a part of one, is spoken, in seconds of its own sound."""

    attempt: int
    text: str
    start_s: float
    end_s: float | None = None


VoiceEvent: TypeAlias = SoundCame | WordTimed | Finished | Failed | Idled | Admitted | Refused
"""What a voice did for an attempt."""

SpeechEvent: TypeAlias = SentenceAdded | TextEnded | CallerInterrupted | VoiceEvent
"""What a `SpokenUtterance` reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AskVoice:
    """Have a rung begin to speak for an attempt."""

    provider: str
    attempt: int
    rest: str  # of the utterance, as far as its text is there
    closed: bool  # no sentence follows


@dataclass(frozen=True, slots=True, kw_only=True)
class AddSentence:
    """Give a rung that speaks already another sentence."""

    provider: str
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EndText:
    """Let a rung know that no sentence follows."""

    provider: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MuteVoice:
    """End what a rung is doing."""

    provider: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UseVoice:
    """This rung is heard from here on."""

    provider: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaySound:
    """Let sound go to the line."""

    pcm: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class PlayWord:
    """Count a word as heard once the line has played what was let go before this."""

    word: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EndSpeech:
    """Go on with what follows; what no voice could say is `unsaid`."""

    unsaid: str


SpeechAction: TypeAlias = (
    TellFact
    | AskVoice
    | AddSentence
    | EndText
    | MuteVoice
    | UseVoice
    | PlaySound
    | PlayWord
    | EndSpeech
)
"""What a `SpokenUtterance` wants done."""
