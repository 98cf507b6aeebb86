"""The tables."""

from typing import Final

from sqlalchemy import Column, DateTime, Integer, MetaData, String, Table

METADATA: Final = MetaData()

CALLBACKS: Final = Table(
    "callbacks",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("call_id", String(64), nullable=False, unique=True),  # one wish a call
    Column("number", String(32), nullable=False),
    Column("reason", String(300), nullable=False),
    Column("asked_at", DateTime(timezone=True), nullable=False),  # UTC
    Column("done_at", DateTime(timezone=True)),  # UTC; none: still to be done
)
