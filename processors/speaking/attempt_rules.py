"""What happens to an utterance while it is spoken, and what may have to be done about it."""

from dataclasses import dataclass
from typing import Final, TypeAlias

from fallbacks.attempts import Admitted, Failed, Finished, Idled, Refused, TellFact
from fallbacks.failure import Failure, Kind, failed
from fallbacks.lag import Lag

CONNECT_S: Final = 0.3  # a turn waits no longer for a handshake: a failed rung may cost 0.4 s
COLD_S: Final = 1.0  # for a cold one's first: name, TCP, TLS and upgrade across an ocean (chosen)


class Connection:
    """What is known of it. Moments are monotonic, in seconds; our own stalls count as no waiting.

    Attributes:
        up: It is made.
        cold: It is made for the first time, or anew at our wish: an attempt waits for it longer.
        settling: New settings may make the service connect anew.
    """

    def __init__(self, provider: str, *, lag: Lag | None = None) -> None:
        self.up = False
        self.cold = False
        self.settling = False
        self._provider = provider
        self._lag = lag or Lag()
        self._connecting_at: float | None = None  # on the provider's clock
        self._failure: Failure | None = None
        self._reported = False  # that the last try failed, to an attempt

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
        """Note that it is being made."""
        self._connecting_at, self.up = self._lag.provider_s(now), False
        self._reported = False
        if self.settling:  # at our wish: it is waited for like a cold one, and not doubted
            self.cold, self.settling = True, False

    def made(self, *, waited_for: bool) -> None:
        """Note that it is up; the work that waited for it has yet to begin."""
        self._connecting_at, self.up, self._failure = None, True, None
        self.cold = self.cold and waited_for

    def refused(self, failure: Failure, *, waited_for: bool) -> None:
        """Note why it cannot be made; an attempt that waited for it gets the failure at once."""
        self._connecting_at, self.up, self._failure = None, False, failure
        self._reported = self._reported or waited_for
        self.cold = False

    def lost(self) -> None:
        """Note that it is gone."""
        self._connecting_at, self.up, self._failure = None, False, None

    def report_failure(self, now: float) -> Failure | None:
        """Return why nothing can come of an attempt now; a refusal is returned once.

        It is returned once so that another can speak at once. Work that asks again has no other
        rung, and one failed try is not counted twice, whether an attempt waited for it or came
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
