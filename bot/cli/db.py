"""`holdline db upgrade`: migrates the database to this version of Holdline."""

import asyncio
from typing import Annotated

import typer

from bot.cli.options import ConfigOption
from configuration.database_urls import file_of, mask_password
from configuration.loading import load
from runtime.exits import CommandError, UsageError


def upgrade_database(
    action: Annotated[
        str, typer.Argument(metavar="ACTION", help="upgrade: run all missing migrations.")
    ],
    config: ConfigOption = None,
) -> None:
    """Migrate the database to this version of Holdline."""
    if action != "upgrade":
        raise UsageError(f'db takes "upgrade", not "{action}"')
    url = load(config, keys=False).settings.storage.url
    from operations.database.database import StorageError  # noqa: PLC0415 - late, so that errors in the configuration are reported first
    from operations.database.upgrading import upgrade  # noqa: PLC0415

    file = file_of(url)
    # The absolute path, because a relative one depends on the working directory.
    place, is_new = (file.absolute(), not file.exists()) if file else (mask_password(url), False)
    try:
        before, after = asyncio.run(upgrade(url))
    except StorageError as error:
        raise CommandError(f"{place} cannot be upgraded: {error}") from error
    change = "was at" if before == after else f"went from {before or 'nothing'} to"
    if is_new:
        change = "did not exist and was created at"
    typer.echo(f"{place} {change} {after}")
