"""All tables, as in the first release.

It replaces ten versions, and has the name of the last one: a database at that version is up to
date. It imports nothing from `tables.py`, which will change; a test compares the two.
"""

from typing import Final

import sqlalchemy as sa
from alembic import op

revision = "0010_long_numbers"
down_revision = None

TABLES: Final = sa.MetaData()

sa.Table(
    "callbacks",
    TABLES,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("call_id", sa.String(64), nullable=False, unique=True),
    sa.Column("number", sa.String(64), nullable=False),
    sa.Column("reason", sa.String(300), nullable=False),
    sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("done_at", sa.DateTime(timezone=True)),
)
sa.Table(
    "provider_health",
    TABLES,
    sa.Column("place", sa.String(200), primary_key=True),
    sa.Column("aspect", sa.String(16), primary_key=True),
    sa.Column("holder", sa.String(32), nullable=False),
    sa.Column("at_s", sa.Float, nullable=False),
    sa.Column("value", sa.String(16), nullable=False),
    sa.Column("until_s", sa.Float, nullable=False),
    sa.Column("retired", sa.Boolean, nullable=False),
)
sa.Table(
    "provider_probers",
    TABLES,
    sa.Column("place", sa.String(200), primary_key=True),
    sa.Column("holder", sa.String(32), nullable=False),
    sa.Column("until_s", sa.Float, nullable=False),
)
sa.Table(
    "alert_facts",
    TABLES,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("at_s", sa.Float, nullable=False),
    sa.Column("holder", sa.String(32), nullable=False),
    sa.Column("turns", sa.Integer, nullable=False),
    sa.Column("fact", sa.Text, nullable=False),
)
sa.Table(
    "alerts",
    TABLES,
    sa.Column("key", sa.String(300), primary_key=True),
    sa.Column("severity", sa.String(16), nullable=False),
    sa.Column("began_s", sa.Float, nullable=False),
    sa.Column("ended_s", sa.Float),
    sa.Column("alert", sa.Text, nullable=False),
)
sa.Table(
    "alert_sendings",
    TABLES,
    sa.Column("key", sa.String(300), primary_key=True),
    sa.Column("channel", sa.String(32), primary_key=True),
    sa.Column("wanted", sa.Integer, nullable=False),
    sa.Column("sent", sa.Integer, nullable=False),
    sa.Column("handle", sa.String(100), nullable=False),
    sa.Column("due_s", sa.Float, nullable=False),
)
sa.Table(
    "alert_rounds",
    TABLES,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("rounds", sa.Integer, nullable=False),
)
sa.Table(
    "crm_reports",
    TABLES,
    sa.Column("key", sa.String(100), primary_key=True),
    sa.Column("number", sa.String(64), nullable=False),
    sa.Column("report", sa.Text, nullable=False),
    sa.Column("made_s", sa.Float, nullable=False),
    sa.Column("due_s", sa.Float, nullable=False),
    sa.Column("tries", sa.Integer, nullable=False),
    sa.Column("done_s", sa.Float),
    sa.Index("crm_reports_owed", "done_s", "due_s"),
)
sa.Table(
    "call_results",
    TABLES,
    sa.Column("call_id", sa.String(64), primary_key=True),
    sa.Column("number", sa.String(64), nullable=False),
    sa.Column("campaign", sa.String(64), nullable=False),
    sa.Column("outcome", sa.String(64), nullable=False),
    sa.Column("summary", sa.Text, nullable=False),
    sa.Column("callback_at_s", sa.Float),
    sa.Column("notes", sa.Text, nullable=False),
    sa.Column("made_by", sa.String(16), nullable=False),
    sa.Column("why", sa.String(64), nullable=False),
    sa.Column("provider", sa.String(64), nullable=False),
    sa.Column("ended_s", sa.Float, nullable=False),
    sa.Index("call_results_ended", "ended_s"),
    sa.Index("call_results_number", "number"),
)
sa.Table(
    "callback_contacts",
    TABLES,
    sa.Column("call_id", sa.String(64), primary_key=True),
    sa.Column("number", sa.String(64), nullable=False),
    sa.Column("campaign", sa.String(64), nullable=False),
    sa.Column("contact_id", sa.Integer),
    sa.Column("outcome", sa.String(16), nullable=False),
    sa.Column("due_s", sa.Float, nullable=False),
    sa.Column("made_s", sa.Float, nullable=False),
    sa.Index("callback_contacts_number", "number"),
)
sa.Table(
    "sheet_rows",
    TABLES,
    sa.Column("key", sa.String(400), primary_key=True),
    sa.Column("tab", sa.String(16), nullable=False),
    sa.Column("at_s", sa.Float, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("due_s", sa.Float, nullable=False),
    sa.Column("cells", sa.Text, nullable=False),
    sa.Index("sheet_rows_due", "tab", "state", "due_s"),
)
sa.Table(
    "campaigns",
    TABLES,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("mark", sa.String(16), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("reason", sa.String(300), nullable=False),
    sa.Column("changed_s", sa.Float, nullable=False),
    sa.Column("claims", sa.Integer, nullable=False),
    sa.Column("claimed_s", sa.Float, nullable=False),
    sa.Column("tokens", sa.Float, nullable=False),
    sa.Column("filled_s", sa.Float, nullable=False),
    sa.Column("day_s", sa.Float, nullable=False),
    sa.Column("day_calls", sa.Integer, nullable=False),
    sa.Column("day_spent", sa.Float, nullable=False),
)
sa.Table(
    "contacts",
    TABLES,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("campaign", sa.String(64), nullable=False),
    sa.Column("number", sa.String(20), nullable=False),
    sa.Column("name", sa.String(200), nullable=False),
    sa.Column("zones", sa.Text, nullable=False),
    sa.Column("fields", sa.Text, nullable=False),
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("due_s", sa.Float, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("dials", sa.Integer, nullable=False),
    sa.Column("outcome", sa.String(16), nullable=False),
    sa.Column("imported_s", sa.Float, nullable=False),
    sa.Column("uncounted", sa.Integer, nullable=False, server_default="0"),
    sa.UniqueConstraint("campaign", "number", name="contacts_once"),
    sa.Index("contacts_by_number", "number"),
    sa.Index("contacts_in_turn", "campaign", "state", sa.text("priority DESC"), "due_s", "id"),
)
sa.Table(
    "consents",
    TABLES,
    sa.Column("campaign", sa.String(64), primary_key=True),
    sa.Column("number", sa.String(20), primary_key=True),
    sa.Column("kind", sa.String(64), nullable=False),
    sa.Column("given_on", sa.String(32), nullable=False),
    sa.Column("source", sa.String(300), nullable=False),
    sa.Column("recorded_s", sa.Float, nullable=False),
)
sa.Table(
    "dials",
    TABLES,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("campaign", sa.String(64), nullable=False),
    sa.Column("contact_id", sa.Integer, nullable=False),
    sa.Column("number", sa.String(20), nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("holder", sa.String(64), nullable=False),
    sa.Column("lease_until_s", sa.Float, nullable=False),
    sa.Column("intended_s", sa.Float, nullable=False),
    sa.Column("confirmed_s", sa.Float),
    sa.Column("provider_call_id", sa.String(100), nullable=False),
    sa.Column("answered_s", sa.Float),
    sa.Column("ended_s", sa.Float),
    sa.Column("outcome", sa.String(16), nullable=False),
    sa.Column("counted", sa.Boolean, nullable=False),
    sa.Column("reason", sa.String(300), nullable=False),
    sa.Column("length_s", sa.Float),
    sa.Column("cost", sa.Float),
    sa.Column("providers_cost", sa.Float),
    sa.Column("unpriced", sa.Boolean),
    sa.Column("abandoned", sa.Boolean),
    sa.UniqueConstraint("contact_id", "attempt", name="dials_once"),
    sa.Index("dials_by_state", "campaign", "state", "lease_until_s"),
    sa.Index("dials_by_time", "campaign", "intended_s"),
)
sa.Table(
    "do_not_call",
    TABLES,
    sa.Column("number", sa.String(20), primary_key=True),
    sa.Column("source", sa.String(100), nullable=False),
    sa.Column("added_s", sa.Float, nullable=False),
)
sa.Table(
    "calls",
    TABLES,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("holder", sa.String(64), nullable=False),
    sa.Column("transport", sa.String(64), nullable=False),
    sa.Column("direction", sa.String(16), nullable=False),
    sa.Column("agent", sa.String(100), nullable=False),
    sa.Column("caller", sa.String(64), nullable=False),
    sa.Column("called", sa.String(64), nullable=False),
    sa.Column("provider_call_id", sa.String(100), nullable=False),
    sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("ended_at", sa.DateTime(timezone=True)),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("reason", sa.String(64), nullable=False),
    sa.Column("outcome", sa.String(32), nullable=False),
    sa.Column("length_s", sa.Float),
    sa.Column("turns", sa.Integer, nullable=False),
    sa.Column("failovers", sa.Integer, nullable=False),
    sa.Column("failures", sa.Integer, nullable=False),
    sa.Column("cost", sa.Float),
    sa.Column("currency", sa.String(8), nullable=False),
    sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("recording", sa.String(500), nullable=False),
    sa.Column("dial_id", sa.String(64), nullable=False, server_default=""),
    sa.Column("touched", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Index("calls_caller", "caller"),
    sa.Index("calls_dial", "dial_id"),
    sa.Index("calls_provider_call", "provider_call_id"),
    sa.Index("calls_started", "started_at"),
    sa.Index("calls_state", "state", "started_at"),
)
sa.Table(
    "turns",
    TABLES,
    sa.Column("call_id", sa.String(64), primary_key=True),
    sa.Column("turn", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("began_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("v2v_s", sa.Float),
    sa.Column("parts", sa.JSON, nullable=False),
    sa.Column("stt", sa.String(64), nullable=False),
    sa.Column("llm", sa.String(64), nullable=False),
    sa.Column("tts", sa.String(64), nullable=False),
    sa.Column("prompt_tokens", sa.Integer, nullable=False),
    sa.Column("completion_tokens", sa.Integer, nullable=False),
    sa.Column("characters", sa.Integer, nullable=False),
    sa.Column("cost", sa.Float),
    sa.Column("interrupted", sa.Boolean, nullable=False),
    sa.Column("within_budget", sa.Boolean, nullable=False),
    sa.Index("turns_began", "began_at"),
)
sa.Table(
    "messages",
    TABLES,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("call_id", sa.String(64), nullable=False),
    sa.Column("turn", sa.Integer, nullable=False),
    sa.Column("role", sa.String(8), nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("spans", sa.JSON, nullable=False),
    sa.Index("messages_at", "at"),
    sa.Index("messages_call", "call_id", "id"),
)
sa.Table(
    "happenings",
    TABLES,
    sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
    sa.Column("call_id", sa.String(64), nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("kind", sa.String(64), nullable=False),
    sa.Column("stage", sa.String(64), nullable=False),
    sa.Column("provider", sa.String(64), nullable=False),
    sa.Column("data", sa.JSON, nullable=False),
    sa.Index("happenings_at", "at"),
    sa.Index("happenings_call", "call_id", "id"),
)
sa.Table(
    "failures",
    TABLES,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("call_id", sa.String(64), nullable=False),
    sa.Column("turn", sa.Integer),
    sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("stage", sa.String(64), nullable=False),
    sa.Column("provider", sa.String(64), nullable=False),
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column("scope", sa.String(32), nullable=False),
    sa.Column("severity", sa.String(16), nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("permanent", sa.Boolean, nullable=False),
    sa.Column("reason", sa.String(500), nullable=False),
    sa.Index("failures_at", "at"),
    sa.Index("failures_call", "call_id"),
)
sa.Table(
    "breaker_moves",
    TABLES,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("call_id", sa.String(64), nullable=False),
    sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("holder", sa.String(64), nullable=False),
    sa.Column("stage", sa.String(64), nullable=False),
    sa.Column("provider", sa.String(64), nullable=False),
    sa.Column("before", sa.String(16), nullable=False),
    sa.Column("after", sa.String(16), nullable=False),
    sa.Column("cause", sa.String(64), nullable=False),
    sa.Column("after_s", sa.Float, nullable=False),
    sa.Column("severity", sa.String(16), nullable=False),
    sa.Index("breaker_moves_at", "at"),
)
sa.Table(
    "voicemails",
    TABLES,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("call_id", sa.String(64), nullable=False, unique=True),
    sa.Column("number", sa.String(64), nullable=False),
    sa.Column("path", sa.String(500), nullable=False),
    sa.Column("length_s", sa.Float, nullable=False),
    sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("transcript", sa.Text, nullable=False),
    sa.Column("done_at", sa.DateTime(timezone=True)),
    sa.Index("voicemails_number", "number"),
)
sa.Table(
    "record_writers",
    TABLES,
    sa.Column("holder", sa.String(64), primary_key=True),
    sa.Column("batch", sa.Integer, nullable=False),
    sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
)


def upgrade() -> None:
    """Create what is missing."""
    TABLES.create_all(op.get_bind())
