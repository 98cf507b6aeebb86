"""The tables."""

from typing import Final

from sqlalchemy import Boolean, Column, DateTime, Float, Integer, MetaData, String, Table, Text

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
