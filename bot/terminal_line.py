"""One line in the terminal for the call in progress, instead of a stream of debug."""

from dataclasses import dataclass, replace
from typing import Any, Final

from rich.text import Text

from calls.entry import Entry
from calls.events import (
    AgentSaid,
    AnswerHeard,
    BudgetMissed,
    CallEnded,
    CallStarted,
    Event,
    PhaseMoved,
    TranscriptFinal,
)
from calls.outcome import failed_provider

WORDS_SHOWN: Final = 60  # characters of the latest words


class TerminalLine:
    """Folds the latest call's entries into one line."""

    def __init__(self) -> None:
        self._fold = _Fold()

    async def hear(self, entry: Entry) -> None:
        """Take one entry."""
        if isinstance(entry.event, CallStarted):
            self._fold = _Fold()
        self._fold = self._fold.after(entry.event)

    def draw(self) -> Text:
        """Return the line as it is now."""
        fold = self._fold
        if not fold.phase:
            return Text("waiting for a call", style="dim")
        latest = "" if fold.latest_s is None else f"  answered in {fold.latest_s:.2f} s"
        over = f"  over budget {fold.over}" if fold.over else ""
        failures = f"  provider failures {fold.failures}" if fold.failures else ""
        words = fold.words[:WORDS_SHOWN]
        return Text(f"{fold.phase}  turn {fold.turns}{latest}{over}{failures}  {words}")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fold:
    phase: str = ""
    turns: int = 0
    latest_s: float | None = None
    over: int = 0
    failures: int = 0
    words: str = ""

    def after(self, event: Event) -> "_Fold":
        return replace(self, **self._change(event))

    def _change(self, event: Event) -> dict[str, Any]:
        match event:
            case CallStarted():
                return {"phase": "answered"}
            case CallEnded(reason=reason):
                return {"phase": f"ended: {reason}"}
            case PhaseMoved(after=after) if after != "ended":
                return {"phase": after}
            case AnswerHeard(v2v_s=v2v_s):
                return {"turns": self.turns + 1, "latest_s": v2v_s}
            case _:
                return self._count(event)

    def _count(self, event: Event) -> dict[str, Any]:
        match event:
            case BudgetMissed():
                return {"over": self.over + 1}
            case _ if failed_provider(event):
                return {"failures": self.failures + 1}
            case TranscriptFinal(text=text):
                return {"words": f"caller: {text}"}
            case AgentSaid(text=text):
                return {"words": f"agent: {text}"}
            case _:
                return {}
