"""The tables of the record: what happened in calls and beside them, what was said, what it cost.

They hold what callers said; numbers are kept whole, so that they can be forgotten.
"""

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
    String,
    Table,
    Text,
    false,
)

from operations.database.tables import METADATA, NUMBER_LENGTH

NAME_LENGTH: Final = 64  # of a provider, a stage, a process
REASON_LENGTH: Final = 500  # of what a provider said about its failure

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
    Column("reason", String(REASON_LENGTH), nullable=False),
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
