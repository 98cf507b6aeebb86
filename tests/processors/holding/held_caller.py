"""The held line's decision with a floor that the caller's events update, as in a call."""

from collections.abc import Callable

from calls.events import CallerStarted, CallerStopped
from calls.line import CallerLine
from processors.holding.decision import Actions, HoldDecision, HoldRules
from processors.holding.line_rules import LineEvent
from processors.holding.outage_rules import OutageSettings
from processors.turn.floor import Floor, WordsCame

STOP = 100.0
BEGAN, CAME = CallerStarted(at_s=STOP - 1.0), WordsCame(text="Yes", final=True)


class WordedStop(CallerStopped):
    """The caller has stopped, and words of the speech have already been recognised."""


def silent(at: float = STOP) -> CallerStopped:
    return CallerStopped(at_s=at, noticed_at_s=at + 0.2)


def silent_worded(at: float = STOP) -> WordedStop:
    return WordedStop(at_s=at, noticed_at_s=at + 0.2)


class HeldCaller(HoldDecision):
    """Updates the floor with the caller's events; each stretch of speech is a turn of its own.

    Attributes:
        word_until: The time until which the caller's last words may be a choice from the menu.
    """

    def __init__(
        self,
        outage: OutageSettings | None = None,
        *,
        rules: Callable[[Floor], HoldRules] | None = None,
    ) -> None:
        self.line = CallerLine()
        self.floor = Floor(self.line)
        self.word_until = 0.0
        made = rules(self.floor) if rules else HoldRules(outage=outage or OutageSettings())
        super().__init__(made, self.floor, word_until=lambda: self.word_until)

    def report(self, event: "LineEvent | Report", now: float) -> None:
        """Take an event, or call a method that takes the time."""
        if callable(event):
            event(self, now)
        else:
            self.handle(event, now)

    def handle(self, event: LineEvent, now: float) -> Actions:
        match event:
            case CallerStarted():
                self.floor.turn_ended(now)
                self.floor.caller_started(now)
            case CallerStopped():
                if isinstance(event, WordedStop):
                    self.floor.words("Yes", final=False)
                self.floor.caller_stopped(event.at_s, now)
            case WordsCame():
                self.floor.words(event.text, final=event.final)
            case _:
                pass
        return super().handle(event, now)


Report = Callable[[HeldCaller, float], None]
"""A report on a held caller's answer."""


def sounded(*, audible: bool = True) -> Report:
    return lambda decision, now: decision.sounded(102.0, now, audible=audible)


def rest_taken(dry_at: float | None = None) -> Report:
    return lambda decision, now: decision.take_rest(dry_at, now)
