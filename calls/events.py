"""The events of a call, in the past tense, and the union of all events."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from calls.campaign_events import CampaignEvent
from calls.incident import IncidentEvent
from calls.leg_events import AnyLegEvent
from calls.operations_events import OperationsEvent
from calls.transcript import OtherReading
from fallbacks.events import AnyFallbackEvent
from fallbacks.failure import Severity

PhaseCause: TypeAlias = Literal[
    "turn_decided", "agent_speaks", "agent_has_spoken", "caller_speaks", "call_ended"
]
"""The causes of a phase transition."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallStarted:
    """A leg was answered and the pipeline runs."""

    transport: str
    agent: str
    caller: str = ""  # every listener but the call's own record hides it
    called: str = ""
    call_ref: str = ""  # the carrier's own id of the call
    direction: Literal["inbound", "outbound"] = "inbound"
    gap_s: float = 0.0  # of a resumed call: since the previous process was last heard from
    began_at: str = ""  # of a resumed call: when it began, ISO 8601, UTC
    turn: int = 0  # of a resumed call: the latest decided turn


@dataclass(frozen=True, slots=True, kw_only=True)
class CallEnded:
    """The call is over, and all its tasks have ended."""

    # caller_hung_up, agent_hung_up, silence, max_length, failed, outage, shutdown, transfer,
    # voicemail, menu; of the line: line_ended (by neither side), line_lost, never_connected
    reason: str
    length_s: float
    verdict: str = ""  # of the call: served, degraded, hurt, lost; empty: not judged
    why: str = ""  # of its worst turn


@dataclass(frozen=True, slots=True, kw_only=True)
class CallMoved:
    """Another process goes on with the call: its line was lost, or it was moved on purpose."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallNotKept:
    """The machines' store was away when the call began: no other machine could go on with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallKept:
    """The store has the state of a call that was not kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnJudged:
    """What the caller got in a turn was judged; emitted once for each turn."""

    turn: int
    verdict: str  # served, degraded, hurt
    why: str = ""  # other_voice, filler, late; clip, menu, no_answer


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRecorded:
    """The caller has heard the recording notice; the file begins with the agent's first word."""

    path: str  # of a stereo wav file: caller left, agent right
    machine: str = ""  # that has the file: `server.machine`


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRefused:
    """A call was not accepted."""

    transport: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFailed:
    """A fault in our own code ended the call; the caller heard a goodbye."""

    where: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseMoved:
    """The call moved from one phase to another."""

    before: str
    after: str
    cause: PhaseCause


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseRefused:
    """An event asked for a transition that the phase table does not have; the phase stayed."""

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
    noticed_at_s: float  # when the VAD reported it


@dataclass(frozen=True, slots=True, kw_only=True)
class DictationHeard:
    """The caller's last words sound like dictation: the turn stays open for more.

    It may be published again in the same pause, when more words were recognised.
    """

    until_s: float  # monotonic; the turn ends then, and its budget begins


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnDecided:
    """Turn detection decided that the agent's turn begins."""

    turn: int
    at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscriptFinal:
    """The recogniser's final transcript of what the caller said."""

    turn: int
    at_s: float
    provider: str
    text: str
    language: str | None = None  # as detected; `None` if the recogniser gives none
    confidence: float | None = None  # 0..1
    alternatives: tuple[OtherReading, ...] = ()  # most likely first


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
    """How the time of one answer divides; the parts add up to `v2v_s`."""

    vad_s: float  # last voiced sample until the VAD reported the stop
    transcript_s: float  # until the final transcript
    decision_s: float  # until turn detection decided
    llm_s: float  # until the model's first word
    tts_s: float  # until the first synthesised audio, including the model's first sentence
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
    most: str  # the part that took longest


@dataclass(frozen=True, slots=True, kw_only=True)
class BargedIn:
    """The caller spoke over the agent, and the agent stopped."""

    turn: int
    at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSaid:
    """Words of the agent that the caller heard; after a barge-in, less than was written."""

    turn: int
    text: str
    by: str = ""  # the voice of a clip, or of the local voice; empty: the voices of the answer


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnEnded:
    """An answer was played to its end, or the caller cut it short."""

    turn: int
    at_s: float
    interrupted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageMeasured:
    """Billable use of a provider."""

    turn: int
    stage: str
    provider: str
    model: str
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    characters: int = 0
    audio_s: float = 0.0
    estimated: bool = False  # our own count, where the provider reports none, as after a cancel
    cost: float | None = None  # in the price table's currency; `None` if unknown or not priced yet
    behind_call: str = ""  # the ended call, if the process reports use after its end; else empty


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnCosted:
    """The cost of the use measured in a turn; emitted again when more of it is billed."""

    turn: int  # 0: before the first turn, such as the greeting
    cost: float | None  # `None` if the price of a part is unknown
    currency: str
    unpriced: tuple[str, ...] = ()  # stage and model of use without a known price
    estimated: bool = False  # part of it is our own count


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderFailed:
    """A provider failed a request."""

    stage: str
    provider: str
    error: str  # redacted: never a key, a header or a caller's words


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerSilent:
    """The caller has been silent for a long time; `prompts` prompts were spoken so far."""

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
    """The caller asked to speak with a person."""

    turn: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackWanted:
    """The caller asked to be called back."""

    turn: int
    when: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageLeft:
    """The caller left a message because no agent was available."""

    length_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageTranscribed:
    """A caller's message was transcribed after the call."""

    provider: str
    words: int  # how many; the text is stored only next to the recording
    length_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPressed:
    """The caller pressed a key on the telephone."""

    key: str  # masked: it may belong to a PIN


@dataclass(frozen=True, slots=True, kw_only=True)
class InputRefused:
    """The caller's side sent unacceptable input: it was ignored, or the socket was closed."""

    transport: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextShortened:
    """The conversation exceeded its window."""

    how: str  # summarised, truncated
    tokens_before: int
    tokens_after: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareLost:
    """The shared provider health cannot be read: this process continues with its own."""

    reason: str  # redacted


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareRegained:
    """Processes share provider health again."""

    alone_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordHalted:
    """The database does not accept the record; a bounded queue holds it, and calls go on."""

    reason: str  # redacted
    severity: Severity = Severity.CRITICAL  # alerts use the same database, and wait as well


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordResumed:
    """The database accepts the record again."""

    after_s: float
    lost_entries: int  # that did not fit in the queue, since the process began


LagPlace: TypeAlias = Literal["loop", "executor", "line"]
"""The place of a stall: the event loop, computation for a call, sending audio to a caller."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessLagged:
    """Our own process was late; no provider is blamed for the consequences."""

    where: LagPlace
    lag_s: float  # the longest
    step: str  # what ran meanwhile: a function and its file; empty if it was not observed
    times: int  # since the last report


OperatorAction: TypeAlias = Literal[
    "rest", "return", "reset", "acknowledge", "resolve", "start", "pause", "resume", "import",
    "take_out",  # a contact of a campaign
    "list", "unlist",  # a number of the do-not-call list
    "done", "reopen",  # an entry of the inbox
    "hear", "unmask",  # a recording, numbers
]  # fmt: skip
"""An operator's actions on a provider, an alert, a campaign, a call, or what is masked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorActed:
    """An operator acted; emitted once for all processes."""

    action: OperatorAction
    target: str  # a provider, an alert's key, a campaign, a call, a number, or what was shown
    by: str  # the name they give, and their credential and address
    why: str = ""


Event: TypeAlias = (
    CallStarted
    | CallEnded
    | CallMoved
    | CallNotKept
    | CallKept
    | TurnJudged
    | CallRecorded
    | CallRefused
    | CallFailed
    | PhaseMoved
    | PhaseRefused
    | CallerStarted
    | CallerStopped
    | DictationHeard
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
    | ProcessLagged
    | OperatorActed
    | IncidentEvent
    | AnyFallbackEvent
    | AnyLegEvent
    | OperationsEvent
    | CampaignEvent
)
"""All events. Listeners ignore the types that they do not know."""
