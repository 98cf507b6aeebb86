"""One line in the terminal for the call in progress, instead of a stream of debug."""

import math
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


BAR: Final = 10  # characters of the level's bar
QUIETEST_DB: Final = -60.0  # where the bar begins
CLIPS: Final = 0.99  # of full scale


def level_bar(peak: float, *, resting: bool) -> Text:
    """Return a microphone's level as a bar that is always as wide.

    Args:
        peak: The loudest sample, 0 to 1.
        resting: Nobody listens to it now.
    """
    level_db = 20 * math.log10(peak) if peak > 0 else QUIETEST_DB
    share = min(1.0, max(0.0, 1 - level_db / QUIETEST_DB))
    filled = round(share * BAR)
    style = "dim" if resting else "red" if peak > CLIPS else "green"
    return Text(f"mic {'#' * filled}{'.' * (BAR - filled)}", style=style)


class TerminalLine:
    """Folds the latest call's entries into one line."""

    def __init__(self) -> None:
        self._fold = _Fold()

    async def hear(self, entry: Entry) -> None:
        """Note one entry."""
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
