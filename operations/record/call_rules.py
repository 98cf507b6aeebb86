"""One call in the record: its row, its latest turns, and its messages."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from calls.campaign_events import OutboundCallBegan
from calls.entry import Entry
from calls.events import (
    AgentSaid,
    AnswerHeard,
    BudgetMissed,
    CallEnded,
    CallerStarted,
    CallRecorded,
    CallStarted,
    Event,
    FirstSpeech,
    FirstToken,
    LegAnswered,
    LegEnded,
    LegRinging,
    TranscriptFinal,
    TurnCosted,
    TurnDecided,
    TurnEnded,
    UsageMeasured,
)
from calls.outcome import failed_provider
from fallbacks.facts import AttemptFailed, AttemptWon, RungChosen
from operations.notify.trouble_rules import AskedRungs

LETTERS_A_WORD = 6.0  # with the blank, in English; only used if two voices share an answer


@dataclass(slots=True)
class _Spoken:
    """What one voice said in a row."""

    provider: str
    words: float  # estimated


@dataclass(slots=True, kw_only=True)
class RecordedTurn:
    """A turn so far."""

    call_id: str
    turn: int
    began_at: str
    v2v_s: float | None = None
    parts: dict[str, float] = field(default_factory=dict[str, float])
    providers: dict[str, str] = field(default_factory=dict[str, str])  # by stage
    prompt_tokens: int = 0
    completion_tokens: int = 0
    characters: int = 0
    cost: float | None = 0.0
    interrupted: bool = False
    within_budget: bool = False  # False also if no answer was heard
    spoken: list[_Spoken] = field(default_factory=list[_Spoken])

    def add(self, event: Event) -> None:
        """Record one event of this turn."""
        self._note_server(event)
        match event:
            case AnswerHeard():
                self.v2v_s, self.parts, self.within_budget = event.v2v_s, asdict(event.parts), True
            case BudgetMissed():
                self.within_budget = False
            case TurnEnded():
                self.interrupted = event.interrupted
            case AttemptFailed(stage="tts") if event.heard_words:
                self._note_heard(event.provider, event.heard_words)
            case UsageMeasured():
                self._add_use(event)
            case _:
                pass

    def row(self) -> dict[str, Any]:
        """Return it as a row."""
        serve = self.providers
        return {
            "call_id": self.call_id,
            "turn": self.turn,
            "began_at": self.began_at,
            "v2v_s": self.v2v_s,
            "parts": self.parts,
            "stt": serve.get("stt", ""),
            "llm": serve.get("llm", ""),
            "tts": serve.get("tts", ""),
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "characters": self.characters,
            "cost": self.cost,
            "interrupted": self.interrupted,
            "within_budget": self.within_budget,
        }

    def take_spans(self, words: int) -> list[dict[str, Any]]:
        """Return how many of the heard words each voice said, and start again.

        If a voice failed in the middle, its words were counted as they were heard; whole sentences
        before that are distinguished only by their length.
        """
        spoken, self.spoken = self.spoken, []
        return list(spans(spoken, words)) or [
            {"provider": self.providers.get("tts", ""), "words": words}
        ]

    def _note_server(self, event: Event) -> None:
        match event:
            case TranscriptFinal():
                self.providers["stt"] = event.provider
            case FirstToken():
                self.providers["llm"] = event.provider
            case FirstSpeech():
                self.providers["tts"] = event.provider
            case AttemptWon():
                self.providers[event.stage] = event.provider
            case _:
                pass

    def _add_use(self, used: UsageMeasured) -> None:
        self.prompt_tokens += used.prompt_tokens
        self.completion_tokens += used.completion_tokens
        self.characters += used.characters
        known = self.cost is not None and used.cost is not None
        self.cost = (self.cost or 0.0) + (used.cost or 0.0) if known else None
        if used.stage == "tts" and used.characters:
            self._note_spoken(used.provider, used.characters / LETTERS_A_WORD)

    def _note_spoken(self, provider: str, words: float) -> None:
        if self.spoken and self.spoken[-1].provider == provider:
            self.spoken[-1].words += words
        else:
            self.spoken.append(_Spoken(provider, words))

    def _note_heard(self, provider: str, words: int) -> None:
        """Replace a failed voice's text with the part that was heard."""
        latest = next(
            (attempt for attempt in reversed(self.spoken) if attempt.provider == provider), None
        )
        if latest:
            latest.words = float(words)
        else:
            self.spoken.append(_Spoken(provider, float(words)))


def spans(spoken: Sequence[_Spoken], words: int) -> list[dict[str, Any]]:
    """Distribute words among voices that spoke in a row; the last one gets the rest."""
    found: list[dict[str, Any]] = []
    left = words
    for number, voice in enumerate(spoken, start=1):
        own = left if number == len(spoken) else min(left, round(voice.words))
        if own:
            found.append({"provider": voice.provider, "words": own})
        left -= own
    return found


TURNS_KEPT: Final = 8  # of a call; a later bill for an older one is only in the call's sum


class RecordedCall:
    """A call so far."""

    def __init__(self, call_id: str, *, holder: str, at: str) -> None:
        """Start with the first known event, at this moment."""
        self.row: dict[str, Any] = {
            "id": call_id,
            "holder": holder,
            "transport": "",
            "direction": "inbound",
            "agent": "",
            "caller": "",
            "called": "",
            "provider_call_id": "",
            "started_at": at,
            "ended_at": None,
            "state": "live",
            "reason": "",
            "outcome": "",
            "length_s": None,
            "turns": 0,
            "failovers": 0,
            "failures": 0,
            "touched": False,
            "cost": 0.0,
            "currency": "",
            "seen_at": at,
            "recording": "",
            "dial_id": "",
        }
        self.turn = 0
        """The latest turn that was decided."""
        self._spoke_on = False  # the caller has started to speak since
        self._asked = AskedRungs()
        self._turns: dict[int, RecordedTurn] = {}
        self._changed: set[int] = set()
        self._closed = False  # all turns were dropped

    def add(self, entry: Entry) -> list[dict[str, Any]]:
        """Record one event; return its messages."""
        event = entry.event
        self._count(entry)
        self.row["touched"] |= self._asked.heed(event)
        self._note_leg(event)
        number = self._turn_of(event)
        turn = None if number is None else self._turn(number, entry.at)
        if turn:
            turn.add(event)
            self._changed.add(turn.turn)
        self._note_turn(event)
        return list(self._messages(entry))

    def take_turns(self) -> list[dict[str, Any]]:
        """Return the turns that have changed since the last time, as rows."""
        changed, self._changed = self._changed, set()
        return [self._turns[item].row() for item in sorted(changed) if item in self._turns]

    def forget_turns(self) -> None:
        """Keep only the row: later events of the call belong to no turn."""
        self._closed = True
        self._turns.clear()

    def turn_at(self, stage: str) -> int:
        """Return a stage's current turn: a recogniser may be a turn ahead."""
        return self.turn + (stage == "stt" and self._spoke_on)

    def _count(self, entry: Entry) -> None:
        row = self.row
        match entry.event:
            case AnswerHeard():
                row["turns"] += 1
            case RungChosen():
                row["failovers"] += 1
            case UsageMeasured() as used:
                row["cost"] = plus(row["cost"], used.cost)
            case TurnCosted() as costed:
                row["currency"] = costed.currency
            case CallEnded() as ended:
                row |= {"state": "ended", "ended_at": entry.at}
                row |= {"reason": ended.reason, "length_s": ended.length_s}
            case event if failed_provider(event):
                row["failures"] += 1
            case _:
                pass

    def _note_leg(self, event: Event) -> None:
        row = self.row
        match event:
            case CallStarted():
                row |= {"transport": event.transport, "agent": event.agent}
                row |= {"caller": event.caller, "called": event.called}
                row["provider_call_id"] = event.call_ref or row["provider_call_id"]
                row["direction"] = event.direction
                if event.gap_s:  # it started in another process
                    self.turn = row["turns"] = event.turn
                    row["started_at"] = event.began_at
            case CallRecorded():
                row["recording"] = event.path
            case OutboundCallBegan():
                row["dial_id"] = event.dial_id
            case LegRinging() | LegAnswered() | LegEnded():
                row["provider_call_id"] = row["provider_call_id"] or event.call_ref
                row["direction"] = "outbound" if event.ref else row["direction"]
                if isinstance(event, LegEnded):
                    row["outcome"] = event.outcome
            case _:
                pass

    def _note_turn(self, event: Event) -> None:
        match event:
            case TurnDecided():
                self.turn, self._spoke_on = event.turn, False
            case CallerStarted():
                self._spoke_on = True
            case _:
                pass

    def _turn_of(self, event: Event) -> int | None:
        match event:
            case AttemptWon() | AttemptFailed():
                return self.turn_at(event.stage)
            case (
                AnswerHeard() | BudgetMissed() | FirstSpeech() | FirstToken() | TranscriptFinal()
                | TurnDecided() | TurnEnded() | UsageMeasured()
            ):  # fmt: skip
                return event.turn
            case _:
                return None

    def _turn(self, number: int, at: str) -> RecordedTurn | None:
        """Return a turn, created if new; `None` if it is too old."""
        found = self._turns.get(number)
        if found or self._closed or (self._turns and number < min(self._turns)):
            return found
        found = RecordedTurn(call_id=self.row["id"], turn=number, began_at=at)
        self._turns[number] = found
        while len(self._turns) > TURNS_KEPT:
            del self._turns[min(self._turns)]
        return found

    def _messages(self, entry: Entry) -> Iterator[dict[str, Any]]:
        match entry.event:
            case TranscriptFinal() as heard:
                spans = [{"provider": heard.provider, "words": len(heard.text.split())}]
                yield self._message(entry, heard.turn, "caller", heard.text, spans)
            case AgentSaid() as said:
                turn = self._turns.get(said.turn)
                spans = turn.take_spans(len(said.text.split())) if turn else []
                yield self._message(entry, said.turn, "agent", said.text, spans)
            case _:
                pass

    def _message(
        self, entry: Entry, turn: int, role: str, text: str, spans: list[dict[str, Any]]
    ) -> dict[str, Any]:
        return {
            "call_id": entry.call_id,
            "turn": turn,
            "role": role,
            "text": text,
            "at": entry.at,
            "spans": spans,
        }


def plus(cost: float | None, more: float | None) -> float | None:
    """Return a sum; `None` if a part is unknown."""
    return None if cost is None or more is None else cost + more
