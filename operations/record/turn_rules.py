"""One turn of a call in the record: who served it, what it cost, whose words were heard."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from calls.events import (
    AnswerHeard,
    BudgetMissed,
    Event,
    FirstSpeech,
    FirstToken,
    TranscriptFinal,
    TurnEnded,
    UsageMeasured,
)
from fallbacks.facts import AttemptFailed, AttemptWon

LETTERS_A_WORD = 6.0  # with the blank, in English; only where two voices share an answer


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
    within_budget: bool = False  # also where no answer was heard
    spoken: list[_Spoken] = field(default_factory=list[_Spoken])

    def add(self, event: Event) -> None:
        """Note one fact of this turn."""
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
        """Return which voice said how many of the words that were heard, and begin anew.

        Where a voice failed in the middle its words were counted as they were heard; whole
        sentences before that are told apart by their length alone.
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
        """Put what was heard of a voice that failed in the place of what it was given."""
        latest = next((each for each in reversed(self.spoken) if each.provider == provider), None)
        if latest:
            latest.words = float(words)
        else:
            self.spoken.append(_Spoken(provider, float(words)))


def spans(spoken: Sequence[_Spoken], words: int) -> list[dict[str, Any]]:
    """Share words out among those who said them in a row; the last one gets the rest."""
    found: list[dict[str, Any]] = []
    left = words
    for number, each in enumerate(spoken, start=1):
        own = left if number == len(spoken) else min(left, round(each.words))
        if own:
            found.append({"provider": each.provider, "words": own})
        left -= own
    return found
