"""Outbound calls: campaigns, contacts, their consent, the ledger of dials, the do-not-call list."""

import sqlalchemy as sa
from alembic import op

revision = "0003_campaigns"
down_revision = "0002_record"


def upgrade() -> None:
    """Create what is missing."""
    _campaigns()
    _contacts()
    _consents()
    _dials()
    _do_not_call()


def _campaigns() -> None:
    op.create_table(
        "campaigns",
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
        if_not_exists=True,
    )


def _contacts() -> None:
    op.create_table(
        "contacts",
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
        sa.UniqueConstraint("campaign", "number", name="contacts_once"),
        if_not_exists=True,
    )
    turn = ["campaign", "state", sa.text("priority DESC"), "due_s", "id"]
    op.create_index("contacts_in_turn", "contacts", turn, if_not_exists=True)
    op.create_index("contacts_by_number", "contacts", ["number"], if_not_exists=True)


def _consents() -> None:
    op.create_table(
        "consents",
        sa.Column("campaign", sa.String(64), primary_key=True),
        sa.Column("number", sa.String(20), primary_key=True),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("given_on", sa.String(32), nullable=False),
        sa.Column("source", sa.String(300), nullable=False),
        sa.Column("recorded_s", sa.Float, nullable=False),
        if_not_exists=True,
    )


def _dials() -> None:
    op.create_table(
        "dials",
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
        sa.UniqueConstraint("contact_id", "attempt", name="dials_once"),
        if_not_exists=True,
    )
    op.create_index(
        "dials_by_state", "dials", ["campaign", "state", "lease_until_s"], if_not_exists=True
    )
    op.create_index("dials_by_time", "dials", ["campaign", "intended_s"], if_not_exists=True)


def _do_not_call() -> None:
    op.create_table(
        "do_not_call",
        sa.Column("number", sa.String(20), primary_key=True),
        sa.Column("source", sa.String(100), nullable=False),
        sa.Column("added_s", sa.Float, nullable=False),
        if_not_exists=True,
    )
