"""Reading a CRM's JSON, and a call's result."""

from dataclasses import asdict, replace
from typing import Any

import pytest

from operations.crm.customer import CrmContact, CrmReport, dig, fill

ANSWER = {"results": [{"id": 7, "name": {"first": "Ada"}}]}
REPORT = CrmReport(
    key="dial-9",
    call_id="c1",
    direction="outbound",
    number="+15550101",
    our_number="+15550100",
    agent="desk",
    contact="7",
    outcome="no_answer",
    length_s=12.3456,
    turns=3,
    ended_s=2000.5,
    summary="Wants an appointment.",
    callback="tomorrow at nine",
    reason="the invoice",
    campaign="spring",
    result="wants_a_visit",
    callback_at="2026-03-02T09:00:00+00:00",
    notes="Has a dog.",
    made_by="model",
)


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("results.0.id", 7),
        ("results.0.name.first", "Ada"),
        ("results.1.id", None),
        ("results.x", None),
        ("results.0.id.more", None),
        ("results.0.id.0", None),
        ("results.0.name.first.0", None),
        ("nothing", None),
        ("results..0.id.", 7),
        ("", ANSWER),
    ],
)
def test_a_path_finds_its_value(path: str, found: Any) -> None:
    assert dig(ANSWER, path) == found


@pytest.mark.parametrize(("path", "found"), [("0", "a"), ("1", "b"), ("2", None), ("-1", None)])
def test_a_position_beyond_a_list_finds_nothing(path: str, found: str | None) -> None:
    assert dig(["a", "b"], path) == found


def test_a_placeholder_that_stands_alone_keeps_its_type() -> None:
    template = {"s": "{length_s}", "note": "of {length_s} s", "list": ["{no}", 1]}

    assert fill(template, {"length_s": 2.5}) == {"s": 2.5, "note": "of 2.5 s", "list": ["", 1]}


@pytest.mark.parametrize(
    ("template", "filled"),
    [
        ("{call_id}", "c1"),
        ("{turns}", 3),
        ("{nothing}", ""),
        ("call {call_id}{nothing}: {turns} turns", "call c1: 3 turns"),
        ("{CALL_ID} {} {1}", "{CALL_ID} {} {1}"),
        ({"{call_id}": {"deep": ["{turns}"]}}, {"{call_id}": {"deep": [3]}}),
        ([], []),
        (True, True),
        (None, None),
        (2.5, 2.5),
    ],
    ids=repr,
)
def test_only_the_placeholders_of_a_template_change(template: Any, filled: Any) -> None:
    assert fill(template, {"call_id": "c1", "turns": 3}) == filled


@pytest.mark.parametrize(
    ("name", "known"), [("Ada", "Ada"), ("", "Ms Lovelace")], ids=["named", "nameless"]
)
def test_a_field_called_name_replaces_only_a_missing_name(name: str, known: str) -> None:
    contact = CrmContact(id="7", name=name, fields={"name": "Ms Lovelace"})

    assert contact.known()["name"] == known


def test_a_template_may_use_every_field_of_a_calls_result_and_what_follows_from_it() -> None:
    values = REPORT.values()
    follows = {
        "direction_upper": "OUTBOUND",
        "from_number": "+15550100",
        "to_number": "+15550101",
        "status": "no_answer",
        "status_upper": "NO_ANSWER",
        "length_ms": 12_346,
        "began_ms": 1_988_154,
        "ended_ms": 2_000_500,
        "account": "Wants an appointment.\n"
        "Outcome: wants a visit\n"
        "Call back: 2026-03-02T09:00:00+00:00 tomorrow at nine\n"
        "Notes: Has a dog.",
    }

    assert values == asdict(REPORT) | follows


@pytest.mark.parametrize(
    ("direction", "ours", "from_number", "to_number"),
    [
        ("inbound", "+15550100", "+15550101", "+15550100"),
        ("outbound", "+15550100", "+15550100", "+15550101"),
        ("inbound", "", "+15550101", ""),
        ("outbound", "", "", "+15550101"),
    ],
)
def test_a_call_has_its_two_numbers_as_far_as_they_are_known(
    direction: str, ours: str, from_number: str, to_number: str
) -> None:
    values = replace(REPORT, direction=direction, our_number=ours).values()

    assert (values["from_number"], values["to_number"]) == (from_number, to_number)


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        ("caller_hung_up", "completed"),
        ("", "completed"),
        ("voicemail", "completed"),
        ("transfer", "completed"),
        ("busy", "busy"),
        ("no_answer", "no_answer"),
        ("failed", "failed"),
        ("agent_failed", "failed"),
        ("shutdown", "failed"),
        ("never_connected", "failed"),
        ("cancelled", "canceled"),
        ("refused", "canceled"),
        ("outage", "failed"),
        ("unknown", "failed"),
    ],
)
def test_a_calls_end_has_its_telephone_term(outcome: str, status: str) -> None:
    assert replace(REPORT, outcome=outcome).status == status


@pytest.mark.parametrize(
    ("known", "account"),
    [
        ({}, ""),
        ({"summary": "Asked for the hours."}, "Asked for the hours."),
        ({"result": "no_interest"}, "Outcome: no interest"),
        ({"callback": "on Friday"}, "Call back: on Friday"),
        ({"callback_at": "2026-03-06T00:00:00+00:00"}, "Call back: 2026-03-06T00:00:00+00:00"),
        ({"summary": "Asked.", "notes": "Has a dog."}, "Asked.\nNotes: Has a dog."),
    ],
    ids=["nothing", "a summary", "a result", "words", "a moment", "notes"],
)
def test_a_summary_of_the_call_lists_its_known_data_line_by_line(
    known: dict[str, str], account: str
) -> None:
    bare = CrmReport(key="call-c1", call_id="c1", direction="inbound", number="")

    assert replace(bare, **known).account == account
