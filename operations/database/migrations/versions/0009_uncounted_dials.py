"""The number of a contact's dials that did not count, since it was last set to wait."""

import sqlalchemy as sa
from alembic import op

revision = "0009_uncounted_dials"
down_revision = "0008_touched_calls"


def upgrade() -> None:
    """Add what is missing, with the numbers from the ledger for contacts without a callback."""
    connection = op.get_bind()
    if "uncounted" in {item["name"] for item in sa.inspect(connection).get_columns("contacts")}:
        return
    column = sa.Column("uncounted", sa.Integer, nullable=False, server_default="0")
    op.add_column("contacts", column)
    contacts = sa.table("contacts", *map(sa.column, ("id", "dials", "attempts", "uncounted")))
    dials = sa.table("dials", *map(sa.column, ("contact_id", "state", "counted")))
    given = sa.table("callback_contacts", *map(sa.column, ("contact_id", "outcome")))
    moved = sa.select(given.c.contact_id).where(
        given.c.outcome == "moved", given.c.contact_id.is_not(None)
    )
    found = (
        sa.select(sa.func.count())
        .select_from(dials)
        .where(dials.c.contact_id == contacts.c.id, dials.c.state == "settled")
        .where(dials.c.counted == sa.false())
        .scalar_subquery()
    )
    some = (contacts.c.dials > contacts.c.attempts) & contacts.c.id.not_in(moved)
    connection.execute(contacts.update().where(some).values(uncounted=found))
