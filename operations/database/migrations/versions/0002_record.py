"""The record: calls, turns, messages, the timeline, failures, breakers, voicemails."""

import sqlalchemy as sa
from alembic import op

revision = "0002_record"
down_revision = "0001_base"


def upgrade() -> None:
    """Create what is missing."""
    _calls()
    _turns()
    _messages()
    _happenings()
    _failures()
    _breaker_moves()
    _voicemails()
    _record_writers()


def _calls() -> None:
    op.create_table(
        "calls",
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
        if_not_exists=True,
    )
    op.create_index("calls_started", "calls", ["started_at"], if_not_exists=True)
    op.create_index("calls_state", "calls", ["state", "started_at"], if_not_exists=True)
    op.create_index("calls_caller", "calls", ["caller"], if_not_exists=True)
    op.create_index("calls_provider_call", "calls", ["provider_call_id"], if_not_exists=True)


def _turns() -> None:
    op.create_table(
        "turns",
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
        if_not_exists=True,
    )
    op.create_index("turns_began", "turns", ["began_at"], if_not_exists=True)


def _messages() -> None:
    op.create_table(
        "messages",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("call_id", sa.String(64), nullable=False),
        sa.Column("turn", sa.Integer, nullable=False),
        sa.Column("role", sa.String(8), nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("spans", sa.JSON, nullable=False),
        if_not_exists=True,
    )
    op.create_index("messages_call", "messages", ["call_id", "id"], if_not_exists=True)
    op.create_index("messages_at", "messages", ["at"], if_not_exists=True)


def _happenings() -> None:
    op.create_table(
        "happenings",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
        sa.Column("call_id", sa.String(64), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("stage", sa.String(64), nullable=False),
        sa.Column("provider", sa.String(64), nullable=False),
        sa.Column("data", sa.JSON, nullable=False),
        if_not_exists=True,
    )
    op.create_index("happenings_call", "happenings", ["call_id", "id"], if_not_exists=True)
    op.create_index("happenings_at", "happenings", ["at"], if_not_exists=True)


def _failures() -> None:
    op.create_table(
        "failures",
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
        if_not_exists=True,
    )
    op.create_index("failures_call", "failures", ["call_id"], if_not_exists=True)
    op.create_index("failures_at", "failures", ["at"], if_not_exists=True)


def _breaker_moves() -> None:
    op.create_table(
        "breaker_moves",
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
        if_not_exists=True,
    )
    op.create_index("breaker_moves_at", "breaker_moves", ["at"], if_not_exists=True)


def _voicemails() -> None:
    op.create_table(
        "voicemails",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("call_id", sa.String(64), nullable=False, unique=True),
        sa.Column("number", sa.String(64), nullable=False),
        sa.Column("path", sa.String(500), nullable=False),
        sa.Column("length_s", sa.Float, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("transcript", sa.Text, nullable=False),
        sa.Column("done_at", sa.DateTime(timezone=True)),
        if_not_exists=True,
    )
    op.create_index("voicemails_number", "voicemails", ["number"], if_not_exists=True)


def _record_writers() -> None:
    op.create_table(
        "record_writers",
        sa.Column("holder", sa.String(64), primary_key=True),
        sa.Column("batch", sa.Integer, nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        if_not_exists=True,
    )
