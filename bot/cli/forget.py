"""`holdline forget NUMBER`: erases all data about a number."""

import asyncio
from typing import Annotated

import typer

from bot.cli.options import ConfigOption, one_number, settings_here
from configuration.folders import check_database
from runtime.exits import CommandError


def command(
    number: Annotated[
        str, typer.Argument(metavar="NUMBER", help="+49301234567, or as dialled in server.region.")
    ],
    config: ConfigOption = None,
) -> None:
    """Erase all data about a caller's number.

    Erases calls and what was said in them, recordings, messages, callback requests and contacts.
    The server may be running.
    """
    settings = settings_here(config)
    from operations.database.database import StorageError  # noqa: PLC0415
    from operations.record.forgetting import forget_number  # noqa: PLC0415 - late, so that errors in the configuration are reported first

    wanted = one_number(number, region=settings.server.region)
    check_database(settings.storage.url)
    try:
        forgotten = asyncio.run(forget_number(settings, wanted))
    except StorageError as error:
        raise CommandError(f"the database failed: {error}") from error
    for what, count in sorted(forgotten.counts.items()):
        typer.echo(f"{what}: {count}")
    if forgotten.left:
        files = ", ".join(f"{path} ({why})" for path, why in forgotten.left.items())
        raise CommandError(
            f"could not delete {files}; their calls are kept too; fix this and run it again"
        )
    if forgotten.live:
        raise CommandError(
            f"{forgotten.live} of its calls are in progress, or ended just now; "
            "run it again some minutes after their end"
        )
