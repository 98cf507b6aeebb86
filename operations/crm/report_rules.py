"""Builds the report of a call for a CRM."""

from collections.abc import Callable

from calls.caller import is_dialable
from calls.state import CallState
from operations.crm.customer import CrmReport
from processors.transfer.summary_rules import plain_summary


def report_of(call: CallState, *, ended_s: float, written: Callable[[str], str] = str) -> CrmReport:
    """Return the report of a call; a model's summary replaces the basic one.

    Args:
        call: How it stands.
        ended_s: When it ended, since 1970.
        written: Returns how the other party's number is written in a report.
    """
    started, ended, wanted = call.started, call.ended, call.callback
    number, our_number = _numbers(call)
    messages = [{"role": "user", "content": item} for item in call.said]
    return CrmReport(
        key=f"call-{call.call_id}",
        call_id=call.call_id,
        direction="outbound" if call.outbound else "inbound",
        number=written(number),
        our_number=our_number,
        agent=started.agent if started else "",
        outcome=ended.reason if ended else "",
        length_s=round(ended.length_s, 3) if ended else 0.0,
        turns=call.turn,
        ended_s=ended_s,
        summary=plain_summary(messages, reason="", language="en"),
        callback=(wanted.when or "as soon as possible") if wanted else "",
        reason=wanted.reason if wanted else "",
    )


def _numbers(call: CallState) -> tuple[str, str]:
    """Return the other party's number and ours; empty if unknown or withheld."""
    if call.started is None:
        return "", ""
    called, caller = call.started.called, call.started.caller
    if not call.outbound:
        return caller if is_dialable(caller) else "", called
    return (called, caller) if called else (caller, "")
