"""A call's result for an owner's CRM."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from calls.campaign_events import OutboundCallBegan
from calls.events import (
    AnswerHeard,
    CallbackWanted,
    CallEnded,
    CallStarted,
    Event,
    TranscriptFinal,
    TurnDecided,
    TurnEnded,
    TurnParts,
)
from calls.state import CallState
from calls.timeline import PARTS
from operations.crm.customer import CrmReport
from operations.crm.report_rules import report_of, report_of_cut
from operations.record.fold_rules import call_row

STARTED = CallStarted(
    transport="twilio", agent="desk", caller="+15550101", called="+15550100", call_ref="CA1"
)
DIALLED = OutboundCallBegan(dial_id="dial-1")
ENDED = CallEnded(reason="caller_hung_up", length_s=12.5)
PARTS_S = TurnParts(**dict.fromkeys(PARTS, 0.1))
ANSWERED = AnswerHeard(turn=1, at_s=3.0, v2v_s=0.7, parts=PARTS_S)
BACK = CallbackWanted(turn=2, when="tomorrow at nine", reason="the invoice")
NOTHING_SAID = "The caller has not said what it is about."


def heard(text: str) -> TranscriptFinal:
    return TranscriptFinal(turn=1, at_s=1.0, provider="deepgram", text=text)


def reported(*events: Event, ended_s: float = 1000.0) -> CrmReport:
    call = CallState("c1")
    for event in events:
        call.add(event)
    return report_of(call, ended_s=ended_s)


def test_a_report_has_caller_topic_and_end() -> None:
    report = reported(
        STARTED,
        heard("I have a question about my invoice."),
        TurnDecided(turn=1, at_s=2.0),
        ANSWERED,
        TurnEnded(turn=1, at_s=4.0, interrupted=False),
        heard("Please call me back."),
        TurnDecided(turn=2, at_s=6.0),
        replace(ANSWERED, turn=2),
        BACK,
        ENDED,
        ended_s=2000.25,
    )

    assert report == CrmReport(
        key="call-c1",
        call_id="c1",
        direction="inbound",
        number="+15550101",
        our_number="+15550100",
        agent="desk",
        outcome="caller_hung_up",
        length_s=12.5,
        turns=2,
        ended_s=2000.25,
        summary="The caller said: I have a question about my invoice. Please call me back.",
        callback="tomorrow at nine",
        reason="the invoice",
    )


def test_a_call_without_any_data_is_still_reported() -> None:
    assert reported() == CrmReport(
        key="call-c1",
        call_id="c1",
        direction="inbound",
        number="",
        ended_s=1000.0,
        summary=NOTHING_SAID,
    )


@pytest.mark.parametrize(
    "events",
    [
        [STARTED, heard("My invoice."), TurnDecided(turn=1, at_s=2.0), ENDED],
        [STARTED, TurnDecided(turn=1, at_s=2.0), ANSWERED, ENDED],
        [replace(STARTED, turn=4, gap_s=2.0), TurnDecided(turn=5, at_s=2.0), ANSWERED, ENDED],
        [STARTED, ANSWERED, ENDED, replace(STARTED, turn=1, gap_s=2.0), ANSWERED, ENDED],
    ],
    ids=["unanswered", "answered", "taken over", "its line came back"],
)
def test_the_report_has_the_turns_verdict_and_reason_of_the_record(events: list[Event]) -> None:
    call = CallState("c1")
    for event in events:
        call.add(event)
    report, row = report_of(call, ended_s=1000.0), call_row(call, "worker")

    names = ("turns", "verdict", "why")
    assert [getattr(report, name) for name in names] == [row[name] for name in names]


@pytest.mark.parametrize(
    ("events", "direction", "number", "ours"),
    [
        ((STARTED,), "inbound", "+15550101", "+15550100"),
        ((STARTED, DIALLED), "outbound", "+15550100", "+15550101"),
        ((DIALLED, STARTED), "outbound", "+15550100", "+15550101"),
        ((replace(STARTED, direction="outbound"),), "outbound", "+15550100", "+15550101"),
        ((replace(STARTED, called=""), DIALLED), "outbound", "+15550101", ""),
        ((replace(STARTED, caller=""),), "inbound", "", "+15550100"),
        ((DIALLED,), "outbound", "", ""),
    ],
    ids=[
        "called us",
        "was dialled",
        "told late",
        "dialled elsewhere",
        "who is not told",
        "hides",
        "never began",
    ],
)
def test_the_report_names_the_other_partys_number_and_our_own(
    events: tuple[Event, ...], direction: str, number: str, ours: str
) -> None:
    report = reported(*events)

    assert (report.direction, report.number, report.our_number) == (direction, number, ours)


def test_the_last_two_utterances_are_the_summary() -> None:
    said = [heard(name) for name in ("Good morning.", "My key is lost.", "Can you help?")]

    assert reported(*said).summary == "The caller said: My key is lost. Can you help?"
    assert reported(*said[:1]).summary == "The caller said: Good morning."


@pytest.mark.parametrize(
    ("wanted", "callback", "reason"),
    [
        ((BACK,), "tomorrow at nine", "the invoice"),
        ((replace(BACK, when=""),), "as soon as possible", "the invoice"),
        ((BACK, replace(BACK, when="on Friday", reason="")), "on Friday", ""),
        ((), "", ""),
    ],
    ids=["a moment", "no moment", "changed their mind", "no callback"],
)
def test_a_callback_is_reported_with_its_moment(
    wanted: tuple[CallbackWanted, ...], callback: str, reason: str
) -> None:
    report = reported(STARTED, *wanted, ENDED)

    assert (report.callback, report.reason) == (callback, reason)


def test_the_duration_is_reported_to_the_millisecond() -> None:
    assert reported(replace(ENDED, length_s=12.34567)).length_s == 12.346


@pytest.mark.parametrize("caller", ["+266696687", "anonymous", "+10000000000", ""])
def test_a_withheld_number_is_reported_as_none(caller: str) -> None:
    report = reported(replace(STARTED, caller=caller), ENDED)

    assert (report.number, report.our_number) == ("", "+15550100")


UNHEARD_SUMMARIES = "It is not known what the caller said: a failure kept us from answering."
CUT_OFF = "It is not known what the caller said: a failure cut the call off."


@pytest.mark.parametrize(
    ("events", "status", "summary"),
    [
        ([replace(ENDED, verdict="served")], "completed", NOTHING_SAID),
        ([replace(ENDED, verdict="degraded", why="late")], "completed", NOTHING_SAID),
        ([replace(ENDED, verdict="hurt", why="clip")], "failed", UNHEARD_SUMMARIES),
        ([replace(ENDED, verdict="lost", why="shutdown")], "failed", CUT_OFF),
        (
            [heard("My invoice."), TurnDecided(turn=1, at_s=2.0), replace(ENDED, verdict="hurt")],
            "failed",
            "The caller said: My invoice.",
        ),
        (
            [heard("My invoice."), replace(ENDED, reason="voicemail", verdict="hurt")],
            "failed",
            "The caller said: My invoice.",
        ),
        (
            [heard("My invoice."), replace(ENDED, reason="busy", verdict="degraded")],
            "busy",
            "The caller said: My invoice.",
        ),
    ],
)
def test_a_caller_whom_we_did_not_answer_is_not_reported_as_one_who_said_nothing(
    events: list[Event], status: str, summary: str
) -> None:
    report = reported(STARTED, *events)

    assert (report.status, report.summary) == (status, summary)
    assert ("Served: no" in report.account) is (report.verdict in ("hurt", "lost"))


@pytest.mark.parametrize(
    ("direction", "number"), [("inbound", "+15550101"), ("outbound", "+15550100")]
)
def test_a_call_whose_process_died_is_reported_from_its_row(direction: str, number: str) -> None:
    row = {
        "id": "c1",
        "direction": direction,
        "agent": "desk",
        "reason": "interrupted",
        "caller": "+15550101",
        "called": "+15550100",
        "length_s": 9.0004,
        "turns": 2,
        "ended_at": datetime(2026, 3, 1, tzinfo=UTC),
        "verdict": "lost",
        "why": "process_lost",
    }
    report = report_of_cut(row)

    assert (report.key, report.number, report.status) == ("call-c1", number, "failed")
    assert report.summary == CUT_OFF

    told = report_of_cut(row | {"said": ("My key is lost.", "Help."), "callback": "a key"})

    assert told.summary == "The caller said: My key is lost. Help."
    assert (told.callback, told.reason) == ("as soon as possible", "a key")
    assert (report.verdict, report.summary, report.length_s) == ("lost", CUT_OFF, 9.0)
