"""`holdline forget NUMBER`: erases all that is about a number."""

import asyncio
from typing import Annotated

import typer

from bot.cli.options import ConfigOption
from bot.config.folders import check_database
from bot.config.loading import load
from bot.exits import CommandError, UsageError


def command(
    number: Annotated[
        str, typer.Argument(metavar="NUMBER", help="As +49301234567; or as at home: server.region.")
    ],
    config: ConfigOption = None,
) -> None:
    """Erase all that is about a caller's number.

    Calls and what was said in them, recordings, messages, callback requests, contacts. It may be
    used while the server runs.
    """
    settings = load(config, keys=False).settings
    from operations.database.database import StorageError  # noqa: PLC0415
    from operations.record.forgetting import forget_number  # noqa: PLC0415 - after the configuration's errors
    from operations.record.phone_numbers import e164  # noqa: PLC0415

    wanted = e164(number, region=settings.server.region)
    if wanted is None:
        cure = "write it with its country code, such as +49301234567, or set server.region"
        raise UsageError(f'NUMBER is "{number}", which is no telephone number; {cure}')
    check_database(settings.storage.url)
    try:
        forgotten = asyncio.run(forget_number(settings, wanted))
    except StorageError as error:
        raise CommandError(f"the database does not do it: {error}") from error
    for what, count in sorted(forgotten.counts.items()):
        typer.echo(f"{what}: {count}")
    if forgotten.left:
        files = ", ".join(f"{path} ({why})" for path, why in forgotten.left.items())
        raise CommandError(
            f"the disk did not delete {files}; run it again when it can, their calls are left, too"
        )
    if forgotten.live:
        raise CommandError(
            f"{forgotten.live} of its calls go on, or ended just now and are still written about; "
            "run it again some minutes after their end"
        )
