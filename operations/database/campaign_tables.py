"""The tables of outbound calls: campaigns, whom they call, and the ledger of every dial.

A dial's lease is its slot: there is no other table of those. All moments are seconds since 1970.
"""

from typing import Final

from sqlalchemy import (
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from operations.database.tables import METADATA

NAME_LENGTH: Final = 64  # characters of a campaign's name
REASON_LENGTH: Final = 300
NUMBER_LENGTH: Final = 20  # E.164 has 16 at most

CAMPAIGNS: Final = Table(
    "campaigns",
    METADATA,
    Column("name", String(NAME_LENGTH), primary_key=True),
    Column("mark", String(16), nullable=False),  # begins the ids of its dials, in this database
    Column("state", String(16), nullable=False),
    Column("reason", String(REASON_LENGTH), nullable=False),  # why it is in this state
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
    Column("number", String(NUMBER_LENGTH), nullable=False),  # E.164
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
    Column("number", String(NUMBER_LENGTH), primary_key=True),
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
    Column("number", String(NUMBER_LENGTH), nullable=False),
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
    Column("reason", String(REASON_LENGTH), nullable=False),
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
    Column("number", String(NUMBER_LENGTH), primary_key=True),  # E.164
    Column("source", String(100), nullable=False),
    Column("added_s", Float, nullable=False),
)
