"""What a database raises becomes one error of ours: a line without its statement and password."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from storage.database import StorageError
from storage.provider_board import line_of
from storage.sql_board import driver_errors


@contextmanager
def storage_errors(address: URL) -> Iterator[None]:
    """Raise `StorageError` for whatever goes wrong between us and this database."""
    try:
        yield
    except (*driver_errors(address.get_backend_name()), SQLAlchemyError, OSError) as error:
        said = error.orig if isinstance(error, DBAPIError) and error.orig else error
        raise StorageError(line_of(said, hidden=address.password)) from error
