"""Builds the report of a call for a CRM."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from calls.caller import is_dialable
from calls.state import CallState
from calls.verdict import CallerVerdict
from operations.crm.customer import CrmReport
from processors.answering.summary_rules import plain_summary

UNHEARD_SUMMARIES: Final[Mapping[str, str]] = {
    CallerVerdict.HURT.value: (
        "It is not known what the caller said: a failure kept us from answering."
    ),
    CallerVerdict.LOST.value: "It is not known what the caller said: a failure cut the call off.",
}


def report_of(call: CallState, *, ended_s: float, written: Callable[[str], str] = str) -> CrmReport:
    """Return the report of an ended call; a model's summary may replace its basic one later.

    Args:
        call: The call's state at its end.
        ended_s: When it ended, in seconds since 1970.
        written: Formats the other party's number for the report.
    """
    started, ended, wanted = call.started, call.ended, call.callback
    number, our_number = _party_and_own_number(call)
    return CrmReport(
        key=f"call-{call.call_id}",
        call_id=call.call_id,
        direction="outbound" if call.outbound else "inbound",
        number=written(number),
        our_number=our_number,
        agent=started.agent if started else "",
        outcome=ended.reason if ended else "",
        length_s=round(ended.length_s, 3) if ended else 0.0,
        turns=call.answers,
        ended_s=ended_s,
        summary=summary_of(call),
        callback=(wanted.when or "as soon as possible") if wanted else "",
        reason=wanted.reason if wanted else "",
        verdict=call.verdict,
        why=call.why,
    )


def summary_of(call: CallState) -> str:
    """Return a summary of a call without a model."""
    return _summary_of_words(call.said, call.verdict)


def report_of_cut(row: Mapping[str, Any], *, written: Callable[[str], str] = str) -> CrmReport:
    """Return the report of a call whose process died, from its row in the record.

    The row may also have the caller's last words (`said`), and the reason of the callback that the
    caller wanted (`callback`; `None` if there is no such wish).
    """
    outbound, callback = row["direction"] == "outbound", row.get("callback")
    number, our_number = row["caller"], row["called"]
    if outbound:
        number, our_number = our_number, number
    return CrmReport(
        key=f"call-{row['id']}",
        call_id=row["id"],
        direction=row["direction"],
        number=written(number if outbound or is_dialable(number) else ""),
        our_number=our_number,
        agent=row["agent"],
        outcome=row["reason"],
        length_s=round(row["length_s"], 3),
        turns=row["turns"],
        ended_s=row["ended_at"].timestamp(),
        summary=_summary_of_words(row.get("said", ()), row["verdict"]),
        callback="" if callback is None else "as soon as possible",
        reason=callback or "",
        verdict=row["verdict"],
        why=row["why"],
    )


def _summary_of_words(utterances: Iterable[str], verdict: str) -> str:
    """Return a summary from the caller's last words.

    Without words, a call that a failure has hurt gets another summary than a silent one, because
    the recogniser may have missed the words.
    """
    messages = [{"role": "user", "content": words} for words in utterances]
    if not messages and verdict in UNHEARD_SUMMARIES:
        return UNHEARD_SUMMARIES[verdict]
    return plain_summary(messages, reason="", language="en")


def _party_and_own_number(call: CallState) -> tuple[str, str]:
    """Return the other party's number and ours; empty if unknown or withheld."""
    if call.started is None:
        return "", ""
    called, caller = call.started.called, call.started.caller
    if not call.outbound:
        return caller if is_dialable(caller) else "", called
    return (called, caller) if called else (caller, "")
