"""Every fact of a call, in the past tense."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from calls.campaign_events import (
    CampaignHeld,
    CampaignPaused,
    CampaignResumed,
    ContactSkipped,
    DialAsked,
    DialEnded,
    DialPlaced,
    OutboundCallBegan,
)
from calls.incident import IncidentBegan, IncidentEnded, IncidentGrew
from calls.leg_events import (
    AnswererHeard,
    AnswererJudged,
    CallerReturned,
    EarMeasured,
    HandedOver,
    LegAnswered,
    LegCharged,
    LegEnded,
    LegRinging,
    LineRestored,
    PersonBriefed,
)
from calls.operations_events import (
    AlertClosed,
    AlertSent,
    CallbackQueued,
    CallerKnown,
    CallerLookedUp,
    CallReported,
    CallsCut,
    CallSummarised,
    ClipsRendered,
    ConfigurationLoaded,
    ConfigurationReloaded,
    DoNotCallDropped,
    DoNotCallListed,
    DoNotCallOwed,
    DoNotCallWanted,
    RecordsForgotten,
    WorkerLost,
    WorkerStarted,
    WritesRefused,
    WritesResumed,
)
from fallbacks.facts import (
    AnswerEmpty,
    AttemptDropped,
    AttemptFailed,
    AttemptStarted,
    AttemptWon,
    BreakerMoved,
    EarlyAnswerAsked,
    EarlyAnswerDropped,
    EarlyAnswerTaken,
    HedgeStarted,
    HeldTheLine,
    LimitReached,
    PauseJudged,
    ProviderProbed,
    ProviderReset,
    RetriesExhausted,
    RetryPlanned,
    RungChosen,
    RungFollowed,
    RungRested,
    StageExhausted,
    StageRecovered,
    StepTaken,
    Suspected,
    SuspicionCleared,
)
from fallbacks.failure import Severity

PhaseCause: TypeAlias = Literal[
    "turn_decided", "agent_speaks", "agent_has_spoken", "caller_speaks", "call_ended"
]
"""What moves a call from one phase to another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallStarted:
    """A leg was answered and the pipeline runs."""

    transport: str
    agent: str
    caller: str = ""  # hidden by every listener but the call's own record
    called: str = ""
    call_ref: str = ""  # the carrier's own id of the call
    direction: Literal["inbound", "outbound"] = "inbound"
    gap_s: float = 0.0  # since the process was last heard of that the call was taken over from
    began_at: str = ""  # ISO 8601, UTC: when such a call began
    turn: int = 0  # the latest decided one of such a call


@dataclass(frozen=True, slots=True, kw_only=True)
class CallEnded:
    """The call is over; nothing of it runs any more."""

    # caller_hung_up, agent_hung_up, silence, max_length, failed, outage, shutdown, transfer,
    # voicemail, menu
    reason: str
    length_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRecorded:
    """The caller has heard that the call is recorded, and from its first word on it is."""

    path: str  # of a stereo wav: the caller left, the agent right


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRefused:
    """A call was not taken."""

    transport: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFailed:
    """Our own mistake ended the call; the caller heard a goodbye."""

    where: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseMoved:
    """The call went from one phase to another."""

    before: str
    after: str
    cause: PhaseCause


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseRefused:
    """Something happened that the phase table has no edge for; the phase stayed."""

    phase: str
    target: str
    cause: PhaseCause


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerStarted:
    """The caller began to speak."""

    at_s: float  # monotonic, of the first voiced sample


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerStopped:
    """The caller fell silent; the turn's budget runs from here."""

    at_s: float  # monotonic, of the last voiced sample: the VAD's moment less its stop delay
    noticed_at_s: float  # when the VAD was sure


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnDecided:
    """Turn detection says that it is our turn to speak."""

    turn: int
    at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherReading:
    """What the caller may have said instead."""

    text: str
    confidence: float | None = None  # 0..1; None: the recogniser does not say


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscriptFinal:
    """The recogniser's last word on what the caller said."""

    turn: int
    at_s: float
    provider: str
    text: str
    language: str | None = None  # as the recogniser detected it; None: it does not say
    confidence: float | None = None  # 0..1
    alternatives: tuple[OtherReading, ...] = ()  # the likelier ones first


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstToken:
    """The language model gave its first word of this turn."""

    turn: int
    at_s: float
    provider: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstSpeech:
    """The first synthesised audio of this turn arrived."""

    turn: int
    at_s: float
    provider: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnParts:
    """Where the time of one answer went; the parts add up to `v2v_s`."""

    vad_s: float  # last voiced sample until the VAD was sure
    transcript_s: float  # until the final transcript
    decision_s: float  # until turn detection said that it is our turn
    llm_s: float  # until the model's first word
    tts_s: float  # until the first synthesised audio, the model's first sentence included
    transport_s: float  # until the first audible sample was written to the line


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerHeard:
    """The first audible sample of the answer was written to the caller's line."""

    turn: int
    at_s: float
    v2v_s: float  # caller's last voiced sample to our first audible sample
    parts: TurnParts


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetMissed:
    """A turn took longer than `latency.budget_s`."""

    turn: int
    v2v_s: float
    budget_s: float
    most: str  # the part that took most


@dataclass(frozen=True, slots=True, kw_only=True)
class BargedIn:
    """The caller spoke over the agent, who fell silent."""

    turn: int
    at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSaid:
    """What the caller heard of one answer; fewer words than were written after a barge-in."""

    turn: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnEnded:
    """An answer was heard to its end, or cut short by the caller."""

    turn: int
    at_s: float
    interrupted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageMeasured:
    """What a provider will bill for."""

    turn: int
    stage: str
    provider: str
    model: str
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    characters: int = 0
    audio_s: float = 0.0
    estimated: bool = False  # by our own count: nobody told us, as of an answer that was called off
    cost: float | None = None  # in the price table's currency; None: not known, or not priced yet
    behind_call: str = ""  # told by the process, of a call that had ended; empty: the call's own


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnCosted:
    """What the use that was measured in a turn costs; told again when more of it is billed."""

    turn: int  # 0: what came before the first, such as the greeting
    cost: float | None  # None: the price of a part is not known
    currency: str
    unpriced: tuple[str, ...] = ()  # stage and model of what has no known price
    estimated: bool = False  # some of it is by our own count


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderFailed:
    """A provider did not do what it was asked."""

    stage: str
    provider: str
    error: str  # redacted: never a key, a header or a caller's word


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerSilent:
    """The caller said nothing for long; `prompts` gentle questions were asked so far."""

    prompts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCalled:
    """The model used a tool."""

    turn: int
    tool: str
    outcome: str  # ok, late, failed, refused
    took_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonWanted:
    """The caller is to be connected with a person."""

    turn: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackWanted:
    """The caller is to be called back."""

    turn: int
    when: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageLeft:
    """The caller left a message, because nobody could answer."""

    length_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageTranscribed:
    """What a caller had left was written down, after the call."""

    provider: str
    words: int  # how many; what they are stands beside the recording alone
    length_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPressed:
    """The caller pressed a key of the telephone."""

    key: str  # masked: it may be of a PIN


@dataclass(frozen=True, slots=True, kw_only=True)
class InputRefused:
    """The far end sent something that we do not take: it was ignored, or its socket closed."""

    transport: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextShortened:
    """The conversation outgrew its window."""

    how: str  # summarised, truncated
    tokens_before: int
    tokens_after: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareLost:
    """What other processes know of the providers cannot be read: this one goes on alone."""

    reason: str  # redacted


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareRegained:
    """Processes tell each other again how the providers are."""

    alone_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordHalted:
    """The database takes no more of the record; what fits the bound waits, and calls go on."""

    reason: str  # redacted
    severity: Severity = Severity.CRITICAL  # alerts stand in the same database, and wait as well


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordResumed:
    """The database takes the record again."""

    after_s: float
    lost_entries: int  # that did not fit, since the process began


LagPlace: TypeAlias = Literal["loop", "executor", "line"]
"""Where we were late: serving anybody, computing for a call, sending sound to a caller."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessLagged:
    """Our own process was late; no provider is blamed for what came of it."""

    where: LagPlace
    lag_s: float  # the longest
    step: str  # what ran meanwhile: a function and its file; empty: nobody saw it
    times: int  # since this was last told


OperatorAction: TypeAlias = Literal[
    "rest", "return", "reset", "acknowledge", "resolve", "start", "pause", "resume"
]
"""What an operator can do while calls go on: to a provider, an alert, a campaign."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorActed:
    """An operator did something; told once for all processes."""

    action: OperatorAction
    target: str  # a provider, an alert's key, or a campaign
    by: str  # as they call themselves, and by which credential from where
    why: str = ""


Event: TypeAlias = (
    CallStarted
    | CallEnded
    | CallRecorded
    | CallRefused
    | CallFailed
    | PhaseMoved
    | PhaseRefused
    | CallerStarted
    | CallerStopped
    | TurnDecided
    | TranscriptFinal
    | FirstToken
    | FirstSpeech
    | AnswerHeard
    | BudgetMissed
    | BargedIn
    | AgentSaid
    | TurnEnded
    | UsageMeasured
    | TurnCosted
    | ProviderFailed
    | CallerSilent
    | ToolCalled
    | PersonWanted
    | CallbackWanted
    | MessageLeft
    | MessageTranscribed
    | KeyPressed
    | InputRefused
    | ContextShortened
    | ShareLost
    | ShareRegained
    | RecordHalted
    | RecordResumed
    | IncidentBegan
    | IncidentGrew
    | IncidentEnded
    | AttemptStarted
    | AttemptFailed
    | AttemptWon
    | AttemptDropped
    | HedgeStarted
    | EarlyAnswerAsked
    | EarlyAnswerTaken
    | EarlyAnswerDropped
    | LimitReached
    | RetryPlanned
    | RetriesExhausted
    | RungChosen
    | StageExhausted
    | AnswerEmpty
    | StageRecovered
    | StepTaken
    | HeldTheLine
    | PauseJudged
    | BreakerMoved
    | Suspected
    | SuspicionCleared
    | RungFollowed
    | RungRested
    | ProviderProbed
    | ProviderReset
    | ProcessLagged
    | OperatorActed
    | WritesRefused
    | WritesResumed
    | AlertClosed
    | LegRinging
    | LegAnswered
    | LegEnded
    | LegCharged
    | AnswererJudged
    | AnswererHeard
    | CallerLookedUp
    | CallerKnown
    | CallReported
    | CallSummarised
    | CallbackQueued
    | DoNotCallWanted
    | DoNotCallOwed
    | DoNotCallListed
    | DoNotCallDropped
    | LineRestored
    | EarMeasured
    | HandedOver
    | PersonBriefed
    | CallerReturned
    | CampaignHeld
    | CampaignResumed
    | CampaignPaused
    | ContactSkipped
    | DialPlaced
    | DialAsked
    | DialEnded
    | OutboundCallBegan
    | ConfigurationLoaded
    | ConfigurationReloaded
    | WorkerStarted
    | WorkerLost
    | CallsCut
    | ClipsRendered
    | RecordsForgotten
    | AlertSent
)
"""Whatever happened. Listeners ignore what they do not know."""
