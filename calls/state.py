"""The state of a call: the only fold over the events of a call.

The record, the console, the log, the metrics, the summary of a call, the report to the CRM, the
work after a call and the verdict on a dial read a `CallState`. Each listener folds the entries
itself, because it has a queue of its own, and remembers ended calls for as long as it needs them.

A turn gets its number when turn detection decides it (`TurnDecided`). From the caller's first sound
until then, the next turn is in progress (`turn_now`). A model may be asked early for that turn.
"""

from array import array
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Final, TypeAlias

from calls.campaign_events import OutboundCallBegan
from calls.cost import Bill
from calls.events import (
    AgentSaid,
    AnswerHeard,
    CallbackWanted,
    CallEnded,
    CallerStarted,
    CallFailed,
    CallKept,
    CallNotKept,
    CallRecorded,
    CallStarted,
    Event,
    FirstSpeech,
    FirstToken,
    PhaseMoved,
    ProviderFailed,
    TranscriptFinal,
    TurnCosted,
    TurnDecided,
    TurnEnded,
    TurnJudged,
    TurnParts,
    UsageMeasured,
)
from calls.excerpt import Excerpt, joined
from calls.leg_events import AnswererHeard, LegAnswered, LegEnded, LegRinging
from calls.operations_events import DoNotCallOwed, DoNotCallTakenBack, DoNotCallWanted
from calls.timeline import PARTS, Phase
from calls.verdict import NOT_SERVED, severity_of
from fallbacks.events import (
    AttemptFailed,
    AttemptWon,
    EarlyAnswerAsked,
    EarlyAnswerDropped,
    RungChosen,
    StageExhausted,
    StageRecovered,
    StepTaken,
)
from fallbacks.failure import Scope, Severity

STAGES: Final = frozenset({"stt", "llm", "tts"})
MACHINES: Final = frozenset({"voicemail", "menu"})
"""The values of `AnswererHeard.answerer` and `CallEnded.reason` that mean a machine."""
TURNS_KEPT: Final = 8  # latest turns of a call; usage of older ones is added only to the call
WON_KEPT: Final = 64  # latest attempts of a call that won (chosen: only a few run at once)
SAID_KEPT: Final = 2  # latest utterances of the caller
LETTERS_A_WORD: Final = 6.0  # with the space, in English; used only if voices share an answer
PART_VALUES: Final = attrgetter(*PARTS)

Span: TypeAlias = dict[str, Any]
"""The number of words that a provider said: `provider`, `words`."""


@dataclass(slots=True, kw_only=True)
class TurnState:
    """The state of a turn."""

    began_at: str
    v2v_s: float | None = None
    parts: TurnParts | None = None
    providers: dict[str, str] = field(default_factory=dict[str, str])  # by stage
    prompt_tokens: int = 0
    completion_tokens: int = 0
    characters: int = 0
    interrupted: bool = False
    verdict: str = ""  # empty until it is judged
    why: str = ""
    spans: list[Span] = field(default_factory=list[Span])  # of the latest words that were heard
    spoken: list[tuple[str, float]] = field(default_factory=list[tuple[str, float]])
    """The voices that have spoken since `spans` was set, in order: provider and number of words."""

    def note_spoken(self, provider: str, words: float) -> None:
        """Add the words that a voice was billed for; in a row, they are one estimate."""
        if self.spoken and self.spoken[-1][0] == provider:
            words += self.spoken.pop()[1]
        self.spoken.append((provider, words))

    def note_heard(self, provider: str, words: int) -> None:
        """Replace a failed voice's estimate with the number of its words that were heard.

        Its latest estimate is replaced; if it has none, the number is added.
        """
        for index in reversed(range(len(self.spoken))):
            if self.spoken[index][0] == provider:
                self.spoken[index] = (provider, float(words))
                return
        self.spoken.append((provider, float(words)))

    def end_words(self, words: int) -> None:
        """Distribute the words that were heard among the voices.

        The words of a voice that failed were counted; those of other voices are estimated from the
        characters billed. If no voice was billed, all words are those of the turn's voice.
        """
        only_voice = {"provider": self.providers.get("tts", ""), "words": words}
        self.spans = share_words(self.spoken, words) or [only_voice]
        self.spoken = []


def share_words(spoken: Sequence[tuple[str, float]], words: int) -> list[Span]:
    """Distribute heard words by the voices' estimates, in order; the last voice gets the rest.

    `spoken` has each voice and its estimated number of words; voices without words are left out.
    """
    spans: list[Span] = []
    rest = words
    for number, (provider, estimated) in enumerate(spoken, start=1):
        share = rest if number == len(spoken) else min(rest, round(estimated))
        if share:
            spans.append({"provider": provider, "words": share})
        rest -= share
    return spans


@dataclass(slots=True)
class CallState:
    """The state of a call; it keeps eight numbers for each turn, and no events.

    Attributes:
        began_at: The time of the first event; of a resumed call, when it began.
        ended: The first `CallEnded`; `None` again if the call is resumed after it.
        outbound: Whether we placed the call.
        phase: The phase; empty before the first transition.
        turn: The latest decided turn.
        early: The turn for which a model was asked early; 0 if that answer was dropped.
        turns: The latest turns, by number.
        counts: The number of events, by type.
        v2v_s: How long the caller waited for each answer.
        parts_s: The parts of these times: for each answer, those of `PARTS`.
        heard_s: The seconds of audio that recognisers were given.
        failures: The number of failed requests, by provider.
        down: The stages without a usable rung, with the severity.
        verdict: The verdict on the call; before its end, the worst on its turns so far.
        why: The reason of the verdict.
        hurt_at: When the first turn began in which the caller was hurt, or when the call was cut.
        won: Stage and number of the latest attempts that won.
        said: The caller's latest utterances.
        excerpt: The words of the call; `None` if they are not needed.
        machine: Whether a machine has answered, by our latest decision.
        kept: Whether another machine could go on with the call, if there is one.
        spoke_on: Whether the caller has begun to speak since the turn was decided.
        answers_before: The number of answers from before the call was resumed in this process.
    """

    call_id: str = ""
    began_at: str = ""
    started: CallStarted | None = None
    ended: CallEnded | None = None
    ended_at: str | None = None
    call_ref: str = ""
    dial_id: str = ""
    outbound: bool = False
    leg_outcome: str = ""
    recording: str = ""
    failed: bool = False
    machine: bool = False
    kept: bool = True
    phase: str = ""
    step: str = ""
    turn: int = 0
    early: int = 0
    turns: dict[int, TurnState] = field(default_factory=dict[int, TurnState])
    counts: Counter[type[Event]] = field(default_factory=Counter[type[Event]])
    # An array takes eight bytes per number, a list of floats four times as many.
    v2v_s: "array[float]" = field(default_factory=lambda: array("d"))
    parts_s: "array[float]" = field(default_factory=lambda: array("d"))
    prompt_tokens: int = 0
    completion_tokens: int = 0
    characters: int = 0
    heard_s: float = 0.0
    bill: Bill = field(default_factory=Bill)
    failures: Counter[str] = field(default_factory=Counter[str])
    last_failure: AttemptFailed | None = None
    providers: dict[str, str] = field(default_factory=dict[str, str])  # by stage
    down: dict[str, Severity] = field(default_factory=dict[str, Severity])
    verdict: str = ""
    why: str = ""
    hurt_at: str | None = None
    won: deque[tuple[str, int]] = field(
        default_factory=lambda: deque[tuple[str, int]](maxlen=WON_KEPT)
    )
    callback: CallbackWanted | None = None
    no_more_calls: bool = False
    said: deque[str] = field(default_factory=lambda: deque[str](maxlen=SAID_KEPT))
    excerpt: Excerpt | None = None
    spoke_on: bool = False
    answers_before: int = 0
    _closed: bool = False  # all turns were dropped

    def add(self, event: Event, at: str = "") -> None:
        """Fold one event, published `at` (ISO 8601), into the state; `FOLDS` says how.

        Every event is counted by its type.
        """
        kind = type(event)
        self.counts[kind] += 1
        if fold := FOLDS.get(kind):
            fold(self, event, at)

    @property
    def in_progress(self) -> bool:
        """Whether the call has begun, is not over, and has not lost its line."""
        return self.started is not None and self.phase != Phase.ENDED

    @property
    def answers(self) -> int:
        """The number of turns that the agent answered; of those before a resumption, all decided.

        Every report of a call has this number.
        """
        before = self.started.turn if self.started else 0
        return before + len(self.v2v_s) - self.answers_before

    @property
    def turn_now(self) -> int:
        """The turn in progress: the caller may have begun the one that is not decided yet."""
        return self.turn + self.spoke_on

    def turn_at(self, stage: str) -> int:
        """Return the turn that a stage works for: recogniser and model may be a turn ahead."""
        if stage == "llm":
            return max(self.turn, self.early)
        return self.turn_now if stage == "stt" else self.turn

    def turn_of(self, event: Event) -> int | None:
        """Return the turn that an event belongs to; `None` if it belongs to none."""
        match event:
            case AttemptWon() | AttemptFailed():
                return self.turn_at(event.stage)
            case UsageMeasured(behind_call=""):
                return event.turn
            case (
                AnswerHeard() | FirstSpeech() | FirstToken() | TranscriptFinal()
                | TurnDecided() | TurnEnded() | TurnJudged()
            ):  # fmt: skip
                return event.turn
            case _:
                return None

    def note_verdict(self, verdict: str, why: str, at: str) -> None:
        """Record a verdict if it is worse than the one so far, and when a caller was first hurt."""
        if severity_of(verdict) > severity_of(self.verdict):
            self.verdict, self.why = verdict, why
        if self.hurt_at is None and verdict in NOT_SERVED:
            self.hurt_at = at

    def find_turn(self, number: int, at: str) -> TurnState | None:
        """Return a turn, created if it is new; `None` if it is too old, or after `forget_turns`.

        Only the latest `TURNS_KEPT` are kept.
        """
        found = self.turns.get(number)
        if found or self._closed or (self.turns and number < min(self.turns)):
            return found
        found = self.turns[number] = TurnState(began_at=at)
        while len(self.turns) > TURNS_KEPT:
            del self.turns[min(self.turns)]
        return found

    def add_record(self, words: Sequence[tuple[str, str]]) -> None:
        """Put the words on record, from before the call was resumed here, in front of ours.

        Args:
            words: Speaker (Person or Agent) and text of each utterance; may include some of ours.
        """
        if self.excerpt is not None:
            self.excerpt = self.excerpt.following(words)
        said = [text for speaker, text in words if speaker == "Person"]
        self.said = deque(joined(said, list(self.said)), maxlen=SAID_KEPT)

    def go_on(self) -> None:
        """Undo the end: a call that was given up is back. For a new call, this changes nothing."""
        self.ended = self.ended_at = None
        self.phase, self.answers_before = "", len(self.v2v_s)
        self._closed = False

    def forget_turns(self) -> None:
        """Drop the turns, and create none for later events, until `go_on`."""
        self._closed = True
        self.turns.clear()


def state_of(events: Iterable[Event]) -> CallState:
    """Return the state of a call after these events."""
    call = CallState()
    for event in events:
        call.add(event)
    return call


def failed_provider(event: Event) -> str | None:
    """Return the provider that an event counts against, or `None`.

    A request that every rung would reject, such as one that is too long, counts against none.
    """
    match event:
        case ProviderFailed():
            return event.provider
        case AttemptFailed() if event.scope is not Scope.PAYLOAD:
            return event.provider
        case _:
            return None


def _on_call_started(call: CallState, event: CallStarted, _: str) -> None:
    """Record the start; a call that was resumed keeps its first time, and goes on."""
    call.started = event
    call.call_ref = event.call_ref or call.call_ref
    call.outbound = call.outbound or event.direction == "outbound"
    call.turn, call.early, call.kept = event.turn, 0, True
    call.began_at = event.began_at or call.began_at
    call.go_on()


def _on_call_ended(call: CallState, event: CallEnded, at: str) -> None:
    """Record the first end of a call, and the verdict on it."""
    if call.ended is None:
        call.ended, call.ended_at = event, at
        call.note_verdict(event.verdict, event.why, at)


def _on_kept_or_not(call: CallState, event: CallNotKept | CallKept, _: str) -> None:
    call.kept = isinstance(event, CallKept)


def _on_call_failed(call: CallState, _: CallFailed, _at: str) -> None:
    call.failed = True


def _on_call_recorded(call: CallState, event: CallRecorded, _: str) -> None:
    call.recording = event.path


def _on_outbound_call_began(call: CallState, event: OutboundCallBegan, _: str) -> None:
    call.dial_id, call.outbound = event.dial_id, True


def _leg_changed(call: CallState, event: LegRinging | LegAnswered | LegEnded, _: str) -> None:
    """Record the leg's reference, whether we dialled it, and how it ended."""
    call.call_ref = call.call_ref or event.call_ref
    call.outbound = call.outbound or bool(event.ref)
    if isinstance(event, LegEnded):
        call.leg_outcome = event.outcome


def _answerer_heard(call: CallState, event: AnswererHeard, _: str) -> None:
    call.machine = event.answerer in MACHINES


def _on_phase_moved(call: CallState, event: PhaseMoved, _: str) -> None:
    call.phase = event.after


def _caller_started(call: CallState, _: CallerStarted, _at: str) -> None:
    call.spoke_on = True


def _early_answer(call: CallState, event: EarlyAnswerAsked | EarlyAnswerDropped, _: str) -> None:
    call.early = event.turn if isinstance(event, EarlyAnswerAsked) else 0


def _on_turn_decided(call: CallState, event: TurnDecided, at: str) -> None:
    """Begin a turn; its answer has not been spoken yet."""
    call.turn, call.spoke_on = event.turn, False
    call.find_turn(event.turn, at)


def _on_transcript_final(call: CallState, event: TranscriptFinal, at: str) -> None:
    """Add the caller's words, and the recogniser that wrote them."""
    call.said.append(event.text)
    if call.excerpt is not None:
        call.excerpt.add("Person", event.text)
    if turn := call.find_turn(event.turn, at):
        turn.providers["stt"] = event.provider


def _output_began(call: CallState, event: FirstToken | FirstSpeech, at: str) -> None:
    """Record which model or voice the turn's answer comes from."""
    if turn := call.find_turn(event.turn, at):
        turn.providers["llm" if isinstance(event, FirstToken) else "tts"] = event.provider


def _on_answer_heard(call: CallState, event: AnswerHeard, at: str) -> None:
    """Add the time to an answer and its parts, in seconds, to the call and to the turn."""
    call.v2v_s.append(event.v2v_s)
    call.parts_s.extend(PART_VALUES(event.parts))
    if turn := call.find_turn(event.turn, at):
        turn.v2v_s, turn.parts = event.v2v_s, event.parts


def _on_turn_judged(call: CallState, event: TurnJudged, at: str) -> None:
    """Record the verdict on a turn, and take it into the verdict on the call."""
    turn = call.find_turn(event.turn, at)
    if turn:
        turn.verdict, turn.why = event.verdict, event.why
    call.note_verdict(event.verdict, event.why, turn.began_at if turn else at)


def _turn_ended(call: CallState, event: TurnEnded, at: str) -> None:
    """Record whether the caller interrupted the turn's answer."""
    if turn := call.find_turn(event.turn, at):
        turn.interrupted = event.interrupted


def _on_agent_said(call: CallState, event: AgentSaid, _: str) -> None:
    """Add the agent's words to the excerpt, and divide them among the voices of the turn.

    Words of a clip or of the local voice belong to no provider's voice.
    """
    if call.excerpt is not None:
        call.excerpt.add("Agent", event.text)
    turn = call.turns.get(event.turn)
    if turn and not event.by:  # not a clip, and not the local voice
        turn.end_words(len(event.text.split()))


def _on_usage_measured(call: CallState, event: UsageMeasured, at: str) -> None:
    """Add usage to the bill and the sums of the call and the turn.

    The characters of a voice are kept as an estimate of the words that it spoke.
    """
    call.bill.add(event)
    call.prompt_tokens += event.prompt_tokens
    call.completion_tokens += event.completion_tokens
    call.characters += event.characters
    call.heard_s += event.audio_s
    turn = None if event.behind_call else call.find_turn(event.turn, at)
    if turn is None:
        return
    turn.prompt_tokens += event.prompt_tokens
    turn.completion_tokens += event.completion_tokens
    turn.characters += event.characters
    if event.stage == "tts" and event.characters:
        turn.note_spoken(event.provider, event.characters / LETTERS_A_WORD)


def _on_turn_costed(call: CallState, event: TurnCosted, _: str) -> None:
    call.bill.add(event)


def _on_attempt_won(call: CallState, event: AttemptWon, at: str) -> None:
    """Record the rung in use, for the call and the turn; its stage is up again."""
    call.providers[event.stage] = event.provider
    call.won.append((event.stage, event.attempt))
    if turn := call.find_turn(call.turn_at(event.stage), at):
        turn.providers[event.stage] = event.provider
    _on_stage_recovered(call, event, at)


def _attempt_failed(call: CallState, event: AttemptFailed, at: str) -> None:
    """Record the latest failure, count it, and record how many words of the voice were heard."""
    call.last_failure = event
    if provider := failed_provider(event):
        call.failures[provider] += 1
    turn = call.find_turn(call.turn_at(event.stage), at)
    if turn and event.stage == "tts" and event.heard_words:
        turn.note_heard(event.provider, event.heard_words)


def _provider_failed(call: CallState, event: ProviderFailed, _: str) -> None:
    call.failures[event.provider] += 1


def _on_rung_chosen(call: CallState, event: RungChosen, _: str) -> None:
    call.providers[event.stage] = event.after


def _on_stage_exhausted(call: CallState, event: StageExhausted, _: str) -> None:
    """Record that a stage is down, with the worst severity so far."""
    if call.down.get(event.stage) != Severity.CRITICAL:  # the worst severity is kept
        call.down[event.stage] = event.severity


def _on_stage_recovered(call: CallState, event: StageRecovered | AttemptWon, _: str) -> None:
    """Record that a stage is up again; once none is down, the call is in no step of the menu."""
    call.down.pop(event.stage, None)
    call.step = call.step if call.down else ""


def _on_step_taken(call: CallState, event: StepTaken, _: str) -> None:
    call.step = event.step


def _on_callback_wanted(call: CallState, event: CallbackWanted, _: str) -> None:
    call.callback = event


def _do_not_call(
    call: CallState, event: DoNotCallWanted | DoNotCallOwed | DoNotCallTakenBack, _: str
) -> None:
    """Record whether the other party wants no further calls; a later event may withdraw that."""
    call.no_more_calls = not isinstance(event, DoNotCallTakenBack)


FOLDS: Final[Mapping[type[Event], Callable[[CallState, Any, str], None]]] = {
    CallStarted: _on_call_started,
    CallEnded: _on_call_ended,
    **dict.fromkeys((CallNotKept, CallKept), _on_kept_or_not),
    CallFailed: _on_call_failed,
    CallRecorded: _on_call_recorded,
    OutboundCallBegan: _on_outbound_call_began,
    **dict.fromkeys((LegRinging, LegAnswered, LegEnded), _leg_changed),
    AnswererHeard: _answerer_heard,
    PhaseMoved: _on_phase_moved,
    CallerStarted: _caller_started,
    **dict.fromkeys((EarlyAnswerAsked, EarlyAnswerDropped), _early_answer),
    TurnDecided: _on_turn_decided,
    TranscriptFinal: _on_transcript_final,
    **dict.fromkeys((FirstToken, FirstSpeech), _output_began),
    AnswerHeard: _on_answer_heard,
    TurnJudged: _on_turn_judged,
    TurnEnded: _turn_ended,
    AgentSaid: _on_agent_said,
    UsageMeasured: _on_usage_measured,
    TurnCosted: _on_turn_costed,
    AttemptWon: _on_attempt_won,
    AttemptFailed: _attempt_failed,
    ProviderFailed: _provider_failed,
    RungChosen: _on_rung_chosen,
    StageExhausted: _on_stage_exhausted,
    StageRecovered: _on_stage_recovered,
    StepTaken: _on_step_taken,
    CallbackWanted: _on_callback_wanted,
    **dict.fromkeys((DoNotCallWanted, DoNotCallOwed, DoNotCallTakenBack), _do_not_call),
}
"""The function that folds each event; other events are only counted."""
