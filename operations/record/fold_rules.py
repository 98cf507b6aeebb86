"""Folds entries into the record's rows, and tracks the state of the calls."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Final, TypeAlias

from calls.entry import Entry
from calls.events import (
    AgentSaid,
    CallRefused,
    CallStarted,
    Event,
    InputRefused,
    MessageLeft,
    ProviderFailed,
    TranscriptFinal,
)
from calls.known_calls import KnownCalls
from calls.leg_events import LegEnded
from calls.state import CallState, Span
from fallbacks.breaker import State
from fallbacks.events import AttemptFailed, BreakerMoved, RungChosen, RungFollowed

# The latest ended calls are kept for late events: the cost of a summary may come a minute after the
# end, and two short calls may end each second (chosen).
ENDED_CALLS: Final = 256
# The latest of these keep their turns, which need the most memory; their costs come in seconds.
WITH_TURNS: Final = 32

TEN_MINUTES: Final = len("2026-01-01T10:0")  # the beginning of an ISO moment, up to ten minutes
PROCESS_GONE: Final = "process_gone"  # why a breaker is recorded as closed: its process ended
MAX_REFUSALS: Final = 200  # kinds of refusals that are counted; our code has about sixty

RecordRow: TypeAlias = dict[str, Any]
"""A row of plain values; moments are in ISO 8601."""


@dataclass(slots=True, kw_only=True)
class RecordBatch:
    """Rows to write: calls and turns replace the stored ones; the rest is added."""

    calls: list[RecordRow] = field(default_factory=list[RecordRow])
    turns: list[RecordRow] = field(default_factory=list[RecordRow])
    messages: list[RecordRow] = field(default_factory=list[RecordRow])
    happenings: list[RecordRow] = field(default_factory=list[RecordRow])
    failures: list[RecordRow] = field(default_factory=list[RecordRow])
    breaker_moves: list[RecordRow] = field(default_factory=list[RecordRow])
    voicemails: list[RecordRow] = field(default_factory=list[RecordRow])
    outcomes: dict[str, str] = field(default_factory=dict[str, str])  # by the carrier's id
    taken_over: list[str] = field(default_factory=list[str])  # calls that another process started
    live: frozenset[str] = frozenset()  # calls in progress, if this batch is a heartbeat


class RecordFold:
    """Tracks the calls in progress and the latest ended ones, in bounded memory."""

    def __init__(self, *, holder: str, messages: str) -> None:
        """Start without calls.

        Args:
            holder: The name of this process.
            messages: The folder of voicemails.
        """
        self._holder = holder
        self._messages = messages
        self._calls = KnownCalls(keep_ended=ENDED_CALLS)
        self._not_closed: dict[tuple[str, str], str] = {}  # by rung: the breaker's recorded state
        self._changed: dict[str, CallState] = {}
        self._changed_turns: dict[str, set[int]] = {}
        self._batch = RecordBatch()
        # By kind: the ten minutes of the last row, and how many refusals had no row since.
        self._refused: dict[tuple[str, str, str, str], tuple[str, int]] = {}

    @property
    def live(self) -> frozenset[str]:
        """The calls in progress."""
        return frozenset(self._calls.live)

    @property
    def is_troubled(self) -> bool:
        """Whether a breaker of this process is recorded as not closed."""
        return bool(self._not_closed)

    def end(self, at: str) -> None:
        """Add a closing for each breaker that is not closed: the process ends at this moment."""
        for (stage, provider), before in self._not_closed.items():
            event = BreakerMoved(
                stage=stage,
                provider=provider,
                before=before,
                after=State.CLOSED,
                cause=PROCESS_GONE,
                after_s=0.0,
            )
            entry = Entry(call_id="", number=0, at=at, event=event)
            self._batch.breaker_moves.append(breaker_move(entry, event, self._holder))
        self._not_closed.clear()

    def add(self, entry: Entry) -> None:
        """Fold one entry; the next `take` returns its rows."""
        event, batch = entry.event, self._batch
        call = self._calls.add(entry)
        batch.happenings.extend(self._happening_rows(entry))
        if call:
            self._note_change(call, event)
            batch.messages.extend(messages(entry, call))
        match event:
            case CallStarted() if event.gap_s:
                batch.taken_over.append(entry.call_id)
            case MessageLeft() if call:
                batch.voicemails.append(self._voicemail_row(entry, event, call))
            case LegEnded() if event.call_ref:
                batch.outcomes[event.call_ref] = event.outcome
            case AttemptFailed() | ProviderFailed():
                turn = call.turn_at(event.stage) if call else None
                batch.failures.append(failure(entry, event, turn))
            case BreakerMoved() | RungFollowed():
                batch.breaker_moves.extend(self._breaker_moves(entry, event))
            case _:
                pass

    def take(self) -> RecordBatch:
        """Return the rows that were collected since the previous `take`, and start a new batch.

        Also drops the turns of ended calls, except for the latest `WITH_TURNS`.
        """
        batch, self._batch = self._batch, RecordBatch()
        changed, self._changed = self._changed, {}
        changed_turns, self._changed_turns = self._changed_turns, {}
        for call in changed.values():
            numbers = sorted(changed_turns.get(call.call_id, ()))
            batch.calls.append(call_row(call, self._holder))
            batch.turns.extend(turn_row(call, item) for item in numbers if item in call.turns)
        for call in list(self._calls.ended.values())[:-WITH_TURNS]:
            call.forget_turns()
        return batch

    def _happening_rows(self, entry: Entry) -> Iterator[RecordRow]:
        """Yield an entry's row; for refusals, only one per call, kind and ten minutes of the clock.

        The row's `times` counts it and the refusals without a row since the previous one.
        Unauthenticated clients can cause any number of refusals, and rows are kept for weeks.
        """
        row, event = happening(entry), entry.event
        if not isinstance(event, InputRefused | CallRefused):
            yield row
            return
        kind = (entry.call_id, type(event).__name__, event.transport, event.reason)
        slot = entry.at[:TEN_MINUTES]
        # Taken out and stored again, so that the kinds stay in the order of their last refusals.
        last_slot, times = self._refused.pop(kind, ("", 0))
        self._refused[kind] = (slot, times + 1 if last_slot == slot else 0)
        if last_slot != slot:
            yield row | {"data": {**row["data"], "times": times + 1}}
        while len(self._refused) > MAX_REFUSALS:
            del self._refused[next(iter(self._refused))]

    def _breaker_moves(
        self, entry: Entry, event: BreakerMoved | RungFollowed
    ) -> Iterator[RecordRow]:
        """Yield the row of a transition of this process's breaker, if the event is one.

        If another process closes a breaker, this process closes its own. That is recorded only if
        its breaker is recorded as not closed, so that the outage ends in the record.
        """
        rung = (event.stage, event.provider)
        if isinstance(event, RungFollowed):
            before = self._not_closed.get(rung)
            if before is None or event.breaker != State.CLOSED:
                return
            event = BreakerMoved(
                stage=event.stage,
                provider=event.provider,
                before=before,
                after=event.breaker,
                cause="followed",
                after_s=0.0,
            )
        self._not_closed[rung] = event.after
        if event.after == State.CLOSED:
            del self._not_closed[rung]
        yield breaker_move(entry, event, self._holder)

    def _note_change(self, call: CallState, event: Event) -> None:
        """Let the next `take` return the row of this call, and of the event's turn, if any."""
        self._changed[call.call_id] = call
        if (number := call.turn_of(event)) is not None:
            self._changed_turns.setdefault(call.call_id, set()).add(number)

    def _voicemail_row(self, entry: Entry, message: MessageLeft, call: CallState) -> RecordRow:
        """Return the row of a message; its transcript is filled in later."""
        started = call.started
        return {
            "call_id": entry.call_id,
            "number": (started.called if call.outbound else started.caller) if started else "",
            "path": f"{self._messages}/{entry.call_id}.wav",
            "length_s": message.length_s,
            "at": entry.at,
            "transcript": "",
        }


def call_row(call: CallState, holder: str) -> RecordRow:
    """Return a call's row, as far as this process knows the call."""
    started, ended = call.started, call.ended
    return {
        "id": call.call_id,
        "holder": holder,
        "transport": started.transport if started else "",
        "direction": "outbound" if call.outbound else "inbound",
        "agent": started.agent if started else "",
        "caller": started.caller if started else "",
        "called": started.called if started else "",
        "provider_call_id": call.call_ref,
        "started_at": call.began_at,
        "ended_at": call.ended_at,
        "state": "ended" if ended else "live",
        "reason": ended.reason if ended else "",
        "outcome": call.leg_outcome,
        "length_s": ended.length_s if ended else None,
        "turns": call.answers,
        "failovers": call.counts[RungChosen],
        "failures": call.failures.total(),
        "verdict": call.verdict,
        "why": call.why,
        "hurt_at": call.hurt_at,
        "cost": call.bill.total,
        "currency": call.bill.currency,
        "seen_at": call.began_at,
        "recording": call.recording,
        "dial_id": call.dial_id,
    }


def turn_row(call: CallState, number: int) -> RecordRow:
    """Return the row of one of a call's latest turns."""
    turn = call.turns[number]
    return {
        "call_id": call.call_id,
        "turn": number,
        "began_at": turn.began_at,
        "v2v_s": turn.v2v_s,
        "parts": asdict(turn.parts) if turn.parts else {},
        "stt": turn.providers.get("stt", ""),
        "llm": turn.providers.get("llm", ""),
        "tts": turn.providers.get("tts", ""),
        "prompt_tokens": turn.prompt_tokens,
        "completion_tokens": turn.completion_tokens,
        "characters": turn.characters,
        "cost": call.bill.turn_cost(number),
        "interrupted": turn.interrupted,
        "verdict": turn.verdict,
        "why": turn.why,
    }


def messages(entry: Entry, call: CallState) -> Iterator[RecordRow]:
    """Yield the row of a caller's or agent's words, with its providers; else nothing."""
    match entry.event:
        case TranscriptFinal() as transcript:
            spans = [{"provider": transcript.provider, "words": len(transcript.text.split())}]
            yield _message_row(entry, transcript.turn, "caller", transcript.text, spans)
        case AgentSaid() as utterance:
            turn = call.turns.get(utterance.turn)
            spans = turn.spans if turn else []
            if utterance.by:
                spans = [{"provider": utterance.by, "words": len(utterance.text.split())}]
            yield _message_row(entry, utterance.turn, "agent", utterance.text, spans)
        case _:
            pass


def _message_row(entry: Entry, turn: int, role: str, text: str, spans: list[Span]) -> RecordRow:
    """Return the row of one utterance; `spans` have the provider and word count of each part."""
    return {
        "call_id": entry.call_id,
        "turn": turn,
        "role": role,
        "text": text,
        "at": entry.at,
        "spans": spans,
    }


def happening(entry: Entry) -> RecordRow:
    """Return an entry's row in the timeline."""
    event = entry.event
    return {
        "call_id": entry.call_id,
        "number": entry.number,
        "at": entry.at,
        "kind": type(event).__name__,
        "stage": str(getattr(event, "stage", "")),
        "provider": str(getattr(event, "provider", "")),
        "data": asdict(event),
    }


def failure(entry: Entry, event: AttemptFailed | ProviderFailed, turn: int | None) -> RecordRow:
    """Return the row of a provider's failure; `turn` is `None` outside a turn."""
    row = {
        "call_id": entry.call_id,
        "turn": turn,
        "at": entry.at,
        "stage": event.stage,
        "provider": event.provider,
    }
    if isinstance(event, ProviderFailed):
        defaults = {"scope": "", "severity": "low", "attempt": 0, "permanent": False}
        return row | defaults | {"kind": "error", "reason": event.error}
    return row | {
        "kind": str(event.kind),
        "scope": str(event.scope),
        "severity": str(event.severity),
        "attempt": event.attempt,
        "permanent": event.permanent,
        "reason": event.reason,
    }


def breaker_move(entry: Entry, event: BreakerMoved, holder: str) -> RecordRow:
    """Return the row of a breaker's transition in one process."""
    return {
        "call_id": entry.call_id,
        "at": entry.at,
        "holder": holder,
        "stage": event.stage,
        "provider": event.provider,
        "before": event.before,
        "after": event.after,
        "cause": event.cause,
        "after_s": event.after_s,
        "severity": str(event.severity),
    }


def plus(cost: float | None, more: float | None) -> float | None:
    """Return a sum; `None` if a part is unknown."""
    return None if cost is None or more is None else cost + more
