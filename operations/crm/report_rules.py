"""Builds the report of a call for a CRM from the call's events."""

from typing import Final

from calls.caller import is_dialable
from calls.campaign_events import OutboundCallBegan
from calls.events import (
    CallbackWanted,
    CallEnded,
    CallStarted,
    Event,
    TranscriptFinal,
    TurnDecided,
)
from operations.crm.customer import CrmReport
from processors.transfer.summary_rules import plain_summary

LAST: Final = 2  # of the caller's utterances: enough for the summary


class ReportedCall:
    """Follows one call, event by event."""

    def __init__(self, call_id: str) -> None:
        self._call_id = call_id
        self._started: CallStarted | None = None
        self._ended: CallEnded | None = None
        self._callback: CallbackWanted | None = None
        self._said: list[str] = []
        self._turns = 0
        self._outbound = False

    def add(self, event: Event) -> None:
        """Add one event."""
        match event:
            case CallStarted():
                self._started = event
                self._turns = event.turn
                self._outbound = self._outbound or event.direction == "outbound"
            case OutboundCallBegan():
                self._outbound = True
            case CallEnded():
                self._ended = event
            case CallbackWanted():
                self._callback = event
            case TranscriptFinal():
                self._said = [*self._said, event.text][-LAST:]
            case TurnDecided():
                self._turns += 1
            case _:
                pass

    @property
    def _numbers(self) -> tuple[str, str]:
        """Return the other party's number and ours; empty if unknown or withheld."""
        if self._started is None:
            return "", ""
        called, caller = self._started.called, self._started.caller
        if not self._outbound:
            return caller if is_dialable(caller) else "", called
        return (called, caller) if called else (caller, "")

    def report(self, *, ended_s: float) -> CrmReport:
        """Return the report; a model's summary replaces the basic one."""
        started, ended, wanted = self._started, self._ended, self._callback
        number, our_number = self._numbers
        messages = [{"role": "user", "content": item} for item in self._said]
        return CrmReport(
            key=f"call-{self._call_id}",
            call_id=self._call_id,
            direction="outbound" if self._outbound else "inbound",
            number=number,
            our_number=our_number,
            agent=started.agent if started else "",
            outcome=ended.reason if ended else "",
            length_s=round(ended.length_s, 3) if ended else 0.0,
            turns=self._turns,
            ended_s=ended_s,
            summary=plain_summary(messages, reason="", language="en"),
            callback=(wanted.when or "as soon as possible") if wanted else "",
            reason=wanted.reason if wanted else "",
        )
