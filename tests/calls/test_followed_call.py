"""A call as it is followed for the work after its end."""

from calls.events import CallEnded, CallStarted, Event, TranscriptFinal, TurnDecided
from operations.after_call.work import FollowedCall
from operations.crm.customer import CrmReport

CALL: tuple[Event, ...] = (
    CallStarted(transport="twilio", agent="surgery", caller="+4930123456", called="+4930999"),
    TranscriptFinal(turn=1, at_s=4.0, provider="deepgram", text="I need a new date."),
    TurnDecided(turn=1, at_s=4.2),
    CallEnded(reason="caller_hung_up", length_s=12.0),
)


def followed() -> FollowedCall:
    call = FollowedCall("c7")
    for item in CALL:
        call.add(item)
    return call


def test_a_followed_call_has_its_words() -> None:
    assert followed().story.text == "Person: I need a new date."


def test_a_followed_call_has_a_report_with_its_id_and_its_end() -> None:
    assert followed().report(ended_s=1_795_280_400.0) == CrmReport(
        key="call-c7",
        call_id="c7",
        direction="inbound",
        number="+4930123456",
        our_number="+4930999",
        agent="surgery",
        outcome="caller_hung_up",
        length_s=12.0,
        turns=1,
        ended_s=1_795_280_400.0,
        summary="The caller said: I need a new date.",
    )
