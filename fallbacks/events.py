"""The events that the decisions in `fallbacks/` use and publish, in the past tense."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from fallbacks.failure import Failure, Kind, Scope, Severity


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptStarted:
    """A rung was asked once."""

    stage: str
    provider: str
    attempt: int  # unique within the call
    extra: bool  # a race, or a second try of a rung; limited by the stage's allowance
    left_s: float  # until the deadline


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptFailed:
    """A request to a provider failed. In a call, the next rung is then asked, if one is left."""

    stage: str
    provider: str
    kind: Kind
    scope: Scope
    after_s: float  # from the start of the attempt
    attempt: int = 0  # 0: outside an attempt
    permanent: bool = False
    severity: Severity = Severity.LOW
    unknown: bool = False  # no row of the symptom tables matches
    heard_words: int = 0  # words of its answer passed on before; the caller hears them
    reason: str = ""  # redacted: never a key, a header or a caller's word

    @classmethod
    def of(
        cls, failure: Failure, *, after_s: float = 0.0, attempt: int = 0, heard_words: int = 0
    ) -> "AttemptFailed":
        """Return the event for a failure.

        Args:
            failure: The failure.
            after_s: Seconds from the request to the failure.
            attempt: The attempt's number; 0 outside an attempt.
            heard_words: How many words of the attempt were used before it failed.
        """
        return cls(
            stage=failure.stage,
            provider=failure.provider,
            kind=failure.kind,
            scope=failure.scope,
            after_s=after_s,
            attempt=attempt,
            permanent=failure.permanent,
            severity=failure.severity,
            unknown=failure.unknown,
            heard_words=heard_words,
            reason=failure.reason,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPlanned:
    """Work outside a turn failed; the same provider will be asked again."""

    stage: str  # or the kind of work: dial, crm, alert
    provider: str
    kind: Kind
    retry: int  # 1 for the first retry
    wait_s: float  # until the retry


@dataclass(frozen=True, slots=True, kw_only=True)
class RetriesExhausted:
    """Work outside a turn was given up after `tries` tries; the provider's breaker opens."""

    stage: str
    provider: str
    kind: Kind  # of the last failure
    tries: int
    severity: Severity = Severity.MEDIUM


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptWon:
    """A rung sent the first useful content; its output is used from now on."""

    stage: str
    provider: str
    attempt: int
    after_s: float  # from the start of the attempt


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptDropped:
    """An attempt that had not failed was ended, for example by a faster one or a barge-in."""

    stage: str
    provider: str
    attempt: int
    # text: no voice speaks it; limit: no free place; lag: we stalled; length: out of tokens
    because: Literal["outrun", "caller", "text", "limit", "lag", "length"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HedgeStarted:
    """A second rung was asked although the first is not late yet; both will bill."""

    stage: str
    provider: str  # the second rung
    attempt: int
    behind: str  # the first rung
    after_s: float  # from the start of the first rung's attempt


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitReached:
    """A rung had no free place when it was to be asked."""

    stage: str
    provider: str
    attempt: int
    waited_s: float
    asked: bool  # whether it was asked after the wait; if not, the next rung is asked


@dataclass(frozen=True, slots=True, kw_only=True)
class WordsTimed:
    """An utterance ended that a voice without word times spoke at least in part.

    Attributes:
        stage: `tts`.
        reported: For how many of its words a voice reported when they are spoken.
        aligned: For how many this was found in the sound.
        estimated: For how many it was estimated.
        heard: Whether only words are counted that the caller heard before an interruption; such an
            event replaces the one of the end of this utterance, if there was one.
    """

    stage: str
    reported: int
    aligned: int
    estimated: int
    heard: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WordTimesRejected:
    """A voice's word times do not fit its sound; they are ignored until the process ends.

    Attributes:
        stage: `tts`.
        provider: The voice.
        drift_s: The median distance of the last words' reported ends from those in the sound.
    """

    stage: str
    provider: str
    drift_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RungChosen:
    """Another rung of the ladder took over."""

    stage: str
    before: str
    after: str
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StageExhausted:
    """The stage has no rung left for this request."""

    stage: str
    attempts: int
    severity: Severity = Severity.CRITICAL  # callers get the outage menu


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerEmpty:
    """An answer ended without words, and that is not an outage."""

    stage: str
    attempts: int
    asks_again: bool  # the answers were empty, so the caller is asked to repeat


@dataclass(frozen=True, slots=True, kw_only=True)
class StageRecovered:
    """A stage that was down answers again; the conversation continues where it was."""

    stage: str
    down_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTaken:
    """A stage is down, and the call took the next step of the outage menu."""

    stage: str
    step: str  # clip, local, words, keypad, chosen, goodbye


@dataclass(frozen=True, slots=True, kw_only=True)
class PauseJudged:
    """The caller paused, and it was decided whether the turn is over."""

    finished: bool
    by: Literal["detector", "silence"]  # silence: the detector had no result in time
    early: bool  # the result is from an analysis that began before the VAD reported the stop
    waited_s: float  # from the VAD's stop
    took_s: float  # by the analysis, in its thread; 0 without a result
    dropped: int  # analyses since the previous decision whose results were not needed
    dropped_s: float  # the time that they took, of those that have ended


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlyAnswerAsked:
    """A model was asked before it was certain that the caller had finished."""

    turn: int  # the turn that it would answer


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlyAnswerTaken:
    """The turn was decided with the words of the early request, so its answer is used."""

    turn: int
    asked_s: float  # from the early request to the decision
    gained_s: float  # how much sooner the first word arrives than without the early request
    extra_share: float  # of the process so far: dropped requests per request for a decided turn
    calls_tool: bool = False  # the answer begins with a tool call, so there are no words yet


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlyAnswerDropped:
    """An early answer was dropped unheard; its requests are billed."""

    turn: int
    because: Literal["caller", "words", "context", "exhausted", "ended"]
    after_s: float  # from the request
    requests: int  # dropped with the answer
    extra_share: float  # of the process so far: dropped requests per request for a decided turn


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldTheLine:
    """An answer was late and something was said in its place."""

    turn: int
    utterance: str
    after_s: float  # from the caller's last voiced sample


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerMoved:
    """A rung's breaker changed its state."""

    stage: str
    provider: str
    before: str
    after: str
    cause: str  # failed, failures, tripped, rested, probe, proven, reset
    after_s: float  # spent in the previous state
    severity: Severity = Severity.LOW  # medium: it opened; high: and only a person can fix it


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspected:
    """A rung failed or was late: new attempts prefer other rungs until it succeeds."""

    stage: str
    provider: str
    kind: Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class RungFollowed:
    """This process adopted the state of a rung from another one, which published the cause."""

    stage: str
    provider: str
    breaker: str  # the new state in this process: closed, open, half_open
    suspect: bool
    kind: str = ""  # of the failure that the other process saw; empty if healthy or unknown
    reason: str = ""  # its HTTP status, if it had one


@dataclass(frozen=True, slots=True, kw_only=True)
class SuspicionCleared:
    """A suspected rung succeeded."""

    stage: str
    provider: str
    after_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RungRested:
    """A rung has reached its rate limit, and is not asked for `rest_s`."""

    stage: str
    provider: str
    rest_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderProbed:
    """A probe of a rung has ended."""

    stage: str
    provider: str
    real: bool  # a synthetic request of the usual kind; if false, only connect and authenticate
    ok: bool
    took_s: float
    error: str = ""  # redacted


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderReset:
    """A rung may be tried again: an operator reset it, or its key or account works again."""

    stage: str
    provider: str


FallbackEvent: TypeAlias = (
    AttemptStarted
    | AttemptFailed
    | AttemptWon
    | AttemptDropped
    | HedgeStarted
    | LimitReached
    | WordsTimed
    | WordTimesRejected
    | RungChosen
    | StageExhausted
    | AnswerEmpty
    | BreakerMoved
    | Suspected
    | SuspicionCleared
    | RungFollowed
    | RungRested
    | ProviderReset
)
"""The events of one request on a ladder, and of the rungs' availability."""

AnyFallbackEvent: TypeAlias = (
    FallbackEvent
    | RetryPlanned
    | RetriesExhausted
    | StageRecovered
    | StepTaken
    | PauseJudged
    | EarlyAnswerAsked
    | EarlyAnswerTaken
    | EarlyAnswerDropped
    | HeldTheLine
    | ProviderProbed
)
"""All events of this module."""
