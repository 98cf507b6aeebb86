"""The tables."""

from typing import Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)

METADATA: Final = MetaData()
NUMBER_LENGTH: Final = 64  # of a caller: a SIP address may stand there
HANDLE_LENGTH: Final = 100  # of what a channel finds its message by
REASON_LENGTH: Final = 300  # characters of why somebody wants to be called back

CALLBACKS: Final = Table(
    "callbacks",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("call_id", String(64), nullable=False, unique=True),  # one request a call
    Column("number", String(NUMBER_LENGTH), nullable=False),
    Column("reason", String(REASON_LENGTH), nullable=False),
    Column("asked_at", DateTime(timezone=True), nullable=False),  # UTC
    Column("done_at", DateTime(timezone=True)),  # UTC; none: still to be done
)

HEALTH: Final = Table(
    "provider_health",
    METADATA,
    Column("place", String(200), primary_key=True),  # stage, rung and what it asks with which key
    Column("aspect", String(16), primary_key=True),
    Column("holder", String(32), nullable=False),  # the process whose word it is
    Column("at_s", Float, nullable=False),  # wall clock, seconds since 1970, as are all below
    Column("value", String(16), nullable=False),
    Column("until_s", Float, nullable=False),
    Column("retired", Boolean, nullable=False),
)

PROBERS: Final = Table(
    "provider_probers",
    METADATA,
    Column("place", String(200), primary_key=True),
    Column("holder", String(32), nullable=False),  # the one process that probes it
    Column("until_s", Float, nullable=False),
)

ALERT_FACTS: Final = Table(  # accepted, and not yet decided on
    "alert_facts",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("at_s", Float, nullable=False),  # wall clock, seconds since 1970, as are all below
    Column("holder", String(32), nullable=False),  # the process that told it
    Column("turns", Integer, nullable=False),  # that it has seen touched
    Column("fact", Text, nullable=False),  # JSON
)

ALERTS: Final = Table(
    "alerts",
    METADATA,
    Column("key", String(300), primary_key=True),
    Column("severity", String(16), nullable=False),
    Column("began_s", Float, nullable=False),
    Column("ended_s", Float),  # none: it is open
    Column("alert", Text, nullable=False),  # JSON, the whole of it
)

ALERT_SENDINGS: Final = Table(  # the outbox: what each channel is owed
    "alert_sendings",
    METADATA,
    Column("key", String(300), primary_key=True),
    Column("channel", String(32), primary_key=True),
    Column("wanted", Integer, nullable=False),  # the alert's revision that it is to show
    Column("sent", Integer, nullable=False),  # the one that it shows; 0: none
    Column("handle", String(HANDLE_LENGTH), nullable=False),  # its message's, in the channel
    Column("due_s", Float, nullable=False),  # not before
)

ALERT_ROUNDS: Final = Table(  # one row: the one that changes it decides, all others wait
    "alert_rounds",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("rounds", Integer, nullable=False),
)


CRM_REPORTS: Final = Table(
    "crm_reports",
    METADATA,
    Column("key", String(100), primary_key=True),
    Column("number", String(64), nullable=False),
    Column("report", Text, nullable=False),  # JSON, the whole of it
    Column("made_s", Float, nullable=False),  # since 1970, as are all below
    Column("due_s", Float, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("done_s", Float),  # none: still owed
    Index("crm_reports_owed", "done_s", "due_s"),
)


CODE_LENGTH: Final = 64  # of an outcome, a reason, a campaign's name

CALL_RESULTS: Final = Table(
    "call_results",
    METADATA,
    Column("call_id", String(64), primary_key=True),
    Column("number", String(64), nullable=False),  # of the other party; may be empty
    Column("campaign", String(CODE_LENGTH), nullable=False),
    Column("outcome", String(CODE_LENGTH), nullable=False),
    Column("summary", Text, nullable=False),
    Column("callback_at_s", Float),  # since 1970, as are all below; none: no time was named
    Column("notes", Text, nullable=False),
    Column("made_by", String(16), nullable=False),  # model, facts
    Column("why", String(CODE_LENGTH), nullable=False),  # no model did it
    Column("provider", String(CODE_LENGTH), nullable=False),
    Column("ended_s", Float, nullable=False),
    Index("call_results_ended", "ended_s"),
    Index("call_results_number", "number"),
)

CALLBACK_CONTACTS: Final = Table(  # a row for each callback that was given to a campaign, once
    "callback_contacts",
    METADATA,
    Column("call_id", String(64), primary_key=True),
    Column("number", String(64), nullable=False),
    Column("campaign", String(CODE_LENGTH), nullable=False),
    Column("contact_id", Integer),  # none: it became no contact
    Column("outcome", String(16), nullable=False),  # added, moved, do_not_call, no_number
    Column("due_s", Float, nullable=False),  # since 1970, as is the next
    Column("made_s", Float, nullable=False),
    Index("callback_contacts_number", "number"),
)


SHEET_ROWS: Final = Table(
    "sheet_rows",
    METADATA,
    Column("key", String(400), primary_key=True),  # stands in the first column of the sheet, too
    Column("tab", String(16), nullable=False),  # calls, alerts
    Column("at_s", Float, nullable=False),  # when it happened; seconds since 1970, as is due_s
    Column("state", String(16), nullable=False),  # waiting, sending (its fate is unknown), sent
    Column("due_s", Float, nullable=False),  # not before
    Column("cells", Text, nullable=False),  # JSON, the row; empty once it is sent
    Index("sheet_rows_due", "tab", "state", "due_s"),
)


# The tables of outbound calls: campaigns, whom they call, and the ledger of every dial.
#
# A dial's lease is its slot: there is no other table of those. All moments are seconds since 1970.

NAME_LENGTH: Final = 64  # characters of a campaign's name
CAMPAIGN_REASON_LENGTH: Final = 300
CONTACT_NUMBER_LENGTH: Final = 20  # E.164 has 16 at most

CAMPAIGNS: Final = Table(
    "campaigns",
    METADATA,
    Column("name", String(NAME_LENGTH), primary_key=True),
    Column("mark", String(16), nullable=False),  # begins the ids of its dials, in this database
    Column("state", String(16), nullable=False),
    Column("reason", String(CAMPAIGN_REASON_LENGTH), nullable=False),  # why it is in this state
    Column("changed_s", Float, nullable=False),
    Column("claims", Integer, nullable=False),  # whoever changes it claims, all others wait
    Column("claimed_s", Float, nullable=False),
    Column("tokens", Float, nullable=False),  # its pace: what is left in the bucket
    Column("filled_s", Float, nullable=False),
    Column("day_s", Float, nullable=False),  # when the day began to which the next two belong
    Column("day_calls", Integer, nullable=False),
    Column("day_spent", Float, nullable=False),
)

CONTACTS: Final = Table(
    "contacts",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("campaign", String(NAME_LENGTH), nullable=False),
    Column("number", String(CONTACT_NUMBER_LENGTH), nullable=False),  # E.164
    Column("name", String(200), nullable=False),
    Column("zones", Text, nullable=False),  # all that the number may be in, with spaces between
    Column("fields", Text, nullable=False),  # JSON
    Column("priority", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("due_s", Float, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("dials", Integer, nullable=False),
    Column("outcome", String(16), nullable=False),  # of the last dial; empty: none
    Column("imported_s", Float, nullable=False),
    # Dials that did not count since it was last made to wait: a callback begins anew.
    Column("uncounted", Integer, nullable=False, server_default="0"),
    UniqueConstraint("campaign", "number", name="contacts_once"),
    Index("contacts_in_turn", "campaign", "state", text("priority DESC"), "due_s", "id"),
    Index("contacts_by_number", "number"),
)

CONSENTS: Final = Table(
    "consents",
    METADATA,
    Column("campaign", String(NAME_LENGTH), primary_key=True),
    Column("number", String(CONTACT_NUMBER_LENGTH), primary_key=True),
    Column("kind", String(64), nullable=False),
    Column("given_on", String(32), nullable=False),  # ISO 8601
    Column("source", String(300), nullable=False),
    Column("recorded_s", Float, nullable=False),
)

DIALS: Final = Table(  # the ledger: a row is committed before the carrier is asked
    "dials",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("campaign", String(NAME_LENGTH), nullable=False),
    Column("contact_id", Integer, nullable=False),
    Column("number", String(CONTACT_NUMBER_LENGTH), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("holder", String(64), nullable=False),
    Column("lease_until_s", Float, nullable=False),
    Column("intended_s", Float, nullable=False),
    Column("confirmed_s", Float),  # none: the carrier was never asked
    Column("provider_call_id", String(100), nullable=False),
    Column("answered_s", Float),
    Column("ended_s", Float),  # when it was settled
    Column("outcome", String(16), nullable=False),  # empty: not yet
    Column("counted", Boolean, nullable=False),
    Column("reason", String(CAMPAIGN_REASON_LENGTH), nullable=False),
    Column("length_s", Float),
    Column("cost", Float),  # the carrier's price; none: not known yet
    Column("providers_cost", Float),  # what our side of it used; none: not known, or unpriced
    Column("unpriced", Boolean),  # a part of that has no known price; none: not known yet
    Column("abandoned", Boolean),  # they hung up before an answer; none: there was no call of ours
    UniqueConstraint("contact_id", "attempt", name="dials_once"),
    Index("dials_by_state", "campaign", "state", "lease_until_s"),
    Index("dials_by_time", "campaign", "intended_s"),
)

SKIPPED: Final = (DIALS.c.state == "settled") & DIALS.c.confirmed_s.is_(None)
"""Dials of which no carrier was asked: their contacts were put back, and no figure has them."""

DO_NOT_CALL: Final = Table(
    "do_not_call",
    METADATA,
    Column("number", String(CONTACT_NUMBER_LENGTH), primary_key=True),  # E.164
    Column("source", String(100), nullable=False),
    Column("added_s", Float, nullable=False),
)


# The tables of the record: what happened in calls and beside them, what was said, what it cost.
#
# They hold what callers said; numbers are kept whole, so that they can be forgotten.

RECORD_REASON_LENGTH: Final = 500  # of what a provider said about its failure

CALLS: Final = Table(
    "calls",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("holder", String(NAME_LENGTH), nullable=False),  # the process that has it
    Column("transport", String(NAME_LENGTH), nullable=False),
    Column("direction", String(16), nullable=False),  # inbound, outbound
    Column("agent", String(100), nullable=False),
    Column("caller", String(NUMBER_LENGTH), nullable=False),
    Column("called", String(NUMBER_LENGTH), nullable=False),
    Column("provider_call_id", String(100), nullable=False),  # the carrier's own id; may be empty
    Column("started_at", DateTime(timezone=True), nullable=False),  # UTC, as are all below
    Column("ended_at", DateTime(timezone=True)),
    Column("state", String(16), nullable=False),  # live, ended, interrupted
    Column("reason", String(64), nullable=False),  # why it ended; empty while it is live
    Column("outcome", String(32), nullable=False),  # as the carrier says it; may be empty
    Column("length_s", Float),
    Column("turns", Integer, nullable=False),
    Column("failovers", Integer, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("cost", Float),  # none: a price is not known
    Column("currency", String(8), nullable=False),
    Column("seen_at", DateTime(timezone=True), nullable=False),  # its process was alive then
    Column("recording", String(500), nullable=False),  # the file; empty: it was not recorded
    Column("dial_id", String(64), nullable=False, server_default=""),  # empty: nobody dialled it
    Column("touched", Boolean, nullable=False, server_default=false()),  # a rung did it harm
    Index("calls_started", "started_at"),
    Index("calls_state", "state", "started_at"),
    Index("calls_caller", "caller"),
    Index("calls_provider_call", "provider_call_id"),
    Index("calls_dial", "dial_id"),
)

TURNS: Final = Table(
    "turns",
    METADATA,
    Column("call_id", String(64), primary_key=True),
    Column("turn", Integer, primary_key=True, autoincrement=False),  # 0: before the first
    Column("began_at", DateTime(timezone=True), nullable=False),
    Column("v2v_s", Float),  # none: no answer was heard
    Column("parts", JSON, nullable=False),  # of `v2v_s`; empty without one
    Column("stt", String(NAME_LENGTH), nullable=False),  # who served, as are the next two
    Column("llm", String(NAME_LENGTH), nullable=False),
    Column("tts", String(NAME_LENGTH), nullable=False),
    Column("prompt_tokens", Integer, nullable=False),
    Column("completion_tokens", Integer, nullable=False),
    Column("characters", Integer, nullable=False),
    Column("cost", Float),
    Column("interrupted", Boolean, nullable=False),
    Column("within_budget", Boolean, nullable=False),
    Index("turns_began", "began_at"),
)

MESSAGES: Final = Table(
    "messages",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("call_id", String(64), nullable=False),
    Column("turn", Integer, nullable=False),
    Column("role", String(8), nullable=False),  # caller, agent
    Column("text", Text, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("spans", JSON, nullable=False),  # [{"provider": name, "words": n}]: who said them
    Index("messages_call", "call_id", "id"),
    Index("messages_at", "at"),
)

HAPPENINGS: Final = Table(
    "happenings",
    METADATA,
    # Twenty busy calls would fill an Integer of PostgreSQL in two months.
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("call_id", String(64), nullable=False),  # empty: outside any call
    Column("number", Integer, nullable=False),  # within the call; a hole is a lost entry
    Column("at", DateTime(timezone=True), nullable=False),
    Column("kind", String(64), nullable=False),  # the name of the event's class
    Column("stage", String(NAME_LENGTH), nullable=False),
    Column("provider", String(NAME_LENGTH), nullable=False),
    Column("data", JSON, nullable=False),  # the event
    Index("happenings_call", "call_id", "id"),
    Index("happenings_at", "at"),
)

FAILURES: Final = Table(
    "failures",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("call_id", String(64), nullable=False),  # empty: outside any call
    Column("turn", Integer),  # none: outside any call
    Column("at", DateTime(timezone=True), nullable=False),
    Column("stage", String(NAME_LENGTH), nullable=False),
    Column("provider", String(NAME_LENGTH), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("scope", String(32), nullable=False),
    Column("severity", String(16), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("permanent", Boolean, nullable=False),
    Column("reason", String(RECORD_REASON_LENGTH), nullable=False),
    Index("failures_call", "call_id"),
    Index("failures_at", "at"),
)

BREAKER_MOVES: Final = Table(
    "breaker_moves",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("call_id", String(64), nullable=False),  # empty: outside any call
    Column("at", DateTime(timezone=True), nullable=False),
    Column("holder", String(NAME_LENGTH), nullable=False),  # each process has breakers of its own
    Column("stage", String(NAME_LENGTH), nullable=False),
    Column("provider", String(NAME_LENGTH), nullable=False),
    Column("before", String(16), nullable=False),
    Column("after", String(16), nullable=False),
    Column("cause", String(64), nullable=False),
    Column("after_s", Float, nullable=False),
    Column("severity", String(16), nullable=False),
    Index("breaker_moves_at", "at"),
)

VOICEMAILS: Final = Table(
    "voicemails",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("call_id", String(64), nullable=False, unique=True),  # one a call, as its file
    Column("number", String(NUMBER_LENGTH), nullable=False),
    Column("path", String(500), nullable=False),
    Column("length_s", Float, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("transcript", Text, nullable=False),  # empty: not written down yet
    Column("done_at", DateTime(timezone=True)),  # none: nobody has dealt with it
    Index("voicemails_number", "number"),
)

RECORD_WRITERS: Final = Table(  # a row for each process: the last batch that it has written
    "record_writers",
    METADATA,
    Column("holder", String(NAME_LENGTH), primary_key=True),
    Column("batch", Integer, nullable=False),  # one that is sent again is known by it
    Column("seen_at", DateTime(timezone=True), nullable=False),
)

RECORD_TABLES: Final = (
    CALLS, TURNS, MESSAGES, HAPPENINGS, FAILURES, BREAKER_MOVES, VOICEMAILS, RECORD_WRITERS,
)  # fmt: skip
