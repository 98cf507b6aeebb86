"""Reads callers' voicemail messages from the database."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, select
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from operations.database.tables import VOICEMAILS


async def kept_voicemails(url: str) -> Sequence[Row[Any]]:
    async with create_async_engine(url, poolclass=NullPool).connect() as connection:
        return (await connection.execute(select(VOICEMAILS))).all()
