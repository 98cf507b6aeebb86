"""Runs the migrations on the connection from `operations/database/upgrading.py`."""

from alembic import context
from sqlalchemy import Connection

from operations.database.tables import METADATA

connection: Connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=METADATA, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
