"""A migration removes nothing: the version before keeps working with it."""

from itertools import pairwise
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, create_engine, inspect

from operations.database.schema import MIGRATIONS, known_versions

Columns = dict[tuple[str, str], Any]


def take_step(connection: Connection, version: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, version)


def columns_of(connection: Connection) -> Columns:
    looking = inspect(connection)
    return {
        (table, column["name"]): column
        for table in looking.get_table_names()
        for column in looking.get_columns(table)
    }


def length(column: Any) -> int:
    return getattr(column["type"], "length", None) or 0


def test_an_older_version_can_read_and_write_the_newer_tables(tmp_path: Path) -> None:
    """It has nothing to compare until the first step after the first release."""
    for before, after in pairwise(known_versions()):
        engine = create_engine(f"sqlite:///{tmp_path}/{after}.db")
        with engine.begin() as connection:
            take_step(connection, before)
            old = columns_of(connection)
            take_step(connection, after)
            new = columns_of(connection)
        engine.dispose()
        assert_compatible(old, new)


def assert_compatible(old: Columns, new: Columns) -> None:
    tables = {table for table, _ in old}
    for place, column in old.items():
        assert place in new, "a step took it away"
        assert new[place]["nullable"] >= column["nullable"], place
        assert length(new[place]) >= length(column), place
    for place, column in new.items():
        if place not in old and place[0] in tables:  # the older version does not fill it
            assert column["nullable"] or column["default"] is not None, place
