"""The tables of the database."""

from datetime import UTC, datetime
from typing import Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)


class UtcDateTime(TypeDecorator[datetime]):
    """A moment in UTC, with its zone. SQLite stores no zone, and compares moments as text."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return a moment to store or to compare with; one without a zone is in UTC."""
        del dialect
        return _to_utc(value)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return a stored moment."""
        del dialect
        return _to_utc(value)


def _to_utc(value: datetime | None) -> datetime | None:
    if value is None:
        return None
    return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)


METADATA: Final = MetaData()
NUMBER_LENGTH: Final = 64  # of a caller: may be a SIP address
HANDLE_LENGTH: Final = 100  # of a message's id in its channel
MACHINE_LENGTH: Final = 32
REASON_LENGTH: Final = 300  # characters of the reason for a callback

CALLBACKS: Final = Table(
    "callbacks",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("call_id", String(64), nullable=False, unique=True),  # one request per call
    Column("number", String(NUMBER_LENGTH), nullable=False),
    Column("reason", String(REASON_LENGTH), nullable=False),
    Column("asked_at", UtcDateTime(), nullable=False),  # UTC
    Column("done_at", UtcDateTime()),  # UTC; NULL while pending
    Column("told_at", UtcDateTime()),  # UTC; when a notice was sent
)

HEALTH: Final = Table(
    "provider_health",
    METADATA,
    Column("place", String(200), primary_key=True),  # stage, rung, and its request and key
    Column("aspect", String(16), primary_key=True),
    Column("holder", String(32), nullable=False),  # the process that wrote it
    Column("at_s", Float, nullable=False),  # wall clock, seconds since 1970, as are all below
    Column("value", String(16), nullable=False),
    Column("until_s", Float, nullable=False),
    Column("retired", Boolean, nullable=False),
)

PROBERS: Final = Table(
    "provider_probers",
    METADATA,
    Column("place", String(200), primary_key=True),
    Column("holder", String(32), nullable=False),  # the process that probes it
    Column("until_s", Float, nullable=False),
)

ALERT_FACTS: Final = Table(  # accepted, but not yet decided on
    "alert_facts",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("at_s", Float, nullable=False),  # wall clock, seconds since 1970, as are all below
    Column("holder", String(32), nullable=False),  # the process that reported it
    Column("fact", Text, nullable=False),  # JSON
)

ALERTS: Final = Table(
    "alerts",
    METADATA,
    Column("key", String(300), primary_key=True),
    Column("severity", String(16), nullable=False),
    Column("began_s", Float, nullable=False),
    Column("ended_s", Float),  # NULL while it is open
    Column("alert", Text, nullable=False),  # JSON, complete
)

ALERT_SENDINGS: Final = Table(  # the outbox: pending posts of each channel
    "alert_sendings",
    METADATA,
    Column("key", String(300), primary_key=True),
    Column("channel", String(32), primary_key=True),
    Column("wanted", Integer, nullable=False),  # the alert's revision to show
    Column("sent", Integer, nullable=False),  # the revision that it shows; 0 for none
    Column("handle", String(HANDLE_LENGTH), nullable=False),  # of its message in the channel
    Column("due_s", Float, nullable=False),  # not before
)

ALERT_ROUNDS: Final = Table(  # one row: its writer decides, other processes wait
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
    Column("report", Text, nullable=False),  # JSON, complete
    Column("made_s", Float, nullable=False),  # since 1970, as are all below
    Column("due_s", Float, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("done_s", Float),  # NULL while pending
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
    Column("callback_at_s", Float),  # since 1970, as are all below; NULL if no time was named
    Column("notes", Text, nullable=False),
    Column("made_by", String(16), nullable=False),  # model, facts
    Column("why", String(CODE_LENGTH), nullable=False),  # why no model wrote it
    Column("provider", String(CODE_LENGTH), nullable=False),
    Column("ended_s", Float, nullable=False),
    Index("call_results_ended", "ended_s"),
    Index("call_results_number", "number"),
)

CALLBACK_CONTACTS: Final = Table(  # one row for each callback that was passed to a campaign
    "callback_contacts",
    METADATA,
    Column("call_id", String(64), primary_key=True),
    Column("number", String(64), nullable=False),
    Column("campaign", String(CODE_LENGTH), nullable=False),
    Column("contact_id", Integer),  # NULL if it became no contact
    Column("outcome", String(16), nullable=False),  # added, moved, do_not_call, no_number
    Column("due_s", Float, nullable=False),  # since 1970, as is the next
    Column("made_s", Float, nullable=False),
    Index("callback_contacts_number", "number"),
)


SHEET_ROWS: Final = Table(
    "sheet_rows",
    METADATA,
    Column("key", String(400), primary_key=True),  # also in the first column of the sheet
    Column("tab", String(16), nullable=False),  # calls, alerts
    Column("at_s", Float, nullable=False),  # when it happened; seconds since 1970, as is due_s
    Column("state", String(16), nullable=False),  # waiting, sending (result unknown), sent
    Column("due_s", Float, nullable=False),  # not before
    Column("cells", Text, nullable=False),  # JSON, the row; empty once sent
    Index("sheet_rows_due", "tab", "state", "due_s"),
)


# The tables of outbound calls: campaigns, their contacts, and the ledger of every dial.
#
# A dial's lease is its slot: there is no other table of slots. All moments are seconds since 1970.

NAME_LENGTH: Final = 64  # characters of a campaign's name
CAMPAIGN_REASON_LENGTH: Final = 300
CONTACT_NUMBER_LENGTH: Final = 20  # E.164 has 16 at most
ORDERER_LENGTH: Final = 200  # an operator with their credential and address, a campaign, a call

CAMPAIGNS: Final = Table(
    "campaigns",
    METADATA,
    Column("name", String(NAME_LENGTH), primary_key=True),
    Column("mark", String(16), nullable=False),  # the prefix of its dials' ids, in this database
    Column("state", String(16), nullable=False),
    Column("reason", String(CAMPAIGN_REASON_LENGTH), nullable=False),  # of its state
    Column("changed_s", Float, nullable=False),
    Column("claims", Integer, nullable=False),  # updated first in each change: other writers wait
    Column("claimed_s", Float, nullable=False),
    Column("tokens", Float, nullable=False),  # its pace: what is left in the token bucket
    Column("filled_s", Float, nullable=False),
    Column("day_s", Float, nullable=False),  # the start of the day that the next two count
    Column("day_calls", Integer, nullable=False),
    Column("day_spent", Float, nullable=False),
    # The version of the rules at the last check of contacts that were postponed or excluded; after
    # a change of the rules they are checked again.
    Column("rules", String(32), nullable=False, server_default=""),
)

CONTACTS: Final = Table(
    "contacts",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("campaign", String(NAME_LENGTH), nullable=False),
    Column("number", String(CONTACT_NUMBER_LENGTH), nullable=False),  # E.164
    Column("name", String(200), nullable=False),
    Column("zones", Text, nullable=False),  # all possible zones of the number, separated by spaces
    Column("fields", Text, nullable=False),  # JSON
    Column("priority", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("due_s", Float, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("dials", Integer, nullable=False),
    Column("outcome", String(16), nullable=False),  # of the last dial; empty for none
    Column("imported_s", Float, nullable=False),
    # Dials that did not count as attempts since the contact was last reset, such as by a callback.
    Column("uncounted", Integer, nullable=False, server_default="0"),
    # A code: why the contact is excluded, or waits for its hours.
    Column("reason", String(CODE_LENGTH), nullable=False, server_default=""),
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
    Column("confirmed_s", Float),  # NULL if the carrier was never asked
    Column("provider_call_id", String(100), nullable=False),
    Column("answered_s", Float),
    Column("ended_s", Float),  # when it was settled
    Column("outcome", String(16), nullable=False),  # empty while unknown
    Column("counted", Boolean, nullable=False),
    Column("reason", String(CAMPAIGN_REASON_LENGTH), nullable=False),
    Column("length_s", Float),
    Column("cost", Float),  # the carrier's price; NULL while unknown
    Column("providers_cost", Float),  # of our own providers; NULL if unknown or unpriced
    Column("unpriced", Boolean),  # a part of it has no known price; NULL while unknown
    Column("abandoned", Boolean),  # hung up before an answer; NULL without a call
    UniqueConstraint("contact_id", "attempt", name="dials_once"),
    Index("dials_by_state", "campaign", "state", "lease_until_s"),
    Index("dials_by_time", "campaign", "intended_s"),
)

SKIPPED: Final = (DIALS.c.state == "settled") & DIALS.c.confirmed_s.is_(None)
"""Dials that never reached a carrier: their contacts wait again, and no statistic counts them."""

ORDERS: Final = Table(  # each request to place a call: who made it, and its outcome
    "orders",
    METADATA,
    Column("id", String(64), primary_key=True),  # the dial's id, or the transfer's
    Column("at_s", Float, nullable=False),
    Column("source", String(16), nullable=False),  # api, command, campaign, callback, transfer
    Column("ordered_by", String(ORDERER_LENGTH), nullable=False),
    Column("number", String(NUMBER_LENGTH), nullable=False),
    Column("country", String(3), nullable=False),  # ISO 3166-1; may be empty
    Column("cost_class", String(16), nullable=False),
    Column("outcome", String(16), nullable=False),  # empty while it is under way
    Column("reason", String(CODE_LENGTH), nullable=False),
    Column("until_s", Float, nullable=False),  # counts as over then if no end was reported
    Column("ended_s", Float),
    Column("length_s", Float),
    Index("orders_at", "at_s"),
    Index("orders_number", "number", "at_s"),
)

DO_NOT_CALL: Final = Table(
    "do_not_call",
    METADATA,
    Column("number", String(CONTACT_NUMBER_LENGTH), primary_key=True),  # E.164
    Column("source", String(100), nullable=False),
    Column("added_s", Float, nullable=False),
    Column("words", String(300), nullable=False, server_default=""),  # of the caller's request
)


# The tables of the record: calls, their words and costs, and events in and outside calls.
#
# They hold callers' words; numbers are stored completely, so that they can be erased.

RECORD_REASON_LENGTH: Final = 500  # of a provider's text about its failure

CALLS: Final = Table(
    "calls",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("holder", String(NAME_LENGTH), nullable=False),  # the process that serves it
    Column("transport", String(NAME_LENGTH), nullable=False),
    Column("direction", String(16), nullable=False),  # inbound, outbound
    Column("agent", String(100), nullable=False),
    Column("caller", String(NUMBER_LENGTH), nullable=False),
    Column("called", String(NUMBER_LENGTH), nullable=False),
    Column("provider_call_id", String(100), nullable=False),  # the carrier's own id; may be empty
    Column("started_at", UtcDateTime(), nullable=False),  # UTC, as are all below
    Column("ended_at", UtcDateTime()),
    Column("state", String(16), nullable=False),  # live, ended, interrupted
    Column("reason", String(64), nullable=False),  # of its end; empty while it is live
    Column("outcome", String(32), nullable=False),  # the carrier's; may be empty
    Column("length_s", Float),
    Column("turns", Integer, nullable=False),
    Column("failovers", Integer, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("cost", Float),  # NULL if a price is not known
    Column("currency", String(8), nullable=False),
    Column("seen_at", UtcDateTime(), nullable=False),  # its process's last heartbeat
    Column("recording", String(500), nullable=False),  # the file; empty without a recording
    Column("dial_id", String(64), nullable=False, server_default=""),  # empty for an inbound call
    Column("verdict", String(16), nullable=False, server_default=""),  # empty: not judged
    Column("why", String(32), nullable=False, server_default=""),  # of the verdict
    Column("hurt_at", UtcDateTime()),  # when its caller was first hurt; NULL if never
    Index("calls_started", "started_at"),
    Index("calls_state", "state", "started_at"),
    Index("calls_caller", "caller"),
    Index("calls_provider_call", "provider_call_id"),
    Index("calls_dial", "dial_id"),
    Index("calls_hurt", "hurt_at"),
)

TURNS: Final = Table(
    "turns",
    METADATA,
    Column("call_id", String(64), primary_key=True),
    Column("turn", Integer, primary_key=True, autoincrement=False),  # 0: before the first
    Column("began_at", UtcDateTime(), nullable=False),
    Column("v2v_s", Float),  # NULL if no answer was heard
    Column("parts", JSON, nullable=False),  # of `v2v_s`; empty without one
    Column("stt", String(NAME_LENGTH), nullable=False),  # the rung that served, as are the next two
    Column("llm", String(NAME_LENGTH), nullable=False),
    Column("tts", String(NAME_LENGTH), nullable=False),
    Column("prompt_tokens", Integer, nullable=False),
    Column("completion_tokens", Integer, nullable=False),
    Column("characters", Integer, nullable=False),
    Column("cost", Float),
    Column("interrupted", Boolean, nullable=False),
    Column("verdict", String(16), nullable=False, server_default=""),  # empty: not judged
    Column("why", String(32), nullable=False, server_default=""),
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
    Column("at", UtcDateTime(), nullable=False),
    Column("spans", JSON, nullable=False),  # [{"provider": name, "words": n}]: the voices
    Index("messages_call", "call_id", "id"),
    Index("messages_at", "at"),
)

HAPPENINGS: Final = Table(
    "happenings",
    METADATA,
    # Twenty busy calls would fill an Integer of PostgreSQL in two months.
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("call_id", String(64), nullable=False),  # empty: outside any call
    Column("number", Integer, nullable=False),  # within the call; a gap is a lost entry
    Column("at", UtcDateTime(), nullable=False),
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
    Column("turn", Integer),  # NULL outside any call
    Column("at", UtcDateTime(), nullable=False),
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
    Column("at", UtcDateTime(), nullable=False),
    Column("holder", String(NAME_LENGTH), nullable=False),  # each process has its own breakers
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
    Column("call_id", String(64), nullable=False, unique=True),  # one per call, like its file
    Column("number", String(NUMBER_LENGTH), nullable=False),
    Column("path", String(500), nullable=False),
    Column("length_s", Float, nullable=False),
    Column("at", UtcDateTime(), nullable=False),
    Column("transcript", Text, nullable=False),  # empty until transcribed
    Column("done_at", UtcDateTime()),  # NULL while open
    Column("told_at", UtcDateTime()),  # when a notice was sent
    Index("voicemails_number", "number"),
)

RECORD_WRITERS: Final = Table(  # one row for each process: its last written batch
    "record_writers",
    METADATA,
    Column("holder", String(NAME_LENGTH), primary_key=True),
    Column("batch", Integer, nullable=False),  # identifies a repeated batch
    Column("seen_at", UtcDateTime(), nullable=False),
)

MACHINES: Final = Table(  # the servers with a name of their own that use this database
    "machines",
    METADATA,
    Column("name", String(MACHINE_LENGTH), primary_key=True),
    Column("seen_at", UtcDateTime(), nullable=False),
)

ERASURE_REQUESTS: Final = Table(  # a row until the machine has deleted its files of the number
    "erasure_requests",
    METADATA,
    Column("machine", String(MACHINE_LENGTH), primary_key=True),
    Column("number", String(NUMBER_LENGTH), primary_key=True),
    Column("calls", JSON, nullable=False),  # the ids of its calls, whose rows are erased
    Column("paths", JSON, nullable=False),  # their recordings and messages
    Column("why", String(REASON_LENGTH), nullable=False),  # why it failed; empty before
)
