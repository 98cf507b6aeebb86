"""Connections, events and actions of an utterance in the TTS stage."""

from dataclasses import dataclass
from typing import Final, TypeAlias

from fallbacks.attempt_events import Dropped, Failed, Finished, Paused, Resumed, TellFact, Use
from fallbacks.failure import Failure, Kind, failed
from fallbacks.lag import Lag

CONNECT_S: Final = 0.3  # a turn waits no longer for a handshake: a failed rung may cost 0.4 s
COLD_S: Final = 1.0  # for a first handshake: name, TCP, TLS, upgrade across an ocean (chosen)


class Connection:
    """The state of a rung's connection. Moments are monotonic, in seconds, without our own stalls.

    Attributes:
        up: It is made.
        cold: It is made for the first time, or again at our request: an attempt waits longer.
        settling: New settings may make the service reconnect.
    """

    def __init__(self, provider: str, *, lag: Lag | None = None) -> None:
        self.up = False
        self.cold = False
        self.settling = False
        self._provider = provider
        self._lag = lag or Lag()
        self._connecting_at: float | None = None  # on the provider's clock
        self._failure: Failure | None = None
        self._reported = False  # an attempt was told of the last try's failure

    @property
    def in_the_making(self) -> bool:
        """Whether it is being made."""
        return self._connecting_at is not None

    def report_hang(self) -> Failure:
        """Return the failure of an attempt that waited too long for it."""
        self._reported = True
        reason = "no connection in time"
        return failed(Kind.TIMEOUT, "tts", provider=self._provider, reason=reason)

    def began(self, now: float) -> None:
        """Record that it is being made."""
        self._connecting_at, self.up = self._lag.provider_s(now), False
        self._reported = False
        if self.settling:  # at our request: wait for it as for a cold one
            self.cold, self.settling = True, False

    def made(self, *, waited_for: bool) -> None:
        """Record that it is up; the work that waited for it has yet to begin."""
        self._connecting_at, self.up, self._failure = None, True, None
        self.cold = self.cold and waited_for

    def refused(self, failure: Failure, *, waited_for: bool) -> None:
        """Record why it cannot be made; an attempt that waited for it gets the failure at once."""
        self._connecting_at, self.up, self._failure = None, False, failure
        self._reported = self._reported or waited_for
        self.cold = False

    def lost(self) -> None:
        """Record that it is gone."""
        self._connecting_at, self.up, self._failure = None, False, None

    def report_failure(self, now: float) -> Failure | None:
        """Return why an attempt cannot work now; a refusal is returned once.

        It is returned once so that another rung can speak at once. A request that asks again has no
        other rung. One failed try must not count twice, whether an attempt waited for it or came
        later: then a new connection is tried, and waited for.
        """
        if self._connecting_at is not None:
            hangs = self.wait_until_s(now) <= self._lag.provider_s(now)
            return self.report_hang() if hangs else None
        failure = None if self._reported else self._failure
        self._reported = self._reported or failure is not None
        return failure

    def wait_until_s(self, now: float) -> float:
        """Return how long an attempt may wait for it, on the provider's clock."""
        begun_at = self._connecting_at
        return (self._lag.provider_s(now) if begun_at is None else begun_at) + self._patience_s

    @property
    def _patience_s(self) -> float:
        return COLD_S if self.cold else CONNECT_S


@dataclass(frozen=True, slots=True)
class SentenceAdded:
    """More text of the utterance: whole words."""

    sentence: str


@dataclass(frozen=True, slots=True)
class TextEnded:
    """The utterance has all its sentences."""


@dataclass(frozen=True, slots=True)
class CallerInterrupted:
    """The caller speaks: the rest is dropped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SoundCame:
    """A voice sent audio: whole samples, each piece once."""

    attempt: int
    pcm: bytes  # 16-bit mono
    speaking: bool  # speech or a short pause: the voice is working


@dataclass(frozen=True, slots=True, kw_only=True)
class WordTimed:
    """A voice reported when a word, or a part of one, is spoken, in seconds of its own audio."""

    attempt: int
    text: str
    start_s: float
    end_s: float | None = None


VoiceEvent: TypeAlias = SoundCame | WordTimed | Finished | Failed | Paused | Resumed | Dropped
"""A voice's events for an attempt."""

SpeechEvent: TypeAlias = SentenceAdded | TextEnded | CallerInterrupted | VoiceEvent
"""The events that `SpokenUtterance` takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AskVoice:
    """Ask a rung to speak, for an attempt."""

    provider: str
    attempt: int
    rest: str  # of the utterance, as far as its text has come
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
class PlaySound:
    """Send audio to the line."""

    pcm: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class PlayWord:
    """Count a word as heard once the line has played the audio before this."""

    word: str
    spaced: bool = False  # it has its own spaces, as in a script without them


@dataclass(frozen=True, slots=True, kw_only=True)
class EndSpeech:
    """End the utterance; `unsaid` is what no voice could say."""

    unsaid: str


SpeechAction: TypeAlias = (
    TellFact | AskVoice | AddSentence | EndText | MuteVoice | Use | PlaySound | PlayWord | EndSpeech
)
"""The actions of `SpokenUtterance`."""
