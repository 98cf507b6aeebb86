"""The tables."""

from typing import Final

from sqlalchemy import Boolean, Column, DateTime, Float, Integer, MetaData, String, Table

METADATA: Final = MetaData()
REASON_LENGTH: Final = 300  # characters of why somebody wants to be called back

CALLBACKS: Final = Table(
    "callbacks",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("call_id", String(64), nullable=False, unique=True),  # one request a call
    Column("number", String(32), nullable=False),
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
