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
    extra: bool  # a race or a second try of the same rung, bounded by the stage's allowance
    left_s: float  # until the deadline


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptFailed:
    """A provider did not finish what it was asked; the ladder moves on."""

    stage: str
    provider: str
    kind: Kind
    scope: Scope
    after_s: float  # from the start of the attempt
    attempt: int = 0  # 0: outside a call
    permanent: bool = False
    severity: Severity = Severity.LOW
    unknown: bool = False  # the symptom is in no table
    heard_words: int = 0  # the caller already heard these from it
    reason: str = ""  # redacted: never a key, a header or a caller's word

    @classmethod
    def of(
        cls, failure: Failure, *, after_s: float = 0.0, attempt: int = 0, heard_words: int = 0
    ) -> "AttemptFailed":
        """Return the event for a failure."""
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
    wait_s: float  # until then


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
    """A rung gave the first useful content; its output is used from here on."""

    stage: str
    provider: str
    attempt: int
    after_s: float  # from the start of the attempt


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptDropped:
    """An attempt was ended that had not failed, such as by a faster one or a barge-in."""

    stage: str
    provider: str
    attempt: int
    because: Literal["outrun", "caller", "text", "limit", "lag", "length"]  # lag: our own


@dataclass(frozen=True, slots=True, kw_only=True)
class HedgeStarted:
    """A second rung was asked in addition, before the first was late; both will bill."""

    stage: str
    provider: str  # the second one
    attempt: int
    behind: str  # the first one
    after_s: float  # from the start of the first one's attempt


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitReached:
    """A rung had no free place: an attempt waited for one, or went elsewhere."""

    stage: str
    provider: str
    attempt: int
    waited_s: float
    asked: bool  # whether the rung was asked in the end; False: the next rung is asked instead


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
    """An answer ended with nothing to say, and no provider is at fault."""

    stage: str
    attempts: int
    asks_again: bool  # it was empty: the caller is asked to repeat


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
    """The caller paused, and it was decided whether the turn was over."""

    finished: bool
    by: Literal["detector", "silence"]  # silence: the detector gave no answer in time
    early: bool  # the answer is from an analysis that began before the VAD reported the stop
    waited_s: float  # from the VAD's stop
    took_s: float  # the analysis, in its thread; 0: there was none
    dropped: int  # analyses of this call, since the previous pause, whose results were not needed
    dropped_s: float  # their time, as far as they had ended


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlyAnswerAsked:
    """A model was asked before it was certain that the caller had finished."""

    turn: int  # that it answers


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlyAnswerTaken:
    """The turn was decided with the words that were asked early: that answer is spoken."""

    turn: int
    asked_s: float  # before the decision
    gained_s: float  # how much sooner the first word arrived, or will, than if asked now
    extra_share: float  # of the process so far: dropped requests for each one of a decided turn
    calls_tool: bool = False  # it begins with a tool call: it has nothing to speak yet


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlyAnswerDropped:
    """An early answer was not used; it was not heard, and it is billed."""

    turn: int
    because: Literal["caller", "words", "context", "exhausted", "ended"]
    after_s: float  # from its start
    requests: int  # all dropped
    extra_share: float  # of the process so far: dropped requests for each one of a decided turn


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldTheLine:
    """An answer was late and something was said in its place."""

    turn: int
    utterance: str
    after_s: float  # from the caller's last voiced sample


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerMoved:
    """A rung's breaker went from one state to another."""

    stage: str
    provider: str
    before: str
    after: str
    cause: str  # failures, tripped, rested, probe, proven, reset
    after_s: float  # spent in the state before
    severity: Severity = Severity.LOW  # medium: it opened; high: only a person can fix it


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspected:
    """A rung failed or was late in a live call: new attempts prefer another until it is cleared."""

    stage: str
    provider: str
    kind: Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class RungFollowed:
    """The state of a rung was taken over from another process, which published its cause."""

    stage: str
    provider: str
    breaker: str  # as it now is here: closed, open, half_open
    suspect: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SuspicionCleared:
    """A suspected rung succeeded."""

    stage: str
    provider: str
    after_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RungRested:
    """A rung is over its rate limit, and is not asked for a while."""

    stage: str
    provider: str
    rest_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderProbed:
    """A rung was tried without a caller."""

    stage: str
    provider: str
    real: bool  # a synthetic request of the usual kind; else connect and authenticate only
    ok: bool
    took_s: float
    error: str = ""  # redacted


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderReset:
    """An operator allowed a rung to be tried again."""

    stage: str
    provider: str


FallbackEvent: TypeAlias = (
    AttemptStarted
    | AttemptFailed
    | AttemptWon
    | AttemptDropped
    | HedgeStarted
    | LimitReached
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
"""The events of one piece of work."""
