"""`holdline db upgrade`: brings the database to this version of Holdline."""

import asyncio
from typing import Annotated

import typer

from bot.cli.options import ConfigOption
from bot.config.loading import load
from bot.config.share_address import masked
from bot.exits import CommandError, UsageError


def command(
    action: Annotated[
        str, typer.Argument(metavar="ACTION", help="upgrade: take every step that is missing.")
    ],
    config: ConfigOption = None,
) -> None:
    """Bring the database to this version of Holdline."""
    if action != "upgrade":
        raise UsageError(f'db takes "upgrade", not "{action}"')
    url = load(config, keys=False).settings.storage.url
    from storage.database import StorageError  # noqa: PLC0415 - after the configuration's errors
    from storage.upgrading import upgrade  # noqa: PLC0415

    try:
        before, after = asyncio.run(upgrade(url))
    except StorageError as error:
        raise CommandError(f"{masked(url)} cannot be upgraded: {error}") from error
    said = "was at" if before == after else f"went from {before or 'nothing'} to"
    typer.echo(f"{masked(url)} {said} {after}")
