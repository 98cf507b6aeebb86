"""Turns database exceptions into our own error: one line without statement and password."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from sqlalchemy.engine import URL
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from operations.database.database import Database, RefusedRowsError, StorageError
from operations.database.provider_board import line_of
from operations.database.sql_board import driver_errors


@contextmanager
def storage_errors(address: URL) -> Iterator[None]:
    """Raise `StorageError` for every error of this database.

    It is `RefusedRowsError` if the database works but rejects its input.
    """
    try:
        yield
    except (
        *driver_errors(address.get_backend_name()),
        SQLAlchemyError,
        OSError,
        OverflowError,  # SQLite's driver, for a number that does not fit
    ) as error:
        said = error.orig if isinstance(error, DBAPIError) and error.orig else error
        kind = RefusedRowsError if _refuses(error) else StorageError
        raise kind(line_of(said, hidden=address.password)) from error


@asynccontextmanager
async def reading(database: Database) -> AsyncIterator[AsyncConnection]:
    """Read what is committed; raises `StorageError`."""
    with storage_errors(database.url):
        async with (await database.engine()).connect() as connection:
            yield connection


@asynccontextmanager
async def writing(database: Database) -> AsyncIterator[AsyncConnection]:
    """Change rows, and commit when the block ends; raises `StorageError`."""
    with storage_errors(database.url):
        async with (await database.engine()).begin() as connection:
            yield connection


class Store:
    """A part of the database."""

    def __init__(self, url: str) -> None:
        """Use the database at `url`."""
        self._database = Database(url)

    async def close(self) -> None:
        """Close the connections."""
        await self._database.close()


def _refuses(error: Exception) -> bool:
    """Return whether the rows are at fault: SQL state classes 22 and 23, and similar errors."""
    if not isinstance(error, DBAPIError):
        return isinstance(error, OverflowError)
    state = str(getattr(error.orig, "sqlstate", None) or "")
    given = getattr(error.orig, "__cause__", None)
    by_driver = isinstance(given, ValueError | OverflowError)  # it could not even be sent
    by_class = isinstance(error, DataError | IntegrityError)
    return by_class or by_driver or state.startswith(("22", "23"))
